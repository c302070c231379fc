"""What waits for an LMTP server's mailboxes: relay.py hands it over, or tells the sender."""

import unittest

from tests.helpers import support
from tests.helpers.lasting import enter
from tests.lab.lmtp_sink import LmtpSink, fates
from tests.lab.relay import Relay


class WaitingTest(unittest.TestCase):
    TEXT = b"Received: x\nSubject: waited\n\nbody\n"

    def relay(self, sink: LmtpSink, **more) -> Relay:
        enter(self.addCleanup, sink)
        return enter(self.addCleanup, Relay(accounts=(), SMTP_STORE=sink.store, **more))

    @staticmethod
    def copy(name: str, **more) -> dict:
        return {"address": "%s@%s" % (name, support.DOMAIN), "mailbox": name, **more}

    def test_delivered(self):
        sink = LmtpSink()
        relay = self.relay(sink)
        message_id = relay.enqueue(self.copy("bob"), text=self.TEXT)
        relay.start().wait_empty()
        self.assertEqual(sink.messages[0].recipients, ["TO:<bob@%s>" % support.DOMAIN])
        self.assertEqual(sink.messages[0].data, self.TEXT.replace(b"\n", b"\r\n"))
        self.assertEqual(relay.lines(message_id), [
            '=> bob <bob@%s> R=local_user T=lmtp C="250 2.0.0 Saved"' % support.DOMAIN, "Completed"])

    def test_put_off_again(self):
        sink = LmtpSink({"rcpt": "450 4.2.0 busy"})
        relay = self.relay(sink)
        message_id = relay.enqueue(self.copy("bob"), text=self.TEXT)
        bob = "bob@" + support.DOMAIN
        relay.start().wait_log("%s == %s R=local_user T=lmtp defer (-44): LMTP error after RCPT TO:<%s>: 450" % (
            message_id, bob, bob))
        sink.script["rcpt"] = "250 OK"
        relay.advance(1)
        relay.wait_empty()
        self.assertEqual(len(sink.messages), 1)

    def test_no_server(self):
        sink = LmtpSink()
        relay = self.relay(sink)
        sink.close()
        message_id = relay.enqueue(self.copy("bob"), text=self.TEXT)
        relay.start().wait_log("%s == bob@%s R=local_user T=lmtp defer (111): Connection refused: connecting to" % (
            message_id, support.DOMAIN))

    def test_refused_is_bounced_and_not_tried(self):
        """The sender, one of ours, has the bounce by LMTP too."""
        sink = LmtpSink()
        relay = self.relay(sink)
        message_id = relay.enqueue(self.copy("bob", refused=True, reply="552 5.2.2 Mailbox is full"), text=self.TEXT)
        relay.start().wait_empty()
        bounce = sink.wait_messages(1)[0]
        self.assertEqual((bounce.sender.split()[0], bounce.recipients), ("FROM:<>", ["TO:<alice@%s>" % support.DOMAIN]))
        self.assertIn(b"Diagnostic-Code: smtp; 552 5.2.2 Mailbox is full\r\n", bounce.data)
        self.assertIn(b"Status: 5.2.2\r\n", bounce.data)
        self.assertIn("** bob@%s R=local_user T=lmtp: refused by the LMTP server: 552 5.2.2 Mailbox is full"
                      % support.DOMAIN, relay.lines(message_id))
        self.assertFalse([command for command in sink.commands if "bob" in command])

    def test_what_was_asked(self):
        """Success is reported when a copy that waited is taken, and nothing to who asked for silence."""
        sink = LmtpSink()
        relay = self.relay(sink)
        relay.enqueue(self.copy("bob", notify="SUCCESS"), self.copy("carol", notify="NEVER", refused=True, reply="552"),
                      text=self.TEXT)
        relay.start().wait_empty()
        bob, report = sink.wait_messages(2)
        self.assertEqual(bob.recipients, ["TO:<bob@%s>" % support.DOMAIN])
        self.assertEqual(report.recipients, ["TO:<alice@%s>" % support.DOMAIN])
        self.assertIn(b"\r\nAction: delivered\r\n", report.data)
        self.assertNotIn(b"carol", report.data)

    def test_refused_now(self):
        sink = LmtpSink({"dot": fates({"bob": "550 5.7.1 no"})})
        relay = self.relay(sink)
        relay.enqueue(self.copy("bob"), text=self.TEXT)
        relay.start().wait_empty()
        self.assertIn(b"550 5.7.1 no", sink.wait_messages(1)[0].data)

    def test_no_name_is_a_command(self):
        """The queue may have been damaged."""
        sink = LmtpSink()
        relay = self.relay(sink)
        message_id = relay.enqueue(self.copy("bob>\r\nRSET"), sender="", text=self.TEXT)
        relay.start().wait_log(message_id + " Frozen")
        self.assertEqual(sink.commands, [])

    def test_aliases_of_who_has_a_bounce(self):
        sink = LmtpSink({"rcpt": fates({"alice": "550 5.1.1 no"})})
        relay = self.relay(sink, aliases="alice: bob\n")
        relay.enqueue("alice@" + support.DOMAIN, sender="", text=self.TEXT)
        relay.start().wait_empty()
        self.assertEqual(sink.messages[0].recipients, ["TO:<bob@%s>" % support.DOMAIN])
        support.wait_for(lambda: not sink.open_connections, "no connection")


if __name__ == "__main__":
    unittest.main()
