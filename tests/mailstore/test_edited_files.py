"""Files that people edit, as their editors leave them: a byte order mark, CRLF, comments wherever they stand."""

import pathlib
import tempfile
import unittest

from tests.helpers import harness, support

EDITED = "\ufeff{first}\r\n   # indented\r\n\t# by a tab\r\n\r\n{second}\r\n# last\r\n".format


class EditedFilesTest(unittest.TestCase):

    def write(self, first: str, second: str) -> str:
        file = tempfile.NamedTemporaryFile("wb")
        self.addCleanup(file.close)
        file.write(EDITED(first=first, second=second).encode())
        file.flush()
        pathlib.Path(file.name).chmod(0o644)
        return file.name

    def test_aliases(self):
        path = self.write("list: alice,", "  bob")
        with harness.Handlers({"SMTP_ALIASES": path}) as server, server.client() as client:
            client.expect("EHLO x", 250)
            shown = client.expect("EXPN list", 250).raw
            self.assertIn(b"<alice@", shown)
            self.assertIn(b"<bob@", shown)
            self.assertNotIn(b"indented", shown)

    def test_accounts(self):
        path = self.write("alice:secret1", "  bruno secret2")
        with harness.Handlers({"SMTP_PASS": path}) as server, server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldDE=", 235)
        with harness.Handlers({"SMTP_PASS": path}) as server, server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("AUTH PLAIN AGJydW5vAHNlY3JldDI=", 235)

    def test_names(self):
        with support.Server() as server:
            server.replace_option("-domain", "-noms", self.write("Ana NÚÑEZ", "  Yann LE GOFF"))
            server.start()
            with server.client() as client:
                self.assertIn("nunez-legoff.tp.info.unicaen.fr", client.expect("HELO x", 250).text)
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
