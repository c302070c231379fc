"""Each recipient on its way: into a mailbox, through the aliases, or to another host; and what comes back.

send() asks, hear() takes each answer, and either tells the Concluder what came of a recipient or asks further.
"""
from typing import Dict, List, NamedTuple

from mailstore.dsn_requests import for_members
from mailstore.envelope import DONE, EXPANDED, SUCCESS, Recipient
from mailstore.trace import LOCAL_USER
from queue_manager.attempt import Attempt, Tried
from queue_manager.local_delivery import Members
from smtp_client.destination import Job, Requests
from smtp_client.result import NEVER, DeliveryResult
from smtp_client.routing import NoRoute, Route

UNKNOWN_USER = DeliveryResult(NEVER, "Unrouteable address", status="5.1.1")


class Routing(NamedTuple):
    """The question by which way mail goes. share: whose threads look up; recipients: {domain: those in it}."""

    attempt: Attempt
    share: str
    recipients: Dict[str, List[Recipient]]


class Carrying(NamedTuple):
    """The question what became of `recipients`, whose mail goes along `route`."""

    attempt: Attempt
    route: Route
    recipients: List[Recipient]


class Delivering(NamedTuple):
    """The question what became of a copy for a mailbox here."""

    attempt: Attempt
    recipient: Recipient


class Expanding(NamedTuple):
    """The question what an address of ours stands for."""

    attempt: Attempt
    recipient: Recipient


class Dispatcher:
    """finder: a RouteFinder; destinations: the Destinations; local_delivery: a LocalDelivery; concluder: a Concluder;
    is_local: tells whether a domain is ours; path: gives where a message's text is."""

    def __init__(self, finder, destinations, local_delivery, concluder, is_local, path):
        self._finder = finder
        self._destinations = destinations
        self._local_delivery = local_delivery
        self._concluder = concluder
        self._is_local = is_local
        self._path = path

    def send(self, attempt: Attempt, recipients: List[Recipient]):
        """Send `recipients` (of the attempt's envelope) on their way."""
        remote: Dict[str, Dict[str, List[Recipient]]] = {}
        for recipient in recipients:
            domain = recipient.address.rpartition("@")[2].lower()
            if recipient.refused:
                refusal = DeliveryResult(NEVER, "refused by the LMTP server", reply=recipient.reply)
                self._concluder.record(attempt, [Tried(recipient, refusal, LOCAL_USER, "lmtp")])
            elif recipient.mailbox:
                self._deliver(attempt, recipient)
            elif self._is_local(domain):
                self._expand(attempt, recipient)
            else:
                domains = remote.setdefault(self._finder.share(domain, attempt.envelope.sender), {})
                domains.setdefault(domain, []).append(recipient)
        for share, domains in remote.items():
            self._find_routes(Routing(attempt, share, domains))

    def hear(self, question, answer):
        """Go on with the answer to a question. It is a value of the kind that whoever was asked names."""
        if isinstance(question, Routing):
            self._routed(question, answer)
        elif isinstance(question, Carrying):
            self._carried(question, answer)
        elif isinstance(question, Delivering):
            self._concluder.record(question.attempt, [answer])
        elif isinstance(question, Expanding):
            self._expanded(question, answer)

    # Other hosts

    def _find_routes(self, question: Routing):
        """What is known already waits for no name server."""
        attempt, share, wanted = question
        known = self._finder.known(share, wanted)
        self._routed(Routing(attempt, share, {domain: wanted[domain] for domain in known}), known)
        unknown = {domain: recipients for domain, recipients in wanted.items() if domain not in known}
        if unknown:
            self._finder.find(share, list(unknown), Routing(attempt, share, unknown))
            attempt.asked()

    def _routed(self, question: Routing, routes):
        """routes: {domain: its Route or NoRoute, or None where that takes longer}. Recipients at one host go
        together."""
        attempt, share, wanted = question
        together: Dict[object, list] = {}
        for domain, recipients in wanted.items():
            route = routes[domain]
            if not route:
                self._finder.find_patiently(share, domain, Routing(attempt, share, {domain: recipients}))
                attempt.asked()
            elif isinstance(route, NoRoute):
                self._concluder.record(attempt, [Tried(recipient, route.result, route.router, route.transport)
                                                 for recipient in recipients])
            else:
                together.setdefault(route.key, []).append((route, recipients))
        for pairs in together.values():
            self._carry(share, Carrying(attempt, pairs[0][0], [one for _, some in pairs for one in some]))

    def _carry(self, share, question: Carrying):
        envelope = question.attempt.envelope
        addresses = [recipient.address for recipient in question.recipients]
        job = Job(self._path(envelope.id), envelope.sender, envelope.utf8, addresses,
                  _requests(envelope, question.recipients), question)
        self._destinations.add(share, question.route, job)
        question.attempt.asked()

    def _carried(self, question: Carrying, answer):
        """answer: an Answer of smtp_client."""
        route = question.route
        self._concluder.log_notes(question.attempt, answer.notes)
        self._concluder.record(question.attempt, [
            Tried(recipient, answer.results[recipient.address], route.router, route.transport)
            for recipient in question.recipients])

    # Mailboxes here

    def _deliver(self, attempt: Attempt, recipient: Recipient):
        envelope = attempt.envelope
        self._local_delivery.deliver(self._path(envelope.id), envelope, recipient, Delivering(attempt, recipient))
        attempt.asked()

    def _expand(self, attempt: Attempt, recipient: Recipient):
        self._local_delivery.expand(recipient, Expanding(attempt, recipient))
        attempt.asked()

    def _expanded(self, question: Expanding, answer):
        """Put what an address of ours stands for in its place. answer: the Members, or a Tried if there is none."""
        attempt, recipient = question
        if not isinstance(answer, Members):
            self._concluder.record(attempt, [answer])
            return
        nobody = [Recipient(address, recipient.envelope_to) for address in answer.unknown]
        _replace(attempt.envelope, recipient, nobody + answer.recipients)
        self._concluder.record(attempt, [Tried(one, UNKNOWN_USER) for one in nobody])
        self.send(attempt, answer.recipients)


def _replace(envelope, recipient, members):
    """Put `members` in the place of a recipient, with the requests that came with it (RFC 3461 §5.2.7)."""
    for member in members:
        member.notify = recipient.notify if len(members) == 1 else for_members(recipient.notify)
        member.orcpt = recipient.orcpt
    if len(members) > 1 and envelope.sender and recipient.wants(SUCCESS):
        recipient.state, recipient.report = DONE, EXPANDED
    else:
        envelope.recipients.remove(recipient)
    envelope.recipients += members


def _requests(envelope, recipients):
    """What is said of `recipients` to a host that offers DSN, as it was said to us (RFC 3461 §5.2.1)."""
    return Requests(_parameters(RET=envelope.ret, ENVID=envelope.envid),
                    {one.address: _parameters(NOTIFY=one.notify, ORCPT=one.orcpt) for one in recipients})


def _parameters(**values):
    return "".join(f" {keyword}={value}" for keyword, value in values.items() if value)
