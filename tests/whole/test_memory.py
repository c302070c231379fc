"""README's bound on a session's memory, whatever its client says: the ways to have it keep something, one by one."""

import os
import pathlib
import tempfile
import unittest

from tests.helpers import processes, support
from tests.helpers.secure import encoded, plain

MEBIBYTE = 1 << 20
BOUND = 32 * MEBIBYTE
MANY = 20000                    # aliases, and accounts
MEMBERS = ["m%d" % number for number in range(500)]
FAR = ["far%d@tpmail.info.unicaen.fr" % number for number in range(9000)]
END = b"\r\n.\r\n"


@support.both_listeners
class MemoryTest(support.ServerTestCase):

    accounts = ["alice", *MEMBERS]
    aliases = "members: %s\nfar: %s\n" % (", ".join(MEMBERS), ",\n ".join(FAR))
    aliases += "".join("team%d: members\n" % number for number in range(18))
    aliases += "".join("other%d: alice\n" % number for number in range(MANY))

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        passwords = pathlib.Path(folder.name) / "accounts"
        passwords.write_text("alice:secret\n" + "".join("user%d:secret%d\n" % (n, n) for n in range(MANY)))
        passwords.chmod(0o644)
        cls.options = ("-pass", str(passwords), "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")
        super().setUpClass()

    def begun(self, transaction: bool = True):
        """A client that has logged in and, if asked for, begun a message to alice."""
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO client.example", 250)
        client.expect("AUTH PLAIN " + plain("alice", "secret"), 235)
        if transaction:
            client.expect("MAIL FROM:<a@client.example>", 250)
            client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
        return client

    def ask_all(self, client, lines):
        """Send all of them in one go; the codes of the replies."""
        lines = list(lines)
        for at in range(0, len(lines), 250):
            client.write(b"".join(line.encode() + b"\r\n" for line in lines[at:at + 250]))
            for _ in lines[at:at + 250]:
                client.reply()

    def assert_bound(self, client):
        self.assertLess(processes.peak_memory(self.server.process_of(client)), BOUND)
        client.close()

    def send(self, client, *pieces: bytes):
        """A text, up to its reply."""
        client.expect("DATA", 354)
        for piece in pieces:
            client.write(piece)
        client.write(END)
        client.reply()

    def test_recipients(self):
        client = self.begun()
        self.ask_all(client, ("RCPT TO:<x%d@tpmail.info.unicaen.fr>" % number for number in range(1100)))
        self.send(client, b"Subject: x\r\n")
        self.assert_bound(client)

    def test_recipients_with_long_names(self):
        client = self.begun()
        self.ask_all(client, ("RCPT TO:<%s%d@tpmail.info.unicaen.fr>" % ("x" * 55, number) for number in range(1000)))
        self.send(client, b"Subject: x\r\n")
        self.assert_bound(client)

    def test_lists(self):
        """As many mailboxes as the lists of one message may lead to."""
        client = self.begun()
        self.ask_all(client, ("RCPT TO:<%s>" % self.address("team%d" % number) for number in range(18)))
        self.assert_bound(client)

    def test_a_list_with_all_its_members(self):
        client = self.begun()
        self.ask_all(client, ["RCPT TO:<%s>" % self.address("members")] * 400)
        self.ask_all(client, ("RCPT TO:<%s>" % self.address(name) for name in MEMBERS))
        self.send(client, b"Subject: x\r\n")
        self.assert_bound(client)

    def test_a_list_elsewhere(self):
        client = self.begun()
        client.expect("RCPT TO:<%s>" % self.address("far"), 250)
        self.send(client, b"Subject: x\r\n")
        self.assert_bound(client)

    def test_commands(self):
        client = self.begun(transaction=False)
        line = "x" * 60000
        self.ask_all(client, ["EHLO " + "x" * 500, "MAIL FROM:<a@b.example>" + " X=Y" * 200, line, line[:12000],
                              "VRFY " + "a " * 200, "NOOP " + "x" * 500, "HELP", "EXPN far", "EXPN members"])
        self.assert_bound(client)

    def test_names(self):
        client = self.begun(transaction=False)
        self.ask_all(client, ["VRFY somebody who is nobody", "VRFY postmaster", "RSET"] * 6)
        self.assert_bound(client)

    def test_passwords(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO x", 250)
        client.expect("AUTH PLAIN", 334)
        client.expect(encoded(b"\0" + b"x" * 4000 + b"\0" + b"y" * 4000), 535)
        client.expect("AUTH LOGIN", 334)
        client.expect("A" * 200000, 500)
        self.assert_bound(client)

    def test_headers(self):
        for name, pieces in {"fields": [b"a: b\r\n" * 9900], "empty fields": [b"a:\r\n" * 170000],
                             "folds": [b"X: y\r\n" + b" z\r\n" * 200000], "one line": [b"X: ", *[b"y" * 65536] * 15],
                             "carriage returns": [b"X: y" + b"\r" * 900000], "too long": [b"X: y\r\n" * 400000],
                             "a message's own id": [b"Message-ID: <%s>\r\n" % (b"x" * 900000)],
                             "Received": [b"Received: x\r\n" * 9000]}.items():
            with self.subTest(header=name):
                client = self.begun()
                self.send(client, *pieces)
                self.assert_bound(client)

    def test_bodies(self):
        for name, piece in {"lines": b"x\r\n" * 20000, "line feeds": b"\n" * 65536, "NUL": b"\0" * 65536,
                            "dots": b"..\r\n" * 16000, "one line": b"x" * 65536}.items():
            with self.subTest(body=name):
                client = self.begun()
                self.send(client, b"Subject: x\r\n\r\n", *[piece] * 100)
                self.assert_bound(client)

    def test_chunks(self):
        client = self.begun()
        for _ in range(40):
            client.write(b"BDAT 2\r\nx\n" * 1000)
            for _ in range(1000):
                client.reply()
        client.write(b"BDAT 20000000 LAST\r\n")
        for _ in range(320):
            client.write(b"y" * 62500)
        client.reply()
        self.assert_bound(client)


if __name__ == "__main__":
    unittest.main()
