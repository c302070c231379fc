"""Plays the dialogues of tests/dialogues against the server, in lock step.

A dialogue reads like an example of an RFC.  Its lines:

    # text                          a comment; the first ones say what is shown, and where it is written
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
The player reads exactly the lines that are told: a missing one fails, as does another one.  At the end the server
must have closed, or close when the client does, and not say anything more; there must be no mail that was not told of.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import typing

from tests.helpers import mailboxes, processes, support
from tests.helpers.accounts import system_users
from tests.helpers.client import Client
from tests.helpers.terminals import PseudoTerminal

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "dialogues"
TIMES = re.compile(r"\{([^{}*]+)\*(\d+)\}")
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt\\])")
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
SENT = ("C", "L", "B")
DATE_WIDTH = len("2026-01-31 23:59:59 ")
KEYWORDS = ("connect", "close", "given", "then", "repeat", "end")


class Step(typing.NamedTuple):
    """One line of a dialogue: its number, its keyword, its text, and the | lines that belong to it."""
    number: int
    keyword: str
    text: str
    block: typing.List[str]


class Dialogue:
    """The dialogue in the file at `path`.  Raises ValueError for a line it does not understand."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.name = path.stem
        self.steps = list(read_steps(path.read_text("utf-8").split("\n")))
        self.options = tuple(word for step in self.steps if step.keyword == "given"
                             and step.text.startswith("option ")
                             for word in step.text.replace("ROOT/", "%s/" % support.ROOT).split()[1:])

    @property
    def needs_people(self) -> bool:
        """Whether it needs real accounts of the machine."""
        return any(step.keyword == "given" and step.text.startswith("people ") for step in self.steps)


def read_steps(lines: typing.List[str]) -> typing.Iterator[Step]:
    """The steps in a dialogue's lines, repetitions spelt out."""
    step = None
    for number, line in repeated(list(enumerate(lines, 1))):
        keyword, _, text = TIMES.sub(lambda m: m[1] * int(m[2]), line).partition(" ")
        if keyword == "|" and step:
            step.block.append(text)
        elif line.strip() and not line.startswith("#"):
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


def shown_envelope(path: pathlib.Path) -> str:
    """A message of the queue as `then queue:` writes it."""
    envelope = json.loads(path.read_text())
    recipients = ", ".join(recipient["address"] for recipient in envelope["recipients"])
    return "%s -> %s" % (envelope["sender"] or "<>", recipients)


def read_anew(server: support.Server) -> None:
    """Let prefork's workers, if there are any, read the aliases anew; those that come after them have done so."""
    master = server.prefork_master()

    def workers():
        return {pid for pid in server.processes() if processes.parent_of(pid) == master}

    if master:
        before = workers()
        os.kill(master, signal.SIGHUP)
        support.wait_for(lambda: before.isdisjoint(workers()) and workers(), "fresh workers")


class Player:
    """Plays one dialogue against `server`, which has the dialogue's options.  Leaves no mail and no account there.

    connect: opens a new connection, if not to the server's port.
    """

    def __init__(self, dialogue: Dialogue, server: support.Server, connect=None):
        self.dialogue = dialogue
        self.server = server
        self.connect = connect or (lambda: Client(server.port))
        self.client: typing.Optional[Client] = None
        self.held = b""
        self.heard: typing.List[str] = []
        self.maildirs: typing.Dict[str, pathlib.Path] = {}
        self.terminals: typing.Dict[str, PseudoTerminal] = {}
        self.seen = self._queued()
        self.log_start = len(server.log())
        self.open = False
        self.log_patience = 5.0         # seconds

    def play(self) -> None:
        """Raises AssertionError, saying at which line of which file, when the server does otherwise than written."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._clean)
            self._prepare(stack)
            self._begin()
            for step in self.dialogue.steps:
                self._take(step)
            self._end()
            self._check_no_other_mail()

    # -- what is given --

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        aliases = [step.text[6:] for step in self.dialogue.steps
                   if step.keyword == "given" and step.text.startswith("alias ")]
        file, text = self.server.folder / "aliases", "\n".join(aliases) + "\n"
        if file.read_text() != text:
            file.write_text(text)
            read_anew(self.server)
        for step in self.dialogue.steps:
            if step.keyword == "given":
                self._provide(stack, *step.text.split(" ", 1))

    def _provide(self, stack: contextlib.ExitStack, what: str, text: str) -> None:
        names, _, full_name = text.partition(": ")
        if what == "accounts":
            for name in names.split(", "):
                self.maildirs[name] = self.server.add_account(name) / "Maildir"
        elif what == "people":
            users = stack.enter_context(system_users(*names.split(", "), full_name=full_name))
            self.maildirs.update({name: pathlib.Path(users[name].pw_dir) / "Maildir" for name in users})
        elif what == "terminal":
            owner = self.maildirs[text].parent.stat().st_uid
            self.terminals[text] = stack.enter_context(PseudoTerminal(owner))
        elif what not in ("option", "alias", "blocked"):
            raise ValueError("given what? %s" % what)

    def _clean(self) -> None:
        if self.client:
            self.client.close()
        if self.server.mail.is_dir():
            for folder in self.server.mail.iterdir():
                shutil.rmtree(folder)

    # -- the dialogue --

    def _begin(self) -> None:
        self.client = self.connect()
        self.held, self.open = b"", True

    def _end(self) -> None:
        """Nothing more may come: neither before the client closes, nor from what that leads to."""
        assert not self.held, "the dialogue ends in the middle of a segment"
        if self.open:
            with contextlib.suppress(OSError):      # the server may have closed altogether
                self.client.socket.shutdown(socket.SHUT_WR)
            rest = self.client.rest()
            self.client.close()
            if rest:
                raise AssertionError("%s: more came than was told: %r" % (self.dialogue.path.name, rest))

    def _take(self, step: Step) -> None:
        try:
            self._perform(step)
        except (AssertionError, OSError) as error:
            raise AssertionError("%s, line %d: %s\n%s" % (
                self.dialogue.path.name, step.number, error, "\n".join(self.heard[-12:]))) from error

    def _perform(self, step: Step) -> None:
        if step.keyword[0] in SENT:
            self._send(step.keyword, step.text)
        elif step.keyword == "S:":
            self._expect(step.text)
        elif step.keyword == "then":
            self._check(step)
        elif step.keyword == "close":
            self.client.close()
            self.open = False
        elif step.keyword == "connect":
            self._end()
            self._begin()
        elif step.text.startswith("blocked "):
            self.maildirs[step.text.split()[1]].write_text("")

    def _send(self, keyword: str, text: str) -> None:
        self.heard.append("%s %s" % (keyword, text))
        self.held += octets(keyword[0], text)
        if keyword[1] == ":":
            self.client.write(self.held)
            self.held = b""

    def _expect(self, text: str) -> None:
        came = self._line(text)
        while text == "..." and came[3:4] == "-":
            came = self._line(text)
        if text != "..." and not re.fullmatch(pattern(text), came):
            raise AssertionError("the server said otherwise:\n   told: S: %s\n   came: S: %s" % (text, came))
        self.heard.append("S: " + came)

    def _line(self, told: str) -> str:
        line = self.client.file.readline()
        if not line.endswith(b"\r\n"):
            raise AssertionError("no whole line but %r, where this was told: S: %s" % (line, told))
        return line[:-2].decode("ascii")

    # -- what comes of it --

    def _check(self, step: Step) -> None:
        if step.text.startswith("log: "):
            self._check_log(step.text[5:])
        elif step.text.startswith("queue: "):
            self._check_queue(step.text[7:])
        elif step.text.startswith("terminal "):
            self._check_terminal(self.terminals[step.text[9:]], step.block)
        else:
            self._check_message(step.text.split()[0], step.block)

    def _check_message(self, account: str, block: typing.List[str]) -> None:
        fresh = [message for message in mailboxes.read_maildir(self.maildirs[account]) if message.path not in self.seen]
        if not fresh:
            raise AssertionError("%s has no further message" % account)
        self.seen.add(fresh[0].path)
        text = fresh[0].content.decode("utf-8", "surrogateescape")
        if not re.fullmatch(block_pattern(block), text):
            raise AssertionError("%s has another message:\n%s" % (account, text))

    @staticmethod
    def _check_terminal(terminal: PseudoTerminal, block: typing.List[str]) -> None:
        shown = terminal.shown()
        if not re.fullmatch(block_pattern(block), shown):
            raise AssertionError("the terminal shows:\n%s" % shown)

    def _check_log(self, text: str) -> None:
        wanted = re.compile(pattern(text))
        support.wait_for(lambda: any(wanted.fullmatch(line[DATE_WIDTH:])
                                     for line in self.server.log()[self.log_start:].splitlines()),
                         "in the log: " + text, self.log_patience)

    def _check_queue(self, text: str) -> None:
        fresh = {path: shown_envelope(path) for path in self._queued() - self.seen}
        path = next((path for path, shown in fresh.items() if shown == text), None)
        if not path:
            raise AssertionError("no such message in the queue, but %s" % sorted(fresh.values()))
        self.seen.add(path)

    def _queued(self) -> typing.Set[pathlib.Path]:
        return set(self.server.spool.glob("queue/*.envelope"))

    def _check_no_other_mail(self) -> None:
        folders = [*self.maildirs.values(), *self.server.mail.glob("*/Maildir")]
        found = {path for folder in folders if folder.is_dir() for path in folder.glob("*/*")}
        untold = [name for name, terminal in self.terminals.items() if not terminal.is_blank()]
        if untold:
            raise AssertionError("%s: on terminals that were not told of: %s" % (self.dialogue.path.name, untold))
        left = (found | self._queued() | set(self.server.spool.glob("tmp/*"))) - self.seen
        if left:
            raise AssertionError("%s: mail that was not told of: %s" % (
                self.dialogue.path.name, ", ".join(map(str, left))))
