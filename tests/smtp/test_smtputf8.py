"""SMTPUTF8 (RFC 6531): addresses in UTF-8, for clients that ask for them and for those that don't."""

import smtplib
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.secure import AccountsTestCase, plain
from tests.lab.relay import TEXT, Relay
from tests.lab.sink import EXIM, MAILPIT, Sink

MESSAGE = "Subject: élan\r\n\r\né\r\n.\r\n".encode()
ALIASES = """\
élèves: hélène, alice
café: hélène@tpmail.info.unicaen.fr
ailleurs: hélène@ailleurs.example
ici: café@ailleurs.example
saut: alice,\f 李
"""


class Utf8TestCase(support.ServerTestCase):
    accounts = ("alice", "hélène", "李")
    aliases = ALIASES

    def greeted(self, greeting="EHLO client.example.org"):
        client = self.client()
        self.addCleanup(client.close)
        client.expect(greeting, 250)
        return client

    def ask(self, client, command):
        """(code, text) of the reply to a command in UTF-8, whose reply may be UTF-8 too."""
        client.write(command.encode() + b"\r\n")
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(client.file.readline())
            self.assertTrue(lines[-1].endswith(b"\r\n"), lines)
        return int(lines[0][:3]), "\n".join(line[4:-2].decode() for line in lines)

    def expect(self, client, command, code):
        found = self.ask(client, command)
        self.assertEqual(found[0], code, "%r: %r" % (command, found))
        return found[1]


class EnvelopeTest(Utf8TestCase):
    def send(self, client, sender, recipient):
        self.expect(client, "MAIL FROM:<%s> SMTPUTF8" % sender, 250)
        self.expect(client, "RCPT TO:<%s>" % recipient, 250)
        client.expect("DATA", 354)
        client.write(MESSAGE)
        return client.reply()

    def test_offered_and_accepted(self):
        client = self.greeted()
        self.assertIn("SMTPUTF8", client.expect("EHLO x", 250).lines)
        for parameters in ("SMTPUTF8", "smtputf8", "BODY=8BITMIME SMTPUTF8", "SMTPUTF8 SIZE=100"):
            client.expect("MAIL FROM:<a@x.example> " + parameters, 250)
            client.expect("RSET", 250)
        client.expect("MAIL FROM:<a@x.example> SMTPUTF8=1", 501)
        client.expect("MAIL FROM:<a@x.example> SMTPUTF8 SMTPUTF8", 501)

    def test_only_after_ehlo(self):
        client = self.greeted("HELO x")
        client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 555)

    def test_stored_and_logged(self):
        for recipient in ("hélène", "HÉLÈNE", "李", '"hélène"'):
            with self.subTest(recipient=recipient):
                address = self.address(recipient)
                reply = self.send(self.greeted(), "zoé@bücher.example", address)
                self.assertEqual(reply.code, 250)
                stored = self.server.messages(recipient.lower().strip('"'))[-1].content.decode()
                self.assertTrue(stored.startswith("Return-path: <zoé@bücher.example>\nEnvelope-to: %s\n" % address),
                                stored)
                self.assertIn("\n\tby %s with utf8smtp (serveur)\n\t(envelope-from <zoé@bücher.example>)\n"
                              % self.server.domain, stored)
                self.assertIn("\n\tfor %s;\n" % address, stored)
                self.assertTrue(stored.endswith("Subject: élan\n\né\n"))
                line = self.server.wait_log(reply.text[-16:] + " <= ")
                self.assertIn(r"<= zo\303\251@b\303\274cher.example H=(client.example.org) [127.0.0.1] P=utf8smtp S=",
                              line)

    def test_go_adds_it_to_every_mail(self):
        reply = self.send(self.greeted(), "a@x.example", self.address("alice"))
        self.assertIn("P=utf8smtp ", self.server.wait_log(reply.text[-16:] + " <= "))

    def test_refused_without_the_parameter(self):
        client = self.greeted()
        self.assertEqual(self.expect(client, "MAIL FROM:<zoé@x.example>", 553),
                         "5.6.7 Non-ASCII address needs SMTPUTF8")
        self.expect(client, "MAIL FROM:<zoe@bücher.example>", 553)
        client.expect("MAIL FROM:<a@x.example>", 250)
        self.assertEqual(self.expect(client, "RCPT TO:<%s>" % self.address("hélène"), 553),
                         "5.6.7 Non-ASCII address needs SMTPUTF8")
        self.expect(client, "RCPT TO:<%s>" % self.address("alice"), 250)

    def test_what_is_no_utf8(self):
        client = self.greeted()
        for octets in (b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"):
            self.assertEqual(client.ask(b"MAIL FROM:<" + octets + b"@x.example> SMTPUTF8").code, 501)
            client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 250)
            self.assertEqual(client.ask(b"RCPT TO:<" + octets + b"@" + self.server.domain.encode() + b">").code, 501)
            client.expect("RSET", 250)

    def test_unknown_users(self):
        client = self.greeted()
        client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 250)
        for name in ("helène", "hélene", "hélène\u0301", "李李"):
            self.expect(client, "RCPT TO:<%s>" % self.address(name), 550)
        for name in ("a\u0085b", "a\u200eb", "a\u00a0b", "\ufeffalice"):        # control, mark, blank, byte order mark
            self.expect(client, "RCPT TO:<%s>" % self.address(name), 501)

    def test_forwarded_addresses_are_shown_to_those_who_can_read_them(self):
        client = self.greeted()
        client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 250)
        self.assertEqual(self.expect(client, "RCPT TO:<%s>" % self.address("café"), 251),
                         "2.1.5 User not local; will forward to <hélène@tpmail.info.unicaen.fr>")
        self.assertEqual(self.expect(client, "RCPT TO:<%s>" % self.address("ailleurs"), 551),
                         "5.1.6 User not local; please try <hélène@ailleurs.example>")
        client.expect("RSET", 250)
        client.expect("MAIL FROM:<a@x.example>", 250)
        self.assertEqual(client.expect("RCPT TO:<%s>" % self.address("ici"), 550).text, "5.1.6 User not local")

    def test_smtplib(self):
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=support.PATIENCE) as client:
            client.sendmail("zoé@x.example", [self.address("hélène")], "Subject: été\r\n\r\nété\r\n".encode(),
                            mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        self.assertTrue(self.server.messages("hélène")[-1].content.endswith("Subject: été\n\nété\n".encode()))


class TwoSpellingsTest(unittest.TestCase):
    """The A-labels and the U-labels of a domain name one domain (RFC 5890 §2.3.2.1), ours as well as a relay's."""

    def test_local_and_relayed(self):
        with Sink(extensions=MAILPIT) as sink, support.Server(
                ("-relay", "Faß.example=127.0.0.1:%d" % sink.port), domain="CAFÉ.example") as server:
            server.start()
            with server.client() as client:
                self.assertTrue(client.expect("EHLO x", 250).text.startswith("xn--caf-dma.example Hello"))
                client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 250)
                for address in ("alice@café.example", "alice@CAFÉ.example", "alice@cafe\u0301.example",
                                "alice@XN--CAF-DMA.example", "x@faß.example", "x@xn--fa-hia.example"):
                    self.assertEqual(client.ask(("RCPT TO:<%s>" % address).encode()).code, 250, address)
                for address in ("alice@cafe.example", "x@fass.example", "x@FASS.example", "alice@кафе.example"):
                    self.assertEqual(client.ask(("RCPT TO:<%s>" % address).encode()).code, 550, address)
                self.assertEqual(client.ask("VRFY alice@café.example".encode()).code, 250)
                client.expect("DATA", 354)
                client.write(MESSAGE)
                self.assertEqual(client.reply().code, 250)
            self.assertEqual(len(server.messages("alice")), 1)
            sink.wait_messages(1)
            self.assertEqual(sink.messages[0].recipients, ["TO:<x@faß.example>"])
            self.assertEqual(server.stop(), 0)

    def test_marks_that_are_letters_of_no_alphabet(self):
        """Scripts whose vowels are marks (RFC 5892 §2.1): the server takes the name, the DNS decides."""
        with support.Server(("-relay", "xn--11b2ezcw70k.example=127.0.0.1:9")) as server:
            server.start()
            with server.client() as client:
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@x.example> SMTPUTF8", 250)
                self.assertEqual(client.ask("RCPT TO:<x@\u0915\u094d\u200d\u0937.example>".encode()).code, 250)
                for domain in ("-\u0915\u094d", "a\u0080b", "a\u00a0b", "a\ufeffb", "a\u3002b"):
                    self.assertEqual(client.ask(("RCPT TO:<x@%s.example>" % domain).encode()).code, 501, ascii(domain))
            self.assertEqual(server.stop(), 0)


class RelayedTest(unittest.TestCase):
    """Nothing of ours makes a message need SMTPUTF8 (RFC 6531 §3.7.3)."""

    def send(self, server, recipient, text):
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<bob@%s> SMTPUTF8" % support.DOMAIN, 250)
            self.assertIn(client.ask(("RCPT TO:<%s>" % recipient).encode()).code, (250, 251))
            client.expect("DATA", 354)
            client.write(text)
            server.wait_log(client.reply().text.rpartition("id=")[2] + " Completed")

    def test_host_without_smtputf8(self):
        text = b"Subject: x\r\n\r\nx\r\n.\r\n"
        with Sink(extensions=EXIM) as sink, support.Server(
                ("-relay", "s.example=127.0.0.1:%d" % sink.port), aliases="rené: x@s.example\n") as server:
            server.start()
            self.send(server, "rené@" + support.DOMAIN, text)
            self.assertEqual(sink.messages[0].recipients, ["TO:<x@s.example>"])
            self.assertTrue(sink.messages[0].data.isascii())
            self.assertNotIn(b"\tfor ", sink.messages[0].data)
            self.assertEqual(server.messages("bob"), [])
            for recipient, content in (("rené@s.example", text), ("x@s.example", MESSAGE)):
                self.send(server, recipient, content)
            support.wait_for(lambda: len(server.messages("bob")) == 2, "two bounces")
            self.assertEqual(len(sink.messages), 1)
            self.assertEqual(server.stop(), 0)

    def test_bounce(self):
        """It names recipients in its parts; its header is ASCII, as its sender's address is."""
        with Sink({"rcpt": lambda address, _: "550 no" if "hélène" in address else "250 OK"}, MAILPIT) as far, \
                Sink(extensions=EXIM) as near, Relay({"far.example": far.port, "near.example": near.port}) as relay:
            text = TEXT.replace(b"<essai@client>", "<é@client>".encode())
            relay.enqueue("hélène@far.example", sender="x@near.example", utf8=True, text=text)
            relay.start()
            near.wait_messages(1)
            header, _, body = near.messages[0].data.partition(b"\r\n\r\n")
            self.assertTrue(header.isascii(), header)
            self.assertIn("\r\nFinal-Recipient: utf-8;h", body.decode("latin-1"))


class DirectoryTest(Utf8TestCase):
    """VRFY and EXPN: 250 with UTF-8 to those who say SMTPUTF8, 252 2.6.8 to the others (RFC 6531 §3.7.4.2)."""

    def test_vrfy(self):
        client = self.greeted()
        for argument in ("hélène", "HÉLÈNE", self.address("hélène"), "<%s>" % self.address("hélène")):
            self.assertEqual(self.expect(client, "VRFY %s SMTPUTF8" % argument, 250),
                             "2.1.5 <%s>" % self.address("hélène"))
            self.assertEqual(self.expect(client, "VRFY " + argument, 252),
                             "2.6.8 Cannot show the address without SMTPUTF8, but will accept mail")

    def test_ascii_needs_no_parameter(self):
        client = self.greeted()
        for command in ("VRFY alice", "VRFY alice SMTPUTF8", "VRFY alice smtputf8"):
            self.assertEqual(client.expect(command, 250).text, "2.1.5 <%s>" % self.address("alice"))
        client.expect("VRFY SMTPUTF8", 550)
        client.expect("VRFY alice SMTPUTF8 SMTPUTF8", 501)
        self.expect(client, "VRFY personne\u00e9", 550)

    def test_expn(self):
        client = self.greeted()
        self.assertEqual(self.expect(client, "EXPN élèves SMTPUTF8", 250),
                         "2.1.5 <%s>\n2.1.5 <%s>" % (self.address("hélène"), self.address("alice")))
        self.expect(client, "EXPN élèves", 252)
        self.expect(client, "EXPN lycée SMTPUTF8", 550)

    def test_form_feed_ends_no_line(self):
        self.assertEqual(self.expect(self.greeted(), "EXPN saut SMTPUTF8", 250),
                         "2.1.5 <%s>\n2.1.5 <%s>" % (self.address("alice"), self.address("李")))

    def test_alias(self):
        client = self.greeted()
        self.assertEqual(self.expect(client, "VRFY café SMTPUTF8", 251),
                         "2.1.5 User not local; will forward to <hélène@tpmail.info.unicaen.fr>")
        self.expect(client, "VRFY café", 252)
        self.expect(client, "VRFY ici", 550)


@support.needs_root
class FullNameTest(unittest.TestCase):
    """A full name with accents is left out where they can't be shown."""

    def test_vrfy(self):
        with system_users("essaiutf", full_name="Hélène Müller"), support.Server(accounts=None) as server:
            server.start()
            with server.client() as client:
                address = "<essaiutf@%s>" % server.domain
                self.assertEqual(client.expect("VRFY essaiutf", 250).text, "2.1.5 " + address)
                client.write(b"VRFY essaiutf SMTPUTF8\r\n")
                self.assertEqual(client.file.readline().decode(), "250 2.1.5 Hélène Müller %s\r\n" % address)
                self.assertEqual(client.expect("VRFY Hélène Müller".encode(), 250).text, "2.1.5 " + address)
            self.assertEqual(server.stop(), 0)


class SubmissionTest(AccountsTestCase):
    """Protocol names under AUTH, and accounts whose login isn't ASCII."""

    text = "hélène:mot de passe é\n"
    more = ("-match-sender",)
    accounts = ("hélène",)

    def test_login(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("hélène", "mot de passe é"), 235)
        address = "hélène@" + self.server.domain
        client.expect(("MAIL FROM:<%s> SMTPUTF8" % address).encode(), 250)
        client.expect(("RCPT TO:<%s>" % address).encode(), 250)
        client.expect("DATA", 354)
        client.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
        reply = client.reply()
        self.assertEqual(reply.code, 250)
        self.assertIn(r"P=utf8smtpa A=plain:h\303\251l\303\250ne S=", self.server.wait_log(reply.text[-16:] + " <= "))
        stored = self.server.messages("hélène")[-1].content.decode()
        self.assertIn("\nFrom: %s\n" % address, stored)
