"""Another host says no, later, nothing, or hangs up, at each step: what becomes of each recipient, and the log.

The log's lines are those that Exim wrote when the same host answered it the same way.
"""

import contextlib
import threading
import unittest

from tests import support
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import DROP, SILENCE, Sink

ANSWERS = ("421 busy", "450 later", "451 trouble", "452 full", "550 no", "552 big", "554 never")
DOMAIN = support.DOMAIN
# step: what the log calls it, and Exim's number of its deferral
STEPS = {"connect": ("initial connection", 0), "ehlo": ("EHLO " + DOMAIN, 0),
         "mail": ("MAIL FROM:<%s> SIZE={size}" % SENDER, -45), "rcpt": ("RCPT TO:<x@sink.example>", -44),
         "data": ("DATA", -46), "dot": ("end of data", -46)}
VIA = "R=hubbed_hosts T=remote_smtp"
HOST = "H=127.0.0.1 [127.0.0.1]"
SIZE = len(TEXT) + TEXT.count(b"\n")


class AnswersTest(unittest.TestCase):
    """One recipient, one host."""

    def attempt(self, script, **relay_options):
        """One message to a host with this script; the log's lines about it, and the queue's state afterwards."""
        with Sink(script) as sink, Relay({"sink.example": sink.port}, **relay_options) as relay:
            message_id = relay.enqueue("x@sink.example")
            relay.start()
            support.wait_for(lambda: any(line[:2] in ("==", "**", "Co") for line in relay.lines(message_id)), "a fate")
            if any(line.startswith("**") for line in relay.lines(message_id)):
                relay.wait_empty()
            self.assertEqual(relay.stop(), 0)
            self.sink, self.bounces = sink, relay.messages("alice")
            return relay.lines(message_id), relay.envelope(message_id) if message_id in relay.ids() else None

    def expected(self, step, text):
        command, number = STEPS[step]
        said = "%s: SMTP error from remote mail server after %s: %s" % (HOST, command.format(size=SIZE), text)
        if text.startswith("5"):
            host = [said] if step == "connect" else []
            return host + ["** x@sink.example %s %s" % (VIA, said)]
        host = [] if step == "rcpt" else [said]
        return host + ["== x@sink.example %s defer (%d) %s" % (VIA, number, said)]

    def check(self, step, text):
        lines, envelope = self.attempt({step: text})
        expected = self.expected(step, text)
        self.assertEqual(lines[:len(expected)], expected)
        self.assertEqual(self.sink.messages, [])
        if text.startswith("5"):
            self.assertIsNone(envelope)
            self.assertEqual(len(self.bounces), 1)
            self.assertEqual(lines[-1], "Completed")
        else:
            self.assertEqual((envelope["recipients"][0]["state"], envelope["recipients"][0]["tries"]), ("waiting", 1))
            self.assertEqual(envelope["recipients"][0]["reply"], text)
            self.assertEqual(envelope["recipients"][0]["next"] - envelope["received"], 900)
            self.assertEqual(self.bounces, [])

    def test_connect(self):
        for text in ANSWERS:
            with self.subTest(text):
                self.check("connect", text)

    def test_ehlo_refused(self):
        """EHLO may be unknown to an old host: HELO is tried, without extensions."""
        for text in ("500 what", "550 no", "554 never"):
            with self.subTest(text):
                lines, _ = self.attempt({"ehlo": text})
                self.assertEqual(lines[-1], "Completed")
                self.assertEqual(self.sink.commands[:3], [
                    "EHLO " + DOMAIN, "HELO " + DOMAIN, "MAIL FROM:<%s>" % SENDER])

    def test_ehlo_later(self):
        for text in ANSWERS[:4]:
            with self.subTest(text):
                self.check("ehlo", text)

    def test_helo_refused(self):
        lines, envelope = self.attempt({"ehlo": "502 what", "helo": "550 go away"})
        said = "%s: SMTP error from remote mail server after HELO %s: 550 go away" % (HOST, DOMAIN)
        self.assertEqual(lines[:2], [said, "** x@sink.example %s %s" % (VIA, said)])
        self.assertIsNone(envelope)

    def test_mail(self):
        for text in ANSWERS:
            with self.subTest(text):
                self.check("mail", text)

    def test_rcpt(self):
        for text in ANSWERS:
            with self.subTest(text):
                self.check("rcpt", text)

    def test_data(self):
        for text in ANSWERS:
            with self.subTest(text):
                self.check("data", text)

    def test_end_of_data(self):
        for text in ANSWERS:
            with self.subTest(text):
                self.check("dot", text)

    def test_line_dropped(self):
        for step, (command, _) in STEPS.items():
            with self.subTest(step):
                lines, envelope = self.attempt({step: DROP})
                said = "%s: Remote host closed connection in response to %s" % (HOST, command.format(size=SIZE))
                self.assertEqual(lines, [said, "== x@sink.example %s defer (-18) %s" % (VIA, said)])
                self.assertEqual(envelope["recipients"][0]["state"], "waiting")

    def test_silence(self):
        short = {"greeting": 0.2, "command": 0.2, "data": 0.2, "end_of_data": 0.2}
        for step, (command, _) in STEPS.items():
            with self.subTest(step):
                lines, envelope = self.attempt({step: SILENCE}, limits=short)
                said = "%s: SMTP timeout after %s" % (HOST, command.format(size=SIZE))
                self.assertEqual(lines, [said + ": Connection timed out", "== x@sink.example %s defer (110): Connection "
                                         "timed out %s" % (VIA, said)])
                self.assertEqual(envelope["recipients"][0]["state"], "waiting")

    def test_reply_that_drips(self):
        """A reply must be whole within its time, however steadily its bytes come."""
        over = threading.Event()

        def drip(_, visit):
            while not over.wait(0.05):
                visit.connection.sendall(b"2")
            return DROP

        lines, _ = self.attempt({"mail": drip}, limits={"command": 0.3})
        over.set()
        self.assertIn("SMTP timeout after MAIL FROM", lines[-1])

    def test_reply_without_end(self):
        def babble(_, visit):
            with contextlib.suppress(OSError):
                while True:
                    visit.connection.sendall(b"250-and more\r\n" * 1000)
            return DROP

        lines, envelope = self.attempt({"mail": babble})
        self.assertIn("== x@sink.example", lines[-1])
        self.assertEqual(envelope["recipients"][0]["state"], "waiting")

    def test_no_reply_at_all(self):
        lines, _ = self.attempt({"connect": "hello"})
        said = "Malformed SMTP reply in response to initial connection: "
        self.assertIn(said, lines[-1])
        self.assertIn("defer (-19)", lines[-1])

    def test_refused_connection(self):
        with Relay({"sink.example": support.free_port()}) as relay:
            message_id = relay.enqueue("x@sink.example", "y@sink.example")
            relay.start()
            relay.wait_log("== y@sink.example")
            self.assertEqual(relay.lines(message_id), [
                HOST + " Connection refused", "== x@sink.example %s defer (111): Connection refused" % VIA,
                "== y@sink.example %s defer (111): Connection refused" % VIA])

    def test_reply_of_several_lines(self):
        lines, _ = self.attempt({"rcpt": "550 5.1.1 one\n550 5.1.1 two"})
        self.assertTrue(lines[0].endswith(r": 550-5.1.1 one\n550 5.1.1 two"), lines)
        lines, _ = self.attempt({"dot": '250 "quoted"\n250 two'})
        self.assertTrue(lines[0].endswith(r'C="250-\"quoted\"\\n250 two"'), lines)


class SeveralRecipientsTest(unittest.TestCase):

    def test_each_has_its_own_fate(self):
        def answer(argument, _):
            return {"b": "550 no such user", "l": "450 mailbox busy"}.get(argument[4:5], "250 OK")
        with Sink({"rcpt": answer}) as sink, Relay({"sink.example": sink.port}) as relay:
            names = ["good@sink.example", "bad@sink.example", "later@sink.example", "good2@sink.example"]
            message_id = relay.enqueue(*names)
            relay.start()
            relay.wait_log("Completed")             # the bounce's
            said = "SMTP error from remote mail server after RCPT TO:"
            self.assertEqual(relay.lines(message_id), [
                '=> good@sink.example %s %s C="250 queued as 12345"' % (VIA, HOST),
                "** bad@sink.example %s %s: %s<bad@sink.example>: 550 no such user" % (VIA, HOST, said),
                "== later@sink.example %s defer (-44) %s: %s<later@sink.example>: 450 mailbox busy" % (VIA, HOST, said),
                '-> good2@sink.example %s %s C="250 queued as 12345"' % (VIA, HOST)])
            self.assertEqual(relay.states(message_id), dict(zip(names, ("done", "failed", "waiting", "done"))))
            self.assertEqual(sink.messages[0].recipients, ["TO:<good@sink.example>", "TO:<good2@sink.example>"])
            # The next attempt is for the one that waits, and nobody is told twice.
            relay.advance(0.25)
            relay.wait_log("== later@sink.example", 2)
            self.assertEqual(sink.commands.count("RCPT TO:<good@sink.example>"), 1)
            self.assertEqual(len(relay.messages("alice")), 1)

    def test_host_takes_so_many_at_once(self):
        """452 for one too many: the rest follow at once, in transactions of their own (RFC 5321 §4.5.3.1.10)."""
        def answer(_, visit):
            return "250 OK" if len(visit.recipients) < 3 else "452 too many recipients"
        with Sink({"rcpt": answer}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue(*("u%d@sink.example" % number for number in range(8)))
            relay.start()
            relay.wait_log(message_id + " Completed")
            self.assertEqual([len(message.recipients) for message in sink.messages], [3, 3, 2])
            self.assertEqual(sink.connections, 1)

    def test_hundred_in_a_transaction(self):
        with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue(*("u%d@sink.example" % number for number in range(250)))
            relay.start()
            relay.wait_log(message_id + " Completed")
            self.assertEqual([len(message.recipients) for message in sink.messages], [100, 100, 50])

    def test_one_recipient_twice(self):
        """Two aliases that lead to one address: one copy."""
        with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue({"address": "x@sink.example", "envelope_to": ["a@" + DOMAIN, "b@" + DOMAIN]})
            relay.start()
            relay.wait_log(message_id + " Completed")
            self.assertEqual(sink.messages[0].recipients, ["TO:<x@sink.example>"])
            self.assertIn("=> x@sink.example <a@%s> R=" % DOMAIN, relay.log())
