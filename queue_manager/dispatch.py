"""Each recipient on its way: into a mailbox, through the aliases, or to another host; and back with its fate."""
from functools import partial

from mailstore.envelope import Recipient
from smtp_client.destination import Job
from smtp_client.result import NEVER, Fate


class Dispatcher:
    """finder: a RouteFinder; share: tells whose workers carry mail (Router.share); lanes: a Lanes; postman: a
    Postman; settler: a Settler; is_local: tells whether a domain is ours; path: gives where a message's text is.

    guard: makes a call that is about an attempt, in the runner's thread; every answer comes through it.
    """

    def __init__(self, finder, share, lanes, postman, settler, is_local, path, guard):
        self._finder = finder
        self._share = share
        self._lanes = lanes
        self._postman = postman
        self._settler = settler
        self._is_local = is_local
        self._path = path
        self._guard = guard

    def send(self, attempt, recipients):
        """Send `recipients` (of the attempt's envelope) on their way."""
        distant = {}
        for recipient in recipients:
            domain = recipient.address.rpartition("@")[2].lower()
            if recipient.mailbox:
                self._deliver(attempt, recipient)
            elif self._is_local(domain):
                self._expand(attempt, recipient)
            else:
                share = self._share(domain, attempt.envelope.sender)
                distant.setdefault(share, {}).setdefault(domain, []).append(recipient)
        for share, domains in distant.items():
            self._find(attempt, share, domains)

    def _answer(self, attempt, call, about):
        """A function that passes one answer about `about` on to `call`, and settles that it was awaited."""
        attempt.pending += 1

        def answered(*answer):
            attempt.pending -= 1
            self._guard(attempt, call, attempt, about, *answer)

        return answered

    # Other hosts

    def _find(self, attempt, share, distant):
        """distant: {domain: its recipients}. What is known already waits for no name server."""
        known = self._finder.known(share, distant)
        self._routed(share, attempt, {domain: distant[domain] for domain in known}, known)
        unknown = {domain: recipients for domain, recipients in distant.items() if domain not in known}
        if unknown:
            self._finder.find(share, list(unknown), self._answer(attempt, partial(self._routed, share), unknown))

    def _wait_for(self, attempt, share, domain, recipients):
        answer = self._answer(attempt, partial(self._routed, share), {domain: recipients})
        self._finder.find_patiently(share, domain, answer)

    def _routed(self, share, attempt, distant, routes):
        """routes: {domain: its Route, the Fate of having none, or None where that takes longer}. Recipients at one
        host go together."""
        together = {}
        for domain, recipients in distant.items():
            route = routes[domain]
            if not route:
                self._wait_for(attempt, share, domain, recipients)
            elif isinstance(route, Fate):
                self._settler.note(attempt, [(recipient, route) for recipient in recipients])
            else:
                together.setdefault(route.key, (route, []))[1].extend(recipients)
        envelope = attempt.envelope
        for route, recipients in together.values():
            done = self._answer(attempt, self._carried, recipients)
            self._lanes.add(share, route, Job(self._path(attempt.id), envelope.sender, envelope.utf8,
                                              [recipient.address for recipient in recipients], done))

    def _carried(self, attempt, recipients, fates, lines):
        self._settler.write(attempt, lines)
        self._settler.note(attempt, [(recipient, fates[recipient.address]) for recipient in recipients])

    # Mailboxes here

    def _deliver(self, attempt, recipient):
        self._postman.deliver(attempt.id, attempt.envelope.sender, recipient,
                              self._answer(attempt, self._delivered, recipient))

    def _delivered(self, attempt, recipient, fate):
        self._settler.note(attempt, [(recipient, fate)])

    def _expand(self, attempt, recipient):
        self._postman.expand(recipient.address, self._answer(attempt, self._expanded, recipient))

    def _expanded(self, attempt, recipient, answer):
        """Put what an address of ours stands for in its place."""
        if isinstance(answer, Fate):
            self._settler.note(attempt, [(recipient, answer)])
            return
        found, unknown = answer
        given = recipient.envelope_to
        nobody = [Recipient(address, given) for address in unknown]
        places = [Recipient(*place) for place in found]
        attempt.envelope.recipients.remove(recipient)
        attempt.envelope.recipients += nobody + places
        fate = Fate(NEVER, "Unrouteable address", status="5.1.1")
        self._settler.note(attempt, [(recipient, fate) for recipient in nobody])
        self.send(attempt, places)
