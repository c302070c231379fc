"""What README.txt has people type and write, read out of it as it stands, so that a test plays just that.

A block is what is indented by four blanks between two empty lines; it is found by the words before it. What must differ
in a test (ports, folders) is replaced by a table; a word of the table that the block has not is an error, so that the
two cannot drift apart.
"""

import contextlib
import os
import pathlib
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import typing

from tests.helpers import support
from tests.helpers.client import PATIENCE
from tests.helpers.launcher import LauncherTestCase

TEXT = (support.ROOT / "README.txt").read_text("utf-8")
MARGIN = "    "
WHOLE = r"(?<!\w)(%s)(?!\w)"        # a word, or several, and not within a longer one
# What a line begins with that is to be typed.
PROGRAMS = {"./serveur.sh", "./relay.py", "./auth.py", "SMTP_DOMAIN=binome.tp.info.unicaen.fr", "apt-get", "cat", "cp",
            "echo", "fail2ban-client", "fail2ban-regex", "git", "maildirmake.courier", "mkdir", "mutt", "openssl",
            "php", "printf", "ss", "swaks", "systemctl", "telnet", "tests/bench/growth", "tests/bench/run",
            "tests/fresh", "tests/run", "update-ca-certificates"}
Table = typing.Dict[str, str]


def section(number: int) -> str:
    """The text of one section."""
    return re.search(r"\n%d\. [^\n]*\n-+\n(.*?)(?=\n\n\n|\Z)" % number, TEXT, re.DOTALL)[1]


def paragraphs(text: str) -> typing.List[str]:
    return re.split(r"\n{2,}", text.strip("\n"))


def is_block(paragraph: str) -> bool:
    return all(line.startswith(MARGIN) for line in paragraph.splitlines())


def unindented(paragraph: str) -> str:
    return "".join(line[len(MARGIN):] + "\n" for line in paragraph.splitlines())


def blocks(number: int, words: str) -> typing.List[str]:
    """The blocks of a section behind the one paragraph that has `words`, up to the next that is no block."""
    parts = paragraphs(section(number))
    at, = (i for i, part in enumerate(parts) if words in " ".join(part.split()) and not is_block(part))
    found = []
    for part in parts[at + 1:]:
        if not is_block(part):
            break
        found.append(unindented(part))
    assert found, "no block behind %r" % words
    return found


def block(number: int, words: str, which: int = 0) -> str:
    return blocks(number, words)[which]


def command(number: int, start: str) -> str:
    """The one command of a section that starts so."""
    found, = (line for part in paragraphs(section(number)) for line in commands(part) if line.strip().startswith(start))
    return found.strip()


def command_lines() -> typing.List[str]:
    """All command lines of README, each once: those of blocks, and `./serveur.sh ...` within a sentence."""
    found = [line.strip() for part in paragraphs(TEXT) for line in commands(part) if line.startswith("  ")]
    within = re.findall(r"`(\./serveur\.sh [^`]+)`", " ".join(TEXT.split()))
    lines = [re.sub(r"^\$ ", "", line) for line in found + within]
    return list(dict.fromkeys(line for line in lines if line.split(" ")[0] in PROGRAMS))


def commands(text: str) -> typing.List[str]:
    """The lines of a block without what is explained beside them; one that ends in a backslash goes on."""
    return [re.split(r"(?<=\S) {3,}", line)[0] for line in re.sub(r"\\\n *", "", text).splitlines()]


def dialogue(text: str) -> typing.List[str]:
    """The lines "C: ..." and "S: ..." of a block, without what is explained beside them."""
    return [line for line in commands(text) if re.match("[CS]:", line)]


def replaced(text: str, table: Table) -> str:
    """`text` with ours in the place of README's words."""
    pattern = WHOLE % "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
    missing = set(table) - set(re.findall(pattern, text))
    assert not missing, "%r: not in\n%s" % (missing, text)
    return re.sub(pattern, lambda match: table[match[0]], text) if table else text


def where_present(text: str, table: Table) -> str:
    """The same with a table that several texts share."""
    return replaced(text, {word: ours for word, ours in table.items() if re.search(WHOLE % re.escape(word), text)})


def run(line: str, typed: str = "", **options) -> str:
    """What a command line writes in bash; AssertionError unless it ends with 0."""
    done = subprocess.run(["bash", "-c", line], input=typed.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=PATIENCE, **options)
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, "%s: %d\n%s" % (line, done.returncode, text)
    return text


def run_until(line: str, **options) -> str:
    """The same for what succeeds once mail has arrived."""
    def attempt():
        with contextlib.suppress(AssertionError):
            return run(line, **options)
    return support.wait_for(attempt, line)


class Terminal:
    """A program that is typed to, as in `$ telnet ...`, and what it writes.

    In what README says is heard, "..." is anything in a line, and a line "..." any lines.
    """

    def __init__(self, words: typing.Sequence[str], **options):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, **options)
        self.heard = b""

    def say(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, told: str, skipping: bool = False) -> None:
        """AssertionError unless the next line, or one behind it, is as `told`."""
        pattern = ".*".join(map(re.escape, told.split("...")))
        line = self._read()
        while skipping and not re.fullmatch(pattern, line):
            line = self._read()
        assert re.fullmatch(pattern, line), "%r, not %r" % (line, told)

    def _read(self) -> str:
        output = self.process.stdout.fileno()
        while b"\n" not in self.heard:
            assert select.select([output], [], [], PATIENCE)[0], "nothing more than %r" % self.heard
            octets = os.read(output, 65536)
            if not octets:
                raise EOFError("the program has ended")
            self.heard += octets
        line, _, self.heard = self.heard.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")

    def play(self, dialogue_lines: typing.Sequence[str]) -> None:
        skipping = False
        for line in dialogue_lines:
            if line.startswith("C:"):
                self.say(line[3:])
            elif line != "S: ...":
                self.hear(line[3:], skipping)
            skipping = line == "S: ..."

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        with self.process.stdin, self.process.stdout:
            self.process.wait()


class ReadmeTestCase(LauncherTestCase):
    """A folder of its own, and the servers that README's lines start."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="recette-essai-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)

    def readme_server(self, line: str, port: int = 0, logins: str = "", **arguments) -> support.Server:
        """Start README's `./serveur.sh ...`, words of it replaced already, in a folder with what is handed in.

        port: where no -port says another. logins: the text of logins.txt.
        """
        given = shlex.split(line)[1:]
        server = self.make_server(**{"accounts": ("etudiant",), **arguments})
        if port and "-port" not in given:
            given += ["-port", str(port)]
        shutil.copy(support.ROOT / "login_pass.txt", server.folder)
        (server.folder / "logins.txt").touch(0o600)
        (server.folder / "logins.txt").write_text(logins)
        for option in {"-domain", "-spool", "-store", "-port"} & set(given) & set(server.arguments):
            server.replace_option(option)
        if "-port" in given:
            server.port = int(given[given.index("-port") + 1])
        if "-spool" in given:
            server.spool = pathlib.Path(given[given.index("-spool") + 1])
            server.log_path = server.spool / "mainlog"
        server.arguments += given
        return server.start()
