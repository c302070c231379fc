"""What became of one recipient in one attempt, and how the log tells it: in Exim's words and columns."""
from os import strerror

DONE, LATER, NEVER = "done", "later", "never"

# Exim's numbers for deferrals that the system has no errno for
MAIL_DEFERRED = -45
RECIPIENT_DEFERRED = -44
DATA_DEFERRED = -46
CLOSED = -18
MALFORMED = -19
UNKNOWN = -1


class Fate:
    """outcome: DONE, LATER or NEVER. text: why, for the log and the sender. error: an errno, or one of
    the numbers above. host, address: which host said so, "" if none did. reply: the lines it said, as
    they came. status: the enhanced code, "" if unknown. cipher: of the session. router, transport:
    Exim's names for the ways mail takes. account: the mailbox's, for a copy that stays here."""

    def __init__(self, outcome, text="", error=0, host="", address="", reply="", status="", cipher="",
                 router="", transport="", account=""):
        self.outcome = outcome
        self.text = text
        self.error = error
        self.host = host
        self.address = address
        self.reply = reply
        self.status = status or _enhanced(reply)
        self.cipher = cipher
        self.router = router
        self.transport = transport
        self.account = account

    def reason(self):
        """Why it is not done, in one text."""
        return self.text or (strerror(self.error) if self.error > 0 else "")

    def explanation(self):
        """The text, and what the system calls its cause."""
        return f"{self.text}: {strerror(self.error)}" if self.error > 0 else self.text

    def _via(self):
        router = f" R={self.router}" if self.router else ""
        return router + (f" T={self.transport}" if self.transport else "")

    def host_name(self):
        """` H=name [address]`, or "" when no host said it."""
        return f" H={self.host} [{self.address}]" if self.host else ""

    def line(self, recipient, follows=False):
        """The log's line for `recipient` (of an envelope). follows: it went with the one before it."""
        return LINES[self.outcome](self, recipient, follows)

    def _done_line(self, recipient, follows):
        if self.account:
            return f"=> {self.account} <{recipient.address}>{self._via()}"
        cipher = f" X={self.cipher} CV=no" if self.cipher else ""
        reply = self.reply.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\\n")
        arrow = "->" if follows else "=>"
        return f'{arrow} {_name(recipient)}{self._via()}{self.host_name()}{cipher} C="{reply}"'

    def _later_line(self, recipient, _):
        meaning = f": {strerror(self.error)}" if self.error > 0 else ""
        text = f": {self.text}" if self.text else ""
        return f"== {_name(recipient)}{self._via()} defer ({self.error}){meaning}{self.host_name()}{text}"

    def _never_line(self, recipient, _):
        return f"** {_name(recipient)}{self._via()}{self.host_name()}: {self.reason()}"


LINES = {DONE: Fate._done_line, LATER: Fate._later_line, NEVER: Fate._never_line}


class Undeliverable(Exception):
    """A whole attempt came to nothing. `fate`: what that makes of each recipient."""

    def __init__(self, fate):
        super().__init__(fate.text)
        self.fate = fate


def _name(recipient):
    given = recipient.given
    return recipient.address if given == recipient.address else f"{recipient.address} <{given}>"


def _enhanced(reply):
    """The enhanced code in an SMTP reply (RFC 2034), "" if it has none."""
    code = reply[4:].partition(" ")[0]
    parts = code.split(".")
    is_one = len(parts) == 3 and parts[0] == reply[:1] and all(part.isdigit() and part.isascii() for part in parts)
    return code if is_one else ""
