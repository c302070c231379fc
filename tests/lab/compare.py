"""Two servers' copies of one message, made comparable: what may differ from run to run is blanked."""

import dataclasses
import grp
import pathlib
import pwd
import re
import stat
import typing

from tests.helpers import mailboxes

# Both forms of an id: Exim's up to 4.96, which is ours, and the longer one of later versions.
ID = r"[0-9A-Za-z]{6}-[0-9A-Za-z]{6}(?:[0-9A-Za-z]{5})?-[0-9A-Za-z]{2}(?:[0-9A-Za-z]{2})?"
DATE = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
TRACE = re.compile((
    r"(?<=\nDelivery-date: )" + DATE + r"(\nReceived: [^\n]+\n\tby [^\n]+(?: |\n\t))\((?:Exim [\d.]+|serveur)\)"
    r"(\n(?:\t\(envelope-from [^\n]+\n)?\tid )" + ID + r"(;|\n\tfor [^\n]+;)\n\t" + DATE + r"\n").encode())
SEPARATOR = re.compile(rb"(?m)^(From (?:[^\s\"]+|\"[^\n]+)) \w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}(?=\nReturn-path: )")
SECOND = re.compile(rb"\n(?=From [^\n]+ DATE\nReturn-path: )")
ENVELOPE_TO = re.compile(rb"\nEnvelope-to: [^\n]+\n( [^\n]+\n)*")
ADDED_ID = re.compile(("(?m)^((?:Resent-)?Message-Id: <)E" + ID + "@").encode())
ADDED_DATE = re.compile(("(?m)^((?:Resent-)?Date: )" + DATE + "$").encode())
NAME = re.compile(r"^\d{10}\.M\d{1,6}P\d+\.")
LOG_FIELDS = re.compile(r"^[-\d]+ [:\d]+ " + ID + " ")
SIZE = re.compile(r"(?<= S=)\d+")


@dataclasses.dataclass(frozen=True, order=True)
class Copy:
    """One file as it was stored.

    name     its folder and name, without what changes from run to run
    mode     as stat.filemode() shows it
    size     octets from Received on (of a Maildir's file, else 0); not compared: the program's name is in it
    """
    name: str
    mode: str
    owner: str
    group: str
    content: bytes = dataclasses.field(repr=False)
    size: int = dataclasses.field(default=0, compare=False, repr=False)

    @property
    def attributes(self):
        return self.name, self.mode, self.owner, self.group


def blank(content: bytes) -> bytes:
    """Replace by words the dates, the id and the program's name in the headers that the server added."""
    content = TRACE.sub(rb"DATE\1(PROGRAM)\2ID\3\n\tDATE\n", content)
    return SEPARATOR.sub(rb"\1 DATE", content)


def blank_submitted(content: bytes) -> bytes:
    """Replace by words also the id and the date in the headers that a message from an authenticated client gets."""
    return ADDED_DATE.sub(rb"\1DATE", ADDED_ID.sub(rb"\1EID@", content))


def blank_name(name: str) -> str:
    return NAME.sub("TIME.MPID.", name)


def copy_of(path: pathlib.Path, name: str, size: int = 0) -> Copy:
    status = path.stat()
    return Copy(name, stat.filemode(status.st_mode), pwd.getpwuid(status.st_uid).pw_name,
                grp.getgrgid(status.st_gid).gr_name, blank(path.read_bytes()), size)


def take_maildir(user: str) -> typing.List[Copy]:
    """The messages in a user's ~/Maildir, in a settled order; they are removed from it."""
    messages = mailboxes.read_maildir(pathlib.Path("/home", user, "Maildir"))
    copies = [copy_of(message.path, message.path.parent.name + "/" + blank_name(message.path.name),
                      len(message.content) - message.content.find(b"\nReceived: ") - 1) for message in messages]
    for message in messages:
        message.path.unlink()
    return sorted(copies)


def take_mbox(user: str) -> typing.List[Copy]:
    """A user's /var/mail file, if there is one; it is removed."""
    path = pathlib.Path("/var/mail", user)
    if not path.exists():
        return []
    copies = [copy_of(path, path.name)]
    path.unlink()
    return copies


def log_lines(log: str) -> typing.List[str]:
    """The lines of a log that are about a message, without date, time, id and size."""
    lines = [LOG_FIELDS.sub("", line) for line in log.splitlines() if LOG_FIELDS.match(line)]
    return [SIZE.sub("SIZE", line) for line in lines]


def log_size(log: str) -> int:
    """The S= of a log's only arrival."""
    return int(SIZE.search(log)[0])


def first_difference(ours: bytes, theirs: bytes) -> str:
    """Where two messages part, with what stands around it."""
    common = next((index for index, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    around = slice(max(0, common - 60), common + 60)
    return "from octet %d on\n  ours:   %r\n  theirs: %r" % (common, ours[around], theirs[around])


def as_one(copies: typing.List[Copy], envelope_to: bytes) -> typing.List[Copy]:
    """Exim's copies for two spellings of one recipient, as the only one that we store, with our Envelope-to (a field's
    value)."""
    first = copies[0].content
    behind = SECOND.search(first)
    content = first[:behind.start()] + b"\n" if behind else first
    return [dataclasses.replace(copies[0], content=ENVELOPE_TO.sub(b"\nEnvelope-to: " + envelope_to, content, 1))]
