"""When a message is tried again: Exim's usual rule, as a function of the message's age alone.

Every 15 minutes for 2 hours, then after 1 hour growing by 1.5 up to 16 hours, then every 6 hours up to
4 days; the last attempt falls on that end.
"""
MINUTE = 60
HOUR = 3600
LATE_INTERVAL = 6 * HOUR
GIVE_UP = 96 * HOUR
NOTICE_AFTER = 24 * HOUR


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
    # Past the end comes only what failed and cannot even be reported now.
    return next((received + age for age in AGES if received + age > now), now + LATE_INTERVAL)


def is_over(received, now):
    """Whether a message has been tried for long enough."""
    return now >= received + GIVE_UP


def notice_is_due(received, now):
    """Whether its sender should hear that a message is late."""
    return now >= received + NOTICE_AFTER
