"""Every dialogue of tests/dialogues, played against the real server behind netcat, and once more behind prefork;
tests/helpers/dialogue.py says how to read them.

Dialogues that need the same options share one server.
"""

import pathlib
import socket
import sys
import tempfile
import threading
import unittest

from tests.helpers import support
from tests.helpers.dialogue import FOLDER, NOWHERE, Dialogue
from tests.helpers.player import Player

OPTIONS = ("-relay", NOWHERE)

servers = {}


def server_for(dialogue: Dialogue, listener: str) -> support.Server:
    """The running server with the options of `dialogue`; started when first asked for."""
    key = (dialogue.options, dialogue.needs_people, listener)
    if key not in servers:
        store = ("-store", "maildir") if dialogue.needs_people else ()
        options = (*OPTIONS, *dialogue.options, *store, "-listen", listener)
        server = support.Server(options, None if dialogue.needs_people else ())
        servers[key] = server
        unittest.addModuleCleanup(server.destroy)
        server.start()
    return servers[key]


def tearDownModule():
    """Each server must stop cleanly."""
    running = dict(servers)
    servers.clear()
    codes = {key: server.stop() for key, server in running.items()}
    if any(codes.values()):
        raise AssertionError("serveur.sh ended with %s" % codes)


class DialogueTest(unittest.TestCase):
    """One test a file, made below."""

    listener = "netcat"


class DialogueTestPrefork(DialogueTest):
    """The same behind listener/prefork.py."""

    listener = "prefork"


def make_test(path: pathlib.Path):
    """The test that plays the dialogue at `path`."""
    dialogue = Dialogue(path)

    def test(self):
        if dialogue.needs_people and not support.IS_ROOT:
            self.skipTest("il faut être root")
        server = server_for(dialogue, self.listener)
        start = len(server.output())
        try:
            Player(dialogue, server).play()
        except AssertionError:
            print("\n--- %s, terminal\n%s---" % (dialogue.name, server.output()[start:]), file=sys.stderr)
            raise
    test.__doc__ = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
    return test


for dialogue_path in sorted(FOLDER.glob("*.txt")):
    setattr(DialogueTest, "test_" + dialogue_path.stem.replace("-", "_"), make_test(dialogue_path))


class PlayerTest(unittest.TestCase):
    """The player finds what is wrong: against a server that says what the test tells it to."""

    WRITTEN = "S: 220 a b\nC: NOOP\nS: 250*c\nC: QUIT\nS: 221 bye\n"

    def play(self, replies, written=WRITTEN):
        """Play `written` against a server that has these bytes to say: on connecting, after each line, then closes."""
        with tempfile.TemporaryDirectory() as folder, support.Server(accounts=()) as server:
            path = pathlib.Path(folder, "written.txt")
            path.write_text(written)
            dialogue = Dialogue(path)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                server.port = listener.getsockname()[1]
                talker = threading.Thread(target=self.talk, args=(listener, replies))
                talker.start()
                try:
                    player = Player(dialogue, server)
                    player.log_patience = 0
                    player.play()
                finally:
                    talker.join()

    @staticmethod
    def talk(listener, replies):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            for number, reply in enumerate(replies):
                if number == 0 or lines.readline():
                    connection.sendall(reply)

    def test_right(self):
        self.play([b"220 a b\r\n", b"250 c\r\n", b"221 bye\r\n"])

    def test_another_text(self):
        with self.assertRaisesRegex(AssertionError, "written.txt, line 5: .*\n.*221 bye\n.*221 by"):
            self.play([b"220 a b\r\n", b"250 c\r\n", b"221 by\r\n"])

    def test_line_missing(self):
        with self.assertRaisesRegex(AssertionError, "line 3: no whole line"):
            self.play([b"220 a b\r\n", b""])

    def test_line_too_many(self):
        with self.assertRaisesRegex(AssertionError, "line 5: .*\n.*\n.*250 c"):
            self.play([b"220 a b\r\n", b"250-c\r\n250 c\r\n", b"221 bye\r\n"])

    def test_line_too_many_at_the_end(self):
        with self.assertRaisesRegex(AssertionError, "more came than was told: b'500 what"):
            self.play([b"220 a b\r\n", b"250 c\r\n", b"221 bye\r\n500 what\r\n"])

    def test_bare_line_feed(self):
        with self.assertRaisesRegex(AssertionError, "no whole line"):
            self.play([b"220 a b\n250 c\r\n"])

    def test_mail_that_is_missing(self):
        with self.assertRaisesRegex(AssertionError, "line 3: amy has no further message"):
            self.play([b"220 a b\r\n"], "given accounts amy\nS: 220 a b\nthen amy has\n| x\n")

    def test_not_in_the_log(self):
        with self.assertRaisesRegex(AssertionError, "in the log: x y"):
            self.play([b"220 a b\r\n"], "S: 220 a b\nthen log: x y\n")

    def test_no_line_of_a_dialogue(self):
        with self.assertRaisesRegex(ValueError, "line 1"):
            self.play([], "R: 220\n")


if __name__ == "__main__":
    unittest.main()
