"""Where each recipient is sent (queue_manager/dispatch.py), with stand-ins for all that it hands them to."""

import types
import unittest

from queue_manager.attempt import Attempt
from queue_manager.dispatch import Dispatcher
from smtp_client.result import DONE, LATER, NEVER, Fate

LOCAL = "here.example"
ROUTE = types.SimpleNamespace(key="route")


def recipient(address: str, mailbox=None) -> dict:
    return {"address": address, "envelope_to": [address], "mailbox": mailbox, "state": "waiting", "tries": 0,
            "reply": "", "next": 0}


class Office:
    """Finder, destinations, deliveries here and the conclusion of each attempt, all in one: what is asked of them is
    kept.

    known: {domain: its route, or its Fate}.  asked: [(what, about what, whom to call with the answer)].
    noted: [(address, outcome)]."""

    def __init__(self, known):
        self._known = known
        self.asked, self.noted, self.logged = [], [], []

    def known(self, _, domains):
        return {domain: self._known[domain] for domain in domains if domain in self._known}

    def find(self, share, domains, done):
        self.asked.append(("find for " + share, domains, done))

    def find_patiently(self, share, domain, done):
        self.asked.append(("find patiently for " + share, domain, done))

    def add(self, share, route, job):
        self.asked.append(("carry for " + share, job.addresses, job.done))

    def deliver(self, message_id, sender, entry, done):
        self.asked.append(("deliver", entry["mailbox"], done))

    def expand(self, address, done):
        self.asked.append(("expand", address, done))

    def note(self, _, fates):
        self.noted += [(entry["address"], fate.outcome) for entry, fate in fates]

    def write(self, _, lines):
        self.logged += lines


class DispatchTest(unittest.TestCase):

    def send(self, *recipients, known=(), sender="me@here.example"):
        self.office = Office(dict(known))
        self.attempt = Attempt({"id": "1xVmS1-000001-aa", "sender": sender, "utf8": False,
                                "recipients": list(recipients)})
        dispatcher = Dispatcher(
            self.office, lambda _, sender: "mail" if sender else "bounces", self.office, self.office, self.office,
            lambda domain: domain == LOCAL, lambda message_id: message_id, lambda _, call, *about: call(*about))
        dispatcher.send(self.attempt, list(recipients))

    def asked(self):
        return [(what, about) for what, about, _ in self.office.asked]

    def answer(self, place: int, *answer):
        self.office.asked[place][2](*answer)

    def test_to_its_mailbox(self):
        self.send(recipient("alice@" + LOCAL, "alice"))
        self.assertEqual((self.asked(), self.attempt.pending), ([("deliver", "alice")], 1))
        self.answer(0, Fate(DONE, account="alice"))
        self.assertEqual((self.office.noted, self.attempt.pending), ([("alice@" + LOCAL, DONE)], 0))

    def test_through_aliases(self):
        """What an address of ours stands for takes its place in the envelope, and goes on its own way."""
        self.send(recipient("team@" + LOCAL))
        self.assertEqual(self.asked(), [("expand", "team@" + LOCAL)])
        places = [("alice@" + LOCAL, ["team@" + LOCAL], "alice"), ("x@far.example", ["team@" + LOCAL], None)]
        self.answer(0, (places, ["ghost@" + LOCAL]))
        self.assertEqual(self.office.noted, [("ghost@" + LOCAL, NEVER)])
        self.assertEqual(self.asked()[1:], [("deliver", "alice"), ("find for mail", ["far.example"])])
        self.assertEqual([entry["address"] for entry in self.attempt.envelope["recipients"]],
                         ["ghost@" + LOCAL, "alice@" + LOCAL, "x@far.example"])

    def test_aliases_that_cannot_be_read(self):
        self.send(recipient("team@" + LOCAL))
        self.answer(0, Fate(LATER, "Aliases cannot be read now"))
        self.assertEqual(self.office.noted, [("team@" + LOCAL, LATER)])

    def test_together_to_one_host(self):
        """Two domains of one route, known already: one transaction, and no look-up."""
        self.send(recipient("x@a.example"), recipient("y@B.example"), recipient("z@a.example"),
                  known={"a.example": ROUTE, "b.example": ROUTE})
        self.assertEqual(self.asked(), [("carry for mail", ["x@a.example", "z@a.example", "y@B.example"])])
        fates = {"x@a.example": Fate(DONE), "y@B.example": Fate(LATER), "z@a.example": Fate(NEVER)}
        self.answer(0, fates, ["a line"])
        self.assertEqual(dict(self.office.noted), {address: fate.outcome for address, fate in fates.items()})
        self.assertEqual((self.office.logged, self.attempt.pending), (["a line"], 0))

    def test_look_up(self):
        """One call for all unknown domains; none is held up by one that takes longer, and a bounce has its own
        share."""
        self.send(recipient("x@a.example"), recipient("y@b.example"), recipient("z@c.example"), sender="")
        self.assertEqual(self.asked(), [("find for bounces", ["a.example", "b.example", "c.example"])])
        self.answer(0, {"a.example": ROUTE, "b.example": None, "c.example": Fate(NEVER)})
        self.assertEqual(self.office.noted, [("z@c.example", NEVER)])
        self.assertEqual(self.asked()[1:], [("find patiently for bounces", "b.example"),
                                            ("carry for bounces", ["x@a.example"])])
        self.assertEqual(self.attempt.pending, 2)


if __name__ == "__main__":
    unittest.main()
