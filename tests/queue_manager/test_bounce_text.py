"""The text of a bounce and of a notice of delay (queue_manager/bounce.py), whole: tests/queue_manager/bounces.txt has
what they are to be.  To see what a change makes of it: python3 -m tests.queue_manager.test_bounce_text >FILE"""

import pathlib
import tempfile
import unittest
from unittest import mock

from mailstore.envelope import Envelope, Recipient
from queue_manager import bounce
from queue_manager.attempt import Tried, recalled
from smtp_client.result import DONE, LATER, NEVER, DeliveryResult, Peer

GOLDEN = pathlib.Path(__file__).with_name("bounces.txt")
DOMAIN = "binome.example"
ID = "1xVmS1-000001-aa"
DATE = "Thu, 01 Jan 2026 00:00:00 +0000"
MESSAGE = b"Received: from x\n\tby y\nSubject: =?utf-8?q?=C3=A9?=\n folded\nMessage-ID: <one@client.example>\n\nText.\n"
PEER = Peer("mx.example", "192.0.2.1")
REFUSED = DeliveryResult(NEVER, "SMTP error from remote mail server after RCPT TO:<bad@far.example>",
                         reply="550 5.1.1 nobody", peer=PEER)
LONG_REPLY = DeliveryResult(NEVER, "SMTP error from remote mail server after end of data",
                            reply="554-no\n554 \x1b[31mno\xe9", peer=PEER)
NOBODY = DeliveryResult(NEVER, "Unrouteable address", status="5.1.1")
FULL = DeliveryResult(LATER, "SMTP error from remote mail server after end of data", reply="452 4.3.1 full", peer=PEER)
BUSY = DeliveryResult(LATER, "Connection refused", 111, peer=PEER)


def tried(address: str, result: DeliveryResult, given: str = "") -> Tried:
    return Tried(Recipient(address, [given or address]), result)


def noted(address: str, report: str, given: str = "", **more) -> Tried:
    """One of whom the queue's file alone tells."""
    recipient = Recipient(address, [given or address])
    recipient.report = report
    for name, value in more.items():
        setattr(recipient, name, value)
    return recalled(recipient, NEVER if report == "failed" else DONE)


CASES = {
    "one that a host refused": (bounce.failure, [tried("bad@far.example", REFUSED)], {}),
    "two, one out of a list, and a reply of several lines": (
        bounce.failure, [tried("gone@binome.example", NOBODY, "list@binome.example"),
                         tried("bad@far.example", LONG_REPLY)], {}),
    "an address in letters of any script": (bounce.failure, [tried("zoé@far.example", NOBODY)], {"utf8": True}),
    "a long one, whose header alone comes back": (bounce.failure, [tried("bad@far.example", NOBODY)],
                                                  {"text": MESSAGE + b"x" * bounce.WHOLE_OCTETS}),
    "given up, whatever was the last answer": (
        bounce.failure, [tried("slow@far.example", BUSY)._replace(gave_up=True),
                         tried("full@far.example", FULL)._replace(gave_up=True)], {}),
    "of a list, noted before": (
        bounce.failure, [noted("bad@far.example", "failed", "list@binome.example", reply="550-5.7.1 no\n550 5.7.1 no",
                               status="5.7.1", host="mx.example"),
                         noted("slow@far.example", "failed", "list@binome.example", reply="Connection refused",
                               status="5.4.7", host="mx.example")], {"envid": "a+20+2B"}),
    "its header alone, as was asked": (bounce.failure, [tried("bad@far.example", NOBODY)], {"ret": "HDRS"}),
    "success": (
        bounce.success, [noted("bob@binome.example", "delivered", orcpt="rfc822;b+2Bb@client.example"),
                         noted("x@far.example", "relayed", reply="250 2.6.0 taken", host="mx.example"),
                         noted("list@binome.example", "expanded")], {"ret": "FULL", "envid": "QQ314159"}),
    "late": (bounce.delay, [tried("slow@far.example", BUSY)], {"age": 90000}),
}


def text_of(make, told, text: bytes = MESSAGE, age: float = 0, utf8: bool = False, ret: str = "",
            envid: str = "") -> str:
    envelope = Envelope(ID, 0, "me@binome.example", [one.recipient for one in told], utf8)
    envelope.ret, envelope.envid = ret, envid
    with tempfile.NamedTemporaryFile() as file, mock.patch.multiple(
            bounce, time=lambda: 1767225600.5, mail_date=lambda: DATE,
            random=mock.Mock(randrange=lambda _: 7)):
        file.write(text)
        file.flush()
        return make("1xVmS1-000002-aa", DOMAIN, bounce.Original(envelope, file.name, age), told)._text.decode("utf-8")


def all_texts() -> str:
    return "".join("==== %s\n%s" % (name, text_of(make, told, **more)) for name, (make, told, more) in CASES.items())


class BounceTextTest(unittest.TestCase):
    maxDiff = None

    def test_texts(self):
        self.assertEqual(all_texts(), GOLDEN.read_text("utf-8"))


if __name__ == "__main__":
    print(all_texts(), end="")
