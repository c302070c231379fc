"""Accounts out of a source that cannot be asked now, beside this machine's own files: who is not found there may come
back, so the answer is "later". The source is the C library's own, hesiod, which is not configured here."""

import pathlib
import tempfile
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.lab import namespace

SMALL = b"Subject: small\r\n\r\ntext\r\n.\r\n"
has_hesiod = any(pathlib.Path("/").glob("usr/lib/*/libnss_hesiod.so.2")) or any(
    pathlib.Path("/").glob("lib/*/libnss_hesiod.so.2"))


@namespace.needed
@unittest.skipUnless(has_hesiod, "programme absent : libnss_hesiod.so.2 (libc6)")
class UnavailableTest(unittest.TestCase):

    def started(self, passwd: str, *options, **arguments) -> support.Server:
        switch = tempfile.NamedTemporaryFile("w")
        self.addCleanup(switch.close)
        switch.write("# blanks and comments are nobody's business\n  passwd:  %s  # comment\ngroup: files\n" % passwd)
        switch.flush()
        pathlib.Path(switch.name).chmod(0o644)
        server = support.Server(options, accounts=None, **arguments)
        self.addCleanup(server.destroy)
        server.interpreter = namespace.command({"/etc/nsswitch.conf": switch.name})
        return server.start()

    def codes(self, server, *names):
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            return [client.ask("RCPT TO:<%s@%s>" % (name, server.domain)).code for name in names]

    def test_source_is_down(self):
        with system_users("essainss"):
            for listener in ("netcat", "prefork"):
                server = self.started("files systemd [NOTFOUND=continue] hesiod", "-listen", listener,
                                      aliases="list: essainss, ghost\n")
                self.assertEqual(self.codes(server, "ghost", "essainss", "list", "postmaster"), [450, 250, 450, 250])
                line = server.wait_log("temporarily rejected RCPT <ghost@")
                self.assertIn("a source of accounts (passwd in /etc/nsswitch.conf) is unavailable", line)
                self.assertEqual(server.send("essainss@" + server.domain, SMALL).code, 250)
                self.assertEqual(server.stop(), 0)

    def test_no_further_source(self):
        self.assertEqual(self.codes(self.started("files"), "ghost"), [550])

    def test_source_that_is_not_installed(self):
        """The C library passes over it, and so do we."""
        self.assertEqual(self.codes(self.started("files nosuchsource"), "ghost"), [550])


if __name__ == "__main__":
    unittest.main()
