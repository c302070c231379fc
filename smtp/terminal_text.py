"""What a message looks like on a terminal: nothing in it is obeyed there, and no line of it passes for one of ours.

As write(1) has it: who and when, then the text, then EOF.
"""
from time import localtime, strftime
from unicodedata import category, east_asian_width

from common.mainlog import readable

COLUMNS = 76                # of a line; with its indent it fits where people have 80
INDENT = "  "
MOST_LINES = 100
MOST_OCTETS = 16384         # of the message's text; what is shown of it takes no more than thrice as many
BELL = "\a"
FIELDS = ("Subject", "From")


def terminal_text(message, seconds):
    """(the text (bytes) that shows `message`, a MailObject, which came at `seconds` since 1970; whether all of the
    message is in it)."""
    text, is_whole = _beginning(message.content)
    lines = _folded(_title(message, seconds))
    for line in text.split("\n"):
        if len(lines) > MOST_LINES:
            break
        lines += _folded(line)
    is_whole = is_whole and len(lines) <= MOST_LINES
    end = [] if is_whole else ["[...]"]
    indented = [(INDENT + line).rstrip() for line in [*lines[1:MOST_LINES], *end]]
    return "\r\n".join(["", BELL + lines[0], *indented, "EOF", ""]).encode(), is_whole


def _title(message, seconds):
    login = f"{message.origin.login}, " if message.origin.login else ""
    when = strftime("%H:%M", localtime(seconds))
    return f"Message from {message.sender or '<>'}, {login}{message.origin.log_host()}, at {when} ..."


def _beginning(content):
    """(the fields and the body (str), as much of them as is shown; whether that is all)."""
    fields = [f"{name}: ".encode() + value + b"\n"
              for name in FIELDS for value in content.values(name.lower().encode())[:1]]
    pieces = content.pieces(b"")
    next(pieces)
    text = b"".join([*fields, *([b"\n"] if fields else []), next(pieces)[:MOST_OCTETS + 1]])
    whole = text[:MOST_OCTETS].decode("utf-8", "surrogateescape")
    return whole.removesuffix("\n"), len(text) <= MOST_OCTETS


def _folded(line):
    """`line` in pieces of at most COLUMNS, neutralised; one piece if it is empty."""
    line = line.expandtabs()
    line = readable(line if line.isascii() else "".join(map(_blank, line)))
    if line.isascii():
        return [line[start:start + COLUMNS] for start in range(0, len(line), COLUMNS)] or [""]
    pieces, width = [""], 0
    for character in line:
        wide = 2 if east_asian_width(character) in "WF" else 1
        if width + wide > COLUMNS:
            pieces.append("")
            width = 0
        pieces[-1] += character
        width += wide
    return pieces


def _blank(character):
    """A space for each of Unicode's, which terminals may not know."""
    return " " if category(character) == "Zs" else character
