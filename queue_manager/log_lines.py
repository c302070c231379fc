"""What the log says of results at other hosts and of mailboxes here, in Exim's words and columns."""
from os import strerror

from mailstore.envelope import Recipient
from mailstore.outcome import Never, Outcome
from mailstore.trace import delivered_here
from queue_manager.attempt import Tried
from smtp_client.result import DONE, LATER, NEVER, UNKNOWN, DeliveryResult, Note, confirmation

GAVE_UP = "retry timeout exceeded"


def result_of(outcome: Outcome) -> DeliveryResult:
    """What an Outcome of the mail store makes of a recipient."""
    if isinstance(outcome, Never):
        return DeliveryResult(NEVER, outcome.cause, status="5.1.1")
    return DeliveryResult(LATER, outcome.cause, outcome.errno or UNKNOWN)


def reason(result: DeliveryResult) -> str:
    """Why it is not done, in one text."""
    text = result.text or _meaning(result)
    return f"{text}: {result.reply}" if result.reply else text


def tried_line(tried: Tried, follows=False) -> str:
    """The line for one recipient. follows: whether it went with the one before it."""
    if tried.gave_up:
        return f"** {_name(tried.recipient)}: {GAVE_UP}"
    if tried.account:
        reply = f" {confirmation(tried.result.reply)}" if tried.result.reply else ""
        return delivered_here(tried.account, tried.recipient.address, tried.transport, tried.router) + reply
    if tried.result.outcome == DONE:
        return _done_line(tried, follows)
    return _later_line(tried) if tried.result.outcome == LATER else _never_line(tried)


def ignored_line(tried: Tried) -> str:
    """The line for one whose failure the sender has asked not to hear of, in Exim's words."""
    return f"{_name(tried.recipient)}: error ignored: RFC 3461 DSN, failure notify not requested"


def note_line(note: Note) -> str:
    """The line for what a client noted of a host."""
    where = f"H={note.peer.name} [{note.peer.address}]"
    result = note.result
    if not result.text:
        return f"{where} {reason(result)}"
    meaning = f": {strerror(result.errno)}" if result.errno > 0 else ""
    return f"{where}: {reason(result)}{meaning}"


def _done_line(tried, follows):
    result = tried.result
    peer = result.peer
    cipher = f" X={peer.cipher} CV={'yes' if peer.mechanism else 'no'}" if peer.cipher else ""
    cipher += f" A={peer.mechanism.replace('-', '_')}" if peer.mechanism else ""
    arrow = "->" if follows else "=>"
    return f"{arrow} {_name(tried.recipient)}{_via(tried)}{_host(result)}{cipher} {confirmation(result.reply)}"


def _later_line(tried):
    result = tried.result
    meaning = f": {strerror(result.errno)}" if result.errno > 0 else ""
    text = f": {reason(result)}" if result.text else ""
    return f"== {_name(tried.recipient)}{_via(tried)} defer ({result.errno}){meaning}{_host(result)}{text}"


def _never_line(tried):
    return f"** {_name(tried.recipient)}{_via(tried)}{_host(tried.result)}: {reason(tried.result)}"


def _meaning(result):
    return strerror(result.errno) if result.errno > 0 else ""


def _via(tried):
    router = f" R={tried.router}" if tried.router else ""
    return router + (f" T={tried.transport}" if tried.transport else "")


def _host(result):
    return f" H={result.peer.name} [{result.peer.address}]" if result.peer else ""


def _name(recipient: Recipient) -> str:
    given = recipient.given
    return recipient.address if given == recipient.address else f"{recipient.address} <{given}>"
