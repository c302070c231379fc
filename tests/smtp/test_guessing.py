"""Whoever guesses, passwords or recipients, is made to wait longer and longer, up to a bound; nobody else is."""

import contextlib
import fcntl
import pathlib
import stat
import tempfile
import time
import unittest

from tests.helpers import faults, harness, patching, support
from tests.helpers.client import Client
from tests.helpers.secure import ALICE, WRONG, plain

TOLD = {"smtp.channel.Channel.pause": faults.tell_pause}
SHORT = {"smtp.limits.CHECK_SECONDS": 0.3}


class GuessingCase(unittest.TestCase):
    def serve(self, patch: patching.Patch, **variables: str) -> harness.Handlers:
        accounts = tempfile.NamedTemporaryFile("w", encoding="utf-8")
        self.addCleanup(accounts.close)
        accounts.write("alice:%s\n" % ALICE)
        accounts.flush()
        server = harness.Handlers({"SMTP_PASS": accounts.name, **variables}, patch)
        self.addCleanup(server.destroy)
        return server

    def greeted(self, server: harness.Handlers, source: str) -> Client:
        client = server.client(source=source)
        self.addCleanup(client.close)
        client.expect("EHLO x.example", 250)
        return client

    def authenticate(self, server: harness.Handlers, password: str, source: str = "127.0.0.2") -> int:
        client = self.greeted(server, source)
        code = client.ask("AUTH PLAIN " + plain("alice", password)).code
        client.ask("QUIT")
        client.close()
        return code


class PasswordsTest(GuessingCase):
    def test_over_connections(self):
        """The first are free; then each waits twice as long as the one before, whoever it is that comes from there."""
        server = self.serve(TOLD)
        for _ in range(12):
            self.assertEqual(self.authenticate(server, WRONG), 535)
        self.assertEqual(self.authenticate(server, ALICE), 235)
        self.assertEqual(server.output().split("\n")[:-1],
                         ["pause %g" % seconds for seconds in (0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5)])

    def test_others_do_not_wait(self):
        server = self.serve(TOLD)
        for _ in range(5):
            self.authenticate(server, WRONG)
        told = server.output()
        self.assertEqual(self.authenticate(server, ALICE, "127.0.0.3"), 235)
        self.assertEqual(self.authenticate(server, WRONG, "127.0.0.3"), 535)
        self.assertEqual(server.output(), told)

    def test_in_one_connection(self):
        server = self.serve(TOLD)
        for _ in range(2):
            client = self.greeted(server, "127.0.0.2")
            for code in (535, 535, 421):
                client.expect("AUTH PLAIN " + plain("alice", WRONG), code)
        self.assertEqual(server.output(), "pause 0.2\npause 0.4\npause 0.8\n")

    def test_failures_are_forgiven(self):
        server = self.serve({**TOLD, "common.guesses.FORGIVEN_SECONDS": 0.001})
        for _ in range(8):
            self.authenticate(server, WRONG)
        self.assertEqual(server.output(), "")

    def test_what_is_remembered_is_nobody_elses(self):
        server = self.serve(TOLD)
        self.authenticate(server, WRONG)
        self.assertEqual(stat.S_IMODE((server.spool / "failures").stat().st_mode), 0o600)

    def test_memory_that_cannot_be_used(self):
        """It keeps nobody from sending."""
        for spoil in (lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/passwd"),
                      lambda path: path.write_bytes(b"x" * 99)):
            server = self.serve(TOLD)
            spoil(server.spool / "failures")
            self.assertEqual(self.authenticate(server, WRONG), 535)
            self.assertEqual(self.authenticate(server, ALICE), 235)
            self.assertNotIn("Traceback", server.log())

    def test_many_addresses(self):
        """There is room for so many; whoever is forgiven first makes room."""
        server = self.serve({**TOLD, "common.guesses.ROWS": 3})
        for _ in range(5):
            self.authenticate(server, WRONG, "127.0.0.2")
        for number in range(3, 8):
            self.authenticate(server, WRONG, "127.0.0.%d" % number)
        told = server.output()
        self.authenticate(server, WRONG, "127.0.0.2")
        self.assertEqual(server.output(), told + "pause 0.8\n")


class PlacesTest(GuessingCase):
    """Passwords are checked in four places, and whoever has guessed may take two of them."""

    @contextlib.contextmanager
    def taken(self, server: harness.Handlers, places: int):
        """So many places, the guessers' first, are taken by others."""
        with open(server.spool / "authenticating", "w+") as file:
            (server.spool / "authenticating").chmod(0o666)
            fcntl.lockf(file, fcntl.LOCK_EX, places)
            yield

    def test_nobody_waits_behind_guessers(self):
        server = self.serve({**SHORT, "smtp.limits.LONGEST_DELAY": 0})
        for _ in range(4):
            self.authenticate(server, WRONG)
        with self.taken(server, 2):
            self.assertEqual(self.authenticate(server, ALICE, "127.0.0.3"), 235)
            self.assertEqual(self.authenticate(server, ALICE, "127.0.0.2"), 454)
        self.assertEqual(self.authenticate(server, ALICE, "127.0.0.2"), 235)

    def test_wait_for_a_place_ends(self):
        server = self.serve(SHORT)
        with self.taken(server, 4):
            self.assertEqual(self.authenticate(server, ALICE), 454)
        server.wait_log("passwords cannot be checked: no place becomes free: %s/authenticating" % server.spool)

    def test_a_client_that_leaves_meanwhile(self):
        server = self.serve({"smtp.limits.CHECK_SECONDS": 1e9})
        with self.taken(server, 4):
            client = self.greeted(server, "127.0.0.2")
            client.write(b"AUTH PLAIN %s\r\n" % plain("alice", ALICE).encode())
            support.wait_for(lambda: not harness.unread_octets(client), "the server reads it")
            client.socket.setsockopt(support.socket.SOL_SOCKET, support.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            server.finished()


class RecipientsTest(unittest.TestCase):
    def harvest(self, patch: patching.Patch, count: int, **variables: str):
        """A client that tries so many names; (the server, the codes of the replies)."""
        server = harness.Handlers({"SMTP_" + name: value for name, value in variables.items()}, patch)
        self.addCleanup(server.destroy)
        client = server.client()
        self.addCleanup(client.close)
        client.expect("EHLO x.example", 250)
        client.expect("MAIL FROM:<a@x.example>", 250)
        return server, [client.ask("RCPT TO:<guess%d@%s>" % (number, server.domain)).code for number in range(count)]

    def test_each_waits_longer(self):
        server, codes = self.harvest(TOLD, 30)
        self.assertEqual(codes, [550] * 30)
        self.assertEqual(server.output().split("\n")[:-1],
                         ["pause %g" % seconds for seconds in (0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5)])

    def test_end_stays(self):
        _, codes = self.harvest(TOLD, 40, RCPTS="40")
        self.assertEqual(codes, [550] * 39 + [421])

    def test_stop_meanwhile(self):
        """Who waits is told that the server stops."""
        server = harness.Handlers(patch=dict.fromkeys(("smtp.limits.FIRST_DELAY", "smtp.limits.LONGEST_DELAY"), 1e3))
        self.addCleanup(server.destroy)
        client = server.client()
        self.addCleanup(client.close)
        client.write(b"VRFY nobody\r\n" * 21)
        self.assertEqual([client.reply().code for _ in range(20)], [550] * 20)
        support.wait_for(lambda: not harness.unread_octets(client), "the last one is read")
        server.handlers[0].terminate()
        self.assertEqual((client.reply().code, client.rest()), (421, b""))

    def test_waiting_is_waiting(self):
        begun = time.monotonic()
        self.harvest({"smtp.limits.LONGEST_DELAY": 0.3}, 22)
        self.assertGreaterEqual(time.monotonic() - begun, 0.5)


class LockedRegisterTest(unittest.TestCase):
    def test_lock_of_a_stranger(self):
        """Whoever can lock the register of sessions sends nobody away by that."""
        server = harness.Handlers()
        self.addCleanup(server.destroy)
        server.client().close()
        with open(server.spool / "sessions", "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH)
            with server.client() as client:
                client.expect("NOOP", 250)
                register = pathlib.Path(file.name).read_bytes()
                self.assertIn(b"127.0.0.1", register)
                client.expect("QUIT", 221)
            server.finished()
            self.assertNotIn(b"127.0.0.1", pathlib.Path(file.name).read_bytes())

    def test_mode(self):
        server = harness.Handlers()
        self.addCleanup(server.destroy)
        server.client().close()
        self.assertEqual(stat.S_IMODE((server.spool / "sessions").stat().st_mode), 0o600)


if __name__ == "__main__":
    unittest.main()
