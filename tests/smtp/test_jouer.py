"""tests/jouer: what it shows of a dialogue, with the server that its own first lines ask for."""

import contextlib
import itertools
import os
import pathlib
import pty
import re
import select
import shlex
import socket
import subprocess
import tempfile
import threading
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE
from tests.helpers.dialogue import COMMENT, FOLDER, Dialogue, in_french
from tests.helpers.recital import STORE

JOUER = support.ROOT / "tests" / "jouer"
KEY = b"[une touche]"
COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
# A dialogue of each kind of setup: accounts, aliases, an option, a file that is handed in, a mailbox that is blocked.
PLAYED = ("rfc821-scenario-01-typical-transaction", "rfc821-scenario-07-mailing-list",
          "rfc821-scenario-10-too-many-recipients", "auth-by-hand", "line-feed-session", "pipelined-whole-session",
          "help")


def play(*words, **more):
    """tests/jouer, not in a terminal: (its status, what it wrote)."""
    done = subprocess.run([str(JOUER), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", timeout=PATIENCE, **more)
    return done.returncode, done.stdout


def setup_shown(text):
    """The lines to type that it shows first: those that are indented."""
    indented = itertools.takewhile(lambda line: line.startswith("    "), text.splitlines()[1:])
    return [line.strip() for line in indented]


@contextlib.contextmanager
def server_as_shown(name):
    """The server that jouer asks for, made by its own lines, in a folder of the test's; then its port."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shown = play(name, "127.0.0.1:9")[1]
        *commands, launch = [line.replace(STORE, folder + "/boites") for line in setup_shown(shown)]
        for command in commands:
            subprocess.run(command, shell=True, check=True)
        words = shlex.split(launch)
        assert words[:3] == ["./serveur.sh", "-port", "9"], launch
        words = [str(support.ROOT / word) if (support.ROOT / word).is_file() else word for word in words[3:]]
        with support.Server(accounts=None) as server:
            server.replace_option("-domain")
            server.replace_option("-aliases")
            server.arguments += words
            server.start()
            yield server.port
            server.stop()


class AsShownTest(unittest.TestCase):

    def test_with_the_server_it_asks_for(self):
        for name in PLAYED:
            with self.subTest(name), server_as_shown(name) as port:
                status, text = play(name, "127.0.0.1:%d" % port)
                self.assertEqual(status, 0, text)
                self.assertNotIn("≠", text)
                dialogue = Dialogue(FOLDER / (name + ".txt"))
                for comment in (step for step in dialogue.told if step.keyword == COMMENT):
                    for line in in_french(comment):
                        self.assertIn("# " + line + "\n", text)
                said = sum(line.startswith("C: ") for line in text.splitlines())
                self.assertEqual(said, sum(step.keyword[0] in "CLB" for step in dialogue.steps))
                self.assertNotIn("\x1b", text)

    def test_people_and_their_terminals(self):
        text = play("rfc821-scenario-04-verifying-and-sending", ":9")[1]
        self.assertIn("en root", text.splitlines()[0])
        lines = setup_shown(text)
        self.assertEqual(lines[0], "useradd -m -c 'Mark Crispin' essaimrc")
        self.assertTrue(lines[1].startswith("chown essaimrc:tty $(tty)"), lines)
        self.assertTrue(lines[-1].endswith(" -terminals") and " -store maildir " in lines[-1], lines)

    def test_paths_and_names(self):
        for name in ("help", "help.txt", str(FOLDER / "help.txt")):
            self.assertIn("./serveur.sh -port 9 ", play(name, ":9")[1])


class DifferenceTest(support.ServerTestCase):
    """A server that has none of the accounts which the dialogue needs."""
    accounts = ()

    def test_it_is_shown_and_the_text_is_kept_back(self):
        status, text = play("rfc821-scenario-01-typical-transaction", "127.0.0.1:%d" % self.server.port)
        self.assertEqual(status, 1)
        self.assertIn("S: 550 5.1.1 No such user here\n   ≠ attendu\u00a0:\n      S: 250 2.1.5 Recipient OK\n", text)
        self.assertIn("-- le texte n'est pas envoyé", text)
        self.assertIn("C: QUIT\nS: 221 ", text)
        self.assertIn("3 différence(s)", text)

    def test_another_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "autre.txt")
            path.write_text("S: 220 *\nC: EHLO x\nS: 250-*\nS: 250 HELP\nC: NOOP\nS: 251 *\n"
                            "connect\nS: 220 *\nC: QUIT\n")
            status, text = play(path, "127.0.0.1:%d" % self.server.port)
            self.assertEqual(status, 1)
            self.assertIn("≠ attendu\u00a0:\n      S: 250-*\n      S: 250 HELP\n", text)
            self.assertIn("S: 250 2.0.0 OK\n   ≠ attendu\u00a0:\n      S: 251 *\n", text)
            self.assertIn("≠ le serveur a dit encore\u00a0: '221", text)
            self.assertIn("3 différence(s)", text)


class ClosingServerTest(unittest.TestCase):

    def test_a_server_that_closes(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            talker = threading.Thread(target=self.talk, args=(listener,))
            talker.start()
            status, text = play("help", "127.0.0.1:%d" % listener.getsockname()[1])
            talker.join()
        self.assertEqual(status, 1)
        self.assertIn("S: 220 \\033[31m\\007\n   ≠ attendu", text)
        self.assertIn("a fermé la connexion", text)

    @staticmethod
    def talk(listener):
        connection = listener.accept()[0]
        with connection:
            connection.sendall(b"220 \x1b[31m\x07\r\n")
            connection.recv(100)


class UsageTest(unittest.TestCase):

    def test_nothing_to_play(self):
        for words, said in (((), "usage"), (("absent",), "pas de dialogue absent"), (("help", "x:y"), "HÔTE:PORT"),
                            (("help", ":99999"), "HÔTE:PORT"), (("help", ":9"), "pas de serveur à 127.0.0.1:9"),
                            (("-pas", "help"), "terminal"), (("-x",), "usage"), (("a", "b", "c"), "usage")):
            with self.subTest(words):
                status, text = play(*words)
                self.assertEqual(status, 2)
                self.assertIn(said, text)

    def test_help(self):
        status, text = play("-h")
        self.assertEqual(status, 0)
        self.assertIn("HÔTE:PORT", text)


class TerminalTest(support.ServerTestCase):

    def start(self, *words):
        """jouer under a pseudo-terminal, of which the test has the other end."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = subprocess.Popen([str(JOUER), *words, "127.0.0.1:%d" % self.server.port], stdin=theirs, stdout=theirs,
                                   stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, ours

    @staticmethod
    def read(terminal, until=b""):
        """All that it shows until it waits for a key, or ends."""
        shown = b""
        with contextlib.suppress(OSError):              # EIO: the other side is closed
            while not (until and shown.endswith(until)):
                if not select.select([terminal], [], [], PATIENCE)[0]:
                    raise AssertionError("nothing more came after %r" % shown)
                shown += os.read(terminal, 4096)
        return shown.decode().replace("\r\n", "\n")

    def test_colours(self):
        process, terminal = self.start("help")
        text = self.read(terminal)
        self.assertEqual(process.wait(PATIENCE), 0, text)
        self.assertIn("\x1b[36mC: HELP\x1b[0m\n", text)
        self.assertIn("\x1b[32mS: 220 ", text)
        self.assertIn("\x1b[33m# HELP, alone", text)

    def test_a_key_for_each_step(self):
        process, terminal = self.start("-pas", "greeting-names")
        sent = [step for step in Dialogue(FOLDER / "greeting-names.txt").steps if step.keyword[0] in "CLB"]
        for number in range(len(sent)):
            text = COLOUR.sub("", self.read(terminal, KEY + b"\x1b[0m"))
            self.assertEqual(text.count("C: "), min(number, 1), text)
            os.write(terminal, b" ")
        self.assertIn("C: ", self.read(terminal))
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_interrupted(self):
        process, terminal = self.start("-pas", "help")
        self.read(terminal, KEY + b"\x1b[0m")
        process.send_signal(2)
        self.read(terminal)
        self.assertEqual(process.wait(PATIENCE), 130)


if __name__ == "__main__":
    unittest.main()
