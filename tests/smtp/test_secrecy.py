"""Where a password must never be seen: the log, the terminal, arguments, environments."""

import contextlib
import pathlib

from tests.helpers import support
from tests.helpers.secure import ALICE, BOB, WRONG, AccountsTestCase, encoded, log_in, plain


class SecrecyTest(AccountsTestCase):
    """No password, nor its base64, in the log, in what -v shows, or in what `ps` shows."""

    more = ("-v",)
    secrets = (ALICE, BOB, WRONG, encoded(ALICE), encoded(BOB), encoded(WRONG), plain("alice", ALICE),
               plain("bob", BOB), plain("alice", WRONG), plain("alice", ALICE, "alice"))

    def assert_secret(self, text, where):
        for secret in self.secrets:
            for form in (secret, secret.rstrip("="), secret[4:], escaped(secret)):
                self.assertNotIn(form, text, "in %s" % where)

    def setUp(self):
        self.seen = len(self.server.log()), len(self.server.output())

    def tearDown(self):
        self.assert_secret(self.server.log()[self.seen[0]:], "the log")
        self.assert_secret(self.server.output()[self.seen[1]:], "the output of -v")

    def test_good_and_bad(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("alice", WRONG), 535)
        client.expect("auth  plain   " + plain("alice", WRONG), 535)
        client.expect("AUTH PLAIN", 334)
        client.expect(plain("alice", ALICE), 235)
        client = self.greeted()
        client.expect("AUTH LOGIN " + encoded("bob"), 334)
        client.expect(encoded(BOB), 235)
        self.greeted().expect("AUTH\tPLAIN\t" + plain("alice", ALICE), 235)
        support.wait_for(lambda: "235 2.7.0" in self.server.output(), "-v")
        self.assertIn("AUTH PLAIN ***", self.server.output())

    def test_malformed(self):
        client = self.greeted()
        for line in ("AUTH " + plain("alice", ALICE), " AUTH PLAIN " + encoded(ALICE),
                     "AUTHPLAIN " + encoded(BOB), "AUTH PLAIN " + encoded(BOB)[:-2], "AUTH PLAIN %s x" % encoded(BOB),
                     "AUTH PLAIN\0" + encoded(BOB), "AUTH DIGEST-MD5 " + encoded(BOB),
                     "AUTH CRAM-MD5 " + encoded(ALICE)):
            with self.subTest(line=line):
                self.assertGreaterEqual(client.ask(line).code, 500)

    def test_out_of_place(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)
        client.expect("HELO x", 250)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)

    def test_a_client_that_goes_on_after_a_refusal(self):
        """A pasted dialogue sends login and password whatever the answers are; then they are commands, bad ones."""
        client = self.client()
        self.addCleanup(client.close)
        client.expect("HELO x", 250)
        client.expect("AUTH LOGIN", 503)
        client.expect(encoded("alice"), 500)
        client.expect(encoded(ALICE), 500)
        client.expect("EHLO x", 250)
        client.expect("AUTH PLAIN", 334)
        client.expect("AUTH PLAIN " + plain("bob", BOB), 501)
        client.expect("AUTH LOGIN", 334)
        client.expect("*", 501)
        client.expect(encoded(BOB), 500)
        client.expect(ALICE.encode(), 500)
        self.server.wait_log('SMTP protocol error in "AUTH LOGIN" H=(x) [127.0.0.1] AUTH command used when not '
                             'advertised')
        self.server.wait_log('SMTP syntax error in "***" H=(x) [127.0.0.1] Unrecognized command')

    def test_processes(self):
        client = self.greeted()
        log_in(client)
        self.assertIn("smtp_handler.py", "".join(self.server.processes().values()))
        for pid, command in self.server.processes().items():
            self.assert_secret(command, "a command line")
            with contextlib.suppress(OSError):              # it has just ended
                environment = pathlib.Path("/proc/%d/environ" % pid).read_bytes()
                self.assert_secret(environment.decode("utf-8", "replace"), "an environment")


def escaped(text):
    """As the log writes what isn't ASCII."""
    return "".join(c if c < "\x7f" else "".join("\\%03o" % octet for octet in c.encode()) for c in text)
