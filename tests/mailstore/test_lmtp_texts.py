"""-store lmtp: texts and addresses in more than 7 bits, long ones, and what is asked by DSN, before a scripted LMTP
server."""

import unittest

from tests.lab.lmtp_sink import fates
from tests.mailstore.test_lmtp import WIRE, LmtpCase


class TextTest(LmtpCase):
    LATIN = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n" \
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xe9t\xe9\r\n.\r\n"

    def test_8_bits(self):
        self.serve()
        self.assertEqual(self.send("alice", wire=self.LATIN).code, 250)
        self.assertIn(b"\r\n\r\n\xe9t\xe9\r\n", self.sink.messages[0].data)
        self.assertIn("BODY=8BITMIME", self.sink.messages[0].sender)

    def test_8_bits_for_a_server_that_takes_7(self):
        self.serve(extensions=("PIPELINING",))
        self.assertEqual(self.send("alice", wire=self.LATIN).code, 250)
        self.assertIn(b"Content-Transfer-Encoding: base64\r\n\r\n6XTpDQo=\r\n", self.sink.messages[0].data)

    def send_utf8(self):
        client = self.begin("MAIL FROM:<élise@client.example> SMTPUTF8".encode().decode("latin-1"),
                            "RCPT TO:<%s>" % self.address("alice"))
        client.expect("DATA", 354)
        client.write(WIRE)
        return client.reply()

    def test_smtputf8(self):
        self.serve(extensions=("8BITMIME", "SMTPUTF8"))
        self.assertEqual(self.send_utf8().code, 250)
        self.assertEqual(self.sink.messages[0].sender, "FROM:<élise@client.example> BODY=8BITMIME SMTPUTF8")
        client = self.begin("MAIL FROM:<> SMTPUTF8")
        client.expect(("RCPT TO:<élise@%s>" % self.server.domain).encode(), 250)
        self.assertIn("RCPT TO:<élise@%s>" % self.server.domain, self.sink.commands)

    def test_smtputf8_for_a_server_without(self):
        """RFC 6531 section 3.2: such a message must not be sent there."""
        self.serve()
        reply = self.send_utf8()
        self.assertEqual(reply.code, 554)
        self.assertIn("SMTPUTF8 is required", reply.text)
        self.assertEqual(self.sink.messages, [])
        client = self.begin("MAIL FROM:<> SMTPUTF8")
        client.expect(("RCPT TO:<élise@%s>" % self.server.domain).encode(), 550)

    def test_a_long_text(self):
        self.serve()
        line = b"x" * 998 + b"\r\n"
        self.assertEqual(self.send("alice", "bob", wire=b"Subject: long\r\n\r\n" + line * 3000 + b".\r\n").code, 250)
        self.assertTrue(self.sink.messages[1].data.endswith(b"\r\n\r\n" + line * 3000))


class AskedTest(LmtpCase):
    """DSN (RFC 3461): the report is ours, whatever the server offers."""

    def test_success(self):
        """Who was taken is to be reported; who was put off, when it is delivered; who was refused, as refused."""
        self.serve({"dot": fates({"bob": "452 4.2.2 full", "carol": "552 5.2.2 full"})},
                   extensions=("8BITMIME", "DSN"))
        client = self.begin("MAIL FROM:<sender@client.example> RET=HDRS ENVID=x1")
        for name in ("alice", "bob", "carol", "list"):
            client.expect("RCPT TO:<%s> NOTIFY=SUCCESS,FAILURE" % self.address(name), 250)
        client.expect("DATA", 354)
        client.write(WIRE)
        self.assertEqual(client.reply().code, 250)
        envelope, = self.queued()
        self.assertEqual((envelope["ret"], envelope["envid"]), ("HDRS", "x1"))
        self.assertEqual([(one["mailbox"] or one["address"].split("@")[0], one["state"], one.get("report"),
                           one.get("refused")) for one in envelope["recipients"]],
                         [("alice", "done", "delivered", None), ("list", "done", "expanded", None),
                          ("bob", "waiting", None, None), ("carol", "waiting", None, True)])
        self.assertEqual({one["notify"] for one in envelope["recipients"]}, {"SUCCESS,FAILURE"})
        self.assertFalse([command for command in self.sink.commands if "NOTIFY" in command or "RET" in command])

    def test_nobody_took_it(self):
        self.serve({"dot": "552 5.2.2 full"})
        client = self.begin("MAIL FROM:<sender@client.example>")
        client.expect("RCPT TO:<%s> NOTIFY=SUCCESS" % self.address("alice"), 250)
        client.expect("DATA", 354)
        client.write(WIRE)
        self.assertEqual(client.reply().code, 554)
        self.assert_nothing_kept()


if __name__ == "__main__":
    unittest.main()
