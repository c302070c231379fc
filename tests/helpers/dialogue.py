"""The dialogues of tests/dialogues, as files are read: player.py tests the server with them, tests/jouer shows them.

A dialogue reads like an example of an RFC.  Its lines:

    # text                          a comment; the first ones say what is shown, and where it is written
    # fr: text                      the same in French, behind the English lines: tests/jouer shows it in their place
    given option -rcpts 3           an option of serveur.sh; ROOT/ begins the path of a file that is handed in
    given accounts jones, brown     mailboxes here (folders of -store)
    given people mrc: Mark Crispin  real accounts with that full name, and -store maildir; needs root
    given terminal mrc              a terminal of that account's owner, that takes messages
    given alias fred: jones, brown  an entry of the aliases file
    given blocked jones             from now on jones's Maildir is a file, so nothing can be put there
    S: 250 2.1.0 Sender OK          the server's next line, whole; each * in it stands for any text
    S: ...                          the other lines of this reply, whatever they are
    C: RSET                         the client sends a line, ended by CRLF
    L: RSET                         the same, ended by LF alone
    B: RSET\\r\\n                     the same, by nothing but what is written; \\xHH, \\r, \\n, \\t, \\\\ are octets
    C> RSET                         (or L>, B>) goes out in one segment with the next line of the client
    close                           the client leaves
    connect                         the session is over on both sides, and a new one begins
    then jones has                  the oldest message of jones not yet looked at is the following lines,
    | Subject: x                        with * as above; a line of ... stands for any number of lines
    then terminal mrc               the next message on that terminal is the following lines, | as above
    then log: * rejected RCPT *     a line, without its date, written to the log during this dialogue
    then queue: a@b -> c@d, e@f     a further message in the queue, its sender and its recipients

`{x*512}` is x, 512 times.  The lines between `repeat N` and `end` are there N times, {n} counting from 1.
"""

import pathlib
import re
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "dialogues"
DOMAIN = "binome.tp.info.unicaen.fr"    # what every dialogue takes the server for
NOWHERE = "tpmail.info.unicaen.fr=127.0.0.1:9"  # for -relay: mail that leaves goes nowhere, nobody listens there
TIMES = re.compile(r"\{([^{}*]+)\*(\d+)\}")
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt\\])")
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
SENT = ("C", "L", "B")
COMMENT = "#"
FRENCH = "fr: "
KEYWORDS = ("connect", "close", "given", "then", "repeat", "end")


class Step(typing.NamedTuple):
    """One line of a dialogue: its number, its keyword, its text, and the | lines that belong to it; or the lines of one
    comment, under the keyword #."""
    number: int
    keyword: str
    text: str
    block: typing.List[str]


class Dialogue:
    """The dialogue in the file at `path`.  Raises ValueError for a line it does not understand."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.name = path.stem
        self.told = list(read_steps(path.read_text("utf-8").split("\n")))
        self.steps = [step for step in self.told if step.keyword != COMMENT]
        self.options = tuple(word for text in self.given("option")
                             for word in text.replace("ROOT/", "%s/" % ROOT).split())

    def given(self, what: str) -> typing.List[str]:
        """The texts behind `given WHAT`, in their order."""
        return [step.text[len(what) + 1:] for step in self.steps
                if step.keyword == "given" and step.text.startswith(what + " ")]

    @property
    def needs_people(self) -> bool:
        """Whether it needs real accounts of the machine."""
        return bool(self.given("people"))


def read_steps(lines: typing.List[str]) -> typing.Iterator[Step]:
    """The steps in a dialogue's lines, repetitions spelt out."""
    step, comment = None, []
    for number, line in repeated(list(enumerate(lines, 1))):
        if line.startswith(COMMENT):
            if not comment:
                yield Step(number, COMMENT, "", comment)
            comment.append(line[1:].strip())
            continue
        comment = []
        keyword, _, text = TIMES.sub(lambda m: m[1] * int(m[2]), line).partition(" ")
        if keyword == "|" and step:
            step.block.append(text)
        elif line.strip():
            if keyword not in KEYWORDS and not re.fullmatch("S:|[CLB][:>]", keyword):
                raise ValueError("line %d is no line of a dialogue: %s" % (number, line))
            step = Step(number, keyword, text, [])
            yield step


def repeated(lines: typing.List[typing.Tuple[int, str]]) -> typing.Iterator[typing.Tuple[int, str]]:
    """`lines`, pairs of (number, text), with what stands between `repeat N` and `end` written N times."""
    position = 0
    while position < len(lines):
        number, line = lines[position]
        position += 1
        if not line.startswith("repeat "):
            yield number, line
            continue
        end = next(i for i in range(position, len(lines)) if lines[i][1] == "end")
        for count in range(1, int(line.split()[1]) + 1):
            yield from ((n, text.replace("{n}", str(count))) for n, text in lines[position:end])
        position = end + 1


def pattern(text: str) -> str:
    """A regular expression for `text` in which * stands for any text."""
    return ".*".join(map(re.escape, text.split("*")))


def block_pattern(block: typing.List[str]) -> str:
    """A regular expression for whole lines, among which ... stands for any number of lines."""
    return "".join(r"(?:.*\n)*?" if line == "..." else pattern(line) + r"\n" for line in block)


def octets(kind: str, text: str) -> bytes:
    """What the client sends for a line of `kind` C, L or B."""
    data = text.encode("utf-8")
    if kind == "B":
        return ESCAPE.sub(lambda m: NAMED.get(m[1]) or bytes([int(m[1][1:], 16)]), data)
    return data + (b"\r\n" if kind == "C" else b"\n")


def in_french(comment: Step) -> typing.List[str]:
    """The lines of a comment for who reads French: those marked so, or all where there are none."""
    return [line[len(FRENCH):] for line in comment.block if line.startswith(FRENCH)] or comment.block


def replies(steps: typing.List[Step]) -> typing.Iterator[typing.List[Step]]:
    """Successive S: lines, cut into whole replies."""
    reply: typing.List[Step] = []
    for step in steps:
        reply.append(step)
        if step.text == "..." or step.text[3:4] != "-":
            yield reply
            reply = []
    if reply:
        yield reply
