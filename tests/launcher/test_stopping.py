"""The end under load, behind either listener: nothing acknowledged is lost, nobody who was greeted is left without a
reply, and everything is gone in time."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time
import unittest

from tests.helpers import support
from tests.helpers.load import Load
from tests.helpers.launcher import copy_tree, set_constant

GRACE = 10                      # seconds that the README promises
ROUNDS = 20 if support.LONG else 3
STARTS = 100 if support.LONG else 10            # behind each listener
STOPS, TOGETHER = 150 if support.LONG else 15, 5
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

    def stop(self, server: support.Server) -> None:
        self.assertEqual(server.stop(GRACE + support.PATIENCE), 0)


class LoadedStopTest(StoppingTestCase):
    def test_under_load(self):
        for number in range(ROUNDS):
            with self.subTest(number=number):
                server = self.started("-max", "16")
                with Load(server.port, ["alice@" + server.domain]) as load:
                    support.wait_for(lambda: len(load.acknowledged) > 10 + 7 * number, "a part of the messages")
                    self.stop(server)
                load.check(message.content for message in server.messages("alice"))
                self.assertEqual(load.unanswered, 0)
                server.destroy()

    def test_every_state(self):
        """Idle sessions go at once, one in its data may finish, one that does not is told so before the time is
        over."""
        server = self.started()
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
        """At any moment it ends, silently, and nothing stays. Before its first line bash ends as any program."""
        for number in range(STARTS):
            what, moment = random.choice((signal.SIGINT, signal.SIGTERM)), random.uniform(0, 0.3)
            with self.subTest(number=number, what=what, moment=moment), self.made() as server:
                server.launch()
                time.sleep(moment)
                # Ctrl-C is for all that the terminal sees, TERM for the launcher.
                (os.killpg if what == signal.SIGINT else os.kill)(server.process.pid, what)
                self.assertIn(server.process.wait(GRACE + support.PATIENCE), (0, -what), server.output())
                self.assertNotRegex(server.output(), r"Traceback|syntax error|: line \d|serveur\.sh: (?!attention)")
                support.wait_for(lambda: not server.processes(), "the end of all it started")

    def test_many_at_once(self):
        """bash 5.1 could sleep for ever where the processor was another's meanwhile: each is the others' load."""
        for number in range(STOPS // TOGETHER):
            with self.subTest(number=number), contextlib.ExitStack() as stack:
                servers = [stack.enter_context(self.made("-max", "32")) for _ in range(TOGETHER)]
                for server in servers:
                    server.launch()
                for server in servers:
                    support.wait_for(lambda: "telnet" in server.output(), "the announcement")
                for server in servers:
                    server.process.terminate()
                for server in servers:
                    self.assertEqual(server.stop(GRACE + support.PATIENCE), 0)

    def test_without_an_output(self):
        """A closed descriptor 1 went to the listening socket, and no netcat was known for one that waits."""
        server = self.made()
        server.script = copy_tree(self) / "serveur.sh"
        set_constant(server.script, "launcher/pool.sh", "GRACE", 600)
        for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
            with self.subTest(closed):
                server.process = subprocess.Popen(
                    ["sh", "-c", 'exec "$0" "$@" ' + closed, str(server.script), *server.arguments], cwd=server.folder,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True, env=support.marked_environment(server.mark))
                support.wait_for(lambda: support.listeners(server.port), "a listener")
                with server.client() as client:
                    client.expect("QUIT", 221)
                self.assertEqual(server.stop(), 0)

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
