"""Plays the dialogues of tests/dialogues against the server, in lock step; dialogue.py says how they are written.

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
from tests.helpers.dialogue import SENT, Dialogue, Step, block_pattern, octets, pattern
from tests.helpers.terminals import PseudoTerminal

DATE_WIDTH = len("2026-01-31 23:59:59 ")


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
        self.log_patience: float = support.PATIENCE

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
        file, text = self.server.folder / "aliases", "\n".join(self.dialogue.given("alias")) + "\n"
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
