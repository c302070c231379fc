"""What came of a recipient: values, which nobody changes once they are made."""
from typing import NamedTuple

DONE, LATER, NEVER = "done", "later", "never"

# Exim's numbers for deferrals that the system has no errno for
MAIL_DEFERRED = -45
RECIPIENT_DEFERRED = -44
DATA_DEFERRED = -46
CLOSED = -18
TLS_MISSING = -38
AUTH_FAILED = -42
MALFORMED = -19
UNKNOWN = -1


class Peer(NamedTuple):
    """The host at the other end. name; address: its IP address; cipher: of the TLS session, or ""; mechanism: by which
    we authenticated, for which the host's certificate was verified, or ""."""

    name: str
    address: str
    cipher: str = ""
    mechanism: str = ""


class DeliveryResult:
    """outcome: DONE, LATER or NEVER. text: what went wrong, without the host's own words. errno: the system's, one of
    the numbers above, or 0. reply: the lines that the host answered, as they came, "" if it did not. status: the
    enhanced code, "" if unknown. peer: the Peer that is the cause, or None. reports: whether from now on it is the peer
    who reports to the sender (RFC 3461 §5.2.1)."""

    __slots__ = ("outcome", "text", "errno", "reply", "status", "peer", "reports")

    def __init__(self, outcome: str, text: str = "", errno: int = 0, reply: str = "", status: str = "", peer=None,
                 reports: bool = False):
        self.outcome = outcome
        self.text = text
        self.errno = errno
        self.reply = reply
        self.status = status or _enhanced(reply)
        self.peer = peer
        self.reports = reports


class Note(NamedTuple):
    """What the log should hear of a host, whomever its mail is for. peer: a Peer; result: a DeliveryResult."""

    peer: Peer
    result: DeliveryResult


class Answer(NamedTuple):
    """What came of one job. results: {address: its DeliveryResult}; notes: Notes on the way there."""

    results: dict
    notes: list


class Undeliverable(Exception):
    """A whole attempt came to nothing. `result`: what that makes of each recipient, a DeliveryResult."""

    def __init__(self, result: DeliveryResult):
        super().__init__(result.text)
        self.result = result


def confirmation(reply):
    """What the log says of the reply by which a message was taken over, as Exim does."""
    text = reply.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\\n")
    return f'C="{text}"'


def _enhanced(reply):
    """The enhanced code in an SMTP reply (RFC 2034), "" if it has none."""
    code = reply[4:].partition(" ")[0]
    parts = code.split(".")
    is_one = len(parts) == 3 and parts[0] == reply[:1] and all(part.isdigit() and part.isascii() for part in parts)
    return code if is_one else ""
