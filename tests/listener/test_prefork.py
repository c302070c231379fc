"""The warm listener: what it has beyond netcat's, and that a session leaves nothing to the next in its process."""

import contextlib
import os
import pathlib
import pwd
import signal
import socket
import ssl
import subprocess
import tempfile
import typing
import unittest

from listener import sockets
from listener import worker
from tests.bench import load
from tests.helpers import faults, patching, processes, support
from tests.helpers.client import PATIENCE, Client
from tests.lab.agent import Agent, socket_in

LETTER = b"Subject: warm\r\n\r\ntext\r\n.\r\n"
PREFORK = ("-listen", "prefork")
RUN = "from listener import prefork\nprefork.Master(prefork.configuration.from_environ()).run()\n"


def workers(server: support.Server):
    """The pids of listener/prefork.py's workers."""
    master = server.prefork_master()
    return [pid for pid in server.processes() if processes.parent_of(pid) == master]


def footprint(pid: int):
    """What a process could keep from a session: who it is, where, with which files and variables."""
    folder = pathlib.Path("/proc/%d" % pid)
    kept = ("Uid", "Gid", "Groups", "Umask", "SigIgn", "SigCgt", "SigBlk")
    status = [line for line in (folder / "status").read_text().splitlines() if line.partition(":")[0] in kept]
    files = {}
    for link in (folder / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files[int(link.name)] = os.readlink(link)
    return status, os.readlink(folder / "cwd"), (folder / "environ").read_bytes(), files


class PreforkTestCase(support.ServerTestCase):
    listener = "prefork"

    def reload(self, but=None):
        """HUP, and wait until every worker but this one is fresh."""
        old = set(workers(self.server)) - {but}
        os.kill(self.server.prefork_master(), signal.SIGHUP)
        support.wait_for(lambda: not old & set(workers(self.server)) and workers(self.server), "fresh workers")


class NothingCarriedOverTest(PreforkTestCase):
    """One worker (-max 1 and its spare are all alike), every kind of session, and each next one begins anew."""

    options = ("-max", "1", "-tls", "auto")

    @classmethod
    def setUpClass(cls):
        cls.accounts_file = tempfile.NamedTemporaryFile("w", suffix=".txt")
        cls.addClassCleanup(cls.accounts_file.close)
        cls.accounts_file.write("alice:secret\n")
        cls.accounts_file.flush()
        cls.options = (*cls.options, "-pass", cls.accounts_file.name)
        super().setUpClass()

    def encrypted(self, client: Client) -> Client:
        client.expect("EHLO first.example", 250)
        client.expect("STARTTLS", 220)
        self.go_on_under_tls(client)
        return client

    def go_on_under_tls(self, client: Client):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.socket = context.wrap_socket(client.socket)
        client.file = client.socket.makefile("rb")

    def full_session(self, ending: str) -> int:
        """Everything that a session may have, broken off in the middle of a second transaction; the worker's pid."""
        support.wait_for(lambda: not self.server.serving(), "the end of the session before")
        with self.encrypted(self.client()) as client:
            client.expect("EHLO first.example", 250)
            client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 235)
            self.assertEqual(client.letter("alice@" + self.server.domain, self.address("alice"), LETTER).code, 250)
            client.expect("MAIL FROM:<alice@%s>" % self.server.domain, 250)
            client.expect("RCPT TO:<%s>" % self.address("bob"), 250)
            pid = self.server.process_of(client)
            if ending == "DATA":
                client.expect("DATA", 354)
                client.write(b"Subject: half\r\n" + b"x" * 70000)
            elif ending == "QUIT":
                client.expect("QUIT", 221)
        support.wait_for(lambda: not self.server.serving(), "the session's end")
        return pid

    def test_state(self):
        for ending in ("DATA", "QUIT", "close"):
            with self.subTest(ending=ending):
                self.full_session(ending)
                with self.client() as client:
                    client.expect("MAIL FROM:<a@client.example>", 503)
                    reply = client.expect("EHLO second.example", 250)
                    self.assertIn("STARTTLS", reply.lines)
                    self.assertNotIn("AUTH", reply.text)
                    client.expect("MAIL FROM:<a@client.example>", 530)
                    client.expect("DATA", 530)
        self.assertEqual(self.server.messages("bob"), [])

    def test_process(self):
        pid = self.full_session("QUIT")
        while self.full_session("DATA") != pid:     # warmed up: what is opened once stays open
            pass
        before = footprint(pid)
        for _ in range(3):
            while self.full_session("DATA") != pid:
                pass
        support.wait_for(lambda: footprint(pid) == before, "the same process as before: %r" % (before,))

    def test_line_ends(self):
        """Who has sent a CRLF is no person at nc; the next client is one, and its LF . LF ends its data."""
        self.full_session("QUIT")
        with self.client() as client:
            client.write(b"EHLO x\nSTARTTLS\n")
            self.assertEqual([client.reply().code for _ in range(2)], [250, 220])
            self.go_on_under_tls(client)
            client.write(b"EHLO x\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\nMAIL FROM:<a@b.example>\nRCPT TO:<%s>\nDATA\n"
                         b"Subject: x\n\ntext\n.\n" % self.address("bob").encode())
            self.assertEqual([client.reply().code for _ in range(6)], [250, 235, 250, 250, 354, 250])
        self.server.messages("bob")[0].path.unlink()


class WorkersTest(PreforkTestCase):
    """Their number, their lives and their deaths."""

    options = ("-max", "20")

    def test_killed_worker_costs_its_own_session(self):
        with self.client() as victim, self.client() as other:
            victim_pid = self.server.process_of(victim)
            os.kill(victim_pid, signal.SIGKILL)
            self.assertEqual(victim.rest(), b"")
            other.expect("NOOP", 250)
            with self.client() as third:
                third.expect("NOOP", 250)
        support.wait_for(lambda: victim_pid not in workers(self.server), "the death is noticed")

    def test_more_when_busy(self):
        few = len(workers(self.server))
        with contextlib.ExitStack() as stack:
            for _ in range(15):
                stack.enter_context(self.client())
            support.wait_for(lambda: len(workers(self.server)) > 15, "spare ones beside the busy ones")
        self.assertLess(few, 15)

    def test_one_too_many_is_told_so(self):
        support.wait_for(lambda: not self.server.serving(), "sessions of the test before have ended")
        with contextlib.ExitStack() as stack:
            # each at an address of its own: of one there may not be so many
            clients = [stack.enter_context(Client(self.server.port, source="127.0.1.%d" % (n + 1))) for n in range(21)]
            self.assertEqual(sorted(client.reply().code for client in clients), [220] * 20 + [421])


def passing(passed: typing.Sequence[socket.socket]) -> typing.List[str]:
    """Words that become the command behind them, with what is `passed` at its descriptors from 3 on; the pid stays."""
    if not passed:
        return []
    moved = ["%d<&%d" % (60 + number, one.fileno()) for number, one in enumerate(passed)]
    moved += ["%d<&%d" % (3 + number, 60 + number) for number in range(len(passed))]
    return ["bash", "-c", 'exec %s; LISTEN_PID=$$ LISTEN_FDS=%d exec "$@"' % (" ".join(moved), len(passed)), "-"]


class QuietTest(unittest.TestCase):
    """Without serveur.sh: listener/prefork.py by itself, with a worker's patience made short, or sockets from a service
    manager."""

    def start(self, patch: typing.Optional[patching.Patch] = None, passed: typing.Sequence[socket.socket] = (),
              **variables) -> support.Server:
        """listener/prefork.py in a process of its own, as `server.process`; what is `passed` comes to it as from a
        service manager."""
        server = support.Server()
        self.addCleanup(server.destroy)
        service = pwd.getpwnam("mail") if support.IS_ROOT else pwd.getpwuid(os.geteuid())
        for folder in (server.spool, server.spool / "tmp", server.spool / "queue", server.spool / "queue/tmp"):
            folder.mkdir()
            os.chown(folder, service.pw_uid, service.pw_gid)
        environment = support.marked_environment(
            server.mark, SMTP_DOMAIN=server.domain, SMTP_STORE=str(server.mail), SMTP_SPOOL=str(server.spool),
            SMTP_MAX="12", SMTP_PORTS=str(server.port), SMTP_BIND="127.0.0.1", **variables)
        if support.IS_ROOT:
            environment["SMTP_AGENT"] = socket_in(server.folder)
            self.addCleanup(Agent(server.folder, environment, server.output_path).end)
        code = patching.prologue(support.open_root(), patch) + RUN
        with open(server.output_path, "ab") as output:
            server.process = subprocess.Popen([*passing(passed), "/usr/bin/python3", "-ES", "-c", code],
                                              stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=server.folder,
                                              env=environment, pass_fds=[one.fileno() for one in passed])
        return server

    def await_listener(self, server: support.Server):
        support.wait_for(lambda: support.listeners(server.port), "a listener")

    def children(self, server: support.Server):
        return [pid for pid in server.processes() if processes.parent_of(pid) == server.process.pid]

    def test_idle_workers_are_let_go(self):
        server = self.start({"listener.worker.QUIET_SECONDS": 0.2})
        self.await_listener(server)
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(server.client())
            support.wait_for(lambda: len(self.children(server)) > 8, "many workers")
        support.wait_for(lambda: len(self.children(server)) <= 4, "few workers again")

    def test_no_more_for_clients_that_are_soon_served(self):
        """More processes would not make the processors faster. Here it is the sessions of a second that are looked at,
        a few times."""
        server = self.start({"listener.sockets.LOOK_SECONDS": 1, "listener.sockets.WAIT_SECONDS": 3600,
                             "listener.worker.SESSIONS": 1 << 20})
        support.wait_for(lambda: len(self.children(server)) == worker.SPARE, "those that a quiet server has")
        few = set(self.children(server))
        self.assertEqual(load.Crowd(server.port, 12).run_for(3.5).failed, 0)
        self.assertEqual(set(self.children(server)), few)

    def test_fresh_after_many_sessions(self):
        server = self.start({"listener.worker.SESSIONS": 3})
        self.await_listener(server)
        before = set(self.children(server))

        def all_are_fresh():
            with server.client() as client:
                client.expect("QUIT", 221)
            return not before & set(self.children(server))
        support.wait_for(all_are_fresh, "fresh workers")

    def test_sockets_of_a_service_manager(self):
        """As sd_listen_fds(3) has it: descriptors from 3 on, for this process only."""
        with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
            server = self.start(passed=(first, second))
            for listener in (first, second):
                with Client(listener.getsockname()[1]) as client:
                    self.assertEqual(client.reply().code, 220)
            self.assertEqual(support.listeners(server.port), 0)

    def test_term_when_idle(self):
        """Everything ends, with nothing to wait for: it would wait longer than we do."""
        server = self.start({"listener.prefork.GRACE_SECONDS": 3600})
        self.await_listener(server)
        with server.client() as client:
            client.expect("QUIT", 221)
        server.process.terminate()
        self.assertEqual(server.process.wait(PATIENCE), 0)
        self.assertEqual(server.processes(), {})

    def test_second_term_ends_transactions(self):
        server = self.start()
        self.await_listener(server)
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            server.process.terminate()
            support.wait_for(lambda: not support.listeners(server.port), "nobody listens")
            client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
            server.process.terminate()
            self.assertEqual(client.reply().code, 421)
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_dead_master(self):
        """Idle workers end, a busy one frees the port at once and ends after its transaction."""
        server = self.start()
        self.await_listener(server)
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            server.process.kill()
            support.wait_for(lambda: not support.listeners(server.port), "the port is free")
            client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
            client.expect("DATA", 354)
            client.write(LETTER)
            self.assertEqual(client.reply().code, 250)
            self.assertEqual(client.reply().code, 421)
        support.wait_for(lambda: not server.processes(), "the workers end")
        self.assertEqual(len(server.messages("alice")), 1)

    def test_worker_that_cannot_work(self):
        """It says why, and is not forked again and again at full speed."""
        server = self.start({"listener.worker.Worker.run": faults.fail})
        server.wait_log("RuntimeError: a fault of the test")
        self.assertIsNone(server.process.poll())


    def test_no_process_more(self):
        """Those that there are serve on, and whoever they serve notices nothing."""
        server = self.start({"posix.fork": faults.fork_while_there_is_room})
        self.await_listener(server)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(4)]
            server.wait_log("no further process for sessions: Resource temporarily unavailable")
            for client in clients:
                client.expect("NOOP", 250)
        with server.client() as client:
            client.expect("QUIT", 221)
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.log().count("no further process"), 1)


class QueueTest(unittest.TestCase):
    """Who waits to be accepted, and when that is thought to take long."""

    def test_long_when_few_begin(self):
        with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
            self.assertEqual(sockets.count_waiting([listener]), 0)
            for count in range(1, 4):
                stack.enter_context(socket.create_connection(listener.getsockname()))
                support.wait_for(lambda: sockets.count_waiting([listener]) == count, "%d in the queue" % count)
        # the fourth waits for 50 ms if 80 are served in a second
        self.assertEqual([sockets.is_wait_long(3, begun) for begun in (0, 0.7, 0.9)], [True, True, False])


class AddressesTest(unittest.TestCase):
    """IPv6, several addresses and ports: what netcat cannot do."""

    def serve(self, *options) -> support.Server:
        """Started on these addresses (-bind) or ports, and not on 127.0.0.1 as other tests'."""
        server = support.Server((*PREFORK, *options))
        self.addCleanup(server.destroy)
        position = server.arguments.index("-bind")
        del server.arguments[position:position + 2]
        server.launch()
        return server

    def greeting(self, port: int, host: str) -> int:
        with Client(port, host) as client:
            return client.reply().code

    @unittest.skipUnless(os.path.exists("/proc/net/if_inet6"), "pas d'IPv6 ici")
    def test_ipv6_alone(self):
        for address in ("::1", "::"):
            with self.subTest(address=address):
                server = self.serve("-bind", address)
                support.wait_for(lambda: self.answers(server.port, "::1"), "an answer on ::1")
                self.assertFalse(self.answers(server.port, "127.0.0.1"))
                self.assertEqual(server.stop(), 0)

    def answers(self, port: int, host: str) -> bool:
        try:
            return self.greeting(port, host) == 220
        except OSError:
            return False

    def test_both_families_and_two_ports(self):
        port = support.free_port()
        server = self.serve("-port", port)
        hosts = ["127.0.0.1"] + ["::1"] * os.path.exists("/proc/net/if_inet6")
        for host in hosts:
            for one in (server.port, port):
                support.wait_for(lambda: self.answers(one, host), "an answer on %s port %d" % (host, one))
        with server.client(host=hosts[-1]) as client:
            client.expect("EHLO x", 250)
            self.assertEqual(client.letter("a@b.example", "alice@" + server.domain, LETTER).code, 250)
        message, = server.messages("alice")
        self.assertIn(b"Received: from [%s] (helo=x)\n" % hosts[-1].encode(), message.content)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
