"""The form of a queued message's envelope: what is written, what was written before, and what is none."""

import json
import unittest

from mailstore.envelope import DONE, FAILED, WAITING, Envelope, Recipient, from_json

ID = "1xVkyz-0002Ae-0G"
# As the queue has had it from the beginning.
WRITTEN_BEFORE = {
    "id": ID, "received": 1795503574.5, "sender": "a@b.example", "utf8": False, "notified": True,
    "recipients": [
        {"address": "x@relay.example", "envelope_to": ["list@here.example", "x@relay.example"], "mailbox": None,
         "state": "waiting", "tries": 3, "reply": "450 later\n450 please", "next": 1795504474.5},
        {"address": "bob@here.example", "envelope_to": ["bob@here.example"], "mailbox": "bob", "state": "done",
         "tries": 0, "reply": "", "next": 0}]}


def changed(**fields) -> str:
    return json.dumps({**WRITTEN_BEFORE, **fields})


def with_recipient(**fields) -> str:
    return changed(recipients=[{**WRITTEN_BEFORE["recipients"][0], **fields}])


class EnvelopeTest(unittest.TestCase):

    def test_written_before(self):
        envelope = from_json(json.dumps(WRITTEN_BEFORE))
        self.assertEqual((envelope.id, envelope.received, envelope.sender, envelope.utf8, envelope.notified),
                         (ID, 1795503574.5, "a@b.example", False, True))
        late, done = envelope.recipients
        self.assertEqual((late.address, late.given, late.mailbox, late.state),
                         ("x@relay.example", "list@here.example", None, WAITING))
        self.assertEqual((late.tries, late.reply, late.next), (3, "450 later\n450 please", 1795504474.5))
        self.assertEqual((done.mailbox, done.state), ("bob", DONE))
        self.assertEqual(envelope.waiting(), [late])

    def test_written_as_before(self):
        """The program before this one can carry on the queue too."""
        self.assertEqual(from_json(json.dumps(WRITTEN_BEFORE)).to_json(), json.dumps(WRITTEN_BEFORE, indent=1) + "\n")

    def test_new(self):
        """A new message is waiting for all its recipients; octets that are no UTF-8 stay what they are."""
        envelope = Envelope(ID, 5.0, "\udce9@b.example", [Recipient("é@c.example", ["d@e.example"])], utf8=True)
        again = from_json(envelope.to_json())
        self.assertEqual((again.sender, again.utf8, again.notified), ("\udce9@b.example", True, False))
        recipient, = again.waiting()
        self.assertEqual((recipient.address, recipient.envelope_to, recipient.mailbox, recipient.tries, recipient.reply,
                          recipient.next), ("é@c.example", ["d@e.example"], None, 0, "", 0))

    def test_requests(self):
        """What was asked to be told (RFC 3461) stays with the message and each recipient."""
        envelope = Envelope(ID, 5.0, "a@b.example", [Recipient("c@d.example", ["c@d.example"]),
                                                     Recipient("e@f.example", ["e@f.example"])])
        envelope.ret, envelope.envid = "HDRS", "QQ+2B"
        asked = envelope.recipients[0]
        asked.notify, asked.orcpt, asked.report, asked.host = "SUCCESS", "rfc822;c@d.example", "relayed", "mx.example"
        again = from_json(envelope.to_json())
        self.assertEqual((again.ret, again.envid, again.untold()), ("HDRS", "QQ+2B", again.recipients[:1]))
        first, second = again.recipients
        self.assertEqual((first.notify, first.orcpt, first.report, first.host),
                         ("SUCCESS", "rfc822;c@d.example", "relayed", "mx.example"))
        self.assertEqual((second.notify, second.orcpt, second.report, second.host), ("", "", "", ""))
        self.assertEqual([[one.wants(wish) for wish in ("SUCCESS", "FAILURE", "DELAY")] for one in again.recipients],
                         [[True, False, False], [False, True, True]])

    def test_written_by_another_version(self):
        """What is not known is ignored, what is missing is as in a new message."""
        text = changed(color="red", recipients=[{"address": "x@y.example", "envelope_to": ["x@y.example"], "size": 5}])
        envelope = from_json(text)
        self.assertNotIn("red", envelope.to_json())
        self.assertEqual([recipient.state for recipient in envelope.recipients], [WAITING])
        few = {name: WRITTEN_BEFORE[name] for name in ("id", "received", "sender", "recipients")}
        self.assertEqual((from_json(json.dumps(few)).utf8, from_json(json.dumps(few)).notified), (False, False))

    def test_what_is_none(self):
        """The ValueError says what is wrong."""
        for text, wrong in (
                ("", "Expecting value"), ("{", "Expecting"), ("null", "no object"), ("[1]", "no object"),
                ("[" * 100000, "too deep"), ("{}", "id: None"), (changed(received="now"), "received: 'now'"),
                (changed(utf8=1), "utf8: 1"), (changed(recipients={}), "recipients: no list"),
                (changed(recipients=["x@y"]), "no object"), (with_recipient(address=5), "address: 5"),
                (with_recipient(envelope_to=[]), r"envelope_to: \[\]"),
                (with_recipient(envelope_to=[5]), r"envelope_to: \[5\]"),
                (with_recipient(report="lost"), "report: 'lost'"),
                (with_recipient(notify="SUCCESS DELAY"), "no parameter"),
                (with_recipient(orcpt="rfc822;a+0Ab"), "printable"), (changed(envid="a+"), "hexadecimal"),
                (changed(ret=None), "ret: None"),
                (with_recipient(state="lost"), "state: 'lost'"), (with_recipient(tries="3"), "tries: '3'"),
                (with_recipient(next=None), "next: None"), (with_recipient(mailbox=5), "mailbox: 5")):
            with self.subTest(text=text[:80]), self.assertRaisesRegex(ValueError, wrong):
                from_json(text)
        self.assertEqual(from_json(with_recipient(state=FAILED)).recipients[0].state, FAILED)


if __name__ == "__main__":
    unittest.main()
