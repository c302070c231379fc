"""Whatever is said to it, the server answers in SMTP, keeps what it acknowledged and nothing else, and serves the next one.

The sessions come from tests/fuzzer.py; a failure names the seed, and `FUZZ_SEED=N tests/run test_fuzzing` plays it again.
"""

import contextlib
import os
import random
import re
import socket
import unittest

from tests import support
from tests.client import Client
from tests.fuzzer import Fuzzer
from tests.load import LONG

SESSIONS = 4000 if LONG else 150
FIRST_SEED = 1
REPLY = re.compile(rb"(?:(\d{3})-[ -~]{0,506}\r\n(?:\1-[ -~]{0,506}\r\n)*\1 [ -~]{0,506}\r\n|[2345]\d\d(?: [ -~]{0,506})?\r\n)")
ACCEPTED = re.compile(rb"^250 2\.0\.0 OK id=(\S+)\r$", re.M)
LOG_LINE = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [ -~]+")


def seeds():
    """The seeds to play: FUZZ_SEED's alone, or all."""
    if "FUZZ_SEED" in os.environ:
        return [int(os.environ["FUZZ_SEED"])]
    return range(FIRST_SEED, FIRST_SEED + SESSIONS)


@support.both_listeners
class FuzzingTest(support.ServerTestCase):
    options = ("-size", "20000", "-rcpts", "10", "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9", "-v")
    aliases = "list: alice, bob, x@tpmail.info.unicaen.fr\nloop: loop\nno: :fail: nobody\n"

    def play(self, pieces, seed: int) -> bytes:
        """All that the server says to a session.  Some clients leave before they have heard it."""
        rng = random.Random(-seed)
        said = b""
        with Client(self.server.port) as client:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    client.write(piece)
                    if rng.random() < 0.1:
                        said += client.file.readline()
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_WR)
                while piece := client.file.read1():     # a reset must not take what came before it
                    said += piece
        return said

    def copies(self):
        """{message id: how many mailboxes or queued envelopes have it}."""
        found = {}
        for account in ("alice", "bob"):
            for message in self.server.messages(account):
                name = re.search(rb"^\tid ([\w-]+)", message.content, re.M)[1]
                found[name] = found.get(name, 0) + 1
                message.path.unlink()
        for path in self.server.spool.glob("queue/*.envelope"):
            name = path.stem.encode()
            found[name] = found.get(name, 0) + 1
        return found

    def check_replies(self, said: bytes):
        """Whole replies one behind another, and nothing else."""
        rest = REPLY.sub(b"", said)
        self.assertEqual(rest, b"")
        self.assertTrue(said.startswith(b"220 "))

    def test_sessions(self):
        acknowledged = 0
        for seed in seeds():
            with self.subTest(seed=seed):
                said = self.play(Fuzzer(seed, self.server.domain).session(), seed)
                self.check_replies(said)
                ids = set(ACCEPTED.findall(said))
                missing = ids - set(self.copies())
                self.assertEqual(missing, set())
                acknowledged += len(ids)
        if len(seeds()) > 1:
            self.assertGreater(acknowledged, SESSIONS // 4)

    def tearDown(self):
        """The next is served, and the log and the terminal are what they ought to be."""
        self.assertEqual(self.server.send(self.address("alice"), b"Subject: next\r\n.\r\n").code, 250)
        for line in self.server.log().splitlines():
            self.assertTrue(LOG_LINE.fullmatch(line), line)
        for text in (self.server.log(), self.server.output()):
            self.assertNotIn("Traceback", text)
            self.assertNotIn("\x1b[31m", text)
        self.assertEqual(list(self.server.spool.glob("tmp/*")), [])
        self.assertEqual(list(self.server.mail.glob("*/Maildir/tmp/*")), [])


if __name__ == "__main__":
    unittest.main()
