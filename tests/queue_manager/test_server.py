"""The whole server: sessions put mail into the queue, the relay that serveur.sh starts carries it on."""

import os
import signal
import tempfile
import unittest

from tests.helpers import support
from tests.helpers.lasting import enter
from tests.lab.relay import Relay
from tests.lab.sink import SILENCE, Sink

WIRE = b"Subject: essai\r\nMessage-ID: <essai@client>\r\n\r\nCorps.\r\n.\r\n"


class SinkServerCase(support.ServerTestCase):
    """serveur.sh with a sink as the host of sink.example."""

    script = {}
    more_options = ()

    @classmethod
    def setUpClass(cls):
        cls.sink = enter(cls.addClassCleanup, Sink(cls.script))
        cls.options = ("-relay", "sink.example=127.0.0.1:%d" % cls.sink.port, *cls.more_options)
        super().setUpClass()

    def queue(self):
        return self.server.spool / "queue"

    def messages_in_queue(self):
        return sorted(path.stem for path in self.queue().glob("*.envelope"))

    def wait_completed(self, reply):
        message_id = reply.text.rpartition("id=")[2]
        self.server.wait_log(message_id + " Completed")
        return [line[37:] for line in self.server.log().splitlines() if line[20:36] == message_id]


class HandOverTest(SinkServerCase):

    def test_recipients(self):
        """Only mail for the domains of -relay is carried; nobody but their host can say who is there."""
        with self.client() as client:
            client.expect("EHLO client.example.org", 250)
            self.assertEqual(client.ask("VRFY anyone@sink.example").code, 252)
            client.expect("MAIL FROM:<alice@%s>" % self.server.domain, 250)
            self.assertEqual(client.ask("RCPT TO:<anyone@SINK.example>").code, 250)
            self.assertEqual(client.ask("RCPT TO:<x@elsewhere.example>").code, 550)
            self.assertEqual(client.ask("RCPT TO:<x@sub.sink.example>").code, 550)
            client.expect("QUIT", 221)

    def test_here_and_there(self):
        """One message for a mailbox here and two addresses there: one life in the log, one transaction."""
        before = len(self.sink.messages)
        reply = self.server.send([self.address("bob"), "x@sink.example", "y@sink.example"], WIRE)
        lines = self.wait_completed(reply)
        # The relay may have found and sent it before the session has told of bob.
        self.assertEqual(sorted(lines[1:]), sorted([
            "Completed", "=> bob <%s> R=local_user T=maildir_home" % self.address("bob"),
            '=> x@sink.example R=hubbed_hosts T=remote_smtp H=127.0.0.1 [127.0.0.1] C="250 queued as 12345"',
            '-> y@sink.example R=hubbed_hosts T=remote_smtp H=127.0.0.1 [127.0.0.1] C="250 queued as 12345"']))
        self.assertTrue(lines[0].startswith("<= sender@client.example.org H=(client.example.org) [127.0.0.1] P=esmtp "
                                            "S="))
        message = self.sink.messages[before]
        self.assertEqual(message.recipients, ["TO:<x@sink.example>", "TO:<y@sink.example>"])
        stored = self.server.messages("bob")[-1].content
        self.assertEqual(message.data.replace(b"\r\n", b"\n"), stored[stored.index(b"Received: "):])
        # `Completed` comes first, so that the log has each message's end.
        support.wait_for(lambda: not self.messages_in_queue(), "the end of what lay in the queue")

    def test_queue_that_cannot_be_written(self):
        """451 after the dot, and nothing is kept, here or there."""
        reply = self.server.send(["warm@sink.example"], WIRE)
        self.wait_completed(reply)
        folder, before = self.queue() / "tmp", len(self.server.messages("alice"))
        moved = folder.rename(folder.with_name("tmp.away"))
        folder.write_text("not a folder")
        try:
            reply = self.server.send([self.address("alice"), "x@sink.example"], WIRE)
        finally:
            folder.unlink()
            moved.rename(folder)
        self.assertEqual(reply.code, 451)
        self.assertEqual(len(self.server.messages("alice")), before)
        self.assertEqual(self.messages_in_queue(), [])
        self.assertEqual(list((self.server.mail / "alice").glob("Maildir/tmp/*")), [])

    def test_relay_that_dies_is_replaced(self):
        relay = self.server.relay_pid()
        os.kill(relay, signal.SIGKILL)
        reply = self.server.send(["after@sink.example"], WIRE)
        self.wait_completed(reply)
        self.assertNotIn(relay, self.server.processes())


class BounceInMailboxTest(SinkServerCase):
    script = {"rcpt": "550 no such user"}

    def test_bounce_lies_in_the_senders_maildir(self):
        reply = self.server.send(["x@sink.example"], WIRE, sender=self.address("alice"))
        self.wait_completed(reply)
        support.wait_for(lambda: self.server.messages("alice"), "the bounce")
        bounce, = self.server.messages("alice")
        self.assertIn(b"\nX-Failed-Recipients: x@sink.example\n", bounce.content)
        if support.IS_ROOT:
            self.assertEqual((bounce.status.st_uid, bounce.status.st_mode & 0o777), (support.NOBODY, 0o600))


class SlowHostTest(SinkServerCase):
    script = {"connect": SILENCE}

    def test_stop_with_a_host_that_says_nothing(self):
        """The server stops at once; what was on its way stays in the queue (the class checks that nothing else
        does)."""
        self.server.send(["x@sink.example"], WIRE)
        self.sink.wait(lambda sink: sink.connections, "a connection")
        self.assertEqual(len(self.messages_in_queue()), 1)


class SmarthostTest(SinkServerCase):
    """`-relay '*=HOST'`: HOST takes the mail of authenticated users for all other domains, and of nobody else."""

    @classmethod
    def setUpClass(cls):
        cls.smarthost = enter(cls.addClassCleanup, Sink())
        accounts = tempfile.NamedTemporaryFile("w", prefix="comptes-essai-")
        cls.addClassCleanup(accounts.close)
        accounts.write("alice:secret\n")
        accounts.flush()
        cls.more_options = ("-relay", "*=127.0.0.1:%d" % cls.smarthost.port, "-pass", accounts.name)
        super().setUpClass()

    def test_authenticated(self):
        with self.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 235)          # \0alice\0secret
            reply = client.letter(self.address("alice"), ["x@any.example", "y@other.example", "z@sink.example"], WIRE)
        lines = self.wait_completed(reply)
        self.assertIn("=> x@any.example R=smarthost T=remote_smtp_smarthost H=127.0.0.1", "\n".join(lines))
        self.assertEqual(self.smarthost.messages[-1].recipients, ["TO:<x@any.example>", "TO:<y@other.example>"])
        self.assertEqual(self.sink.messages[-1].recipients, ["TO:<z@sink.example>"])


class OpenRelayTest(SinkServerCase):
    """Without -pass nobody is authenticated, whatever the smarthost would take."""

    more_options = ("-relay", "*=127.0.0.1:1")

    def test_refused(self):
        with self.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<alice@%s>" % self.server.domain, 250)
            self.assertEqual(client.ask("RCPT TO:<x@any.example>").code, 550)


class BetweenServersTest(unittest.TestCase):
    """Two servers of this kind, each the other's relay domain."""

    def test_round_trip(self):
        one, other = (support.Server(domain=name) for name in ("one.example", "other.example"))
        with one, other:
            one.arguments += ["-relay", "other.example=127.0.0.1:%d" % other.port]
            other.arguments += ["-relay", "one.example=127.0.0.1:%d" % one.port]
            one.start(), other.start()
            one.send("bob@other.example", WIRE, sender="alice@one.example")
            support.wait_for(lambda: other.messages("bob"), "the letter")
            # There is no carol: her server says so at RCPT, and ours tells alice.
            one.send("carol@other.example", WIRE, sender="alice@one.example")
            support.wait_for(lambda: one.messages("alice"), "the bounce")
            self.assertEqual(one.stop(), 0)
            self.assertEqual(other.stop(), 0)

    def test_loop_is_broken(self):
        """Two aliases that lead to each other: after a hundred hosts, eighty of which it has behind it, the letter
        comes back as a bounce."""
        one = support.Server(domain="one.example", aliases="ping: pong@other.example\n")
        other = support.Server(domain="other.example", aliases="pong: ping@one.example\n")
        with one, other:
            one.arguments += ["-relay", "other.example=127.0.0.1:%d" % other.port]
            other.arguments += ["-relay", "one.example=127.0.0.1:%d" % one.port]
            one.start(), other.start()
            with one.client() as client:
                client.expect("EHLO client.example.org", 250)
                client.expect("MAIL FROM:<alice@one.example>", 250)
                client.expect("RCPT TO:<ping@one.example>", 251)
                client.expect("DATA", 354)
                client.write(b"Received: by host.example; Tue, 24 Nov 2026 10:00:00 +0100\r\n" * 80 + WIRE)
                self.assertEqual(client.reply().code, 250)
            support.wait_for(lambda: one.messages("alice"), "the bounce")
            self.assertIn(b"loop", one.messages("alice")[0].content)
            self.assertEqual((one.stop(), other.stop()), (0, 0))


class WakeTest(unittest.TestCase):

    def test_woken_by_the_session(self):
        """The relay looks by itself once a minute only, so what leaves at once was announced."""
        with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
            relay.start()
            for number in range(5):
                message_id = relay.enqueue("x%d@sink.example" % number)
                relay.wake()
                sink.wait_messages(number + 1)
                relay.wait_log(message_id + " Completed")
            self.assertEqual(relay.stop(), 0)
