"""The bounds of a session: for each of its states so many octets and so much time, however busy its client is.

State                  Octets                           Seconds
a PROXY header         536; 107 in version 1            HEADER for all of it
a command or answer    each its own (commands.py), at   IDLE for all of it, STRESS under stress
                       most LINE_OCTETS here; of a
                       longer one DROPPED are read,
                       then it ends
handshake of TLS       OpenSSL's own bound              HANDSHAKE for all of it
a path in a command    256 (syntax.py)
a message's header     1 MiB (mailstore/incoming.py),
                       100 Received (data.py)
a message's text       -size, and DROPPED more          IDLE of silence, STRESS under stress; text_seconds() in all
a chunk that is        DROPPED, else the session ends   the same
refused
replies to send        OUTPUT are gathered              WRITE for all of them
between two messages   MOST_ERRORS, MOST_IDLE_COMMANDS  FRUITLESS, STRESS_FRUITLESS under stress
a password's check     MOST_FAILURES in a session       LONGEST_DELAY, once FREE_FAILURES are over; CHECK for a place
a text for terminals   terminal_text's lines, columns   a second each (mailstore/terminals.py), TERMINALS for all
recipients             -rcpts of them, and who they
                       lead to (mail_rcpt.py; one
                       list: mailstore/targets.py)
a refused recipient    -rcpts of them                   LONGEST_DELAY, once FREE_REFUSALS are over
the whole session                                       SESSION, STRESS_SESSION under stress; its last
                                                        message may end
an LMTP server asked   as of other hosts               LmtpLimits (smtp_client/bounds.py); a connection to it is
for a mailbox                                          kept STRESS at most while the client is silent; for a list
                                                       RESOLVE (mailstore/lmtp.py)
after the last reply   read and dropped                 LINGER, or TEXT_LINGER where a text was refused halfway

Under stress: while fewer than an eighth of the sessions are free (common/admission.py).
"""

# Octets
LINE_OCTETS = 12290         # the longest command there is: an AUTH response, RFC 4954 §4, and its CRLF
OUTPUT_OCTETS = 65536       # of replies that are gathered; a client that pipelines and never reads gets no more
DROPPED_OCTETS = 1 << 20    # that are read only to be thrown away, so that an honest client hears why and goes on
LEAST_OCTETS_A_SECOND = 1024    # of a text, on an average: a modem's pace

# Counts
MOST_ERRORS = 20
MOST_IDLE_COMMANDS = 1000   # that bring no message nearer, since the last message
STRESS_IDLE_COMMANDS = 30
MOST_FAILURES = 3           # of AUTH
FREE_FAILURES = 3           # of an address, in any number of sessions, before the next attempts wait
FREE_REFUSALS = 20          # recipients: a list may have some who are gone; who guesses has thousands

# Seconds
IDLE_SECONDS = 300          # RFC 5321 §4.5.3.2.7
STRESS_SECONDS = 30         # waited for at a time; ten times are IDLE_SECONDS
HEADER_SECONDS = 5          # for what a proxy sends at once; until then its client counts as nobody
HANDSHAKE_SECONDS = 30      # for TLS, which no person types
WRITE_SECONDS = 60          # for a client that reads nothing although more is due than its system takes
GRACE_SECONDS = 300         # in which a text may come as slowly as it likes
STRESS_TEXT_SECONDS = 300   # 50 MiB at 1.4 Mbit/s
FRUITLESS_SECONDS = 3600    # for a client that has commands, but no message
STRESS_FRUITLESS_SECONDS = 300
SESSION_SECONDS = 86400     # whoever has more mail comes back
STRESS_SESSION_SECONDS = 3600
LINGER_SECONDS = 1          # for a client to read the last reply
TEXT_LINGER_SECONDS = 5     # for one that first has to stop sending
TERMINALS_SECONDS = 30      # for all terminals that a message goes to, should many of them keep us waiting
FIRST_DELAY = 0.1           # for who guesses; doubled each time
LONGEST_DELAY = 5           # others come from the same address, behind NAT or on this host
CHECK_SECONDS = 10          # for a place among those whose passwords are checked


def text_seconds(octets, under_stress):
    """How long a text may have taken of which so many octets have come."""
    if under_stress:
        return min(STRESS_TEXT_SECONDS, max(STRESS_SECONDS, octets / LEAST_OCTETS_A_SECOND))
    return max(GRACE_SECONDS, octets / LEAST_OCTETS_A_SECOND)


def delay(failures, free):
    """Seconds that a client waits which has failed so often, so many times free."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - free, 10)) if failures > free else 0
