"""The end under load, behind either listener: nothing acknowledged is lost, nobody who was greeted is left without a
reply, and everything is gone in time."""

import contextlib
import pathlib
import signal
import tempfile
import time
import unittest

from tests import support
from tests.load import Load
from tests.test_launcher import copy_tree, set_constant

GRACE = 10                      # seconds that the README promises
ROUNDS = 20 if support.LONG else 3
MIGRATE = pathlib.Path("/proc/sys/net/ipv4/tcp_migrate_req")


class StoppingTestCase(unittest.TestCase):
    """Its tests are run once for each listener: subclasses below."""

    listener = "netcat"

    def made(self, *options) -> support.Server:
        server = support.Server(("-listen", self.listener, *options))
        self.addCleanup(server.destroy)
        return server

    def started(self, *options) -> support.Server:
        return self.made(*options).start()

    def started_in_a_hurry(self) -> support.Server:
        """One that tells sessions in their data to end after 2 seconds instead of 8."""
        server = self.made()
        server.script = copy_tree(self) / "serveur.sh"
        set_constant(server.script, "launcher/pool.sh", "readonly GRACE=", "4")
        set_constant(server.script, "prefork.py", "GRACE_SECONDS = ", "2")
        return server.start()

    def stop(self, server: support.Server) -> float:
        """Stop it; how many seconds that took."""
        begun = time.monotonic()
        self.assertEqual(server.stop(GRACE + support.PATIENCE), 0)
        return time.monotonic() - begun


class LoadedStopTest(StoppingTestCase):
    def test_under_load(self):
        for number in range(ROUNDS):
            with self.subTest(number=number):
                server = self.started("-max", "16")
                with Load(server.port, ["alice@" + server.domain], 100000) as load:
                    support.wait_for(lambda: len(load.acknowledged) > 10 + 7 * number, "a part of the messages")
                    self.stop(server)
                    load.stop()
                load.check(message.content for message in server.messages("alice"))
                self.assertEqual(load.unanswered, 0)
                server.destroy()

    def test_every_state(self):
        """Idle sessions go at once, one in its data may finish, one that does not is told so before the time is over."""
        server = self.started_in_a_hurry()
        with contextlib.ExitStack() as stack:
            new, greeted, sender, recipient, finishing, stuck = [stack.enter_context(server.client()) for _ in range(6)]
            for client in (greeted, sender, recipient, finishing, stuck):
                client.expect("EHLO x", 250)
            for client in (sender, recipient, finishing, stuck):
                client.expect("MAIL FROM:<a@b.example>", 250)
            for client in (recipient, finishing, stuck):
                client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
            for client in (finishing, stuck):
                client.expect("DATA", 354)
                client.write(b"Subject: number 1\r\n")
            server.process.terminate()
            for client in (new, greeted):
                self.assertEqual((client.reply().code, client.rest()), (421, b""))
            finishing.write(b".\r\n")
            self.assertEqual([finishing.reply().code, finishing.reply().code], [250, 421])
            sender.expect("RSET", 250)
            self.assertEqual(sender.reply().code, 421)
            for client in (recipient, stuck):
                self.assertEqual((client.reply().code, client.rest()), (421, b""))
        self.stop(server)
        self.assertEqual(len(server.messages("alice")), 1)

    def test_while_it_starts(self):
        """At any moment: it ends, and nothing stays. Until its first child is there, TERM ends it as any program."""
        moments = ROUNDS * 2
        for number in range(moments):
            with self.subTest(number=number), self.made() as server:
                server.launch()
                time.sleep(number * 0.2 / moments)          # a start takes about that long
                server.process.terminate()
                self.assertIn(server.process.wait(GRACE), (0, -signal.SIGTERM), server.output())
                self.assertNotIn("syntax error", server.output())
                support.wait_for(lambda: not server.processes(), "the end of all it started")

    def test_waiting_for_an_answer(self):
        """AUTH's challenge is no transaction: the client hears 421 at once."""
        with tempfile.NamedTemporaryFile("w") as accounts:
            accounts.write("alice:secret\n")
            accounts.flush()
            server = self.started("-pass", accounts.name)
            with server.client() as client:
                client.expect("EHLO x", 250)
                client.expect("AUTH PLAIN", 334)
                server.process.terminate()
                self.assertEqual(client.reply().code, 421)
            self.stop(server)

    def test_nothing_is_left(self):
        before = MIGRATE.read_text() if MIGRATE.exists() else ""
        server = self.started("-max", "16")
        with server.client() as client:
            client.expect("NOOP", 250)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.reply().code, 421)
        self.stop(server)               # fails for a process or a listener that is left
        self.assertEqual(list(server.spool.glob("tmp/*")), [])
        again = support.Server(("-listen", self.listener), domain=server.domain)
        again.arguments[again.arguments.index("-port") + 1] = str(server.port)
        again.port = server.port
        self.addCleanup(again.destroy)
        again.start()
        self.stop(again)
        if before:
            support.wait_for(lambda: MIGRATE.read_text() == before or other_servers(), "tcp_migrate_req as it was")


def other_servers() -> bool:
    """Whether somebody else's server runs on this machine, which then keeps tcp_migrate_req."""
    commands = (folder / "cmdline" for folder in pathlib.Path("/proc").glob("[0-9]*"))
    for command in commands:
        with contextlib.suppress(OSError):
            if b"/serveur.sh\0" in command.read_bytes():
                return True
    return False


class LoadedStopTestPrefork(LoadedStopTest):
    listener = "prefork"


if __name__ == "__main__":
    unittest.main()
