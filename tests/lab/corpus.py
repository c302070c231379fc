r"""The messages of tests/corpus/, one a file, written so that a person can read and add to them.

    # Why this message is here.
    EHLO client.example.org                     commands, one a line; those of DEFAULT_ENVELOPE when there are none
    MAIL FROM:<sender@client.example.org>
    RCPT TO:<eximalice@binome.tp.info.unicaen.fr>
    --- sent
    Subject: x                                  what follows the 354, dots already doubled, final dot included
    .
    --- stored
    Subject: x                                  only where we differ from Exim on purpose: what we store below Received
    --- one copy
    b@x.example,                                only where Exim stores several copies: the Envelope-to of our only one

In the parts after `---` each line stands for itself and its line end: CRLF as sent, LF as stored.  In them
\r \n \t \0 \\ \xHH are bytes, \(1000 x) is x a thousand times, and a \ at a line's end takes the line end away.
"""

import pathlib
import re
import typing

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "corpus"
DEFAULT_ENVELOPE = ["EHLO client.example.org", "MAIL FROM:<sender@client.example.org>",
                    "RCPT TO:<eximalice@binome.tp.info.unicaen.fr>"]
ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|\((\d+) ([^)]*)\)|([rnt0\\]))")
LETTERS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class Message(typing.NamedTuple):
    """One message: its commands up to RCPT, the bytes after the 354, and what we store where that isn't Exim's: the
    text, or the Envelope-to of what for us is one copy."""
    name: str
    commands: typing.List[str]
    wire: bytes
    stored: typing.Optional[bytes] = None
    one_copy: typing.Optional[bytes] = None


def all_messages() -> typing.List[Message]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: pathlib.Path) -> Message:
    """Read one file; ValueError if it has no `--- sent` part."""
    envelope, mark, rest = path.read_bytes().partition(b"--- sent\n")
    if not mark:
        raise ValueError("%s: no '--- sent' line" % path)
    rest, differs, one_copy = rest.partition(b"--- one copy\n")
    sent, mark, stored = rest.partition(b"--- stored\n")
    commands = [line for line in envelope.decode("ascii").splitlines() if line and not line.startswith("#")]
    return Message(path.stem, commands or DEFAULT_ENVELOPE, unescape(sent, b"\r\n"),
                   unescape(stored, b"\n") if mark else None, unescape(one_copy, b"\n") if differs else None)


def unescape(text: bytes, line_end: bytes) -> bytes:
    """The bytes that a part of a file stands for."""
    lines = text.split(b"\n")[:-1]
    return b"".join(unescape_line(line, line_end) for line in lines)


def unescape_line(line: bytes, line_end: bytes) -> bytes:
    backslashes = len(line) - len(line.rstrip(b"\\"))
    if backslashes % 2:
        line, line_end = line[:-1], b""
    return ESCAPE.sub(unescape_one, line) + line_end


def unescape_one(match) -> bytes:
    code, count, text, letter = match.groups()
    if code:
        return bytes([int(code, 16)])
    return LETTERS[letter] if letter else int(count) * ESCAPE.sub(unescape_one, text)
