"""SIGKILL for the launcher, its keepers or netcats: the ports come free, sessions end, and the next start works."""

import contextlib
import os
import signal
import unittest

from tests.helpers import support
from tests.helpers.launcher import kill_together
from tests.helpers.processes import children_of
from tests.launcher.test_pool import POOL, PoolTestCase, ask_until_dismissed


def kill_with_keepers(server: support.Server) -> None:
    """SIGKILL for the launcher and all else that is bash."""
    kill_together(server, lambda _, command: "/serveur.sh" in command)


class KillTest(PoolTestCase):
    def test_launcher(self):
        """What it started ends by itself, running sessions in order; a new start works at once."""
        server = self.started()
        with server.client() as client:
            first = set(server.processes())
            server.process.kill()
            server.process.wait()
            server.launch()
            support.wait_for(lambda: server.output().count("telnet") == 2, "the second server")
            with server.client() as other:
                other.expect("QUIT", 221)
            ask_until_dismissed(client)
        support.wait_for(lambda: not first & set(server.processes()), "the end of all of the first")
        self.assertEqual(server.stop(), 0)

    def test_launcher_leaves_nothing(self):
        server = self.started()
        server.process.kill()
        server.process.wait()
        support.wait_for(lambda: not server.processes(), "the end of all processes")
        self.assertEqual(support.listeners(server.port), 0)

    def test_launcher_and_keepers(self):
        """Nobody is left who would end the rest: the next start does, takes the port, and has the only relay."""
        for listener in ("netcat", "prefork"):
            with self.subTest(listener), self.started("-listen", listener) as server, server.client() as client:
                kill_with_keepers(server)
                self.assertGreater(support.listeners(server.port), 0)
                begun = set(server.processes())
                server.launch()
                support.wait_for(lambda: server.output().count("telnet") == 2 or server.process.poll() is not None,
                                 "the second server")
                with server.client() as other:
                    other.expect("QUIT", 221)
                ask_until_dismissed(client)
                support.wait_for(lambda: not begun & set(server.processes()), "the end of all that was before")
                relays = [command for command in server.processes().values() if "/relay.py" in command]
                self.assertTrue(relays)
                self.assertNotIn("un relais s'occupe", server.output())
                self.assertEqual(server.stop(), 0)

    def test_another_server_is_left_alone(self):
        """A start ends what a killed one left, and nobody else's."""
        killed, running = self.started(), self.started()
        kill_with_keepers(killed)
        with running.client() as client:
            third = self.started()
            support.wait_for(lambda: not killed.processes(), "the end of what the killed one left")
            client.expect("NOOP", 250)
            self.assertGreater(support.listeners(running.port), 1)
        self.assertEqual((running.stop(), third.stop()), (0, 0))

    def test_keeper(self):
        server = self.started()
        self.wait_pool(server)
        for _ in range(2):
            before = server.output().count("est remplacé")
            keepers = [pid for pid in children_of(server.process.pid) if len(children_of(pid)) > 3]
            orphans = children_of(keepers[0])
            os.kill(keepers[0], signal.SIGKILL)
            support.wait_for(lambda: server.output().count("est remplacé") > before, "a new keeper")
            self.assertIn("un gardien du port %d (processus %d) est mort" % (server.port, keepers[0]), server.output())
            support.wait_for(lambda: orphans.isdisjoint(server.processes()), "the end of what it left")
            self.wait_pool(server)
            with server.client() as client:
                client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)

    def test_handlers(self):
        server = self.started()
        for _ in range(2 * POOL):
            with server.client() as client:
                handlers = [pid for pid, command in server.processes().items()
                            if command.startswith("/usr/bin/python3 -ES")]
                for pid in handlers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.assertEqual(client.rest(), b"")
        self.wait_pool(server)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("Killed", server.output())


if __name__ == "__main__":
    unittest.main()
