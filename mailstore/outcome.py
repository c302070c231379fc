"""The three outcomes of every attempt to place mail: done (a return), try later, never.

Whoever catches one turns it into 4xx or 5xx towards a client, a retry or a bounce in the queue.
"""


class Outcome(Exception):
    """An attempt that was not done.

    text: what the sender may read, one line of ASCII. errno: the system's number of what went wrong, one of Exim's
    below 0, or 0 if there is none; doing: what was being done, or what is wrong, with the file's path.
    detail: what the log says, in words made of errno and doing unless given. reply: set by whoever knows what exactly
    answers a client.
    """

    reply = None

    def __init__(self, text, detail="", errno=0, doing=""):
        super().__init__(text)
        self.text = text
        self.errno = errno
        self.doing = doing or detail or text
        self.detail = detail or (defer_text(errno, doing) if errno else text)


class Later(Outcome):
    """It may work at another time."""


class NoRoom(Later):
    """It may work once somebody has made room (a full disk, a quota)."""


class Unavailable(Later):
    """It may work once the server itself works again, whatever the mailbox is like."""


class Never(Outcome):
    """It will not work, however often it is tried."""


def defer_text(errno, doing):
    """The log's words for an error met while `doing` something, as Exim writes them after `==`."""
    if errno < 0:
        return f"defer ({errno}): {doing}"
    from posix import strerror
    return f"defer ({errno}): {strerror(errno)}: {doing}"
