"""When a message is tried again: Exim's usual rule, as a function of the message's age alone.

Every 15 minutes for 2 hours, then after 1 hour growing by 1.5 up to 16 hours, then every 6 hours up to
4 days; the last attempt falls on that end.

The clock is not trusted: a machine may start in 1970, and be put right, or jump ahead and back, while messages wait.
So an age is never below 0, nothing is due later than MOST_AHEAD, and no message is given up, nor called late,
before it was tried a second time.
"""
MINUTE = 60
HOUR = 3600
LATE_INTERVAL = 6 * HOUR
GIVE_UP = 96 * HOUR
NOTICE_AFTER = 24 * HOUR
MOST_AHEAD = 16 * HOUR      # no interval of the rule is as long
ASIDE_SECONDS = 7 * 24 * HOUR   # for which a message that was set aside is kept, as Exim's timeout_frozen_after


def _ages():
    """The ages, in seconds, at which a message is tried."""
    age = 0
    while age < 2 * HOUR:
        age += 15 * MINUTE
        yield age
    interval = HOUR
    while age < 16 * HOUR:
        age += interval
        interval *= 1.5
        yield age
    while age + LATE_INTERVAL < GIVE_UP:
        age += LATE_INTERVAL
        yield age
    yield GIVE_UP


AGES = tuple(_ages())


def next_attempt(received, now):
    """When to try again what was received at `received`, both in seconds since 1970."""
    age = age_of(received, now)
    # Past the end comes what failed and cannot even be reported now, or was received while the clock was wrong.
    return now + next((planned - age for planned in AGES if planned > age), AGES[0])


def age_of(received, now):
    """How old a message is that was received at `received`, in seconds."""
    return max(0, now - received)


def due_time(noted, now):
    """When that is due which is noted as due at `noted`: what lies too far ahead was noted by a wrong clock."""
    return noted if noted <= now + MOST_AHEAD else now


def is_over(received, tries, now):
    """Whether a message has been tried for long enough, and `tries` times before."""
    return tries > 0 and age_of(received, now) >= GIVE_UP


def notice_is_due(received, tries, now):
    """Whether its sender should hear that a message is late, which was tried `tries` times before."""
    return tries > 0 and age_of(received, now) >= NOTICE_AFTER
