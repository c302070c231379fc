"""What the sender is told of a message that failed or is late: Exim's texts, in the form of RFC 3462 and 3464."""
import random
from time import time
from typing import List, NamedTuple

from common import xtext
from common.mainlog import printable
from mailstore.envelope import DELIVERED, EXPANDED, RELAYED
from mailstore.files import write_all
from mailstore.trace import mail_date
from queue_manager.attempt import Tried
from queue_manager.log_lines import GAVE_UP, reason

WHOLE_OCTETS = 100 * 1024   # a longer message comes back as its header alone
REPLY_OCTETS = 2000
HOUR = 3600

FAILURE_TEXT = """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

{addresses}
"""

DELAY_TEXT = """\
This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its
recipients after more than {hours} hours on the queue on {domain}.

The message identifier is:     {id}
The subject of the message is: {subject}

The addresses to which the message has not yet been delivered are:

{addresses}

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals if the message
remains undelivered. Eventually the mail delivery software will give up,
and when that happens, the message will be returned to you.
"""

SUCCESS_TEXT = """\
This message was created automatically by mail delivery software.

 ----- The following addresses had successful delivery notifications -----

{addresses}
"""

WAYS = {DELIVERED: "delivered to the mailbox", EXPANDED: "expanded to several addresses, which do not report success",
        RELAYED: "relayed to a mailer that does not report success"}


class Original:
    """The message that a report is about. envelope: its own; path: its text; age: in seconds. Raises OSError.

    whole: all of it, or b"" if it is too long; header: its header, the empty line included."""

    def __init__(self, envelope, path, age):
        self.envelope = envelope
        self.age = age
        with open(path, "rb") as file:
            self.header = b"".join(iter(lambda: _header_line(file), b""))
            body = file.read(WHOLE_OCTETS)
        self.whole = self.header + b"\n" + body if len(self.header) + len(body) < WHOLE_OCTETS else b""

    def value(self, name):
        """The unfolded value (str) of the first field called `name` (bytes, lower case), "" if there is none."""
        unfolded = self.header.replace(b"\n ", b" ").replace(b"\n\t", b" ")
        for line in unfolded.split(b"\n"):
            field, colon, value = line.partition(b":")
            if colon and field.strip().lower() == name:
                return value.strip().decode("utf-8", "replace")
        return ""

    def wants_no_notice(self):
        """Whether it comes from a list or a program, which no notice of a delay would help."""
        return bool(self.value(b"list-id") or self.value(b"list-post")
                    or self.value(b"precedence").lower() in ("bulk", "list", "junk")
                    or self.value(b"auto-submitted").lower().startswith("auto-"))


def _header_line(file):
    line = file.readline()
    return b"" if line == b"\n" else line


class Author(NamedTuple):
    """Whose report it is. message_id: the report's own; domain: ours."""

    message_id: str
    domain: str


class Kind(NamedTuple):
    """What parts one kind of report from another. action: RFC 3464's word, "" where each recipient has its own;
    status_class: of the enhanced codes that go with it; subject; fields: more header lines."""

    action: str
    status_class: str
    subject: str
    fields: List[str]


class Report:
    """A message of our own, in the form mailstore.queue takes. text: bytes. sender: "", for nobody is to answer it;
    dsn: it asks for no report."""

    sender = ""
    dsn = None

    def __init__(self, text, utf8):
        self.content = self
        self.utf8 = utf8
        self._text = text
        self.octets = len(self._text)

    def write(self, file, front):
        """Write it to descriptor `file` behind `front`. Raises OSError."""
        write_all(file, front + self._text)


def failure(message_id, domain, about: Original, failed: List[Tried]) -> Report:
    """The Report of a message whose recipients in `failed` will not get it."""
    # The header alone must not make a report need SMTPUTF8 (RFC 6531 §3.1): its parts name all recipients.
    addresses = ",\n  ".join(one.recipient.address for one in failed if one.recipient.address.isascii())
    fields = [f"X-Failed-Recipients: {addresses}"] if addresses else []
    text = FAILURE_TEXT.format(addresses="\n".join(_block(one, "") for one in failed))
    content = about.whole or about.header + (
        b"X-DSN-Information: Due to administrative limits only headers are returned\n\n")
    if about.envelope.ret == "HDRS":
        content = about.header + b"\n"
    kind = Kind("failed", "5", "Mail delivery failed: returning message to sender", fields)
    return _report(Author(message_id, domain), about, failed, kind, (text, content))


def delay(message_id, domain, about: Original, late: List[Tried]) -> Report:
    """The Report of a message that its recipients in `late` do not have yet."""
    message = about.envelope.id
    hours = int(about.age // HOUR)
    text = DELAY_TEXT.format(hours=hours, domain=domain, id=message, subject=printable(about.value(b"subject")),
                             addresses="\n".join(_block(one, "Delay reason: ") for one in late))
    kind = Kind("delayed", "4", f"Warning: message {message} delayed {hours} hours", [])
    return _report(Author(message_id, domain), about, late, kind, (text, about.header + b"\n"))


def success(message_id, domain, about: Original, done: List[Tried]) -> Report:
    """The Report that somebody has the message, or another host that does not tell, or a list."""
    text = SUCCESS_TEXT.format(addresses="\n".join(
        f"  <{one.recipient.given}> ({WAYS[one.recipient.report]})" for one in done))
    kind = Kind("", "2", "Delivery Status Notification", [])
    return _report(Author(message_id, domain), about, done, kind, (text, about.header + b"\n"))


def _report(author, about, told, kind, content):
    """The whole message, but for its Received field. content: the text (str) of its first part, and what it returns of
    the message (bytes)."""
    text, returned = content
    boundary = f"{int(time())}-serveur-{random.randrange(10 ** 9):09d}"
    utf8 = not all(one.recipient.given.isascii() and one.recipient.address.isascii() for one in told)
    sender = about.envelope.sender
    status = "\n".join(_status(one, kind) for one in told)
    parts = [f"Content-type: text/plain; charset={'utf-8' if utf8 else 'us-ascii'}\n\n{text}",
             f"Content-type: message/delivery-status\n\nReporting-MTA: dns; {author.domain}\n"
             f"{_identity(about)}\n{status}",
             f"Content-type: {'message/rfc822' if returned is about.whole else 'text/rfc822-headers'}\n\n"
             f"Return-path: <{sender}>\n"]
    opened = _header(author, about, kind, boundary) + "".join(f"--{boundary}\n{part}\n" for part in parts)[:-1]
    return Report(opened.encode("utf-8", "surrogateescape") + returned + f"\n--{boundary}--\n".encode(),
                  utf8 or not sender.isascii())


def _header(author, about, kind, boundary):
    return "\n".join([
        *kind.fields, "Auto-Submitted: auto-replied", f"From: Mail Delivery System <Mailer-Daemon@{author.domain}>",
        f"To: {about.envelope.sender}", *_references(about),
        f"Content-Type: multipart/report; report-type=delivery-status; boundary={boundary}",
        "MIME-Version: 1.0", f"Subject: {kind.subject}", f"Message-Id: <E{author.message_id}@{author.domain}>",
        f"Date: {mail_date()}", "", ""])


def _references(about):
    identity = about.value(b"message-id")
    is_one = identity and identity.isascii() and identity.isprintable()
    return [f"References: {identity}"] if is_one else []


def _block(tried, label):
    """What the text says of one recipient."""
    recipient, result = tried.recipient, tried.result
    lines = [f"  {recipient.address}"]
    if recipient.given != recipient.address:
        lines.append(f"    (generated from {recipient.given})")
    if result.peer:
        lines.append(f"    host {result.peer.name}" + (f" [{result.peer.address}]" if result.peer.address else ""))
    said = [label + result.text + ":", result.reply] if result.reply and result.text else [
        label + (result.reply or reason(result))]
    said[-1] += _ending(tried)
    return "\n".join(lines + [f"    {line}" for text in said for line in _readable(text)])


def _ending(tried):
    return f": {GAVE_UP}" if tried.gave_up else ""


def _status(tried, kind):
    """One recipient's fields in message/delivery-status (RFC 3464 §2.3)."""
    address, result = tried.recipient.given, tried.result
    type_ = "rfc822" if address.isascii() else "utf-8"
    status = tried.status
    lines = [*_original_recipient(tried.recipient), f"Action: {kind.action or tried.recipient.report}",
             f"Final-Recipient: {type_};{address}",
             f"Status: {status if status.startswith(kind.status_class) else kind.status_class + '.0.0'}"]
    if result.peer:
        lines.append(f"Remote-MTA: dns; {result.peer.name}")
    if result.reply:
        lines.append("Diagnostic-Code: smtp; " + "\n ".join(_readable(result.reply + _ending(tried))))
    return "\n".join(lines) + "\n"


def _identity(about):
    """The field by which a sender knows its message again (RFC 3464 §2.2.1)."""
    return f"Original-Envelope-Id: {xtext.decode(about.envelope.envid)}\n" if about.envelope.envid else ""


def _original_recipient(recipient):
    kind, _, address = recipient.orcpt.partition(";")
    return [f"Original-Recipient: {kind};{xtext.decode(address)}"] if address else []


def _readable(text):
    """The lines of what another host said, as they may stand in a message."""
    return [printable(line) for line in text[:REPLY_OCTETS].split("\n")]
