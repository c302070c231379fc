"""Plays a dialogue of tests/dialogues for people to watch: against any server that runs, a step at a time, in French.

player.py tests the server with the same files; this one only shows, and says which replies were other ones.  What
`then` lines tell lies in the server's files, which may be another machine's: it is shown, not checked.
"""

import contextlib
import re
import shlex
import socket
import sys
import termios
import tty
import typing

from common.mainlog import readable
from tests.helpers.client import Client
from tests.helpers.dialogue import COMMENT, DOMAIN, NOWHERE, SENT, Dialogue, Step, in_french, octets, pattern, replies

STORE = "/tmp/dialogue"         # the folder that the line shown for serveur.sh names
ALIASES = STORE + ".alias"
CLIENT, SERVER, NOTE, COMMENTED, WRONG = "36", "32", "2", "33", "1;31"     # colours, as ECMA-48 numbers them
AT_HIS = "     # dans un autre terminal de root, qui sera le sien"
SHOWN = 200                     # of a line's letters
PATIENCE = 20                   # seconds, for a person before a server that says nothing
ENDINGS = {"L": " ⏎LF", "B": " (ces octets, rien de plus)", "C": ""}


class Gone(Exception):
    """The server has closed the connection, or says nothing any more."""


class Screen:
    """Where it is shown: rows in colours, if it is a terminal; `pauses`: a key is waited for at each step."""

    def __init__(self, pauses: bool = False):
        self.coloured = sys.stdout.isatty()
        self.pauses = pauses

    def row(self, text: str = "", colour: str = "", note: str = "") -> None:
        shown = "\u00a0".join(map(readable, text.split("\u00a0")))
        if len(shown) > SHOWN:
            shown = "%s… (%d lettres)" % (shown[:SHOWN], len(shown))
        print(self._painted(shown, colour) + self._painted(note, NOTE))

    def _painted(self, text: str, colour: str) -> str:
        return "\033[%sm%s\033[0m" % (colour, text) if self.coloured and colour and text else text

    def wait_for_key(self) -> None:
        before = termios.tcgetattr(0)
        try:
            tty.setcbreak(0, termios.TCSANOW)
            print(self._painted("[une touche]", NOTE), end="", flush=True)
            sys.stdin.buffer.raw.read(1)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        print("\r\033[K", end="", flush=True)


def setup_lines(dialogue: Dialogue, port: int) -> typing.List[str]:
    """What to type, in the checkout, for a server with which this dialogue goes as it is written."""
    lines = []
    accounts = [name for text in dialogue.given("accounts") for name in text.split(", ")]
    store = ["-store", STORE]
    if dialogue.needs_people:
        store = ["-store", "maildir"]
        for names, _, full_name in (text.partition(": ") for text in dialogue.given("people")):
            lines += ["useradd -m -c %s %s" % (shlex.quote(full_name), name) for name in names.split(", ")]
        lines += ["chown %s:tty $(tty); chmod g+w $(tty)" % name + AT_HIS for name in dialogue.given("terminal")]
    else:
        lines.append("mkdir -p " + " ".join([STORE + "/" + name for name in accounts] or [STORE]))
    aliases = " ".join(map(shlex.quote, dialogue.given("alias")))
    lines.append("printf '%%s\\n' %s >%s" % (aliases or "''", ALIASES))
    options = [word for text in dialogue.given("option") for word in text.replace("ROOT/", "").split()]
    command = ["./serveur.sh", *(["-port", str(port)] if port != 4567 else []), "-domain", DOMAIN, *store,
               "-aliases", ALIASES, "-relay", NOWHERE, *options]
    return [*lines, " ".join(map(shlex.quote, command))]


class Recital:
    """`dialogue`, played against the server at (host, port), on `screen`."""

    def __init__(self, dialogue: Dialogue, host: str, port: int, screen: Screen):
        self.dialogue, self.host, self.port, self.screen = dialogue, host, port, screen
        self.client: typing.Optional[Client] = None
        self.differences = 0
        self.told_more = False          # whether there were `then` lines
        self.text_refused = False       # whether a 354 was told, and did not come

    def play(self) -> int:
        """How many replies were other ones.  OSError if there is no server there."""
        self._show_setup()
        self._connect()
        steps = self.dialogue.told
        while steps:
            count = self._group(steps)
            group, steps = steps[:count], steps[count:]
            try:
                self._take(group)
                if self.text_refused:
                    steps = self._behind_text(steps)
            except Gone as error:
                self._differ(str(error))
                steps = self._behind_connect(steps)
        self._end_session()
        self._sum_up()
        return self.differences

    @staticmethod
    def _group(steps: typing.List[Step]) -> int:
        """How many of `steps` are one step for who looks: what the client says before it is answered, or the replies
        to it."""
        kinds = ["C" if step.keyword[0] in SENT else step.keyword for step in steps]
        same = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), len(kinds))
        return same if kinds[0] in ("C", "S:") else 1

    @staticmethod
    def _behind_connect(steps: typing.List[Step]) -> typing.List[Step]:
        """What is left when a session has ended early: the next one."""
        return next((steps[i:] for i, step in enumerate(steps) if step.keyword == "connect"), [])

    def _behind_text(self, steps: typing.List[Step]) -> typing.List[Step]:
        """What is left when nobody waits for the text that comes next, each line of which would be a command."""
        self.text_refused = False
        if steps and steps[0].keyword[0] in SENT:
            self.screen.row("-- le texte n'est pas envoyé : personne ne l'attend --", NOTE)
            for keywords in (SENT, ("S",)):
                steps = steps[next((i for i, step in enumerate(steps) if step.keyword[0] not in keywords), len(steps)):]
        return steps

    # -- what is shown --

    def _show_setup(self) -> None:
        self.screen.row("%s : pour qu'il se déroule comme il est écrit, lancez le serveur ainsi%s :" % (
            self.dialogue.path.name, ", en root" if self.dialogue.needs_people else ""), COMMENTED)
        for line in setup_lines(self.dialogue, self.port):
            print("    " + line)

    def _sum_up(self) -> None:
        self.screen.row()
        if self.told_more:
            self.screen.row("→ : ce que l'on doit trouver ensuite chez le serveur ; à vous de le vérifier.", NOTE)
        if self.differences:
            self.screen.row("%d différence(s) avec le dialogue écrit." % self.differences, WRONG)
        else:
            self.screen.row("Le serveur a répondu comme il est écrit.", COMMENTED)

    def _differ(self, *lines: str) -> None:
        self.differences += 1
        for number, line in enumerate(lines):
            self.screen.row(("      " if number else "   ≠ ") + line, WRONG)

    # -- a step --

    def _take(self, group: typing.List[Step]) -> None:
        step = group[0]
        if step.keyword == "S:":
            for reply in replies(group):
                self._compare([one.text for one in reply])
        elif step.keyword[0] in SENT:
            self._send(group)
        elif step.keyword == COMMENT:
            self.screen.row()
            for line in in_french(step):
                self.screen.row("# " + line, COMMENTED)
        elif step.keyword == "connect":
            self._end_session()
            self.screen.row("-- une nouvelle connexion --", NOTE)
            self._connect()
        elif step.keyword == "close":
            self.screen.row("-- le client s'en va --", NOTE)
            self.client.close()
            self.client = None
        elif step.keyword == "then":
            self._tell(step)
        elif step.text.startswith("blocked "):
            self._ask_to_block(step.text.split()[1])

    def _connect(self) -> None:
        self.client = Client(self.port, self.host, timeout=PATIENCE)

    def _send(self, group: typing.List[Step]) -> None:
        if self.screen.pauses:
            self.screen.wait_for_key()
        data = b""
        for step in group:
            kind, together = step.keyword
            self.screen.row("C: " + step.text, CLIENT, ENDINGS[kind] + " (avec la suite)" * (together == ">"))
            data += octets(kind, step.text)
        try:
            self.client.write(data)
        except OSError:
            raise Gone("le serveur a fermé la connexion") from None

    def _compare(self, told: typing.List[str]) -> None:
        """Reads one whole reply, and shows it beside the one that is written where they differ."""
        came = self._reply()
        open_end = told[-1] == "..."
        if open_end:
            told = told[:-1] + came[len(told) - 1:]
        wanted = [re.compile(pattern(self._as_from_here(text))) for text in told]
        right = len(told) == len(came) and all(map(re.Pattern.fullmatch, wanted, came))
        for number, line in enumerate(came):
            fits = number < len(told) and wanted[number].fullmatch(line)
            self.screen.row("S: " + line, SERVER if fits else WRONG)
        self.text_refused = told[-1].startswith("354") and not came[-1].startswith("354")
        if not right:
            self._differ("attendu :", *("S: " + text for text in told))

    def _as_from_here(self, text: str) -> str:
        """What the server says to who comes from 127.0.0.1 it says to us with our address."""
        return text.replace(" [127.0.0.1]", " [%s]" % self.client.socket.getsockname()[0])

    def _reply(self) -> typing.List[str]:
        lines: typing.List[str] = []
        while not lines or lines[-1][3:4] == "-":
            try:
                line = self.client.file.readline()
            except socket.timeout:
                raise Gone("le serveur ne répond pas en %d secondes" % PATIENCE) from None
            except OSError:
                line = b""
            if not line.endswith(b"\n"):
                raise Gone("le serveur a fermé la connexion, au lieu de répondre")
            lines.append(line.decode("ascii", "backslashreplace").rstrip("\r\n"))
        return lines

    def _tell(self, step: Step) -> None:
        self.told_more = True
        what, _, rest = step.text.partition(": ")
        if what == "log":
            self.screen.row("→ au journal : " + rest, NOTE)
        elif what == "queue":
            self.screen.row("→ dans la file : " + rest, NOTE)
        else:
            words = step.text.split()
            place = "sur le terminal" if words[0] == "terminal" else "dans la boîte"
            self.screen.row("→ %s de %s :" % (place, words[words[0] == "terminal"]), NOTE)
            for line in step.block:
                self.screen.row("  │ " + line, NOTE)

    def _ask_to_block(self, name: str) -> None:
        self.screen.row("→ à faire maintenant, dans un autre terminal :", COMMENTED)
        print("    rm -rf {0}; touch {0}".format("%s/%s/Maildir" % (STORE, name)))
        if sys.stdin.isatty() and sys.stdout.isatty():
            self.screen.wait_for_key()

    def _end_session(self) -> None:
        """The server must have nothing more to say when we close."""
        if not self.client:
            return
        rest = b""
        with contextlib.suppress(OSError):
            self.client.socket.shutdown(socket.SHUT_WR)
            rest = self.client.rest()
        self.client.close()
        self.client = None
        if rest:
            self._differ("le serveur a dit encore : " + repr(rest.decode("latin-1")))
