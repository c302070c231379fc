"""A real Thunderbird sends through serveur.sh with every setting of its outgoing server that the server can serve."""

import email
import email.policy
import pathlib
import random
import re
import tempfile
import typing
import unittest

from tests.helpers import secure, support
from tests.helpers.lasting import enter
from tests.helpers.reports import reports
from tests.helpers.secure import ALICE, BOB, WRONG
from tests.lab.sink import Sink
from tests.thunderbird import profile, program
from tests.thunderbird.program import CLEAR, ENCRYPTED_PASSWORD, IMPLICIT_TLS, NORMAL_PASSWORD, STARTTLS

SUBJECT = "Réunion de rentrée : cœur, naïveté, 5 €, 日本語"
BODY = "Bonjour à tous,\n\nÇa va ? Voilà l'été — « déjà ».\n.\n..deux points\n\nHélène\n"
ATTACHMENT_NAME = "pièce jointe.bin"
ATTACHMENT = random.Random(1).randbytes(1 << 20)


@program.needed
def setUpModule():
    """One Thunderbird for all, each test setting up its outgoing server anew."""
    SendingCase.thunderbird = program.Thunderbird()
    unittest.addModuleCleanup(SendingCase.thunderbird.destroy)
    SendingCase.thunderbird.start()


class SendingCase(support.ServerTestCase):
    """Messages written and sent in Thunderbird, read back in alice's Maildir."""

    thunderbird: program.Thunderbird

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="thunderbird-essai-")
        self.addCleanup(folder.cleanup)
        self.attachment = pathlib.Path(folder.name) / ATTACHMENT_NAME
        self.attachment.write_bytes(ATTACHMENT)
        self.addCleanup(self.thunderbird.wait, "clear")  # what a failed test left open

    def write(self):
        self.thunderbird.wait("clear")                  # what a failed subtest left open
        self.seen = len(self.server.messages("alice"))
        self.thunderbird.compose(self.address("alice"), SUBJECT, BODY, self.attachment)

    def assert_sends(self, protocol: str, login: str = ""):
        """A message with accents and 1 MiB of attachment goes out at once and arrives as it was written."""
        self.write()
        self.thunderbird.send()
        self.thunderbird.wait_sent()
        self.assert_stored(protocol, login)

    def assert_stored(self, protocol: str, login: str = ""):
        """One more message has come in, by that protocol and after that login ("mechanism:name"), as it was written."""
        messages = self.server.messages("alice")[self.seen:]
        self.assertEqual(len(messages), 1)
        message = email.message_from_bytes(messages[0].content, policy=email.policy.default)
        self.assertEqual(message["Subject"], SUBJECT)
        self.assertEqual(message["From"].addresses[0].display_name, profile.FULL_NAME)
        self.assertEqual(re.findall(r" with (\S+)", message["Received"]), [protocol])
        arrival = [line for line in self.server.log().splitlines() if " <= " in line][-1]
        self.assertEqual(re.findall(r" A=(\S+)", arrival), [login] if login else [])
        self.assertEqual(message.get_body().get_content().strip(), BODY.strip())
        attachment, = message.iter_attachments()
        self.assertEqual(attachment.get_filename(), ATTACHMENT_NAME)
        self.assertEqual(attachment.get_content(), ATTACHMENT)

    def assert_nothing_stored(self):
        self.assertEqual(len(self.server.messages("alice")), self.seen)


class AnonymousTest(SendingCase):
    def test_sends(self):
        self.thunderbird.configure(self.server.port)
        self.assert_sends("esmtp")

    def test_unknown_recipient(self):
        """Thunderbird shows the server's own words, and its window stays as it was."""
        self.thunderbird.configure(self.server.port)
        self.thunderbird.compose(self.address("personne"), SUBJECT, BODY)
        self.thunderbird.send()
        self.assertIn("No such user here", self.thunderbird.wait_dialog().text)
        self.thunderbird.answer("accept")
        self.assertTrue(self.thunderbird.do("composing"))


class PasswordTest(SendingCase, secure.AccountsTestCase):
    def test_normal_password(self):
        self.thunderbird.configure(self.server.port, CLEAR, NORMAL_PASSWORD, "alice", ALICE)
        self.assert_sends("esmtpa", "plain:alice")

    def test_encrypted_password(self):
        self.thunderbird.configure(self.server.port, CLEAR, ENCRYPTED_PASSWORD, "bob", BOB)
        self.assert_sends("esmtpa", "cram-md5:bob")

    def test_encrypted_password_with_accents(self):
        self.thunderbird.configure(self.server.port, CLEAR, ENCRYPTED_PASSWORD, "alice", ALICE)
        self.assert_sends("esmtpa", "cram-md5:alice")

    def test_without_authentication(self):
        """What a user forgot to set is told, with the server's own words."""
        self.thunderbird.configure(self.server.port)
        self.write()
        self.thunderbird.send()
        self.assertIn("Authentication required", self.thunderbird.wait_dialog().text)
        self.assert_nothing_stored()

    def test_wrong_password(self):
        """Thunderbird says so at once; a new password is asked for, typed, and the same message goes out."""
        for method, login in ((NORMAL_PASSWORD, "plain:bob"), (ENCRYPTED_PASSWORD, "cram-md5:bob")):
            with self.subTest(method=method):
                self.refused(method)
                self.thunderbird.answer("extra1")        # "Enter New Password"
                self.type_password(BOB)
                self.thunderbird.wait_sent()
                self.assert_stored("esmtpa", login)

    def test_wrong_password_and_no_other(self):
        """After "Cancel" the sending has failed, the message is still there, and Thunderbird is ready for more."""
        self.refused(NORMAL_PASSWORD)
        self.thunderbird.answer("cancel")
        self.assertRegex(self.thunderbird.wait_dialog().text, "authenti(cate|fier)")
        self.thunderbird.answer("accept")
        self.assertTrue(self.thunderbird.do("composing"))
        self.assert_nothing_stored()
        self.thunderbird.configure(self.server.port, CLEAR, NORMAL_PASSWORD, "bob", BOB)
        self.thunderbird.send()
        self.thunderbird.wait_sent()
        self.assert_stored("esmtpa", "plain:bob")

    def refused(self, method: int):
        """Send with a wrong password, up to Thunderbird's own dialog."""
        failures = self.server.log().count(": 535 ")
        self.thunderbird.configure(self.server.port, CLEAR, method, "bob")
        self.write()
        self.thunderbird.send()
        self.type_password(WRONG)
        dialog = self.thunderbird.wait_dialog()
        self.assertFalse(dialog.password)
        self.assertIn("localhost", dialog.text)
        self.assertIn("bob", dialog.text)
        self.assertGreater(self.server.log().count(": 535 "), failures)

    def type_password(self, password: str):
        self.assertTrue(self.thunderbird.wait_dialog().password)
        self.thunderbird.answer("accept", password)


class ReportTest(SendingCase):
    """Its option "Delivery Status Notification": what it asks for, and what it shows of the answer."""

    @classmethod
    def setUpClass(cls):
        cls.home = enter(cls.addClassCleanup, Sink())
        cls.options = ("-relay", "%s=127.0.0.1:%d" % (profile.ADDRESS.rpartition("@")[2], cls.home.port))
        super().setUpClass()

    def test_report_of_success(self):
        self.thunderbird.configure(self.server.port)
        self.write()
        self.thunderbird.wait("askReport")
        self.thunderbird.send()
        self.thunderbird.wait_sent()
        self.assert_stored("esmtp")
        self.home.wait(lambda sink: sink.messages, "the report")
        report = self.home.messages[0].data.replace(b"\r\n", b"\n")
        envid, (told,) = reports(b"Return-path: <>\n" + report)
        sent = email.message_from_bytes(self.server.messages("alice")[-1].content)
        self.assertEqual(envid.strip("<>"), sent["Message-ID"].strip("<>"))
        self.assertEqual((told.action, told.final), ("delivered", "rfc822;" + self.address("alice")))
        shown = self.shown(report)
        for text in ("<%s> (delivered to the mailbox)" % self.address("alice"), "Action: delivered", "Reporting-MTA: "):
            self.assertIn(text, shown)

    def shown(self, message: bytes) -> str:
        path = self.attachment.with_name("report.eml")
        path.write_bytes(message)
        self.thunderbird.do("open", str(path))
        return self.thunderbird.wait("shown")


class TlsCase(secure.TlsPorts, SendingCase):
    """A user's own certificate, which Thunderbird takes only once that is confirmed."""

    @property
    def ways(self):
        """The settings under which the dialogue is enciphered: (port, security)."""
        return (self.server.port, STARTTLS), (self.smtps, IMPLICIT_TLS)

    def configure(self, port: int, security: int, *login: typing.Any):
        self.thunderbird.configure(port, security, *login, trusted=self.certificate)


class TlsTest(TlsCase, secure.AccountsTestCase):
    def test_starttls(self):
        self.configure(self.server.port, STARTTLS, NORMAL_PASSWORD, "alice", ALICE)
        self.assert_sends("esmtpsa", "plain:alice")

    def test_implicit_tls(self):
        self.configure(self.smtps, IMPLICIT_TLS, NORMAL_PASSWORD, "alice", ALICE)
        self.assert_sends("esmtpsa", "plain:alice")

    def test_encrypted_password(self):
        for port, security in self.ways:
            with self.subTest(security=security):
                self.configure(port, security, ENCRYPTED_PASSWORD, "bob", BOB)
                self.assert_sends("esmtpsa", "cram-md5:bob")


class AnonymousTlsTest(TlsCase):
    def test_sends(self):
        for port, security in self.ways:
            with self.subTest(security=security):
                self.configure(port, security)
                self.assert_sends("esmtps")

    def test_unknown_certificate(self):
        """Nothing is sent before the user has confirmed an exception; then the same message goes out."""
        for port, security in self.ways:
            with self.subTest(security=security):
                self.thunderbird.configure(port, security)
                self.write()
                self.thunderbird.send()
                self.assertIn("localhost", self.thunderbird.wait_dialog().text)
                self.assert_nothing_stored()
                self.thunderbird.answer("accept")
                self.thunderbird.confirm_exception()
                self.thunderbird.send()
                self.thunderbird.wait_sent()
                self.assert_stored("esmtps")
