"""serveur.sh while it runs and when it ends: the pool of netcats, the keepers, signals, kills, the relay."""

import contextlib
import os
import pathlib
import pty
import select
import signal
import threading
import typing
import unittest

from tests.bench import load
from tests.bench.contestants import Floor
from tests.helpers import processes, support
from tests.helpers.client import PATIENCE, Client
from tests.helpers.launcher import LauncherTestCase, copy_tree, set_constant, write_program
from tests.helpers.tracing import Tracing

MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req"
POOL = 8 + 8                    # netcats for the -max 8 of support.Server


def ask_until_dismissed(client: Client) -> None:
    """NOOP until the reply is 421: TERM takes its time to reach the session."""
    while client.ask("NOOP").code != 421:
        pass


class PoolTestCase(LauncherTestCase):
    def wait_output(self, server: support.Server, text: str) -> str:
        return support.wait_for(lambda: text in server.output() and server.output(), "%r, said by the launcher" % text)

    def started(self, *options, **arguments) -> support.Server:
        """A server that has said where it listens."""
        return self.ready(self.make_server(*options, **arguments))

    def ready(self, server: support.Server) -> support.Server:
        server.start()
        self.wait_output(server, "telnet")
        return server

    def wait_pool(self, server: support.Server) -> None:
        """Until the whole pool listens: the launcher waits for it too, but only so long."""
        support.wait_for(lambda: support.listeners(server.port) == POOL, "a whole pool")

    def with_handler(self, *options, text: str) -> support.Server:
        """A server of a copy of the tree, where `text` is the handler; $FOLDER in it is the server's folder."""
        server = self.make_server(*options)
        server.script = copy_tree(self) / "serveur.sh"
        write_program(server.script.with_name("smtp_handler.py"), text.replace("$FOLDER", str(server.folder)))
        return server

    def ends(self, server: support.Server, code: int = 0) -> None:
        """The launcher is ending: wait for that, and look for what it may have left."""
        self.assertEqual(server.process.wait(PATIENCE), code, server.output())
        self.assertEqual(server.stop(), code)


class BenchTest(unittest.TestCase):
    """The pool that tests/bench puts around other programs is the launcher's own, and goes with it."""

    def test_floor(self):
        floor = Floor("")
        self.addCleanup(floor.stop)
        floor.start()
        self.assertGreater(load.greeting_delay(floor.port), 0)


class HandOverTest(PoolTestCase):
    def test_netcat_becomes_the_handler(self):
        """nc -e: the process that waited for the client is the one that serves it."""
        server = self.started()
        self.wait_pool(server)
        waiting = {pid for pid, command in server.processes().items() if "nc.traditional -n" in command}
        self.assertEqual(len(waiting), POOL)
        with server.client() as client:
            pid = server.process_of(client)
            self.assertIn(pid, waiting)
            self.assertIn("smtp_handler.py", server.processes()[pid])
            client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)


class LoadTest(PoolTestCase):
    def test_fifty_at_once(self):
        server = self.started("-max", "64")
        migrate = pathlib.Path(MIGRATE)
        if not migrate.exists() or migrate.read_text().strip() != "1":
            self.skipTest("net.ipv4.tcp_migrate_req n'est pas à 1 : une rafale perd des connexions")
        together, failures = threading.Barrier(50, timeout=PATIENCE), []

        def call():
            try:
                with server.client() as client:
                    together.wait()
                    client.expect("EHLO client.example", 250)
                    client.expect("QUIT", 221)
            except (OSError, EOFError, AssertionError, threading.BrokenBarrierError) as error:
                failures.append(repr(error))

        callers = [threading.Thread(target=call) for _ in range(50)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(failures, [])
        self.assertEqual(server.stop(), 0)

    def test_one_more_than_max(self):
        server = self.started("-max", "3")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(3)]
            with Client(server.port) as client:
                self.assertEqual(client.reply().code, 421)
            clients[0].expect("QUIT", 221)
            support.wait_for(lambda: self.greeting(server) == 220, "a free session")

    def greeting(self, server: support.Server) -> int:
        with contextlib.suppress(OSError, EOFError), Client(server.port) as client:
            return client.reply().code
        return 0


@support.needs_root
@support.needs_program("strace")
class KeeperTest(support.ServerTestCase):
    """What a keeper does for a session that ends does not grow with the netcats that it has."""

    options = ("-max", "256")
    SESSIONS = 64

    def keepers(self):
        pids = self.server.processes()
        netcats = [pid for pid, command in pids.items() if "nc.traditional" in command]
        return {parent for parent in map(processes.parent_of, netcats) if parent in pids}

    def test_questions(self):
        """Each child was asked at each end: 24 of them here."""
        support.wait_for(lambda: support.listeners(self.server.port) == 384, "all netcats")
        with Tracing(self.keepers(), calls="trace=kill") as tracing:
            for _ in range(self.SESSIONS):
                with self.client() as client:
                    client.expect("QUIT", 221)
            support.wait_for(lambda: support.listeners(self.server.port) == 384, "all netcats again")
        asked = [call for call in tracing.calls if call.name == "kill"]
        self.assertGreater(len(asked), self.SESSIONS / 2)
        self.assertLess(len(asked), 5 * self.SESSIONS)


class Caller(threading.Thread):
    """Runs session after session until the server is gone."""

    COMMANDS = ("EHLO client.example", "MAIL FROM:<a@client.example>", "RCPT TO:<alice@%s>" % support.DOMAIN, "RSET",
                "NOOP", "QUIT")

    def __init__(self, port: int):
        super().__init__()
        self.port, self.sessions, self.dismissed = port, 0, 0
        self.unanswered: typing.List[str] = []

    def run(self):
        while support.listeners(self.port):
            with contextlib.suppress(ConnectionError):      # before its greeting, where the kernel migrates none
                with Client(self.port) as client:
                    self.converse(client)
                self.sessions += 1

    def converse(self, client: Client) -> None:
        with contextlib.suppress(EOFError):
            client.reply()              # one that was still queued is closed unheard
            for command in self.COMMANDS:
                try:
                    code = client.ask(command).code
                except (EOFError, ConnectionError) as error:
                    self.unanswered.append("%s: %r" % (command, error))
                    return
                if code == 421:
                    self.dismissed += 1
                    return


class StopTest(PoolTestCase):
    def test_under_load(self):
        """Whoever was greeted has a reply to each command, the last one 421; then all is gone."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_IGN:
                continue                # bash can't catch what we were started to ignore
            with self.subTest(number.name):
                server = self.started("-max", "16")
                callers = [Caller(server.port) for _ in range(6)]
                for caller in callers:
                    caller.start()
                support.wait_for(lambda: all(caller.sessions for caller in callers), "a session of each caller")
                server.process.send_signal(number)
                self.ends(server)
                for caller in callers:
                    caller.join()
                self.assertEqual([caller.unanswered for caller in callers], [[]] * len(callers))

    def test_idle_session_may_finish(self):
        server = self.started()
        with server.client() as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            client.expect("RCPT TO:<%s>" % ("alice@" + server.domain), 250)
            client.expect("DATA", 354)
            server.process.terminate()
            self.wait_output(server, "Arrêt du serveur")
            support.wait_for(lambda: support.listeners(server.port) == 0, "the end of the listeners")
            client.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
            self.assertEqual(client.reply().code, 250)
            ask_until_dismissed(client)
        self.ends(server)
        self.assertEqual(len(server.messages("alice")), 1)

    def test_terminal(self):
        """Ctrl-C is for the launcher alone: a session isn't cut."""
        server = self.make_server()
        environment = {**os.environ, server.mark.partition("=")[0]: server.mark.partition("=")[2]}
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(server.script, [str(server.script), *server.arguments], environment)
        self.addCleanup(os.close, terminal)
        text = self.read_terminal(terminal, "telnet")
        with server.client() as client:
            os.write(terminal, b"\x03")
            text += self.read_terminal(terminal, "Arrêt du serveur")
            ask_until_dismissed(client)
        text += self.read_terminal(terminal, "Serveur arrêté.")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, text)
        self.assertEqual(server.processes(), {})

    def read_terminal(self, terminal: int, text: str) -> str:
        got = b""
        while text.encode() not in got:
            self.assertTrue(select.select([terminal], [], [], PATIENCE)[0], got)
            got += os.read(terminal, 4096)      # OSError when the launcher is gone
        return got.decode()

    def test_signal_to_all_of_them(self):
        """As "pkill -f serveur.sh" sends it: launcher, keepers, watches."""
        server = self.started()
        with server.client() as client:
            for pid, command in server.processes().items():
                if "serveur.sh" in command:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
            ask_until_dismissed(client)
        self.ends(server)

    def test_session_that_starts_up(self):
        """TERM would kill a handler that doesn't catch it yet, and leave its client without a reply."""
        server = self.ready(self.with_handler(text="""\
            #!/usr/bin/python3 -ES
            import os, signal, sys, time
            def dismiss(*_):
                os.write(1, b"421 bye\\r\\n")
                sys.exit(0)
            open("$FOLDER/begun", "w").close()
            while not os.path.exists("$FOLDER/go"):
                time.sleep(0.01)
            signal.signal(signal.SIGTERM, dismiss)
            os.write(1, b"220 hello\\r\\n")
            signal.pause()
            """))
        with Client(server.port) as client:
            support.wait_for((server.folder / "begun").exists, "the session's start")
            server.process.terminate()
            support.wait_for(lambda: support.listeners(server.port) == 0, "the end of the listeners")
            (server.folder / "go").touch()
            self.assertEqual([client.reply().code, client.reply().code], [220, 421])
        self.ends(server)

    def test_session_that_was_stopped(self):
        """The launcher stops netcats for a moment to look at them: one that has just become a handler goes on."""
        server = self.started()
        with server.client() as client:
            os.kill(server.process_of(client), signal.SIGSTOP)
            server.process.terminate()
            self.assertEqual(client.reply().code, 421)
        self.ends(server)

    def test_session_that_will_not_end(self):
        server = self.with_handler(text="""\
            #!/bin/bash
            trap : TERM
            printf '220 hello\\r\\n'
            while :; do read -rt 10 <> <(:); done
            """)
        set_constant(server.script, "launcher/pool.sh", "GRACE", 1)
        self.ready(server)
        with server.client() as client:
            server.process.terminate()
            self.ends(server)
            self.assertEqual(client.rest(), b"")


class NetcatFailureTest(PoolTestCase):
    def with_netcat(self, server: support.Server, text: str) -> pathlib.Path:
        """Put `text` in nc.traditional's place; returns a file to which it adds a line each time it runs."""
        folder = server.folder / "bin"
        folder.mkdir()
        calls = server.folder / "calls"
        write_program(folder / "nc.traditional", "#!/bin/sh\necho >>%s\n%s" % (calls, text))
        server._environment["PATH"] = "%s:%s" % (folder, os.environ["PATH"])
        return calls

    def count(self, calls: pathlib.Path) -> int:
        return len(calls.read_text())

    def test_it_never_starts(self):
        server = self.make_server()
        server.script = copy_tree(self) / "serveur.sh"
        set_constant(server.script, "serveur.sh", "START_SECONDS", 2)
        calls = self.with_netcat(server, "exit 127\n")
        self.assertEqual(server.launch().wait(PATIENCE), 1)
        self.assertIn("personne n'écoute sur le port %d" % server.port, server.output())
        self.assertLess(self.count(calls), 20 * POOL)
        self.assertEqual(server.stop(), 1)

    def test_it_fails_later(self):
        """The keepers slow down, say so, and serve again once it works."""
        server = self.make_server()
        calls = self.with_netcat(server, '[ ! -e %s/broken ] || exit 127\nexec %s "$@"\n' % (
            server.folder, support.find_program("nc.traditional")))
        self.ready(server)
        self.wait_pool(server)
        (server.folder / "broken").touch()
        for _ in range(POOL):
            server.client().close()
        text = self.wait_output(server, "nouvelle tentative dans 2 s.")
        self.assertLess(self.count(calls), 20 * POOL)
        self.assertRegex(text, "ne démarre pas ; nouvelle tentative dans 1 s.")
        (server.folder / "broken").unlink()
        support.wait_for(lambda: support.listeners(server.port), "a listener")
        server.client().close()
        self.assertEqual(server.stop(), 0)

    def test_sessions_that_fail_do_not_slow_it_down(self):
        server = self.ready(self.with_handler(text="#!/bin/sh\nprintf '220 hello\\r\\n'\nexit 1\n"))
        for _ in range(3 * POOL):
            support.wait_for(lambda: support.listeners(server.port), "a listener")
            with Client(server.port) as client:
                self.assertEqual(client.reply().code, 220)
        self.assertNotIn("nouvelle tentative", server.output())
        self.assertEqual(server.stop(), 0)


class RelayTest(PoolTestCase):
    def server(self, text: str) -> support.Server:
        server = self.make_server()
        server.script = copy_tree(self) / "serveur.sh"
        server.script.with_name("relay.py").write_text(text.replace("$FOLDER", str(server.folder)))
        return server

    def test_runs_and_is_told_to_stop(self):
        server = self.ready(self.server("""
import signal, sys
def end(*_):
    open("$FOLDER/ended", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open("$FOLDER/running", "w").close()
while True:
    signal.pause()
"""))
        support.wait_for((server.folder / "running").exists, "the relay")
        self.assertEqual(server.stop(), 0)
        self.assertTrue((server.folder / "ended").exists())

    def test_is_started_again(self):
        server = self.ready(self.server("open('$FOLDER/starts', 'a').write('x')\nraise SystemExit(3)\n"))
        self.wait_output(server, "relay.py s'est arrêté (code 3) ; il redémarre dans 2 s.")
        self.assertLess(len((server.folder / "starts").read_text()), 5)
        with server.client() as client:
            client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)
