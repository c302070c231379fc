"""What the sender hears: bounces and notices of delay, as Exim words them and as RFC 3464 forms them; and when nobody
is told."""

import email
import email.policy
import pathlib
import re
import unittest

from tests.helpers import mailboxes, support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.lab.courier import Courier, needs_courier
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import Sink

DOMAIN = support.DOMAIN
BOUNCE = """\
Return-path: <>
Envelope-to: {sender}
Delivery-date: DATE
Received: from USER by {domain} with local (serveur)
	id ID
	for {sender};
	DATE
X-Failed-Recipients: bad@sink.example,
  z@sink.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@{domain}>
To: {sender}
References: <essai@client>
Content-Type: multipart/report; report-type=delivery-status; boundary=BOUNDARY
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender
Message-Id: <EID@{domain}>
Date: DATE

--BOUNDARY
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  bad@sink.example
    host 127.0.0.1 [127.0.0.1]
    SMTP error from remote mail server after RCPT TO:<bad@sink.example>:
    550 no such user here
  z@sink.example
    (generated from list@{domain})
    host 127.0.0.1 [127.0.0.1]
    SMTP error from remote mail server after RCPT TO:<z@sink.example>:
    550-5.7.1 two
    550 5.7.1 lines

--BOUNDARY
Content-type: message/delivery-status

Reporting-MTA: dns; {domain}

Action: failed
Final-Recipient: rfc822;bad@sink.example
Status: 5.0.0
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550 no such user here

Action: failed
Final-Recipient: rfc822;list@{domain}
Status: 5.7.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550-5.7.1 two
 550 5.7.1 lines

--BOUNDARY
Content-type: message/rfc822

Return-path: <{sender}>
{text}
--BOUNDARY--
"""
BLANKS = ((r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE"), (r"\d{10}-serveur-\d{9}", "BOUNDARY"),
          (r"(?<!E)\b\w{6}-\w{6}-\w\w", "ID"), (r"(?<=<E)\w{6}-\w{6}-\w\w", "ID"),
          (r"(?<=Received: from )\w+(?= by)", "USER"))


def refuse_some(argument, _):
    return {"b": "550 no such user here", "z": "550 5.7.1 two\n550 5.7.1 lines",
            "l": "450 later"}.get(argument[4:5], "250 OK")


def parsed(message: mailboxes.StoredMessage):
    return email.message_from_bytes(message.content, policy=email.policy.default)


class ReportCase(unittest.TestCase):

    def run_queue(self, script, *messages, routes=("sink.example",), **options):
        """Put messages into the queue, each a dictionary of what `enqueue` takes, and run until nothing is left to
        do; the Relay and the Sink."""
        sink = self.enter(Sink(script))
        relay = self.enter(Relay({name: sink.port for name in routes}, **options))
        self.ids = [relay.enqueue(*message.pop("to"), **message) for message in messages]
        relay.start()
        relay.wait_empty()
        self.assertEqual(relay.stop(), 0)
        return relay, sink

    def enter(self, context):
        return enter(self.addCleanup, context)


class BounceTest(ReportCase):

    def test_text(self):
        """Octet for octet as Exim's, but for what changes from run to run."""
        alias = {"address": "z@sink.example", "envelope_to": ["list@" + DOMAIN]}
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example", "good@sink.example", alias]})
        bounce, = relay.messages("alice")
        text = bounce.content.decode()
        for pattern, word in BLANKS:
            text = re.sub(pattern, word, text)
        self.assertEqual(text, BOUNCE.format(sender=SENDER, domain=DOMAIN, text=TEXT.decode()))

    def test_log(self):
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"]})
        lines = relay.log().splitlines()
        arrival, = (line for line in lines if " <= " in line)
        bounce_id, size = arrival[20:36], len(relay.messages("alice")[0].content.partition(b"\nReceived:")[2]) + 9
        self.assertRegex(arrival, r" <= <> R=%s U=\w+ P=local S=%d$" % (self.ids[0], size))
        self.assertEqual(relay.lines(bounce_id)[1:], [
            "=> alice <%s> R=local_user T=maildir_home" % SENDER, "Completed"])
        self.assertEqual(relay.lines(self.ids[0])[-1], "Completed")

    def test_parts_read_by_python(self):
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"]})
        message = parsed(relay.messages("alice")[0])
        self.assertEqual((message.get_content_type(), message.get_param("report-type")),
                         ("multipart/report", "delivery-status"))
        text, status, original = message.iter_parts()
        self.assertEqual(text.get_content_type(), "text/plain")
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        whole, recipient = status.get_payload()
        self.assertEqual(whole["Reporting-MTA"], "dns; " + DOMAIN)
        self.assertEqual((recipient["Action"], recipient["Final-Recipient"]), ("failed", "rfc822;bad@sink.example"))
        self.assertEqual(original.get_content()["Subject"], "essai")
        self.assertEqual([part.defects for part in message.walk()], [[]] * len(list(message.walk())))

    def test_long_message_comes_back_as_its_header(self):
        relay, _ = self.run_queue({"rcpt": refuse_some},
                                  {"to": ["bad@sink.example"], "text": TEXT + b"filling\n" * 20000})
        bounce, = relay.messages("alice")
        self.assertLess(len(bounce.content), 4000)
        *_, original = parsed(bounce).iter_parts()
        self.assertEqual(original.get_content_type(), "text/rfc822-headers")
        self.assertIn("Subject: essai\n", original.get_payload())

    def test_8bit_message(self):
        body = TEXT + "Où ça ? \xff\n".encode("latin-1") + "déjà\n".encode()
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"], "text": body})
        self.assertIn(body + b"\n--", relay.messages("alice")[0].content)

    def test_reply_that_would_break_the_text(self):
        """Nothing another host says can end a part or begin a header."""
        relay, _ = self.run_queue({"rcpt": "550 \x1b[2J\x00\r\t" + "x" * 4000}, {"to": ["bad@sink.example"]})
        bounce = relay.messages("alice")[0].content
        self.assertNotIn(b"\x1b", bounce)
        self.assertLess(max(map(len, bounce.splitlines())), 9000)
        self.assertEqual(len(list(parsed(relay.messages("alice")[0]).iter_parts())), 3)

    def test_sender_elsewhere(self):
        """The bounce goes over SMTP, from <>."""
        relay, sink = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"], "sender": "me@back.example"},
                                     routes=("sink.example", "back.example"))
        message, = sink.messages
        self.assertEqual(message.sender.partition(" ")[0], "FROM:<>")
        self.assertEqual(message.recipients, ["TO:<me@back.example>"])
        self.assertIn(b"report-type=delivery-status", message.data)
        self.assertTrue(message.data.startswith(b"Received: from "))

    def test_sender_with_quotes(self):
        """They are no part of the account's name (RFC 5321 §4.1.2)."""
        relay, _ = self.run_queue({"rcpt": "550 no"}, {"to": ["x@sink.example"], "sender": '"al\\ice"@' + DOMAIN})
        self.assertEqual(len(relay.messages("alice")), 1)

    def test_sender_is_an_alias(self):
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"], "sender": "both@" + DOMAIN},
                                  aliases="both: alice, bob\n")
        for account in ("alice", "bob"):
            self.assertIn(b"Envelope-to: both@", relay.messages(account)[0].content)

    def test_sender_is_an_alias_with_a_mistake(self):
        """It is named at each use, as in a session."""
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"], "sender": "both@" + DOMAIN},
                                  aliases="both: alice, a@@b\n")
        self.assertEqual(len(relay.messages("alice")), 1)
        self.assertIn(" alias both: skipped error: ", relay.log())

    def test_bounce_of_a_bounce_never_leaves(self):
        """What comes from <> is set aside when it fails, for a person to look at."""
        relay, sink = self.run_queue({"rcpt": "550 nobody here"},
                                     {"to": ["bad@sink.example"], "sender": "me@sink.example"})
        bounce_id, = relay.ids(aside=True)
        self.assertEqual(relay.lines(bounce_id)[-1], "Frozen (delivery error message)")
        self.assertEqual(sink.messages, [])
        self.assertEqual(sum(line.startswith("MAIL FROM:<>") for line in sink.commands), 1)
        self.assertEqual(relay.log().count(" <= <> "), 1)

    def test_message_from_nobody(self):
        relay, _ = self.run_queue({"rcpt": refuse_some},
                                  {"to": ["bad@sink.example", "good@sink.example"], "sender": ""})
        self.assertEqual(relay.ids(aside=True), self.ids)
        self.assertEqual(relay.lines(self.ids[0])[-1], "Frozen (delivery error message)")

    def test_unknown_sender_here(self):
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": ["bad@sink.example"], "sender": "nobody@" + DOMAIN})
        bounce_id, = relay.ids(aside=True)
        self.assertEqual(relay.lines(bounce_id)[1:], [
            "** nobody@%s: Unrouteable address" % DOMAIN, "Frozen (delivery error message)"])

    def test_no_storm(self):
        """A message that fails for many is one bounce."""
        names = ["b%d@sink.example" % number for number in range(120)]
        relay, _ = self.run_queue({"rcpt": refuse_some}, {"to": names})
        bounce, = relay.messages("alice")
        self.assertEqual(bounce.content.count(b"\nFinal-Recipient: "), 120)


@needs_courier
class CourierTest(unittest.TestCase):

    def test_bounce_read_over_imap_and_pop3(self):
        """Courier parses it as what it is, and gives it out octet for octet."""
        with system_users("essairelais") as users, Sink({"rcpt": refuse_some}) as sink, \
                Relay({"sink.example": sink.port}, accounts=(), SMTP_STORE="maildir") as relay:
            relay.enqueue("bad@sink.example", sender="essairelais@" + DOMAIN)
            relay.start()
            relay.wait_empty()
            maildir = pathlib.Path(users["essairelais"].pw_dir, "Maildir")
            stored = mailboxes.read_maildir(maildir)[0].content.replace(b"\n", b"\r\n")
            with Courier({"essairelais": maildir}) as courier:
                imap = courier.imap_connection("essairelais")
                imap.select(readonly=True)
                _, (structure,) = imap.fetch("1", "(BODYSTRUCTURE)")
                imap.logout()
                for part in (b'"text" "plain"', b'"message" "delivery-status"', b'"message" "rfc822"',
                             b'"report" ("report-type" "delivery-status"'):
                    self.assertIn(part, structure.lower())
                self.assertEqual(courier.pop3("essairelais"), [stored])


class SmtpUtf8Test(ReportCase):
    """A message that needs SMTPUTF8 for a host that has none (RFC 6531 §3.5)."""

    WITH = ("SIZE", "8BITMIME", "SMTPUTF8")

    def test_refused(self):
        relay, sink = self.run_queue({}, {"to": ["josé@sink.example", "x@sink.example"], "utf8": True})
        self.assertEqual([message.recipients for message in sink.messages], [["TO:<x@sink.example>"]])
        bounce, = relay.messages("alice")
        self.assertIn("Final-Recipient: utf-8;josé@sink.example\nStatus: 5.6.7\n", bounce.content.decode())

    def test_header_needs_it(self):
        text = TEXT.replace(b"Subject: essai", "Subject: été".encode())
        relay, sink = self.run_queue({}, {"to": ["x@sink.example"], "utf8": True, "text": text})
        self.assertEqual(sink.messages, [])
        self.assertIn(b"Status: 5.6.7\n", relay.messages("alice")[0].content)

    def test_offered(self):
        sink = self.enter(Sink(extensions=self.WITH))
        relay = self.enter(Relay({"sink.example": sink.port}))
        relay.enqueue("josé@sink.example", sender="éva@sink.example", utf8=True)
        relay.start()
        relay.wait_empty()
        size = len(TEXT) + TEXT.count(b"\n")
        self.assertEqual(sink.messages[0].sender, "FROM:<éva@sink.example> SIZE=%d SMTPUTF8" % size)
        self.assertEqual(sink.messages[0].recipients, ["TO:<josé@sink.example>"])

    def test_not_needed(self):
        """Some clients ask for it whenever it is offered."""
        _, sink = self.run_queue({}, {"to": ["x@sink.example"], "utf8": True})
        self.assertEqual(len(sink.messages), 1)


class DelayTest(unittest.TestCase):
    """Time goes on because the relay's clock is set."""

    def test_attempts_notice_and_end(self):
        """Exim's rule to its end: 15 minutes for 2 hours, then growing, a notice after a day, over after four."""
        with Sink({"rcpt": "450 later"}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue("x@sink.example")
            relay.start()
            received, hours = relay.envelope(message_id)["received"], [0.0]
            while message_id in relay.ids():
                relay.wait_log(message_id + " == x@sink.example", len(hours))
                support.wait_for(lambda: self.is_settled(relay, message_id, len(hours)), "the note of the attempt")
                if message_id not in relay.ids():
                    break
                due = (relay.envelope(message_id)["recipients"][0]["next"] - received) / 3600
                relay.advance(due - hours[-1])
                hours.append(due)
            relay.wait_empty()
            notice, bounce = relay.messages("alice")
            self.check_hours(hours)
            self.check_notice(notice, message_id)
            self.check_end(relay, bounce, message_id)
            self.assertEqual(len(hours), sum(line.startswith("RCPT") for line in sink.commands))

    @staticmethod
    def is_settled(relay, message_id, tries):
        try:
            return relay.envelope(message_id)["recipients"][0]["tries"] == tries
        except FileNotFoundError:
            return True

    def check_hours(self, hours):
        self.assertEqual(hours[:10], [0, .25, .5, .75, 1, 1.25, 1.5, 1.75, 2, 3])
        self.assertEqual([round(hour, 1) for hour in hours[10:15]], [4.5, 6.8, 10.1, 15.2, 22.8])
        self.assertTrue(all(round(later - hour, 3) == 6 for hour, later in zip(hours[14:-2], hours[15:-1])), hours)
        self.assertEqual(hours[-1], 96)

    def check_notice(self, notice, message_id):
        text = notice.content.decode()
        self.assertIn("\nSubject: Warning: message %s delayed 28 hours\n" % message_id, text)
        self.assertIn("The subject of the message is: essai\n", text)
        self.assertIn("    Delay reason: SMTP error from remote mail server after RCPT TO:<x@sink.example>:\n"
                      "    450 later\n", text)
        self.assertIn("Action: delayed\nFinal-Recipient: rfc822;x@sink.example\nStatus: 4.0.0\n", text)
        self.assertIn("Content-type: text/rfc822-headers\n", text)
        self.assertNotIn("X-Failed-Recipients", text)

    def check_end(self, relay, bounce, message_id):
        lines = relay.lines(message_id)
        self.assertEqual(lines[-1], "Completed")
        self.assertIn("** x@sink.example: retry timeout exceeded", lines)
        text = bounce.content.decode()
        self.assertIn("    450 later: retry timeout exceeded\n", text)
        self.assertIn("Status: 5.4.7\n", text)

    def notices(self, **message):
        """What lies in the sender's mailbox after a day's delay."""
        with Sink({"rcpt": "450 later"}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue({"address": "x@sink.example", "tries": 9}, age=86500, **message)
            relay.start()
            support.wait_for(lambda: relay.envelope(message_id)["notified"], "the note that the sender was told")
            self.assertEqual(relay.stop(), 0)
            return relay.messages("alice")

    def test_nobody_is_told_of_a_late_bounce(self):
        self.assertEqual(self.notices(sender=""), [])

    def test_lists_and_programs_are_not_told(self):
        for field in (b"Precedence: bulk", b"List-Id: <l.example>", b"Auto-Submitted: auto-generated"):
            with self.subTest(field):
                self.assertEqual(self.notices(text=TEXT.replace(b"From: alice", b"From: alice\n" + field)), [])

    def test_old_message_after_a_long_stop(self):
        """Whatever its age, a message is tried once before it is given up."""
        with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue("x@sink.example", age=30 * 86400)
            relay.start()
            relay.wait_empty()
            self.assertIn("=> x@sink.example", relay.lines(message_id)[0])
