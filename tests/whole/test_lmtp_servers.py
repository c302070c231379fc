"""-store lmtp: with the real Dovecot and the real Cyrus, over TCP and at a Unix socket, with README.txt's lines: what
was sent is read back over IMAP, octet for octet below what that server adds."""

import re
import typing
import unittest

from tests.helpers import support
from tests.helpers.readme import command, replaced
from tests.lab import corpus, cyrus, dovecot
from tests.lab.exim import ALIASES
from tests.mailstore.test_corpus import converse

USERS = ("eximalice", "eximbob")
OURS = re.compile(rb"Received: [^\n]+\n\tby [^\n]+\(serveur\)\r\n(?:\t[^\n]+\n)*?\tid [^\n]+\n(?:\t[^\n]+\n)*")
THEIRS = {"dovecot": rb"Return-Path: .*\r\n(?:Delivered-To: .*\r\n)?Received: .*\r\n(?:\t.*\r\n)+\Z",
          "cyrus": rb"Return-Path: .*\r\nReceived: .*\r\n(?:\t .*\r\n)+X-Cyrus-Session-Id: .*\r\nX-Sieve: .*\r\n\Z"}
CYRUS_ADDS = re.compile(rb"(?m)^(?:Message-ID: <cmu-lmtpd-.*>|Date: .*)\r\n")


def without_trace(case: unittest.TestCase, text: bytes, kind: str) -> bytes:
    """What stands below our Received, which is the last of the fields that were added."""
    ours = OURS.search(text)
    case.assertTrue(ours, text)
    case.assertRegex(text[:ours.start()], THEIRS[kind])
    return text[ours.end():]


def without_received(text: bytes) -> bytes:
    """What stands behind a field of several lines that `text` begins in."""
    return re.search(rb"\n(?![ \t])(.*)", text, re.S)[1]


class Servers:
    """What both servers must do.  kind: its name; the class's lab: a Dovecot or Cyrus."""

    kind = ""
    refused = []        # messages that it does not take
    spoilt = []         # and those that it stores otherwise than they came
    options = ("-listen", "prefork")
    accounts = None

    @classmethod
    def start_server(cls):
        cls.lab = cls.make_lab()
        cls.lab.start()
        cls.addClassCleanup(cls.lab.stop)

    def serve(self, store: str, **more) -> support.Server:
        server = support.Server(("-listen", "prefork", "-store", store, "-relay", "relay.example=127.0.0.1:9"),
                                accounts=None, **{"aliases": "postmaster: eximbob\n", **more}).start()
        self.addCleanup(server.destroy)
        return server

    def tcp(self) -> str:
        return "lmtp:127.0.0.1:%d" % self.lab.lmtp_port

    def test_the_corpus(self):
        """Every message that the server takes is there as it would be in a Maildir of ours."""
        lmtp = self.serve(self.lab.store, aliases=ALIASES)
        folders = support.Server(("-listen", "prefork"), USERS, ALIASES).start()
        self.addCleanup(folders.destroy)
        before = {user: len(self.lab.imap(user)) for user in USERS}
        wanted = {user: [] for user in USERS}
        refused = []
        for message in corpus.all_messages():
            if message.name in self.spoilt:
                continue
            reply = converse(lmtp.client(), message.commands, message.wire)[-1]
            code = converse(folders.client(), message.commands, message.wire)[-1].code
            for user in USERS:
                files = folders.messages(user)
                if reply.code == code:
                    wanted[user] += [file.content.partition(b"\nReceived: ")[2] for file in files]
                for file in files:
                    file.path.unlink()
            if reply.code != code:
                refused.append(message.name)
        self.assertEqual(refused, self.refused)
        for user in USERS:
            found = self.lab.imap(user)[before[user]:]
            self.assertEqual(len(found), len(wanted[user]))
            for ours, theirs in zip(wanted[user], found):
                self.assertEqual(self.below(theirs), self.as_served(without_received(ours).replace(b"\n", b"\r\n")))

    def below(self, text: bytes) -> bytes:
        return without_trace(self, text, self.kind)

    def as_served(self, text: bytes) -> bytes:
        return text

    def stores(self) -> typing.List[str]:
        """README.txt's two, with our places in them."""
        lines = (replaced(command(9, "./serveur.sh -store lmtp:/run"), {"lmtp:/run/serveur-lmtp": self.lab.store}),
                 replaced(command(9, "./serveur.sh -store lmtp:10"), {"lmtp:10.0.0.20:24": self.tcp()}))
        return [line.split()[-1] for line in lines]

    def test_who_is_there(self):
        for store in self.stores():
            server = self.serve(store)
            self.assertNotIn("attention", server.output())
            with server.client() as client:
                client.expect("EHLO client.example", 250)
                client.expect("VRFY eximalice", 250)
                client.expect("VRFY nobody", 550)
                client.expect("MAIL FROM:<a@client.example>", 250)
                client.expect("RCPT TO:<EximAlice@%s>" % server.domain, 250)
                client.expect("RCPT TO:<nobody@%s>" % server.domain, 550)
                client.expect("RCPT TO:<postmaster>", 250)

    def test_each_fate(self):
        """Two of a list's three are there; the third, whom an alias names, has a bounce sent to the sender, who is one
        of ours."""
        server = self.serve(self.lab.store, aliases="postmaster: eximbob\nall: eximalice, nobody, eximbob\n")
        before = len(self.lab.imap("eximalice"))
        reply = server.send("all@" + server.domain, b"Subject: to all\r\n\r\nx\r\n.\r\n", "eximalice@" + server.domain)
        self.assertEqual(reply.code, 250)
        support.wait_for(lambda: len(self.lab.imap("eximalice")) == before + 2, "the copy and the bounce")
        self.assertIn(b"Subject: to all\r\n", self.lab.imap("eximbob")[-1])
        bounce = next(text for text in self.lab.imap("eximalice") if b"\r\nAction: failed\r\n" in text)
        self.assertIn(b"nobody@" + server.domain.encode(), bounce)
        support.wait_for(lambda: not list((server.spool / "queue").glob("*.envelope")), "an empty queue")

    def test_a_server_that_comes_back(self):
        """What was put off is delivered, once it is there again; and RCPT was 451 meanwhile."""
        server = self.serve(self.tcp())
        self.lab.end()
        with server.client() as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            client.expect("RCPT TO:<eximbob@%s>" % server.domain, 451)
            self.lab.start()
            client.expect("RCPT TO:<eximbob@%s>" % server.domain, 250)
            client.expect("DATA", 354)
            client.write(b"Subject: back\r\n\r\nx\r\n.\r\n")
            self.assertEqual(client.reply().code, 250)
        self.assertIn(b"Subject: back\r\n", self.lab.imap("eximbob")[-1])


@dovecot.needs_dovecot
class DovecotTest(Servers, unittest.TestCase):
    kind = "dovecot"

    @classmethod
    def setUpClass(cls):
        cls.start_server()

    @staticmethod
    def make_lab():
        return dovecot.Dovecot(USERS)

    def as_served(self, text):
        """IMAP cannot carry NUL (RFC 9051 section 4.3)."""
        return text.replace(b"\0", b"\x80")


@cyrus.needs_cyrus
class CyrusTest(Servers, unittest.TestCase):
    kind = "cyrus"
    refused = ["header-names", "nul-in-body", "nul-in-header-name"]
    spoilt = ["dots-in-header"]         # there it leaves the dots doubled

    @classmethod
    def setUpClass(cls):
        cls.start_server()

    @staticmethod
    def make_lab():
        return cyrus.Cyrus(USERS)

    def below(self, text):
        """It adds these two where they are missing."""
        return CYRUS_ADDS.sub(b"", super().below(text))

    def as_served(self, text):
        return CYRUS_ADDS.sub(b"", text)


if __name__ == "__main__":
    unittest.main()
