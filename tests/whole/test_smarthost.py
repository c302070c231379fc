"""A real Exim as the provider: whoever is to send through it authenticates, under TLS, as -relay-login says."""

import pathlib
import pwd
import tempfile
import unittest

from tests.helpers import secure, support
from tests.lab.exim import Exim, needs_exim

OPTIONS = """\
tls_advertise_hosts = *
tls_certificate = {0.certificate}
tls_privatekey = {0.key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_mail = "accept authenticated = *"
"""
FAR = "quelquun@fai.example"
WIRE = b"Subject: x\r\n\r\nfor the provider\r\n.\r\n"


@needs_exim
class SmarthostTest(unittest.TestCase):

    def setUp(self):
        certificate = secure.Certificate()
        self.addCleanup(certificate.destroy)
        certificate.give_to(pwd.getpwnam("Debian-exim").pw_uid)
        self.certificate = certificate.certificate
        self.exim = Exim(collect=["fai.example"], domain="fai.invalid", options=OPTIONS.format(certificate)).start()
        self.addCleanup(self.exim.stop)
        folder = tempfile.TemporaryDirectory(prefix="logins-essai-")
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "logins"

    def server(self, host: str, line: str, authorities: str = "") -> support.Server:
        """A server for which the Exim is the smarthost of fai.example, and has its certificate trusted."""
        self.file.write_text(line + "\n", "utf-8")
        self.file.chmod(0o600)
        options = ("-relay", "fai.example=%s:%d" % (host, self.exim.port), "-relay-login", self.file,
                   "-listen", "prefork")
        server = support.Server(options, environment={"SSL_CERT_FILE": authorities or str(self.certificate)}).start()
        self.addCleanup(server.destroy)
        return server

    def test_sent(self):
        server = self.server("localhost", "localhost eximalice secret")
        self.assertEqual(server.send(FAR, WIRE).code, 250)
        line = server.wait_log("=> " + FAR)
        self.assertIn(" CV=yes A=plain C=", line)
        self.assertIn("A=plain:eximalice", self.exim.log())
        support.wait_for(self.exim.messages_collected, "the message at Exim's")
        self.assertIn(b"for the provider", self.exim.messages_collected()[0].content)
        self.assertEqual(server.stop(), 0)

    def test_wrong_password(self):
        """The message waits; with the right password, and after HUP, it goes."""
        server = self.server("localhost", "localhost eximalice pas-celui-ci")
        self.assertEqual(server.send(FAR, WIRE).code, 250)
        line = server.wait_log("== " + FAR)
        self.assertIn(": authentication failed: SMTP error from remote mail server after AUTH PLAIN: 535 ", line)
        self.assertNotIn("pas-celui-ci", server.log())
        self.file.write_text("localhost eximalice secret\n")
        support.os.kill(server.relay_pid(), support.signal.SIGHUP)
        support.wait_for(lambda: server.log().count("relay started: ") == 2, "another relay")
        support.subprocess.run([str(support.ROOT / "relay.py"), "-spool", str(server.spool), "retry"], check=True,
                               timeout=support.PATIENCE, stdout=support.subprocess.DEVNULL)
        server.wait_log("=> " + FAR)
        self.assertNotIn("<= <>", server.log())
        self.assertEqual(server.stop(), 0)

    def test_without_a_login(self):
        """530 or 550: what it says is the message's fate, as ever."""
        server = self.server("localhost", "other.example eximalice secret")
        self.assertEqual(server.send(FAR, WIRE, sender="alice@" + support.DOMAIN).code, 250)
        server.wait_log("** " + FAR)
        support.wait_for(lambda: server.messages("alice"), "the bounce")
        self.assertEqual(server.stop(), 0)

    def test_a_man_in_the_middle(self):
        """A certificate that nobody vouches for gets no password."""
        server = self.server("localhost", "localhost eximalice secret", "/dev/null")
        self.assertEqual(server.send(FAR, WIRE).code, 250)
        self.assertIn(": no password sent: TLS session failed (certificate not trusted: ", server.wait_log("== " + FAR))
        self.assertNotIn("eximalice", self.exim.log())
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
