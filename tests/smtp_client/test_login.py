"""-relay-login: the relay authenticates at a smarthost, only under TLS with a certificate that the system trusts, and a
password that the host refuses keeps the mail waiting."""

import contextlib
import json
import os
import pathlib
import ssl
import tempfile
import unittest

from tests.helpers import secure, support
from tests.lab.relay import Relay
from tests.lab.sink import DROP, SAID, Sink

LOGIN, PASSWORD = "moi@fai.example", "pâsse: mot #1"
PLAIN = secure.plain(LOGIN, PASSWORD)
SECRETS = (PASSWORD, PLAIN, secure.encoded(PASSWORD))
VIA = "R=hubbed_hosts T=remote_smtp"
UNTRUSTED = r"no password sent: TLS session failed \(certificate not trusted: "


def offers(*mechanisms: str) -> tuple:
    return ("SIZE 52428800", "8BITMIME", "AUTH " + " ".join(mechanisms)) if mechanisms else ("SIZE 52428800",)


class LoginTestCase(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.certificate = secure.Certificate()
        cls.addClassCleanup(cls.certificate.destroy)
        cls.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.context.load_cert_chain(cls.certificate.both)
        folder = tempfile.TemporaryDirectory(prefix="logins-essai-")
        cls.addClassCleanup(folder.cleanup)
        cls.file = pathlib.Path(folder.name) / "logins"

    @contextlib.contextmanager
    def relay(self, sink: Sink, host: str = "127.0.0.1:%d", trusted: bool = True, text: str = "127.0.0.1 %s %s\n"):
        """A relay with one message for `sink`, whose certificate is trusted or not; (the relay, the message's id)."""
        self.file.write_text(text % (LOGIN, PASSWORD) if "%s" in text else text, "utf-8")
        self.file.chmod(0o600)
        authorities = str(self.certificate.certificate if trusted else os.devnull)
        route = host % sink.port if "%d" in host else host
        with Relay(SMTP_RELAY="fai.example=" + route, SMTP_RELAY_LOGIN=str(self.file), SSL_CERT_FILE=authorities,
                   SSL_CERT_DIR="/nonexistent") as relay:
            message_id = relay.enqueue("x@fai.example")
            relay.start()
            yield relay, message_id
            self.assert_secret(relay, message_id)

    def assert_secret(self, relay: Relay, message_id: str):
        """The password is in no log, no envelope and no process's command line or environment."""
        envelope = relay.envelope(message_id) if message_id in relay.ids() else ""
        seen = relay.log() + relay.output() + json.dumps(envelope, ensure_ascii=False)
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if relay.mark.encode() in (folder / "environ").read_bytes():
                    seen += (folder / "environ").read_bytes().decode("utf-8", "replace")
                    seen += (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        for secret in SECRETS:
            self.assertNotIn(secret, seen)

    def assert_waits(self, sink: Sink, said: str, **arguments):
        """The message waits, nobody gets a bounce, and the log's line says why, first of all."""
        with self.relay(sink, **arguments) as (relay, message_id):
            relay.wait_log("%s == x@fai.example" % message_id)
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][0]["tries"], "the attempt's end")
            lines = relay.lines(message_id)
            line = r"^== x@fai\.example %s defer \(-?\d+\) H=\S+ \[127\.0\.0\.[12]\]: %s" % (VIA, said)
            self.assertRegex(lines[-1], line)
            self.assertNotIn("<= <>", relay.log())
            self.assertEqual(relay.messages("alice"), [])
            self.assertEqual(sink.messages, [])
            return lines


class LoginTest(LoginTestCase):

    def assert_sent(self, sink: Sink, mechanism: str, **arguments):
        with self.relay(sink, **arguments) as (relay, message_id):
            relay.wait_log(message_id + " Completed")
            # A host that has an IPv6 address as well, as localhost often has, was tried there first.
            *_, sent, _ = relay.lines(message_id)
            self.assertRegex(sent, r"^=> x@fai\.example .* CV=yes A=%s C=" % mechanism)
        self.assertTrue(sink.messages[0].encrypted)

    def test_plain(self):
        with Sink(extensions=offers("LOGIN", "PLAIN", "CRAM-MD5"), tls=self.context) as sink:
            self.assert_sent(sink, "plain")
            self.assertEqual([line for line in sink.commands if "AUTH" in line], ["AUTH PLAIN " + PLAIN])
            self.assertEqual(sink.commands[:3], ["EHLO " + support.DOMAIN, "STARTTLS", "EHLO " + support.DOMAIN])

    def test_login(self):
        def ask(argument, visit):
            given = [visit.challenge(secure.encoded(text)) for text in ("Username:", "Password:")]
            return "235 welcome" if given == [secure.encoded(LOGIN), secure.encoded(PASSWORD)] else "535 no"
        with Sink({"auth": ask}, offers("CRAM-MD5", "LOGIN"), self.context) as sink:
            self.assert_sent(sink, "login")

    def test_cram_md5(self):
        challenge = secure.encoded("<1896.697170952@fai.example>")

        def ask(argument, visit):
            return "235 welcome" if visit.challenge(challenge) == secure.cram(challenge, LOGIN, PASSWORD) else "535 no"
        with Sink({"auth": ask}, offers("GSSAPI", "CRAM-MD5"), self.context) as sink:
            self.assert_sent(sink, "cram_md5")

    def test_next_mechanism(self):
        """Only where the host does not know the one, or finds it too weak for this login."""
        def ask(argument, visit):
            if argument.startswith("PLAIN"):
                return "534 5.7.9 too weak"
            return "235 welcome" if [visit.challenge(""), visit.challenge("")] else ""
        with Sink({"auth": ask}, offers("PLAIN", "LOGIN"), self.context) as sink:
            self.assert_sent(sink, "login")

    def test_tls_from_the_first_octet(self):
        with Sink(extensions=offers("PLAIN"), tls=self.context, implicit=True) as sink:
            self.assert_sent(sink, "plain", host="smtps:localhost:%d", text="localhost:" + str(sink.port) + " %s %s\n")
            self.assertNotIn("STARTTLS", sink.commands)

    @support.needs_root
    def test_port_465(self):
        with Sink(extensions=offers("PLAIN"), tls=self.context, port=465, implicit=True) as sink:
            self.assert_sent(sink, "plain", host="smtps:127.0.0.1")

    def test_many_messages_one_login(self):
        with Sink(extensions=offers("PLAIN"), tls=self.context) as sink, self.relay(sink) as (relay, message_id):
            relay.wait_log(message_id + " Completed")
            more = [relay.enqueue("x@fai.example") for _ in range(5)]
            relay.wake("new " + " ".join(more))
            relay.wait_log(" Completed", 6)
            self.assertEqual(sum("AUTH" in line for line in sink.commands), sink.connections)
            self.assertLess(sink.connections, 6)

    def test_others_get_no_login(self):
        """A host that the file does not name is asked for nothing, whatever it offers; nor is its certificate."""
        with Sink(extensions=offers("PLAIN"), tls=self.context) as sink:
            for text in ("other.example %s %s\n", "127.0.0.1:1 %s %s\n"):
                with self.relay(sink, trusted=False, text=text) as (relay, message_id):
                    relay.wait_log(message_id + " Completed")
                    self.assertIn(" CV=no C=", relay.lines(message_id)[0])
            self.assertFalse([line for line in sink.commands if "AUTH" in line])


class RefusedTest(LoginTestCase):

    def test_refused(self):
        """By whatever code: it is not the message's fault."""
        for code in ("535 5.7.8 no", "535-5.7.8 no\n535 see https://fai.example/", "454 4.7.0 later",
                     "550 5.7.1 go away", "500 what?"):
            with Sink({"auth": code}, offers("PLAIN", "LOGIN"), self.context) as sink:
                said = "authentication failed: SMTP error from remote mail server after AUTH PLAIN: " + code[:3]
                lines = self.assert_waits(sink, said)
                self.assertEqual(sum("AUTH" in line for line in sink.commands), 1)      # no second guess
                self.assertTrue(lines[0].startswith("H=127.0.0.1 [127.0.0.1]: authentication failed: "), lines)

    def test_a_host_that_repeats_the_password(self):
        def repeat(argument, visit):
            return "535 5.7.8 %s (%s) is wrong" % (argument, PASSWORD)
        with Sink({"auth": repeat}, offers("PLAIN"), self.context) as sink:
            self.assert_waits(sink, "authentication failed: .*535 5.7.8 PLAIN \\*\\*\\*")

    def test_a_host_that_goes_or_says_nonsense(self):
        for answer, said in ((DROP, "Remote host closed connection in response to AUTH PLAIN"),
                             ("hm", "Malformed SMTP reply in response to AUTH PLAIN: hm"),
                             ("334 more?", "authentication failed: ")):
            with Sink({"auth": answer}, offers("PLAIN"), self.context) as sink:
                self.assert_waits(sink, said)

    def test_a_challenge_that_is_none(self):
        script = {"auth": lambda argument, visit: "501 " + visit.challenge("é!")}
        with Sink(script, offers("CRAM-MD5"), self.context) as sink:
            self.assert_waits(sink, "authentication failed: .*AUTH CRAM-MD5: 501 \\*")

    def test_nothing_in_clear(self):
        """No TLS, TLS that is refused, and TLS that breaks."""
        rubbish = {"starttls": lambda argument, visit: visit.say("220 go") or visit.say("500 rubbish") or SAID}
        for script, tls, said in (({}, None, "the host offers no TLS"),
                                  ({"starttls": "454 not now"}, self.context, "the host offers no TLS"),
                                  (rubbish, self.context, "TLS session failed \\(")):
            with Sink(script, offers("PLAIN"), tls) as sink:
                self.assert_waits(sink, "no password sent: " + said)
                self.assertFalse([line for line in sink.commands if "AUTH" in line])

    def test_certificate(self):
        """One that nobody trusts, and one for another name."""
        with Sink(extensions=offers("PLAIN"), tls=self.context) as sink:
            self.assert_waits(sink, UNTRUSTED + "self.signed certificate", trusted=False)
            self.assertFalse([line for line in sink.commands if "AUTH" in line])
        with Sink(extensions=offers("PLAIN"), tls=self.context, address="127.0.0.2") as sink:
            self.assert_waits(sink, UNTRUSTED + "IP address mismatch", host="127.0.0.2:%d", text="127.0.0.2 %s %s\n")
            self.assertFalse([line for line in sink.commands if "AUTH" in line])

    def test_no_mechanism(self):
        for extensions, said in ((offers("GSSAPI", "XOAUTH2"), r"\(GSSAPI XOAUTH2\)"), (offers(), r"\(none at all\)")):
            with Sink(extensions=extensions, tls=self.context) as sink:
                self.assert_waits(sink, "authentication failed: the host offers no mechanism that we know " + said)

    def test_what_a_man_in_the_middle_offers(self):
        """What was offered before TLS is forgotten."""
        def ehlo(argument, visit):
            return "250-x\n250 SIZE" if visit.encrypted else "250-x\n250-STARTTLS\n250 AUTH PLAIN"
        with Sink({"ehlo": ehlo}, tls=self.context) as sink:
            self.assert_waits(sink, "authentication failed: the host offers no mechanism")


if __name__ == "__main__":
    unittest.main()
