"""The three outcomes of every attempt to place mail: done (a return), try later, never.

Whoever catches one turns it into 4xx or 5xx towards a client, a retry or a bounce in the queue.
"""


class Outcome(Exception):
    """An attempt that was not done.

    text: what the sender may read, one line of ASCII. detail: what the log says (errno and paths may
    stand there), text if not given. reply: set by whoever knows what exactly answers a client.
    """

    reply = None

    def __init__(self, text, detail=""):
        super().__init__(text)
        self.text = text
        self.detail = detail or text


class Later(Outcome):
    """It may work at another time."""


class NoRoom(Later):
    """It may work once somebody has made room (a full disk, a quota)."""


class Never(Outcome):
    """It will not work, however often it is tried."""


def defer_text(error, doing):
    """The log's words for an OSError met while `doing` something, as Exim writes them after `==`."""
    return f"defer ({error.errno}): {error.strerror}: {doing}"
