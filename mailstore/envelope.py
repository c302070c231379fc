"""A queued message's envelope: who is to have it, and what was tried so far. The only place that knows its file's form.

    ID.envelope   JSON: {
        "id": "1xVkyz-0002Ae-0G",
        "received": 1795503574.5,           seconds since 1970
        "sender": "a@b.example",            "" for the null reverse-path
        "utf8": false,                      whether SMTPUTF8 was asked for (RFC 6531)
        "notified": false,                  whether its sender was told of a delay
        "ret": "HDRS",                      MAIL's parameters for DSN (RFC 3461), as they came, "" without
        "envid": "QQ314159",
        "recipients": [{
            "address": "x@relay.example",   where to
            "envelope_to": ["x@relay.example"],     the recipients as the client gave them, before aliases
            "mailbox": null,                or the account here whose copy this is
            "state": "waiting",             "waiting", "done" or "failed"
            "tries": 0,
            "reply": "",                    the last answer, or why there was none
            "next": 0,                      not before these seconds since 1970
            "notify": "SUCCESS,FAILURE",    RCPT's parameters for DSN, "" without
            "orcpt": "rfc822;x@relay.example",
            "report": "relayed",            what the sender is yet to be told, "" for nothing: "delivered",
                                            "expanded" or "relayed"; "failed", while others of its list wait
            "status": "2.0.0",              with the enhanced code
            "host": "mx.relay.example",     of the host that it is about
            "refused": true                 an LMTP server refused the copy for good: only the bounce is missing
        }]
    }

A queue outlives the program that wrote it. So a field that is missing has its value for a new message, unless there
is none (id, received, sender, recipients, address, envelope_to), and one that is not known is ignored. What
says nothing of most messages is left out then.
"""
from json import dumps, loads

from common import xtext

WAITING, DONE, FAILED = "waiting", "done", "failed"
STATES = (WAITING, DONE, FAILED)
NOTIFY_NEVER, SUCCESS, FAILURE, DELAY = "NEVER", "SUCCESS", "FAILURE", "DELAY"
WORDS = (SUCCESS, FAILURE, DELAY)       # of NOTIFY, in the order in which they are written
UNASKED = frozenset((FAILURE, DELAY))   # what a sender hears of who came without NOTIFY (RFC 3461 §4.1)
DELIVERED, EXPANDED, RELAYED = SUCCESSES = ("delivered", "expanded", "relayed")   # RFC 3464 §2.3.3
NUMBER = (int, float)
ENVELOPE_FIELDS = {"id": str, "received": NUMBER, "sender": str, "utf8": bool, "notified": bool,
                   "ret": str, "envid": str}
RECIPIENT_FIELDS = {"address": str, "envelope_to": list, "mailbox": (str, type(None)), "state": str, "tries": int,
                    "reply": str, "next": NUMBER, "notify": str, "orcpt": str, "report": str, "status": str,
                    "host": str, "refused": bool}
OPTIONAL = ("ret", "envid", "notify", "orcpt", "report", "status", "host", "refused")


def wishes(notify):
    """What a NOTIFY (str, "" for none) asks to be told of: a set of SUCCESS, FAILURE, DELAY."""
    return set(notify.split(",")) - {NOTIFY_NEVER} if notify else UNASKED


class Recipient:
    """One who is to have the message, as the envelope says; new ones were never tried."""

    __slots__ = tuple(RECIPIENT_FIELDS)

    def __init__(self, address: str, envelope_to: list, mailbox=None):
        self.address = address
        self.envelope_to = envelope_to
        self.mailbox = mailbox
        self.state = WAITING
        self.tries = 0
        self.reply = ""
        self.next = 0
        self.notify = self.orcpt = self.report = self.status = self.host = ""
        self.refused = False

    @property
    def given(self) -> str:
        """The address that the client gave, which an alias may have turned into another."""
        return self.envelope_to[0]

    def wants(self, wish) -> bool:
        """Whether the sender is to hear of a SUCCESS, FAILURE or DELAY here."""
        return wish in wishes(self.notify)


class Envelope:
    """What the queue knows of one message. recipients: Recipients."""

    __slots__ = (*ENVELOPE_FIELDS, "recipients")

    def __init__(self, message_id: str, received: float, sender: str, recipients: list, utf8=False):
        self.id = message_id
        self.received = received
        self.sender = sender
        self.utf8 = utf8
        self.notified = False
        self.ret = self.envid = ""
        self.recipients = recipients

    def waiting(self) -> list:
        """The Recipients that are neither done with nor given up."""
        return [recipient for recipient in self.recipients if recipient.state == WAITING]

    def untold(self) -> list:
        """The Recipients of whom the sender, if there is one, is yet to be told."""
        return [recipient for recipient in self.recipients if recipient.report and self.sender]

    def to_json(self) -> str:
        """The file's text, ASCII."""
        # One recipient at a time: json makes many pieces of each, and a list may have ten thousand.
        recipients = ",".join(_as_member(recipient) for recipient in self.recipients)
        fields = dumps(_fields(self, ENVELOPE_FIELDS), indent=1)
        return f'{fields[:-2]},\n "recipients": [{recipients}\n ]\n}}\n'


def _as_member(recipient):
    text = dumps(_fields(recipient, RECIPIENT_FIELDS), indent=1)
    return "\n  " + text.replace("\n", "\n  ")


def _fields(of, names):
    return {name: value for name in names if (value := getattr(of, name)) or name not in OPTIONAL}


def from_json(text: str) -> Envelope:
    """The Envelope in a file's text. Raises ValueError, which says what is wrong with it."""
    try:
        fields = loads(text)
    except RecursionError:
        raise ValueError("too deep") from None
    envelope = _filled(Envelope(None, None, None, []), fields, ENVELOPE_FIELDS)
    recipients = fields.get("recipients")
    if not isinstance(recipients, list):
        raise ValueError("recipients: no list")
    _check_parameters(envelope.ret, envelope.envid)
    envelope.recipients = [_recipient(entry) for entry in recipients]
    return envelope


def _recipient(fields):
    recipient = _filled(Recipient(None, None), fields, RECIPIENT_FIELDS)
    given = recipient.envelope_to
    if not given or not all(isinstance(address, str) for address in given):
        raise ValueError(f"envelope_to: {given!r:.80}")
    if recipient.state not in STATES:
        raise ValueError(f"state: {recipient.state!r:.80}")
    _check_parameters(recipient.notify, recipient.orcpt, recipient.status)
    if recipient.report and recipient.report not in (*SUCCESSES, FAILED):
        raise ValueError(f"report: {recipient.report!r:.80}")
    return recipient


def _check_parameters(*values):
    """Raise ValueError unless they may stand in a command, and in a report."""
    for value in values:
        xtext.decode(value)
        if " " in value or "\t" in value:
            raise ValueError(f"no parameter: {value!r:.80}")


def _filled(new, fields, kinds):
    """`new`, with those of `fields` that `kinds` names in the place of its own."""
    if not isinstance(fields, dict):
        raise ValueError("no object")
    for name, kind in kinds.items():
        value = fields.get(name, getattr(new, name))
        if not isinstance(value, kind):
            raise ValueError(f"{name}: {value!r:.80}")
        setattr(new, name, value)
    return new
