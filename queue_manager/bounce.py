"""What the sender is told of a message that failed or is late: Exim's texts, in the form of RFC 3462 and 3464."""
import random
from time import time

from common.mainlog import printable
from mailstore.files import write_all
from mailstore.trace import mail_date

WHOLE_OCTETS = 100 * 1024   # a longer message comes back as its header alone
REPLY_OCTETS = 2000
HOUR = 3600

FAILED = """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

{addresses}
"""

DELAYED = """\
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


class Report:
    """A message of our own, in the form mailstore.queue takes. sender: "", since nobody is to answer it."""

    sender = ""

    def __init__(self, text, utf8):
        self.content = self
        self.utf8 = utf8
        self._text = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self.octets = len(self._text)

    def write(self, file, front):
        """Write it to descriptor `file` behind `front`. Raises OSError."""
        write_all(file, front + self._text)


def failure(message_id, domain, about, failed):
    """The Report of an Original whose recipients in `failed`, pairs of (recipient, Fate), will not get it."""
    blocks = "\n".join(_block(recipient, fate, "") for recipient, fate in failed)
    # The header alone must not make a report need SMTPUTF8 (RFC 6531 §3.1): its parts name all recipients.
    addresses = ",\n  ".join(recipient.address for recipient, _ in failed if recipient.address.isascii())
    fields = [f"X-Failed-Recipients: {addresses}"] if addresses else []
    content = about.whole or about.header + (
        b"X-DSN-Information: Due to administrative limits only headers are returned\n\n")
    return _report(message_id, domain, about, "failed", failed, fields, FAILED.format(addresses=blocks), content,
                   "Mail delivery failed: returning message to sender")


def delay(message_id, domain, about, late):
    """The Report of an Original that its recipients in `late`, pairs of (recipient, Fate), do not have yet."""
    message = about.envelope.id
    hours = int(about.age // HOUR)
    text = DELAYED.format(hours=hours, domain=domain, id=message, subject=printable(about.value(b"subject")),
                          addresses="\n".join(_block(recipient, fate, "Delay reason: ") for recipient, fate in late))
    return _report(message_id, domain, about, "delayed", late, [], text, about.header + b"\n",
                   f"Warning: message {message} delayed {hours} hours")


def _report(message_id, domain, about, action, told, fields, text, content, subject):
    """The whole message, but for its Received field."""
    boundary = f"{int(time())}-serveur-{random.randrange(10 ** 9):09d}"
    utf8 = not all(recipient.given.isascii() and recipient.address.isascii() for recipient, _ in told)
    sender = about.envelope.sender
    header = [*fields, "Auto-Submitted: auto-replied", f"From: Mail Delivery System <Mailer-Daemon@{domain}>",
              f"To: {sender}", *_references(about),
              f"Content-Type: multipart/report; report-type=delivery-status; boundary={boundary}",
              "MIME-Version: 1.0", f"Subject: {subject}", f"Message-Id: <E{message_id}@{domain}>",
              f"Date: {mail_date()}", "", ""]
    status = "\n".join(_status(recipient, fate, action) for recipient, fate in told)
    parts = [f"Content-type: text/plain; charset={'utf-8' if utf8 else 'us-ascii'}\n\n{text}",
             f"Content-type: message/delivery-status\n\nReporting-MTA: dns; {domain}\n\n{status}",
             f"Content-type: {'message/rfc822' if content is about.whole else 'text/rfc822-headers'}\n\n"
             f"Return-path: <{sender}>\n"]
    opened = "\n".join(header) + "".join(f"--{boundary}\n{part}\n" for part in parts)[:-1]
    return Report(opened.encode("utf-8", "surrogateescape") + content + f"\n--{boundary}--\n".encode(),
                  utf8 or not sender.isascii())


def _references(about):
    identity = about.value(b"message-id")
    is_one = identity and identity.isascii() and identity.isprintable()
    return [f"References: {identity}"] if is_one else []


def _block(recipient, fate, label):
    """What the text says of one recipient."""
    lines = [f"  {recipient.address}"]
    if recipient.given != recipient.address:
        lines.append(f"    (generated from {recipient.given})")
    if fate.host:
        lines.append(f"    host {fate.host} [{fate.address}]")
    cause, colon, reply = fate.reason().partition(f": {fate.reply}" if fate.reply else "\0")
    lines += [f"    {line}" for line in _readable(label + cause + (":" if colon else ""))]
    if colon:
        lines += [f"    {line}" for line in _readable(fate.reply + reply)]
    return "\n".join(lines)


def _status(recipient, fate, action):
    """One recipient's fields in message/delivery-status (RFC 3464 §2.3)."""
    address = recipient.given
    kind = "rfc822" if address.isascii() else "utf-8"
    status = fate.status if fate.status[:1] == ("5" if action == "failed" else "4") else ""
    lines = [f"Action: {action}", f"Final-Recipient: {kind};{address}",
             f"Status: {status or ('5.0.0' if action == 'failed' else '4.0.0')}"]
    if fate.host:
        lines.append(f"Remote-MTA: dns; {fate.host}")
    if fate.reply:
        after = fate.text.partition(fate.reply)[2]
        lines.append("Diagnostic-Code: smtp; " + "\n ".join(_readable(fate.reply + after)))
    return "\n".join(lines) + "\n"


def _readable(text):
    """The lines of what another host said, as they may stand in a message."""
    return [printable(line) for line in text[:REPLY_OCTETS].split("\n")]
