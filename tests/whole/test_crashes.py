"""kill -9, at any moment, of anything: what was acknowledged is there once, nothing is there in part, the service goes
on."""

import contextlib
import os
import pathlib
import random
import signal
import time
import unittest

from tests.helpers import processes, support
from tests.helpers.accounts import system_users
from tests.helpers.load import Load, split_mbox

class KillTestCase(support.ServerTestCase):
    """Kills of the server's processes as long as the load lasts."""

    options = ("-max", "24", "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")
    SEED = 20260131

    def kill_at_random(self, load: Load, hits: int) -> None:
        """Kill processes that have a client until so many clients of `load` have lost theirs in the middle."""
        rng = random.Random(self.SEED)

        def are_enough():
            for pid in rng.sample(victims := self.server.serving(), min(1, len(victims))):
                time.sleep(rng.random() * 0.01)     # so that it falls anywhere in a session
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return load.unanswered >= hits
        support.wait_for(are_enough, "%d clients whose session was killed" % hits, 5 * support.PATIENCE)

    def assert_goes_on(self, recipient: str):
        support.wait_for(lambda: not self.server.serving(), "the last sessions end")
        with self.client() as client:
            client.expect("EHLO x", 250)
            self.assertEqual(client.letter("a@b.example", recipient, b"Subject: number 999999\r\n.\r\n").code, 250)


@support.both_listeners
class KilledSessionsTest(KillTestCase):
    """Sessions with two mailboxes and a queued copy."""

    HITS = 300 if support.LONG else 30
    ACKNOWLEDGED = 10 * HITS // 3       # at least

    def test_kills(self):
        recipients = [self.address("alice"), self.address("bob"), "x@tpmail.info.unicaen.fr"]
        with Load(self.server.port, recipients) as load:
            self.kill_at_random(load, self.HITS)
            support.wait_for(lambda: len(load.acknowledged) > self.ACKNOWLEDGED, "a part of the messages")
        for account in ("alice", "bob"):
            load.check(message.content for message in self.server.messages(account))
        messages = [path.read_bytes() for path in self.server.spool.glob("queue/*.message")
                    if path.with_suffix(".envelope").exists()]
        load.check(messages)
        self.assert_goes_on(self.address("alice"))


@support.needs_root
@support.both_listeners
class KilledMboxTest(KillTestCase):
    """An mbox, where a message that is begun stands among the others, and a dead session's lock keeps the others
    out."""

    options = ("-store", "mbox", "-max", "24")
    accounts = None
    HITS = 100 if support.LONG else 10

    def test_kills(self):
        with system_users("essaimbox"):
            recipient = "essaimbox@" + self.server.domain
            with Load(self.server.port, [recipient], clients=3) as load:
                self.kill_at_random(load, self.HITS)
            self.assert_goes_on(recipient)
            *messages, last = split_mbox(pathlib.Path("/var/mail/essaimbox").read_bytes())
            self.assertIn(b"Subject: number 999999\n", last)
            load.check(messages)


class KilledStarterTest(unittest.TestCase):
    """Who keeps the sessions coming is killed under load."""

    def check(self, listener: str, victims, start_again: bool = False):
        """`victims(server)`: whom to kill."""
        with support.Server(("-listen", listener, "-max", "16")).start() as server:
            with Load(server.port, ["alice@" + server.domain], clients=4) as load:
                self.wait_more(load)
                for pid in victims(server):
                    os.kill(pid, signal.SIGKILL)
                if start_again:
                    server.process.wait()
                    support.wait_for(lambda: not server.processes(), "the others end by themselves")
                    server.start()
                self.wait_more(load)
            load.check(message.content for message in server.messages("alice"))
            self.assertEqual(server.stop(), 0)

    @staticmethod
    def wait_more(load: Load):
        enough = len(load.acknowledged) + 20
        support.wait_for(lambda: len(load.acknowledged) > enough, "more messages")

    def keepers(self, server: support.Server):
        found = [pid for pid, command in server.processes().items()
                 if "serveur.sh" in command and processes.parent_of(pid) == server.process.pid]
        return sorted(found)[:2 + support.IS_ROOT]      # the first: the delivery agent's, the relay's and a listener's

    def test_keepers(self):
        self.check("netcat", self.keepers)

    def test_master(self):
        self.check("prefork", lambda server: [server.prefork_master()])

    def test_launcher(self):
        for listener in ("netcat", "prefork"):
            with self.subTest(listener=listener):
                self.check(listener, lambda server: [server.process.pid], start_again=True)


if __name__ == "__main__":
    unittest.main()
