"""Another host says no, later, nothing, or hangs up, at each step: what becomes of each recipient, and the log.

The log's lines are those that Exim wrote when the same host answered it the same way.
"""

import contextlib
import threading
import typing
import unittest

from tests.helpers import support
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import DROP, SAID, SILENCE, Sink

ANSWERS = ("421 busy", "450 later", "451 trouble", "452 full", "550 no", "552 big", "554 never")
DOMAIN = support.DOMAIN
# step: what the log calls it, and Exim's number of its deferral
STEPS = {"connect": ("initial connection", 0), "ehlo": ("EHLO " + DOMAIN, 0),
         "mail": ("MAIL FROM:<%s> SIZE=%d" % (SENDER, len(TEXT) + TEXT.count(b"\n")), -45),
         "rcpt": ("RCPT TO:<{recipient}>", -44), "data": ("DATA", -46), "dot": ("end of data", -46)}
VIA = "R=hubbed_hosts T=remote_smtp"
HOST = "H=127.0.0.1 [127.0.0.1]"


class Outcome(typing.NamedTuple):
    """What became of a message for one recipient: the log's lines about it, its envelope if it is in the queue
    still, the bounces for it, and the host."""
    recipient: str
    lines: typing.List[str]
    envelope: typing.Optional[dict]
    bounces: int
    sink: Sink


def attempt(*scripts, **relay_options) -> typing.List[Outcome]:
    """One message to a host with each of these scripts, all in one run of the relay."""
    with contextlib.ExitStack() as stack:
        sinks = {"host%d.example" % number: stack.enter_context(Sink(script)) for number, script in enumerate(scripts)}
        relay = stack.enter_context(Relay({domain: sink.port for domain, sink in sinks.items()}, **relay_options))
        ids = {domain: relay.enqueue("x@" + domain) for domain in sinks}
        relay.start()
        support.wait_for(lambda: all(is_settled(relay, message_id) for message_id in ids.values()), "every fate")
        support.wait_for(lambda: set(relay.ids()) <= set(ids.values()), "every bounce delivered")
        if relay.stop() != 0:
            raise AssertionError("the relay's exit code is not 0")
        bounces = [message.content.decode() for message in relay.messages("alice")]
        return [Outcome("x@" + domain, relay.lines(message_id),
                        relay.envelope(message_id) if message_id in relay.ids() else None,
                        sum("\nX-Failed-Recipients: x@%s\n" % domain in bounce for bounce in bounces), sinks[domain])
                for domain, message_id in ids.items()]


def is_settled(relay, message_id):
    """Whether the first attempt is over: done with, or noted."""
    try:
        return relay.envelope(message_id)["recipients"][0]["tries"]
    except FileNotFoundError:
        return True


class AnswersTest(unittest.TestCase):
    """One recipient, one host."""

    def expected(self, recipient, step, text):
        command, number = STEPS[step]
        said = "%s: SMTP error from remote mail server after %s: %s" % (HOST, command.format(recipient=recipient), text)
        if text.startswith("5"):
            host = [said] if step == "connect" else []
            return host + ["** %s %s %s" % (recipient, VIA, said), "Completed"]
        host = [] if step == "rcpt" else [said]
        return host + ["== %s %s defer (%d) %s" % (recipient, VIA, number, said)]

    def check(self, step, answers=ANSWERS):
        for text, outcome in zip(answers, attempt(*({step: text} for text in answers))):
            with self.subTest(text):
                self.assertEqual(outcome.lines, self.expected(outcome.recipient, step, text))
                self.assertEqual(outcome.sink.messages, [])
                if text.startswith("5"):
                    self.assertEqual((outcome.envelope, outcome.bounces), (None, 1))
                else:
                    self.check_waits(outcome, text)

    def check_waits(self, outcome, text):
        recipient = outcome.envelope["recipients"][0]
        self.assertEqual((recipient["state"], recipient["tries"], recipient["reply"]), ("waiting", 1, text))
        self.assertEqual(recipient["next"] - outcome.envelope["received"], 900)
        self.assertEqual(outcome.bounces, 0)

    def test_connect(self):
        self.check("connect")

    def test_ehlo_refused(self):
        """EHLO may be unknown to an old host: HELO is tried, without extensions."""
        answers = ("500 what", "550 no", "554 never")
        for text, outcome in zip(answers, attempt(*({"ehlo": text} for text in answers))):
            with self.subTest(text):
                self.assertEqual(outcome.lines[-1], "Completed")
                self.assertEqual(outcome.sink.commands[:3], [
                    "EHLO " + DOMAIN, "HELO " + DOMAIN, "MAIL FROM:<%s>" % SENDER])

    def test_ehlo_later(self):
        self.check("ehlo", ANSWERS[:4])

    def test_helo_refused(self):
        outcome, = attempt({"ehlo": "502 what", "helo": "550 go away"})
        said = "%s: SMTP error from remote mail server after HELO %s: 550 go away" % (HOST, DOMAIN)
        self.assertEqual(outcome.lines, [said, "** %s %s %s" % (outcome.recipient, VIA, said), "Completed"])

    def test_mail(self):
        self.check("mail")

    def test_rcpt(self):
        self.check("rcpt")

    def test_data(self):
        self.check("data")

    def test_end_of_data(self):
        self.check("dot")

    def test_line_dropped(self):
        for step, outcome in zip(STEPS, attempt(*({step: DROP} for step in STEPS))):
            with self.subTest(step):
                command = STEPS[step][0].format(recipient=outcome.recipient)
                said = "%s: Remote host closed connection in response to %s" % (HOST, command)
                self.assertEqual(outcome.lines, [said, "== %s %s defer (-18) %s" % (outcome.recipient, VIA, said)])
                self.check_waits(outcome, "Remote host closed connection in response to " + command)

    def test_silence(self):
        short = {"greeting": 2, "command": 2, "data": 2, "end_of_data": 2}
        for step, outcome in zip(STEPS, attempt(*({step: SILENCE} for step in STEPS), limits=short)):
            with self.subTest(step):
                text = "SMTP timeout after " + STEPS[step][0].format(recipient=outcome.recipient)
                self.assertEqual(outcome.lines, [
                    "%s: %s: Connection timed out" % (HOST, text),
                    "== %s %s defer (110): Connection timed out %s: %s" % (outcome.recipient, VIA, HOST, text)])
                self.check_waits(outcome, text)

    def test_reply_that_drips(self):
        """A reply must be whole within its time, however steadily its bytes come."""
        over = threading.Event()

        def drip(_, visit):
            while not over.wait(0.05):
                visit.connection.sendall(b"2")
            return DROP

        outcome, = attempt({"mail": drip}, limits={"command": 2})
        over.set()
        self.assertIn("SMTP timeout after MAIL FROM", outcome.lines[-1])

    def test_reply_without_end(self):
        def babble(_, visit):
            with contextlib.suppress(OSError):
                while True:
                    visit.connection.sendall(b"250-and more\r\n" * 1000)
            return DROP

        outcome, = attempt({"mail": babble})
        self.assertIn("== " + outcome.recipient, outcome.lines[-1])
        self.assertEqual(outcome.envelope["recipients"][0]["state"], "waiting")

    def test_lines_without_end(self):
        """So many that no answer has them, although they are few octets."""
        outcome, = attempt({"rcpt": "\n".join(["550 no"] * 101)})
        self.assertIn("== " + outcome.recipient, outcome.lines[-1])

    def test_long_replies_fill_nothing(self):
        """A reply is kept to 2000 octets as the log writes them, each time that it is: to 50 recipients, and at a
        retry."""
        def refuse(_, visit):
            visit.connection.sendall(b"".join(b"451-" + b"\xff" * 600 + b"\r\n" for _ in range(99)) + b"451 x\r\n")
            return SAID
        with Sink({"rcpt": refuse}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue(*("u%d@sink.example" % number for number in range(50)))
            relay.start()
            relay.wait_log(" == ", 50)
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][49]["tries"], "the note")
            self.assertLess(max(map(len, relay.log().splitlines())), 2300, "octets of the longest line")
            self.assertLess((relay.queue / (message_id + ".envelope")).stat().st_size, 50 * 3500)
            self.assertTrue(relay.envelope(message_id)["recipients"][0]["reply"].startswith("451-\udcff"))

    def test_no_reply_at_all(self):
        outcome, = attempt({"connect": "hello"})
        self.assertIn("Malformed SMTP reply in response to initial connection: ", outcome.lines[-1])
        self.assertIn("defer (-19)", outcome.lines[-1])

    def test_refused_connection(self):
        with Relay({"sink.example": support.free_port()}) as relay:
            message_id = relay.enqueue("x@sink.example", "y@sink.example")
            relay.start()
            relay.wait_log("== y@sink.example")
            self.assertEqual(relay.lines(message_id), [
                HOST + " Connection refused", "== x@sink.example %s defer (111): Connection refused" % VIA,
                "== y@sink.example %s defer (111): Connection refused" % VIA])

    def test_reply_of_several_lines(self):
        refused, taken = attempt({"rcpt": "550 5.1.1 one\n550 5.1.1 two"}, {"dot": '250 "quoted"\n250 two'})
        self.assertTrue(refused.lines[0].endswith(r": 550-5.1.1 one\n550 5.1.1 two"), refused.lines)
        self.assertTrue(taken.lines[0].endswith(r'C="250-\"quoted\"\\n250 two"'), taken.lines)


    def test_lines_with_different_codes(self):
        """The worst one counts (Exim goes by the first), and all are shown as they were said."""
        first, last, data = attempt({"rcpt": "550 no\n250 ok"}, {"rcpt": "250 ok\n550 no"},
                                    {"dot": "250 queued\n451 not at all"})
        said = "SMTP error from remote mail server after RCPT TO:<%s>: %s"
        for outcome, text in ((first, r"550-no\n250 ok"), (last, r"250-ok\n550 no")):
            self.assertEqual(outcome.lines, [
                "** %s %s %s: %s" % (outcome.recipient, VIA, HOST, said % (outcome.recipient, text)), "Completed"])
            self.assertEqual(outcome.bounces, 1)
        self.assertTrue(data.lines[-1].endswith(r"after end of data: 250-queued\n451 not at all"), data.lines)
        self.assertEqual(data.envelope["recipients"][0]["state"], "waiting")

    def test_refused_while_data_is_sent(self):
        """What a host says before it stops listening is its answer; the next message goes over a new connection."""
        def refuse(_, visit):
            visit.say("354 go on")
            visit.file.readline()
            visit.say("552 too big" if "big" in visit.recipients[0] else "452 full")
            return DROP

        text = TEXT + b"x" * (1 << 23) + b"\n"
        with Sink({"data": lambda argument, visit: refuse(argument, visit)
                   if visit.number <= 2 else "354 go on"}) as sink, \
                Relay({"s.example": sink.port}) as relay:
            names = ("big@s.example", "later@s.example", "third@s.example")
            ids = [relay.enqueue(name, text=text) for name in names]
            relay.start()
            relay.wait_log(ids[2] + " Completed")
            relay.wait_log(ids[0] + " Completed")
            said = "%s: SMTP error from remote mail server after sending data block: " % HOST
            self.assertEqual(relay.lines(ids[0]), ["** big@s.example %s %s552 too big" % (VIA, said), "Completed"])
            self.assertEqual(relay.lines(ids[1]),
                             [said + "452 full", "== later@s.example %s defer (-46) %s452 full" % (VIA, said)])
            self.assertEqual(sink.connections, 3)
            self.assertEqual([message.recipients for message in sink.messages], [["TO:<third@s.example>"]])


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
