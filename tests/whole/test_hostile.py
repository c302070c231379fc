"""Clients that mean harm: each costs little, ends in time, and as many as one address can have leave the others
served."""

import contextlib
import os
import pathlib
import re
import select
import socket
import struct
import tempfile
import threading
import time
import typing
import unittest

from tests.helpers import faults, harness, patching, processes, support
from tests.helpers.client import Client

LETTER = b"Subject: served\r\n\r\ntext\r\n.\r\n"
MEBIBYTE = 1 << 20
MOST_MEMORY = 32 * MEBIBYTE         # of one session, as the README has it
RESET = struct.pack("ii", 1, 0)


@support.both_listeners
class EndlessTest(support.ServerTestCase):
    """What has no end gets one, and takes no memory meanwhile."""

    options = ("-rcpts", "20")          # more than that have to wait (test_guessing)

    def begin(self, client: Client, *recipients: str) -> None:
        client.expect("EHLO hostile.example", 250)
        client.expect("MAIL FROM:<a@hostile.example>", 250)
        for recipient in recipients or [self.address("alice")]:
            client.expect("RCPT TO:<%s>" % recipient, 250)

    def send_until_dismissed(self, client: Client, line: bytes, most: int) -> int:
        """The same line again and again, without waiting for replies; how many replies came, the last of them 421."""
        def send():
            with contextlib.suppress(OSError):
                for _ in range(most // 100):
                    client.write(line * 100)
        sender, said = threading.Thread(target=send), b""
        sender.start()
        with contextlib.suppress(ConnectionError):      # who still sends when the server has waited for a while
            while piece := client.socket.recv(65536):
                said += piece
        sender.join()
        replies = said.splitlines()
        self.assertTrue(replies[-1].startswith(b"421 "), replies[-1:])
        return len(replies)

    def assert_served(self):
        self.assertEqual(self.server.send(self.address("bob"), LETTER).code, 250)
        for message in self.server.messages("bob"):
            message.path.unlink()

    def test_commands(self):
        """Each ends after a thousand at most, or twenty errors, however many more were sent."""
        commands = {b"NOOP": 1001, b"RSET": 1001, b"HELO x": 1001, b"VRFY alice": 1001, b"MAIL FROM:<>": 21,
                    b"": 20, b"FOO": 20, b"DATA": 20, b"EXPN x": 1000, b"HELP x": 20, b"BDAT 0": 20, b"QUIT x": 20}
        for command, most in commands.items():
            with self.subTest(command=command), self.client() as client:
                self.assertLessEqual(self.send_until_dismissed(client, command + b"\r\n", 20000), most)
        self.assert_served()

    def test_transactions_that_come_to_nothing(self):
        with self.client() as client:
            client.expect("EHLO x", 250)
            cycle = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\nRSET\r\n" % self.address("alice").encode()
            self.assertLessEqual(self.send_until_dismissed(client, cycle, 5000), 1502)
        self.assert_served()

    def test_hundred_thousand_recipients(self):
        """As many as -rcpts are taken, as many again are refused; then it is enough."""
        for name in (b"alice", b"nobody-%d"):
            with self.subTest(name=name), self.client() as client:
                self.begin(client)
                line = b"RCPT TO:<%b@%b>\r\n" % (name.replace(b"%d", b"x"), self.server.domain.encode())
                replies = self.send_until_dismissed(client, line, 100000)
                self.assertLessEqual(replies, 1023)
        self.assert_served()

    def check_text(self, pieces, code: int):
        """A message of these pieces is answered with `code`, within the memory that a session may have."""
        with self.client() as client:
            self.begin(client)
            client.expect("DATA", 354)
            for piece in pieces:
                client.write(piece)
            client.write(b"\r\n.\r\n")
            self.assertEqual(client.reply().code, code)
            pid = self.server.process_of(client)
            self.assertLess(processes.peak_memory(pid), MOST_MEMORY)
            client.expect("NOOP", 250)
        support.wait_for(lambda: not self.server.serving(), "the session's end")

    def test_million_received_lines(self):
        self.check_text([b"Received: from x\r\n" * 10000] * 100, 552)

    def test_headers(self):
        for name, pieces in {"empty": [b"a:\r\n" * 170000] * 2, "short": [b"a: b\r\n" * 170000],
                             "endless": [b"X: y\r\n" * 50000] * 100,
                             "one line": [b"X: ", *[b"y" * 65536] * 100]}.items():
            with self.subTest(header=name):
                self.check_text(pieces, 552)

    def test_bodies(self):
        header = b"Subject: x\r\n\r\n"
        for name, text in {"line feeds": b"\n" * 65536, "carriage returns": b"\r" * 65536, "dots": b"..\r\n" * 20000,
                           "empty lines": b"\r\n" * 40000, "From": b"From \r\n" * 10000,
                           "one line": b"x" * 65536}.items():
            with self.subTest(body=name):
                self.check_text([header, *[text] * 100], 250)

    def test_lines(self):
        """A long command takes no memory, and is answered when it ends after all."""
        with self.client() as client:
            pid = self.server.process_of(client)
            for _ in range(15):
                client.write(b"x" * 65536)
            self.assertEqual(client.ask("").code, 500)
            self.assertLess(processes.peak_memory(pid), MOST_MEMORY)
            client.expect("NOOP", 250)

    @support.long_test
    def test_chunks_of_one_octet(self):
        """Each leaves one octet in memory, and not a hundred more."""
        with self.client() as client:
            self.begin(client)
            for _ in range(200):
                client.write(b"BDAT 1\r\nx" * 1000)
                self.assertEqual({client.reply().code for _ in range(1000)}, {250})
            self.assertLess(processes.peak_memory(self.server.process_of(client)), MOST_MEMORY)

    def test_replies_that_nobody_reads(self):
        """Of a command that is short and its reply that is long, as many as there may be."""
        with self.client() as client:
            client.write(b"HELP\r\nEHLO x\r\n" * 500)
            pid = self.server.process_of(client)
            support.wait_for(lambda: not self.server.serving() or not harness.unread_octets(client), "all is answered")
            with contextlib.suppress(OSError):
                self.assertLess(processes.peak_memory(pid), MOST_MEMORY)
        self.assert_served()


class TimesTest(unittest.TestCase):
    """What takes minutes, with the minutes made short."""

    SHORT_IDLE = {"smtp.limits.IDLE_SECONDS": 0.3, "smtp.limits.STRESS_SECONDS": 0.1}

    def check(self, patch: patching.Patch, first: bytes, codes: typing.Sequence[int], drip: bytes, **variables):
        """A client that sends an octet now and then is sent away. first: what it says before its time begins; codes:
        what it hears until then."""
        with harness.Handlers({"SMTP_" + name: value for name, value in variables.items()}, patch) as server:
            with server.stranger() as client:
                client.write(first)
                self.assertEqual([client.reply().code for _ in codes], codes)
                with contextlib.suppress(OSError):
                    while not select.select([client.socket], [], [], 0.02)[0]:
                        client.write(drip)
                reply = client.reply()
                self.assertEqual(reply.code, 421)
            server.finished()
            self.assertEqual(server.messages("alice"), [])
            self.assertNotIn("Traceback", server.log())

    def test_octet_by_octet_in_a_command(self):
        self.check(self.SHORT_IDLE, b"", [220], b"N")

    def test_command_by_command_under_pressure(self):
        """One that is never silent, but has no mail either."""
        self.check({"smtp.limits.STRESS_IDLE_COMMANDS": 5, "smtp.backend.Backend.is_under_stress": faults.yes},
                   b"NOOP\r\n" * 6, [220, *[250] * 5], b"")

    def test_octet_by_octet_in_an_answer(self):
        with tempfile.NamedTemporaryFile("w") as accounts:
            accounts.write("alice:secret\n")
            accounts.flush()
            os.chmod(accounts.name, 0o644)
            self.check(self.SHORT_IDLE, b"EHLO x\r\nAUTH PLAIN\r\n", [220, 250, 334], b"A", PASS=accounts.name)


class CrowdTestCase(support.ServerTestCase):
    """127.0.0.2 takes all the sessions that it can get, and keeps them; 127.0.0.3 has come for mail."""

    MOST = 32
    options = ("-max", str(MOST))

    def crowd(self, stack: contextlib.ExitStack, begin) -> int:
        """Connections from the hostile address, until it gets no more; how many it has."""
        greeted = 0
        for number in range(2 * self.MOST):
            client = stack.enter_context(Client(self.server.port, source="127.0.0.2"))
            if client.reply().code == 220:
                greeted += 1
                begin(client, number)
        return greeted

    def assert_others_served(self):
        """Greeted while the crowd is there, and its mail is stored."""
        begun = time.monotonic()
        with self.client(source="127.0.0.3") as client:
            waited = time.monotonic() - begun
            client.expect("EHLO friend.example", 250)
            self.assertEqual(client.letter("a@friend.example", self.address("alice"), LETTER).code, 250)
            client.expect("QUIT", 221)
        self.assertEqual(len(self.server.messages("alice")), 1)
        self.server.messages("alice")[0].path.unlink()
        if support.LONG:
            print("\n%s: greeted after %.3f s beside the crowd" % (self.id(), waited))

    def check(self, begin):
        support.wait_for(lambda: not self.server.serving(), "sessions of the test before have ended")
        with contextlib.ExitStack() as stack:
            self.assertGreaterEqual(self.crowd(stack, begin), self.MOST // 2)
            for _ in range(3):
                self.assert_others_served()


@support.both_listeners
class CrowdTest(CrowdTestCase):
    def test_silent(self):
        self.check(lambda client, number: None)

    def test_in_every_state(self):
        def begin(client: Client, number: int):
            steps = [b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<%s>\r\n" % self.address("bob").encode(),
                     b"DATA\r\n",
                     b"Subject: x\r\n", b"x" * 100000]
            client.write(b"".join(steps[:number % (len(steps) + 1)]))
        self.check(begin)

    def test_that_never_reads(self):
        def begin(client: Client, _):
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.send(b"EHLO x\r\n" + b"HELP\r\n" * 5000)
        self.check(begin)

    def test_half_closed(self):
        """A client that says it has no more to say has nothing to wait for."""
        def begin(client: Client, _):
            client.write(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
            client.socket.shutdown(socket.SHUT_WR)
        with contextlib.ExitStack() as stack:
            self.crowd(stack, begin)
            support.wait_for(lambda: not self.server.serving(), "their sessions end by themselves")
            self.assert_others_served()

    def test_reset(self):
        def begin(client: Client, _):
            client.write(b"EHLO x\r\nMAIL FR")
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        with contextlib.ExitStack() as stack:
            self.crowd(stack, begin)
            support.wait_for(lambda: not self.server.serving(), "their sessions end by themselves")
            self.assert_others_served()
        self.assertNotIn("Traceback", self.server.log())


class PasswordsTest(support.ServerTestCase):
    """Many that have a hashed password checked at once: each takes its 16 MiB in turn, and gets its answer."""

    options = ("-max", "24")
    HASH = "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$"

    @classmethod
    def setUpClass(cls):
        accounts = tempfile.NamedTemporaryFile("w")
        cls.addClassCleanup(accounts.close)
        accounts.write("alice:" + cls.HASH + "A" * 43 + "\n")
        accounts.flush()
        cls.options = (*cls.options, "-pass", accounts.name)
        super().setUpClass()

    def test_at_once(self):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client()) for _ in range(20)]
            for client in clients:
                client.expect("EHLO x", 250)
            most = [0]

            def watch():
                while any(self.resident(pid) for pid in pids):
                    big = sum(self.resident(pid) > 20 * MEBIBYTE for pid in pids)
                    most[0] = max(most[0], big)
            pids = self.server.serving()
            watcher = threading.Thread(target=watch)
            watcher.start()
            for client in clients:
                client.write(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
            for client in clients:
                self.assertEqual(client.reply().code, 535)
                client.expect("QUIT", 221)
            watcher.join()
        self.assertTrue(0 < most[0] <= 4, most)

    @staticmethod
    def resident(pid: int) -> int:
        """Octets that a process has in memory now; 0 when it has ended."""
        with contextlib.suppress(OSError, TypeError):
            status = pathlib.Path("/proc/%d/status" % pid).read_text()
            return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
        return 0


if __name__ == "__main__":
    unittest.main()
