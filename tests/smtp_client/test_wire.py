"""What another host is sent: the octets, the parameters that its extensions allow, and TLS when it has it."""

import pathlib
import ssl
import unittest

from tests.helpers import secure, support
from tests.helpers.accounts import system_users
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import SAID, Sink

PIECE = 1 << 18                 # what the relay reads at once


def delivered(text, script=None, recipients=("x@s.example",), extensions=("SIZE", "8BITMIME"), tls=None, **envelope):
    """Have the relay send one message; (what the sink received, the sink, the log's lines)."""
    with Sink(script, extensions, tls) as sink, Relay({"s.example": sink.port}) as relay:
        message_id = relay.enqueue(*recipients, text=text, **envelope)
        relay.start()
        relay.wait_log(message_id + " Completed")
        assert relay.stop() == 0
        return sink.messages[0], sink, relay.lines(message_id)


class OctetsTest(unittest.TestCase):

    def assert_arrives(self, text):
        message, *_ = delivered(text)
        self.assertEqual(message.data, text.replace(b"\n", b"\r\n"))

    def test_dots(self):
        self.assert_arrives(b".a: b\n\n.\n..\n...\nx.\n.\n")

    def test_any_octet(self):
        self.assert_arrives(TEXT + bytes(octet for octet in range(256) if octet not in b"\r\n") * 3 + b"\n")

    def test_long_lines(self):
        self.assert_arrives(TEXT + b"x" * 998 + b"\n" + b"y" * 100000 + b"\n.\n")

    def test_dot_at_every_place_around_the_end_of_a_piece(self):
        """A line may begin where one piece of what is read ends and the next begins."""
        for shift in (-2, -1, 0, 1):
            with self.subTest(shift):
                filling = PIECE + shift - len(TEXT) - 2
                self.assert_arrives(TEXT + b"z" * filling + b"\n\n.\n..x\n")

    def test_no_lines_at_all(self):
        self.assert_arrives(b"\n")


class ParametersTest(unittest.TestCase):

    SIZE = len(TEXT) + TEXT.count(b"\n")

    def sender_line(self, text=TEXT, **options):
        return delivered(text, **options)[0].sender

    def test_size_and_8bit(self):
        self.assertEqual(self.sender_line(), "FROM:<%s> SIZE=%d" % (SENDER, self.SIZE))
        self.assertEqual(self.sender_line(TEXT + b"\xe9\n"),
                         "FROM:<%s> SIZE=%d BODY=8BITMIME" % (SENDER, self.SIZE + 3))

    def test_not_offered(self):
        self.assertEqual(self.sender_line(extensions=()), "FROM:<%s>" % SENDER)

    def test_helo_only(self):
        """An old host: nothing is taken for granted."""
        message, sink, _ = delivered(TEXT, {"ehlo": "500 what"})
        self.assertEqual(message.sender, "FROM:<%s>" % SENDER)
        self.assertEqual(sink.commands[1], "HELO " + support.DOMAIN)

    def test_addresses_as_they_are(self):
        """Quoted local parts, odd characters: as the client wrote them."""
        names = ['"a b"@s.example', '"a\\"b"@s.example', "o'neil+tag@s.example", "a!b%c@S.Example"]
        message, *_ = delivered(TEXT, recipients=names, sender='"me too"@back.example')
        self.assertEqual(message.recipients, ["TO:<%s>" % name for name in names])
        self.assertTrue(message.sender.startswith('FROM:<"me too"@back.example>'))


@support.needs_program("openssl")
class TlsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.certificate = secure.Certificate()
        cls.addClassCleanup(cls.certificate.destroy)
        cls.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.context.load_cert_chain(cls.certificate.certificate, cls.certificate.key)

    def test_used_when_offered(self):
        """Whoever the certificate is for; EHLO is said again inside."""
        message, sink, lines = delivered(TEXT, tls=self.context)
        self.assertTrue(message.encrypted)
        self.assertEqual(sink.commands[:3], ["EHLO " + support.DOMAIN, "STARTTLS", "EHLO " + support.DOMAIN])
        self.assertRegex(lines[0], r' H=127\.0\.0\.1 \[127\.0\.0\.1\] X=TLS1\.3:[A-Z0-9_]+:\d+ CV=no C="250 ')

    def test_command_refused(self):
        message, *_ = delivered(TEXT, {"starttls": "454 not now"}, tls=self.context)
        self.assertFalse(message.encrypted)

    def test_broken_handshake(self):
        """Said and not done: the message goes without, over a new connection, and the log tells."""
        def rubbish(_, visit):
            visit.say("220 go ahead")
            visit.connection.recv(4096)                 # the client's part of the handshake
            visit.connection.sendall(b"this is no TLS\r\n")
            return SAID

        message, sink, lines = delivered(TEXT, {"starttls": rubbish}, tls=self.context)
        self.assertFalse(message.encrypted)
        self.assertEqual(sink.connections, 2)
        self.assertIn("TLS session failed", lines[0])

    def test_host_that_wants_our_certificate(self):
        """With TLS 1.3 it says so only after the handshake; as with 1.2, the message goes without."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        context.load_verify_locations(self.certificate.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        message, sink, lines = delivered(TEXT, tls=context)
        self.assertFalse(message.encrypted)
        self.assertEqual(sink.connections, 2)
        self.assertIn("TLS session failed", lines[0])

    @support.needs_root
    def test_port_465(self):
        """TLS from the first octet (RFC 8314 §3.3); a host that greets in clear is waited for, not left silent."""
        def greet(_, visit):
            visit.encrypt()
            visit.say("220 sink.example ESMTP")
            return SAID

        for script in ({"connect": greet}, {}):
            with self.subTest(script), Sink(script, tls=self.context, port=465, address="127.0.4.65") as sink, \
                    Relay(SMTP_RELAY="s.example=127.0.4.65:465") as relay:
                message_id = relay.enqueue("x@s.example")
                relay.start()
                if script:
                    relay.wait_log(message_id + " Completed")
                    self.assertTrue(sink.messages[0].encrypted)
                    self.assertNotIn("STARTTLS", sink.commands)
                    self.assertIn(" X=TLS1.3:", relay.lines(message_id)[0])
                else:
                    relay.wait_log("== x@s.example")
                    self.assertRegex(relay.log(), r"H=127\.0\.4\.65 \[127\.0\.4\.65\]: TLS session failed \(.*\)")

    def test_what_comes_before_the_handshake_is_forgotten(self):
        """RFC 3207 §4.2, CVE-2011-0411: an answer put behind the 220 is nobody's."""
        def answer(_, visit):
            visit.connection.sendall(b"220 go ahead\r\n250-forged\r\n250 SMTPUTF8\r\n")
            visit.encrypt()
            return SAID

        message, *_ = delivered(TEXT, {"starttls": answer}, tls=self.context, utf8=True)
        self.assertTrue(message.encrypted)
        self.assertNotIn("SMTPUTF8", message.sender)


class LocalTest(unittest.TestCase):
    """Copies for mailboxes here that the session had to leave in the queue."""

    def copy(self, account, *given):
        given = given or ["%s@%s" % (account, support.DOMAIN)]
        return {"address": given[-1], "envelope_to": list(given), "mailbox": account}

    def test_delivered_as_the_recipient(self):
        with Relay() as relay:
            copy = self.copy("bob", "list@" + support.DOMAIN, "bob@" + support.DOMAIN)
            message_id = relay.enqueue(copy, sender="me@x.example")
            relay.start()
            relay.wait_log(message_id + " Completed")
            stored, = relay.messages("bob")
            head, _, rest = stored.content.partition(b"Received: ")
            self.assertEqual(b"Received: " + rest, TEXT)
            self.assertRegex(head.decode(), r"^Return-path: <me@x.example>\nEnvelope-to: list@{0},\n bob@{0}\n"
                             r"Delivery-date: .*\n$".format(support.DOMAIN))
            self.assertEqual(relay.lines(message_id)[0], "=> bob <bob@%s> R=local_user T=maildir_home" % support.DOMAIN)
            if support.IS_ROOT:
                self.assertEqual((stored.status.st_uid, stored.status.st_mode & 0o777), (support.NOBODY, 0o600))

    def test_mailbox_that_still_cannot_be_written(self):
        with Relay() as relay:
            (relay.mail / "bob" / "Maildir").write_text("a file")
            message_id = relay.enqueue(self.copy("bob"), self.copy("alice"))
            relay.start()
            relay.wait_log("== bob@")
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][0]["tries"], "the note of the attempt")
            self.assertRegex("\n".join(relay.lines(message_id)),
                             r"== bob@\S+ R=local_user T=maildir_home defer \(\d+\): ")
            self.assertEqual(len(relay.messages("alice")), 1)
            (relay.mail / "bob" / "Maildir").unlink()
            relay.advance(0.25)
            relay.wait_log(message_id + " Completed")
            self.assertEqual((len(relay.messages("bob")), len(relay.messages("alice"))), (1, 1))

    @support.needs_root
    def test_mbox(self):
        """A bounce in /var/mail, under the locks of its owner; while it is locked, it waits."""
        impatient = {"mailstore.mbox.LOCK_SECONDS": 0.1}
        with system_users("essairelais") as users, \
                Relay(accounts=(), agent_patch=impatient, SMTP_STORE="mbox") as relay:
            spool, (account,) = pathlib.Path("/var/mail/essairelais"), users.values()
            lock = spool.with_suffix(".lock")
            lock.write_text("somebody\n")
            self.addCleanup(lambda: lock.exists() and lock.unlink())
            message_id = relay.enqueue(self.copy("essairelais"), sender="")
            relay.start()
            relay.wait_log("== essairelais@")
            self.assertIn("defer (-9): failed to lock mailbox %s (lock file)" % spool, relay.log())
            lock.unlink()
            relay.wake("retry")
            relay.wait_log(message_id + " Completed")
            self.assertIn("=> essairelais <essairelais@%s> R=local_user T=mail_spool" % support.DOMAIN, relay.log())
            self.assertTrue(spool.read_bytes().startswith(b"From MAILER-DAEMON "))
            self.assertTrue(spool.read_bytes().endswith(b"\nCorps.\n\n"))
            self.assertEqual(spool.stat().st_uid, account.pw_uid)

    def test_account_that_is_gone(self):
        with Relay() as relay:
            message_id = relay.enqueue(self.copy("carol"))
            relay.start()
            relay.wait_empty()
            self.assertEqual(relay.lines(message_id)[0], "** carol@%s: Unrouteable address" % support.DOMAIN)
            self.assertEqual(len(relay.messages("alice")), 1)

    def test_aliases_are_followed(self):
        """An address of ours in the queue: its aliases lead here and elsewhere, and to nobody."""
        with Sink() as sink, Relay({"s.example": sink.port},
                                   aliases="all: alice, bob, far@s.example, ghost\n") as relay:
            message_id = relay.enqueue("all@" + support.DOMAIN, sender="bob@" + support.DOMAIN)
            relay.start()
            relay.wait_empty()
            lines = relay.lines(message_id)
            self.assertIn("=> alice <all@{0}> R=local_user T=maildir_home".format(support.DOMAIN), lines)
            self.assertIn("** ghost@{0} <all@{0}>: Unrouteable address".format(support.DOMAIN), lines)
            far = "=> far@s.example <all@%s> R=hubbed_hosts" % support.DOMAIN
            self.assertTrue(any(line.startswith(far) for line in lines), lines)
            self.assertEqual(len(sink.messages), 1)
            self.assertEqual(len(relay.messages("bob")), 2)         # the letter, and the bounce for ghost

    def test_aliases_that_cannot_be_read(self):
        """The system's own number is in the log, as Exim has it."""
        with Relay(aliases="all: alice\n") as relay:
            (relay.folder / "aliases").unlink()
            relay.enqueue("all@" + support.DOMAIN)
            relay.start()
            relay.wait_log("== all@%s R=system_aliases defer (2): No such file or directory: %s" % (
                support.DOMAIN, relay.folder / "aliases"))

    def test_refused_and_deferred_by_alias(self):
        aliases = "gone: :fail: moved away\nlater: :defer: being moved\n"
        with Relay(aliases=aliases) as relay:
            message_id = relay.enqueue("gone@" + support.DOMAIN, "later@" + support.DOMAIN)
            relay.start()
            relay.wait_log("== later@")
            relay.wait_log("** gone@")
            self.assertEqual(sorted(relay.lines(message_id)[:2]), [
                "** gone@%s: moved away" % support.DOMAIN,
                "== later@%s R=system_aliases defer (-1): being moved" % support.DOMAIN])
