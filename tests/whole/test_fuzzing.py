"""Whatever is said to it, the server answers in SMTP, keeps what it acknowledged and nothing else, and serves the next
one.

The sessions come from tests/helpers/fuzzer.py; a failure names the seed, and `FUZZ_SEED=N tests/run test_fuzzing` plays
it again.
"""

import os
import random
import re
import select
import socket
import unittest

from tests.helpers import support
from tests.helpers.client import Client
from tests.helpers.fuzzer import Fuzzer
from tests.helpers.lasting import enter
from tests.lab.sink import MAILHOG, Sink

SESSIONS = 4000 if support.LONG else 150
RELAYED_SESSIONS = 2000 if support.LONG else 200
FIRST_SEED = 1
REPLY = re.compile(rb"(?:(\d{3})-[ -~]{0,506}\r\n(?:\1-[ -~]{0,506}\r\n)*\1 [ -~]{0,506}\r\n"
                   rb"|[2345]\d\d(?: [ -~]{0,506})?\r\n)")
PARTIAL = re.compile(rb"\A(?:(\d{3})-[ -~]{0,506}\r\n)*(?:\d{0,3}(?:[ -][ -~]{0,506}\r?)?)?\Z")
ACCEPTED = re.compile(rb"^250 2\.0\.0 OK id=(\S+)\r$", re.M)
ID = re.compile(rb"^\tid ([\w-]+)", re.M)
BOUNCED = re.compile(rb"(?m)^\S+ \S+ (\S+) \*\* ")
LOG_LINE = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [ -~]+")


def seeds(sessions=SESSIONS):
    """The seeds to play: FUZZ_SEED's alone, or all."""
    if "FUZZ_SEED" in os.environ:
        return [int(os.environ["FUZZ_SEED"])]
    return range(FIRST_SEED, FIRST_SEED + sessions)


class Sessions(support.ServerTestCase):
    """Plays sessions, and holds what must be true behind them."""

    def play(self, pieces, seed: int):
        """(all that the server says to a session, whether it could be read to the end).  Who still speaks when the
        server has closed may lose its last replies: TCP resets such a connection."""
        rng, said = random.Random(-seed), b""
        with Client(self.server.port) as client:
            try:
                for piece in pieces:
                    client.write(piece)
                    # A piece may end inside a command, which nothing is owed for.
                    if rng.random() < 0.1 and select.select([client.socket], [], [], 0.1)[0]:
                        said += client.file.readline()
                client.socket.shutdown(socket.SHUT_WR)
                return said + client.rest(), True
            except OSError as error:
                self.assertNotIsInstance(error, socket.timeout)
                return said, False

    def check_replies(self, said: bytes, whole: bool):
        """Whole replies one behind another, and nothing else; but for the last one if the rest could not be read."""
        rest = REPLY.sub(b"", said)
        if whole:
            self.assertEqual(rest, b"")
        else:
            self.assertRegex(rest, PARTIAL)

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


@support.both_listeners
class FuzzingTest(Sessions):
    options = ("-size", "20000", "-rcpts", "10", "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9", "-v")
    aliases = "list: alice, bob, x@tpmail.info.unicaen.fr\nloop: loop\nno: :fail: nobody\n"

    def stored(self):
        """The ids of all messages in a mailbox or in the queue."""
        contents = (message.content for account in ("alice", "bob") for message in self.server.messages(account))
        return {ID.search(content)[1] for content in contents} | {
            path.stem.encode() for path in self.server.spool.glob("queue/*.envelope")}

    def test_sessions(self):
        acknowledged = {}
        played = list(self.sample(seeds(), 2))
        for seed in played:
            with self.subTest(seed=seed):
                said, whole = self.play(Fuzzer(seed, self.server.domain).session(), seed)
                self.check_replies(said, whole)
                acknowledged.update(dict.fromkeys(ACCEPTED.findall(said), seed))
        stored = self.stored()
        self.assertEqual({name: seed for name, seed in acknowledged.items() if name not in stored}, {})
        if len(played) > 1:
            self.assertGreater(len(acknowledged), len(played) // 4)


class RelayedFuzzingTest(Sessions):
    """The same for mail that is carried further, to a host that takes no 8-bit text."""

    listener = "prefork"
    aliases = FuzzingTest.aliases

    @classmethod
    def setUpClass(cls):
        cls.sink = enter(cls.addClassCleanup, Sink(extensions=MAILHOG))
        cls.options = ("-size", "20000", "-rcpts", "10", "-relay",
                       "tpmail.info.unicaen.fr=127.0.0.1:%d" % cls.sink.port, "-v")
        super().setUpClass()

    def arrived(self):
        """The ids of all messages that are in a mailbox, at the host, or were bounced."""
        contents = [message.content for account in ("alice", "bob") for message in self.server.messages(account)]
        contents += [message.data.replace(b"\r\n", b"\n") for message in self.sink.messages]
        return {ID.search(content)[1] for content in contents} | set(BOUNCED.findall(self.server.log().encode()))

    def test_sessions(self):
        acknowledged = {}
        played = seeds(RELAYED_SESSIONS)
        for seed in played:
            with self.subTest(seed=seed):
                fuzzer = Fuzzer(seed, self.server.domain,
                                [b"x%d@tpmail.info.unicaen.fr" % number for number in range(8)])
                said, whole = self.play(fuzzer.session(), seed)
                self.check_replies(said, whole)
                acknowledged.update(dict.fromkeys(ACCEPTED.findall(said), seed))
        support.wait_for(lambda: not list(self.server.spool.glob("queue/*.envelope")), "an empty queue",
                         3 * support.PATIENCE)
        arrived = self.arrived()
        self.assertEqual({name: seed for name, seed in acknowledged.items() if name not in arrived}, {})
        if len(played) > 1:
            self.assertGreater(len(self.sink.messages), len(played) // 4)


if __name__ == "__main__":
    unittest.main()
