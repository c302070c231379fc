"""Submission: what is added to a message from an authenticated client, and what tells of TLS; compared with a real
Exim."""

import dataclasses
import re
import ssl
import subprocess
import tempfile
import unittest

from mailstore.trace import registered_name
from tests.helpers import support
from tests.helpers.secure import ACCOUNTS, ALICE, AccountsTestCase, Certificate, context, encoded, plain, start_tls
from tests.lab import compare
from tests.lab.corpus import DEFAULT_ENVELOPE, Message
from tests.lab.exim import Exim, needs_model_exim
from tests.mailstore import test_corpus
from tests.smtp import test_submission_corpus

MESSAGE = b"Subject: x\r\n\r\nx\r\n.\r\n"
HEADERS = {
    "nothing": b"",
    "all-there": b"Message-ID: <1@x>\r\nFrom: a@x.example\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n",
    "other-case": b"MESSAGE-id: <1@x>\r\nfrom: a@x.example\r\nDATE: x\r\n",
    "no-date": b"Message-ID: <1@x>\r\nFrom: a@x.example\r\n",
    "no-from": b"Date: x\r\nMessage-ID: <1@x>\r\n",
    "no-id": b"From: a@x.example\r\nDate: x\r\n",
    "blank-before-colon": b"From : a@x.example\r\nDate\t: x\r\nMessage-ID : <1@x>\r\n",
    "folded": b"From:\r\n a@x.example\r\nDate:\r\n\tx\r\nMessage-ID:\r\n <1@x>\r\n",
    "empty-fields": b"From:\r\nDate:\r\nMessage-ID:\r\n",
    "sender": b"Sender: someone@x.example\r\nFrom: other@x.example\r\n",
    "bcc": b"To: a@x.example\r\nBcc: b@x.example\r\n",
    "resent-id": b"From: a@x.example\r\nResent-Message-ID: <1@x>\r\n",
    "resent-from": b"From: a@x.example\r\nResent-From: b@x.example\r\n",
    "resent-date": b"From: a@x.example\r\nResent-Date: x\r\n",
    "resent-to": b"From: a@x.example\r\nDate: x\r\nResent-To: b@x.example\r\n",
    "resent-sender": b"RESENT-SENDER: b@x.example\r\n",
    "resent-all": b"Resent-Message-ID: <1@x>\r\nResent-From: b@x.example\r\nResent-Date: x\r\n",
    "resent-unknown": b"Resent-Reply-To: b@x.example\r\nFrom: a@x.example\r\n",
    "resent-nonsense": b"Resent-Nonsense: b\r\nFrom: a@x.example\r\n",
}
NULL_SENDER = [DEFAULT_ENVELOPE[0], "MAIL FROM:<>", *DEFAULT_ENVELOPE[2:]]
QUOTED_SENDER = [DEFAULT_ENVELOPE[0], 'MAIL FROM:<"a b"@x.example>', *DEFAULT_ENVELOPE[2:]]


def message(name, header, commands=DEFAULT_ENVELOPE):
    return Message(name, list(commands), b"Subject: x\r\n" + header + b"\r\nx\r\n.\r\n")


@needs_model_exim
class AddedHeadersTest(test_submission_corpus.SubmissionTest):
    """Every set of headers that matters, with and without a reverse-path."""

    listener = "netcat"

    def test_stored_and_logged_as_exim_does(self):
        for name, header in HEADERS.items():
            for sender, commands in (("", DEFAULT_ENVELOPE), ("-null-sender", NULL_SENDER), ("-quoted", QUOTED_SENDER)):
                with self.subTest(name + sender):
                    self.check(message(name + sender, header, commands))


@needs_model_exim
class TraceUnderTlsTest(test_corpus.StoreCase):
    """The same conversation under TLS: Received and the log tell of it as Exim does."""

    store = "maildir"

    @classmethod
    def setUpClass(cls):
        certificate = Certificate()
        cls.addClassCleanup(certificate.destroy)
        certificate.both.chmod(0o644)
        accounts = cls.enter(tempfile.NamedTemporaryFile("w", prefix="login_pass-"))
        accounts.write("eximalice:secret\n")
        accounts.flush()
        cls.more_options = ("-tls", certificate.both, "-pass", accounts.name)
        super().setUpClass()
        cls.exim = cls.enter(Exim(options="tls_advertise_hosts = *\ntls_certificate = %s" % certificate.both))

    def converse(self, port, version):
        """Send one message as eximalice; the cipher's name as OpenSSL has it."""
        with support.greeted_client(port) as client:
            start_tls(client, context(version))
            client.expect("AUTH PLAIN " + plain("eximalice", "secret"), 235)
            reply = client.letter("a@x.example", "eximalice@" + support.DOMAIN, MESSAGE)
            self.assertEqual(reply.code, 250)
            return reply.text.rpartition("id=")[2], client.socket.cipher()[0]

    def test_as_exim(self):
        for version, number in ((ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")):
            with self.subTest(number):
                identity, _ = self.converse(self.exim.port, version)
                self.exim.wait_completed(identity)
                theirs = self.take()
                identity, cipher = self.converse(self.server.port, version)
                ours = self.take()
                if number == "1.3":         # GnuTLS's name of it isn't the registered one
                    self.assertIn(b"(TLS1.3) tls %s\n" % cipher.encode(), ours[0].content)
                    theirs, ours = ([dataclasses.replace(copy, content=re.sub(rb" tls TLS_\w+", b" tls", copy.content))
                                     for copy in copies] for copies in (theirs, ours))
                self.assert_same_copies(*([dataclasses.replace(copy, content=compare.blank_submitted(copy.content))
                                           for copy in copies] for copies in (ours, theirs)))
                self.assertIn(" P=esmtpsa X=TLS%s:%s:256 CV=no A=plain:eximalice S=" % (number, cipher),
                              self.server.wait_log(identity + " <= "))
        without_ciphers = [re.sub(r"X=(TLS[0-9.]+):\S+:256", r"X=\1", line)
                           for log in (self.server.log(), self.exim.log()) for line in compare.log_lines(log)]
        half = len(without_ciphers) // 2
        self.assertEqual(without_ciphers[:half], without_ciphers[half:])


class CipherNameTest(unittest.TestCase):
    """OpenSSL knows both names of each cipher."""

    @support.needs_program("openssl")
    def test_registered_names(self):
        ours = {cipher["name"] for cipher in ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()}
        table = subprocess.run(["openssl", "ciphers", "-stdname", "-v", "ALL"], capture_output=True, text=True,
                               check=True, timeout=support.PATIENCE).stdout
        names = {line.split()[2]: line.split()[0] for line in table.splitlines()}
        usable = [name for name in ours if "PSK" not in name and "SRP" not in name]
        self.assertGreater(len(usable), 10)
        for name in usable:
            self.assertEqual(registered_name(name), names[name])


class ProtocolTest(AccountsTestCase):
    """`with` in Received, P= and A= in the log, for each way to send; nothing is added for who has not
    authenticated."""

    text = ACCOUNTS + "jean@x.example:secret\n"

    def sent(self, *commands):
        """(what is stored, the log's line) of a message sent after `commands`."""
        client = self.client()
        self.addCleanup(client.close)
        for command, code in commands:
            client.expect(command, code)
        reply = client.letter("a@x.example", self.address("alice"), MESSAGE)
        client.close()
        self.assertEqual(reply.code, 250)
        return self.server.messages("alice")[-1].content.decode(), self.server.wait_log(reply.text[-16:] + " <= ")

    def test_mechanism(self):
        for mechanism, commands in (
                ("plain", [("AUTH PLAIN " + plain("alice", ALICE), 235)]),
                ("login", [("AUTH LOGIN", 334), (encoded("alice"), 334), (encoded(ALICE), 235)])):
            stored, line = self.sent(("EHLO x", 250), *commands)
            self.assertIn("\n\tby %s with esmtpa (serveur)\n" % self.server.domain, stored)
            self.assertIn(" P=esmtpa A=%s:alice S=" % mechanism, line)

    def test_from_for_the_null_sender(self):
        """As for a read receipt: who wrote it is who authenticated."""
        for login, password, address in (("alice", ALICE, self.address("alice")),
                                         ("jean@x.example", "secret", "jean@x.example")):
            client = self.greeted()
            client.expect("AUTH PLAIN " + plain(login, password), 235)
            self.assertEqual(client.letter("", self.address("alice"), MESSAGE).code, 250)
            self.assertIn("\nFrom: %s\n" % address, self.server.messages("alice")[-1].content.decode())

    def test_helo_after_auth(self):
        """Whoever has authenticated may fall back to HELO; the message then came by plain smtp."""
        stored, line = self.sent(("EHLO x", 250), ("AUTH PLAIN " + plain("alice", ALICE), 235), ("HELO x", 250))
        self.assertIn(" with smtp (serveur)\n", stored)
        self.assertIn("A=plain:alice", line)


class NotSubmittedTest(support.ServerTestCase):
    def test_nothing_is_added(self):
        self.assertEqual(self.server.send(self.address("alice"), MESSAGE).code, 250)
        header = self.server.messages("alice")[-1].content.decode().partition("\n\n")[0]
        for name in ("Message-Id", "From", "Date"):
            self.assertNotRegex(header, "(?mi)^%s:" % name)
