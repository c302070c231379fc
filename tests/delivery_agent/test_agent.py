"""The delivery agent: what is lost when it is killed (nothing), whom a mailbox that hangs delays (nobody else), and
what becomes of mail without it."""

import contextlib
import fcntl
import os
import pathlib
import random
import resource
import signal
import socket
import struct
import tempfile
import time
import types
import unittest
from unittest import mock

from delivery_agent.connection import Connection
from mailstore import agent_client
from mailstore.outcome import Later, Unavailable
from tests.helpers import faults, harness, mailbox_faults, support
from tests.helpers.accounts import system_users
from tests.helpers.load import Load, split_mbox
from tests.helpers.processes import children_of
from tests.helpers.terminals import FIRST_UID, PseudoTerminal
from tests.lab.asking import ask

SMALL = b"Subject: small\r\n\r\ntext\r\n.\r\n"


def tell(place: str, hit: int, load: Load, twice: int) -> None:
    print("%s: %d agents killed, %d messages acknowledged, 0 lost, %d twice" % (
        place, hit, len(load.acknowledged), twice))


class AgentKillTestCase(support.ServerTestCase):
    options = ("-max", "24", "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")
    SEED = 20260213

    def kill_at_random(self, load: Load, kills: int, least: int) -> int:
        """Kill agents, at every tenth time their master, until so many were hit and `least` messages of `load` were
        acknowledged; how many were hit."""
        dice, hit = random.Random(self.SEED), 0

        def is_enough():
            nonlocal hit
            victims = [self.server.agent_master()] if hit % 10 == 9 else self.server.agent_workers()
            for pid in dice.sample(victims, min(1, len(victims))):
                time.sleep(dice.random() * 0.01)    # so that it falls anywhere in a delivery
                with contextlib.suppress(ProcessLookupError):
                    if pid and hit < kills:
                        os.kill(pid, signal.SIGKILL)
                        hit += 1
            return hit == kills and len(load.acknowledged) >= least
        support.wait_for(is_enough, "%d agents killed" % kills, 5 * support.PATIENCE)
        return hit


@support.needs_root
@support.both_listeners
class KilledAgentTest(AgentKillTestCase):
    """Maildirs that nobody reads meanwhile: nothing is lost, and nothing is there twice."""

    KILLS = 150 if support.LONG else 15
    ACKNOWLEDGED = 3 * KILLS        # at least

    def test_kills(self):
        for recipients in (["alice"], ["alice", "bob"]):
            with Load(self.server.port, [self.address(one) for one in recipients]) as load:
                hit = self.kill_at_random(load, self.KILLS, self.ACKNOWLEDGED)
            for account in recipients:
                messages = self.server.messages(account)
                queued = [path.read_bytes() for path in self.server.spool.glob("queue/*.message")
                          if '"mailbox": "%s"' % account in path.with_suffix(".envelope").read_text()]
                load.check([message.content for message in messages] + queued)
                tell(account, hit, load, 0)
                for message in messages:
                    message.path.unlink()
        support.wait_for(lambda: self.server.send(self.address("bob"), SMALL).code == 250, "service")


@support.needs_root
class KilledAgentMboxTest(AgentKillTestCase):
    """An mbox: what was begun is cut off; a copy is there twice where the agent died between commit and answer."""

    options = ("-store", "mbox", "-max", "24")
    accounts = None
    KILLS = 120 if support.LONG else 12
    ACKNOWLEDGED = 2 * KILLS

    def test_kills(self):
        with system_users("essaiagent"):
            recipient = "essaiagent@" + self.server.domain
            with Load(self.server.port, [recipient], clients=3) as load:
                hit = self.kill_at_random(load, self.KILLS, self.ACKNOWLEDGED)
            support.wait_for(lambda: self.server.send(recipient, b"Subject: number 999999\r\n.\r\n").code == 250,
                             "service")
            *messages, last = split_mbox(pathlib.Path("/var/mail/essaiagent").read_bytes())
            self.assertIn(b"Subject: number 999999\n", last)
            tell("mbox", hit, load, load.check(messages, most_twice=hit))


@support.needs_root
class LongTextTest(unittest.TestCase):
    """Texts that come in a file, which is written over for the next."""

    SIZES = (1 << 20, 40_000, 100, 1_500_000, 33_000, 2_200_000, 50_000)

    def test_each_is_whole(self):
        with harness.Handlers() as server:
            texts = [b"Subject: long\r\n\r\n" + (b"%07d " % size * 7 + b"\r\n") * (size // 58) for size in self.SIZES]
            with server.client() as client:
                client.expect("EHLO x", 250)
                for text in texts:
                    client.expect("MAIL FROM:<a@b.example>", 250)
                    client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
                    client.expect("DATA", 354)
                    client.write(text + b".\r\n")
                    self.assertEqual(client.reply().code, 250)
            found = sorted(message.content.partition(b"\n\n")[2] for message in server.messages("alice"))
            self.assertEqual(found, sorted(text.replace(b"\r\n", b"\n").partition(b"\n\n")[2] for text in texts))

    def test_unanswered(self):
        """A file that an agent may still read is not written to again."""
        spare = agent_client.Spare()
        file = spare.take()
        spare.give_back(file)
        self.assertEqual(spare.take(), file)
        line = agent_client.Line.__new__(agent_client.Line)
        line._socket, line._spare, line._file = socket.socket(), spare, file
        line.close()
        self.assertEqual(spare._files, [])
        with self.assertRaises(OSError):
            os.fstat(file)


class AliasesTest(unittest.TestCase):
    """A file that everybody may read takes no question; whatever else lies there does, and waits for nobody."""

    def test_what_takes_a_question(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "file").write_text("postmaster: alice\n")
            (folder / "folder").mkdir()
            os.mkfifo(folder / "fifo")
            asked = []
            for kind in ("file", "folder", "fifo", "nothing"):
                access = agent_client.Agent("nowhere", str(folder / kind))
                access._ask = lambda *words: asked.append((kind, *words)) or (-1, [])
                file = access.open("aliases")
                if file >= 0:
                    self.assertEqual(os.read(file, 100), b"postmaster: alice\n")
                    os.close(file)
            access.open("key")
        self.assertEqual(asked, [(kind, "open", "aliases") for kind in ("folder", "fifo", "nothing")]
                         + [("nothing", "open", "key")])


class FreshTest(unittest.TestCase):
    """Who has just taken a message is not asked whether he can: not for long, and not in the next session."""

    def test_questions(self):
        now, asked = [0.0], []
        access, mailbox = agent_client.Agent("nowhere"), types.SimpleNamespace(user="alice")
        access._ask = lambda *words: asked.append(words)
        with mock.patch.object(agent_client, "monotonic", lambda: now[0]):
            access.check(mailbox)
            access._note_delivery(mailbox)
            access.check(mailbox)
            self.assertEqual(asked, [("check", "alice")])
            now[0] += agent_client.FRESH_SECONDS
            access.check(mailbox)
            access._note_delivery(mailbox)
            access.begin_session()
            access.check(mailbox)
        self.assertEqual(asked, [("check", "alice")] * 3)


    def test_what_forward_has_told(self):
        """Who has no .forward may receive, as far as this session goes."""
        asked = []
        access, mailbox = agent_client.Agent("nowhere"), types.SimpleNamespace(user="alice")
        access._ask = lambda *words: asked.append(words[0]) or (None, ["usable"])
        for between in (bool, access.begin_session):
            access.forward(mailbox)
            between()
            access.check(mailbox)
        self.assertEqual(asked, ["forward", "forward", "check"])


class LateAnswerTest(unittest.TestCase):
    """An answer that nobody waits for any more."""

    def test_is_none_to_the_next_question(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent, \
                mock.patch.multiple(agent_client, SECONDS=0.1, MARGIN_SECONDS=0):
            agent.bind(folder + "/socket")
            agent.listen()
            errand = agent_client.Errand(folder + "/socket", agent_client.Spare(), print)
            self.addCleanup(errand.close)
            mailbox = types.SimpleNamespace(user="alice", is_mbox=True)
            with self.assertRaises(Later):
                errand.prepare(types.SimpleNamespace(name="one", mailbox=mailbox))
            asked, _ = agent.accept()
            with asked, contextlib.suppress(BrokenPipeError):
                asked.send(b".done\n")
            with self.assertRaises(Later):
                errand.prepare(types.SimpleNamespace(name="two", mailbox=mailbox))


class DescriptorsTest(unittest.TestCase):
    def test_more_than_one(self):
        """Whoever asks may have been taken over: none of what he passes stays open."""
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = len(os.listdir("/proc/self/fd"))
        theirs.sendmsg([b".check\0alice\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("ii", 0, 0))])
        connection = Connection(ours)
        self.assertEqual(connection.receive()[0], ["check", "alice"])
        connection.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)
        theirs.close()

    def test_no_room(self):
        """What comes without its descriptor is no question, and no answer."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
            agent.bind(folder + "/socket")
            agent.listen()
            line = agent_client.Line(folder + "/socket")
            self.addCleanup(line.close)
            asked, _ = agent.accept()
            connection = Connection(asked)
            self.addCleanup(connection.close)
            asked.sendmsg([b".done\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])
            line._socket.sendmsg([b".deliver\0alice\0name\n"],
                                 [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])
            with no_further_descriptor():
                self.assertIsNone(connection.receive())
                with self.assertRaises(Unavailable):
                    line.ask(["forward", "alice"])


@contextlib.contextmanager
def no_further_descriptor():
    """This process can open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@support.needs_root
class HangingTest(unittest.TestCase):
    """A mailbox that keeps its delivery waiting for ever."""

    SHORT = {"mailstore.agent_client.SECONDS": 3, "delivery_agent.requests.LATE_SECONDS": 0.2,
             "delivery_agent.requests.MOST_LATE": 2, "mailstore.maildir.prepare": mailbox_faults.hang_for_alice}

    def test_nobody_else_waits(self):
        with harness.Handlers(patch=self.SHORT) as server, contextlib.ExitStack() as stack:
            hanging = [stack.enter_context(server.client()) for _ in range(2)]
            for client in hanging:
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@b.example>", 250)
                client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
                client.expect("DATA", 354)
                client.write(SMALL)
            self.assertEqual(server.send("bob@" + server.domain, SMALL).code, 250)
            with server.client() as client:
                client.expect("EHLO x", 250)
                support.wait_for(lambda: client.ask("VRFY alice").code == 450, "no more for alice")
                client.expect("MAIL FROM:<a@b.example>", 250)
                client.expect("RCPT TO:<bob@%s>" % server.domain, 250)
            for client in hanging:
                self.assertEqual(client.reply().code, 451)
            self.assertIn("nothing done within 3 s", server.log())

    def test_lease(self):
        """Its owner holds a lease on his mbox: whoever opens it would wait for him, the lock held, for 45 s."""
        with harness.Handlers({"SMTP_STORE": "mbox"}, accounts=None) as server, system_users("essaiagent") as people:
            mbox = pathlib.Path("/var/mail/essaiagent")
            mbox.touch()
            os.chown(mbox, people["essaiagent"].pw_uid, -1)
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            with open(mbox) as file, server.client() as client:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@b.example>", 250)
                client.expect("RCPT TO:<essaiagent@%s>" % server.domain, 450)
                server.wait_log("(11) Resource temporarily unavailable: %s" % mbox)
            self.assertEqual(server.send("essaiagent@" + server.domain, SMALL).code, 250)


@support.needs_root
class NoProcessTest(unittest.TestCase):
    def test_fork_that_fails(self):
        """The agent goes on with whom it has, and asks again."""
        with harness.Handlers(patch={"posix.fork": faults.fork_every_other_time}) as server:
            for _ in range(3):
                self.assertEqual(server.send("alice@" + server.domain, SMALL).code, 250)
            support.wait_for(lambda: len(children_of(server.agent.process.pid)) >= 3, "as many as should be idle")
            self.assertIsNone(server.agent.process.poll())


@support.needs_root
class LeftTest(unittest.TestCase):
    def test_socket_of_a_killed_server(self):
        """The next start removes it; that of a server which runs stays."""
        with support.Server() as running, support.Server() as killed, support.Server() as last:
            running.start(), killed.start()
            killed.destroy()
            last.start()
            sockets = os.listdir("/run/serveur-smtp-agent")
            found = [str(server.process.pid) in sockets for server in (running, killed, last)]
            self.assertEqual(found, [True, False, True])
            self.assertEqual(running.send("alice@" + running.domain, SMALL).code, 250)
            self.assertEqual((running.stop(), last.stop()), (0, 0))


@support.needs_root
class WithoutAgentTest(unittest.TestCase):
    def test_nothing_is_delivered_by_anybody_else(self):
        with harness.Handlers({"SMTP_AGENT": "/nonexistent/agent"}) as server, server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            client.expect("RCPT TO:<alice@%s>" % server.domain, 451)
            server.wait_log("delivery agent: /nonexistent/agent: No such file or directory")

    def test_others_are_not_answered(self):
        """The agent looks at who asks, whoever lets him in."""
        with harness.Handlers() as server:
            server.send("alice@" + server.domain, SMALL)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.settimeout(support.PATIENCE)
                asking.connect(server.agent.socket)
                with contextlib.suppress(ConnectionError):
                    asking.send(b".open\0aliases\n")
                    self.assertEqual(asking.recv(100), b"")


@support.needs_root
class TerminalsTest(unittest.TestCase):
    """What a session that was taken over can have written to terminals: text, to those of whom it names."""

    TEXT = "\r\n\aMessage\r\n  é\r\nEOF\r\n"
    ALICE, BOB = FIRST_UID, FIRST_UID + 1

    def ask(self, settings, user: str, text: str = TEXT, verb: str = "write"):
        with harness.Handlers(settings) as server, PseudoTerminal(self.ALICE) as hers, PseudoTerminal(
                self.BOB) as his:
            os.chown(server.mail / "alice", self.ALICE, self.ALICE)
            os.chown(server.mail / "bob", self.BOB, self.BOB)
            server.have_agent()
            answer = ask(server.agent.socket, verb, user, text=text)
            return answer, hers.is_blank(), his.is_blank()

    def test_whose(self):
        self.assertEqual(self.ask({"SMTP_TERMINALS": "1"}, "alice"), ("", False, True))
        self.assertEqual(self.ask({"SMTP_TERMINALS": "1"}, "bob"), ("", True, False))
        self.assertEqual(self.ask({"SMTP_TERMINALS": "1"}, "bob", verb="active"), ("", True, True))

    def test_what(self):
        for text in ("\x1b]0;x\x07", "\u009b", "\u202e", "x" * 65537):
            self.assertEqual(self.ask({"SMTP_TERMINALS": "1"}, "alice", text), (None, True, True), text[:9])

    def test_unless_asked_for(self):
        for verb in ("active", "write"):
            self.assertEqual(self.ask({}, "alice", verb=verb), (None, True, True))


if __name__ == "__main__":
    unittest.main()
