"""The three outcomes of every attempt to place mail: done (a return), try later, never.

Whoever catches one turns it into 4xx or 5xx towards a client, a retry or a bounce in the queue.
"""
import posix

UNUSABLE = "Mailbox cannot be used now"     # what a sender may read of whatever keeps one from being written


class Outcome(Exception):
    """An attempt that was not done.

    text: what the sender may read, one line of ASCII. errno: the system's number of what went wrong, one of Exim's
    below 0, or 0 if there is none. doing: what was being done, or what is wrong, with the file's path, for the log
    only; "" where `text` says all.
    """

    def __init__(self, text, errno=0, doing=""):
        super().__init__(text)
        self.text = text
        self.errno = errno
        self.doing = doing

    @property
    def cause(self):
        """What the log says of it, its number aside."""
        return self.doing or self.text


class Later(Outcome):
    """It may work at another time."""


class NoRoom(Later):
    """It may work once somebody has made room (a full disk, a quota)."""


class Unavailable(Later):
    """It may work once the server itself works again, whatever the mailbox is like."""


class Never(Outcome):
    """It will not work, however often it is tried."""


def deferral(outcome):
    """The log's words for an Outcome of a delivery, as Exim writes them after `==`."""
    return _numbered(outcome, f"defer ({outcome.errno}): ")


def refusal(outcome):
    """The log's words for an Outcome of a question whether somebody may receive, behind `rejected RCPT`."""
    return _numbered(outcome, f"({outcome.errno}) ")


def _numbered(outcome, number):
    if not outcome.errno:
        return outcome.cause
    meaning = f"{posix.strerror(outcome.errno)}: " if outcome.errno > 0 else ""
    return f"{number}{meaning}{outcome.cause}"
