"""Where each recipient is sent (queue_manager/dispatch.py), with stand-ins for all that it hands them to."""

import types
import unittest

from mailstore.envelope import Envelope, Recipient
from queue_manager.attempt import Attempt, Tried
from queue_manager.dispatch import Dispatcher
from queue_manager.local_delivery import Members
from smtp_client.result import DONE, LATER, NEVER, Answer, DeliveryResult
from smtp_client.routing import NoRoute

LOCAL = "here.example"
ROUTE = types.SimpleNamespace(key="route", router="hubbed_hosts", transport="remote_smtp")


def recipient(address: str, mailbox=None) -> Recipient:
    return Recipient(address, [address], mailbox)


class Office:
    """Finder, destinations, deliveries here and the conclusion of each attempt, all in one: what is asked of them is
    kept.

    known: {domain: its Route or NoRoute}.  asked: [(what, about what, the question to answer)].
    recorded: [(address, outcome)]."""

    def __init__(self, known):
        self._known = known
        self.asked, self.recorded, self.notes = [], [], []

    def share(self, _, sender):
        return "mail" if sender else "bounces"

    def known(self, _, domains):
        return {domain: self._known[domain] for domain in domains if domain in self._known}

    def find(self, share, domains, question):
        self.asked.append(("find for " + share, domains, question))

    def find_patiently(self, share, domain, question):
        self.asked.append(("find patiently for " + share, domain, question))

    def add(self, share, route, job):
        self.asked.append(("carry for " + share, job.addresses, job.question))

    def deliver(self, path, sender, entry, question):
        self.asked.append(("deliver", entry.mailbox, question))

    def expand(self, entry, question):
        self.asked.append(("expand", entry.address, question))

    def record(self, _, tried):
        self.recorded += [(one.recipient.address, one.result.outcome) for one in tried]

    def log_notes(self, _, notes):
        self.notes += notes


class DispatchTest(unittest.TestCase):

    def send(self, *recipients, known=(), sender="me@here.example"):
        self.office = Office(dict(known))
        self.attempt = Attempt(Envelope("1xVmS1-000001-aa", 0, sender, list(recipients)))
        self.dispatcher = Dispatcher(self.office, self.office, self.office, self.office,
                                     lambda domain: domain == LOCAL, lambda message_id: message_id)
        self.dispatcher.send(self.attempt, list(recipients))

    def asked(self):
        return [(what, about) for what, about, _ in self.office.asked]

    def answer(self, place: int, answer):
        """As the queue manager takes an answer."""
        self.attempt.answered()
        self.dispatcher.hear(self.office.asked[place][2], answer)

    def test_to_its_mailbox(self):
        alice = recipient("alice@" + LOCAL, "alice")
        self.send(alice)
        self.assertEqual(self.asked(), [("deliver", "alice")])
        self.assertFalse(self.attempt.is_over())
        self.answer(0, Tried(alice, DeliveryResult(DONE), account="alice"))
        self.assertEqual(self.office.recorded, [("alice@" + LOCAL, DONE)])
        self.assertTrue(self.attempt.is_over())

    def test_through_aliases(self):
        """What an address of ours stands for takes its place in the envelope, and goes on its own way."""
        self.send(recipient("team@" + LOCAL))
        self.assertEqual(self.asked(), [("expand", "team@" + LOCAL)])
        members = [Recipient("alice@" + LOCAL, ["team@" + LOCAL], "alice"),
                   Recipient("x@far.example", ["team@" + LOCAL])]
        self.answer(0, Members(members, ["ghost@" + LOCAL]))
        self.assertEqual(self.office.recorded, [("ghost@" + LOCAL, NEVER)])
        self.assertEqual(self.asked()[1:], [("deliver", "alice"), ("find for mail", ["far.example"])])
        self.assertEqual([entry.address for entry in self.attempt.envelope.recipients],
                         ["ghost@" + LOCAL, "alice@" + LOCAL, "x@far.example"])
        self.assertEqual({entry.given for entry in self.attempt.envelope.recipients}, {"team@" + LOCAL})

    def test_aliases_that_cannot_be_read(self):
        team = recipient("team@" + LOCAL)
        self.send(team)
        self.answer(0, Tried(team, DeliveryResult(LATER, "Aliases cannot be read now")))
        self.assertEqual(self.office.recorded, [("team@" + LOCAL, LATER)])

    def test_together_to_one_host(self):
        """Two domains of one route, known already: one transaction, and no look-up."""
        self.send(recipient("x@a.example"), recipient("y@B.example"), recipient("z@a.example"),
                  known={"a.example": ROUTE, "b.example": ROUTE})
        self.assertEqual(self.asked(), [("carry for mail", ["x@a.example", "z@a.example", "y@B.example"])])
        outcomes = {"x@a.example": DONE, "y@B.example": LATER, "z@a.example": NEVER}
        self.answer(0, Answer({address: DeliveryResult(outcome) for address, outcome in outcomes.items()}, ["a note"]))
        self.assertEqual(dict(self.office.recorded), outcomes)
        self.assertEqual(self.office.notes, ["a note"])
        self.assertTrue(self.attempt.is_over())

    def test_look_up(self):
        """One call for all unknown domains; none is held up by one that takes longer, and a bounce has its own
        share."""
        self.send(recipient("x@a.example"), recipient("y@b.example"), recipient("z@c.example"), sender="")
        self.assertEqual(self.asked(), [("find for bounces", ["a.example", "b.example", "c.example"])])
        self.answer(0, {"a.example": ROUTE, "b.example": None, "c.example": NoRoute(DeliveryResult(NEVER))})
        self.assertEqual(self.office.recorded, [("z@c.example", NEVER)])
        self.assertEqual(self.asked()[1:], [("find patiently for bounces", "b.example"),
                                            ("carry for bounces", ["x@a.example"])])
        for left in (1, 2):
            self.assertFalse(self.attempt.is_over(), left)
            self.attempt.answered()
        self.assertTrue(self.attempt.is_over())


if __name__ == "__main__":
    unittest.main()
