"""A real Exim as the relay domain's host, and as one that sends to us; and its tools reading our log."""

import re
import subprocess
import unittest

from tests.helpers import support
from tests.lab.exim import Exim, needs_exim
from tests.lab.relay import Relay
from tests.lab.sink import DROP, Sink

TPMAIL = "tpmail.info.unicaen.fr"
WIRES = {
    "plain": b"Subject: plain\r\n\r\nCorps.\r\n.\r\n",
    "dots": b"Subject: dots\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n. \r\n.\r\n".replace(b"\r\n. \r\n", b"\r\n.. \r\n"),
    "eight-bit": b"Subject: latin\r\n\r\n\xe9\xff\x80\x01\x7f\r\nd\xc3\xa9j\xc3\xa0\r\n.\r\n",
    "long-lines": b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y" * 5000 + b"\r\n." + b"." * 3000 + b"\r\n.\r\n",
    "no-final-line": b"Subject: bare\r\n\r\nlast\r\n.\r\n",
    "blank-lines": b"Subject: blanks\r\n\r\n\r\n\r\n  \r\n\t\r\n\r\n.\r\n",
    "empty": b".\r\n",
    "header-only": b"Subject: header\r\n.\r\n",
    "bare-cr": b"Subject: cr\r\n\r\none\rtwo\r.\rthree\r\n.\r\n",
    "from-lines": b"Subject: from\r\n\r\nFrom me\r\n>From you\r\n.\r\n",
    "big": (b"Subject: big\r\n\r\n" + b"".join(b".%06d\r\n" % n if n % 7 else b"..\r\n" for n in range(180000))
            + b".\r\n"),
}
# Dots at a line's beginning are doubled on the way to us.
WIRES["big"] = WIRES["big"].replace(b"\r\n.0", b"\r\n..0").replace(b"\r\n.1", b"\r\n..1")


def without_trace(content: bytes) -> bytes:
    """A stored message from its second Received field on: Exim's delivery fields and its own Received are above."""
    return content[content.index(b"Received: ", content.index(b"Received: ") + 1):]


@needs_exim
class EximTest(unittest.TestCase):
    """Ours and an Exim that holds the relay domain; our store is -store DIR, to see what we would have stored."""

    @classmethod
    def setUpClass(cls):
        cls.exim = Exim(domain="exim.example", collect=[TPMAIL], routes={support.DOMAIN: 0})
        cls.addClassCleanup(cls.exim.stop)
        cls.server = support.Server(("-relay", "%s=127.0.0.1:%d" % (TPMAIL, cls.exim.port)))
        cls.addClassCleanup(cls.server.destroy)
        (cls.exim.folder / "routes").write_text("%s: 127.0.0.1::%d\n" % (support.DOMAIN, cls.server.port))
        cls.exim.start()
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        if cls.server.stop() != 0:
            raise AssertionError(cls.server.output())

    def arrived(self, recipient):
        """What Exim has stored for one of its recipients."""
        mark = b"\nEnvelope-to: %s\n" % recipient.encode()
        return [message.content for message in self.exim.messages_collected() if mark in message.content]

    def relayed(self, wire, recipient):
        """Send through us to Exim and to a mailbox here; what each has stored, from our Received on."""
        before = set(message.path for message in self.server.messages("bob"))
        reply = self.server.send(["bob@" + support.DOMAIN, recipient], wire)
        self.assertEqual(reply.code, 250)
        support.wait_for(lambda: self.arrived(recipient), "the message at Exim")
        self.server.wait_log(reply.text.rpartition("id=")[2] + " Completed")
        there, = self.arrived(recipient)
        here, = (message.content for message in self.server.messages("bob") if message.path not in before)
        return here[here.index(b"Received: "):], there

    def test_byte_for_byte_and_once(self):
        for name, wire in WIRES.items():
            with self.subTest(name):
                ours, theirs = self.relayed(wire, "%s@%s" % (name, TPMAIL))
                self.assertEqual(without_trace(theirs), ours)
                self.assertIn(b"Received: from [127.0.0.1] (helo=%s)\n" % support.DOMAIN.encode(), theirs)

    def test_from_exim_to_us(self):
        """Exim routes our domain to us: 250, one copy, its Received below ours."""
        for name, wire in WIRES.items():
            if name == "big":
                continue
            with self.subTest(name):
                before = set(m.path for m in self.server.messages("alice"))
                self.exim.wait_completed(self.exim.send("alice@" + support.DOMAIN, wire))
                stored, = (m.content for m in self.server.messages("alice") if m.path not in before)
                self.assertIn(b"\n\tby exim.example with esmtp (Exim ", stored)
                self.assertIn(b"\n\tby %s with esmtp (serveur)\n" % support.DOMAIN.encode(), stored)

    def test_exigrep(self):
        """One message's life, and only that, in one piece."""
        reply = self.server.send(["bob@" + support.DOMAIN, "life@" + TPMAIL, "two@" + TPMAIL], WIRES["plain"])
        message_id = reply.text.rpartition("id=")[2]
        self.server.wait_log(message_id + " Completed")
        found = self.tool("exigrep", "life@" + TPMAIL)
        lines = [line for line in found.splitlines() if line]
        self.assertTrue(all(message_id in line for line in lines), lines)
        self.assertEqual([line[37:39] for line in lines], ["<=", "=>", "=>", "->", "Co"])
        self.assertNotIn("has not completed", found)

    def test_eximstats(self):
        self.server.wait_log("Completed")
        found = self.tool("eximstats", "-txt")
        self.assertIn("remote_smtp", found)
        self.assertNotIn("No valid log lines", found)

    def tool(self, *words):
        """What one of Exim's tools makes of our log."""
        return subprocess.run([*words, str(self.server.log_path)], capture_output=True, text=True, check=True).stdout


@support.long_test
@needs_exim
class SameLogTest(unittest.TestCase):
    """A host answers Exim and us the same way, and both logs say the same of it (but for EHLO's 4xx, after which
    Exim tries HELO)."""

    def test_each_answer_at_each_step(self):
        for step in ("connect", "mail", "rcpt", "data", "dot"):
            for answer in ("421 busy", "450 later", "452 full", "550 no\n550 at all", "550 no\n250 ok", "554 never",
                           DROP):
                with self.subTest(step=step, answer=answer):
                    self.assertEqual(self.ours({step: answer}), self.theirs({step: answer}))

    def ours(self, script):
        with Sink(script) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue("x@sink.example")
            relay.start()
            return self.settled(lambda: relay.log().splitlines(), message_id)

    def theirs(self, script):
        with Sink(script) as sink, Exim(routes={"sink.example": sink.port}) as exim:
            message_id = exim.send("x@sink.example", WIRES["plain"])
            return self.settled(lambda: exim.log().splitlines(), message_id)[1:]

    @staticmethod
    def settled(log, message_id):
        """What the lines that `log` gives tell of a message, once there is nothing more to do with it for now."""
        def lines():
            return [blank(line[37:]) for line in log() if line[20:36] == message_id]
        support.wait_for(lambda: lines()[-1:] and lines()[-1].startswith(("==", "Completed")), "a fate")
        return lines()


def blank(line):
    """A line without what differs for good reason: the sender, the size that Exim guesses, the router's name."""
    return re.sub(r"MAIL FROM:<[^>]*> SIZE=\d+", "MAIL FROM", line).replace("R=routed", "R=hubbed_hosts")


@needs_exim
class BounceFromEximTest(unittest.TestCase):

    def test_exim_refuses_the_recipient(self):
        with Exim(domain=TPMAIL) as exim, support.Server(("-relay", "%s=127.0.0.1:%d" % (TPMAIL, exim.port))) as server:
            server.start()
            server.send("nobody-here@" + TPMAIL, WIRES["plain"], sender="bob@" + support.DOMAIN)
            support.wait_for(lambda: server.messages("bob"), "the bounce")
            bounce = server.messages("bob")[0].content
            self.assertIn(b"\n    host 127.0.0.1 [127.0.0.1]\n    SMTP error from remote mail server after RCPT TO:"
                          b"<nobody-here@tpmail.info.unicaen.fr>:\n    550 Unrouteable address\n", bounce)
            self.assertEqual(server.stop(), 0)
