"""Routes for many domains at once, so that a slow name server holds up only those that depend on it."""
import time
from concurrent.futures import ThreadPoolExecutor

from smtp_client.bounds import PATIENT_LOOKUP, QUICK_LOOKUP, SHARES
from smtp_client.dns import NoAnswer, Patience
from smtp_client.result import LATER, UNKNOWN, DeliveryResult
from smtp_client.routing import NoRoute

ROUTE_SECONDS = 60          # how long a route that the DNS gave is good for
MOST_KNOWN = 1000


class Search:
    """The domains that one question asks for. left: those that are looked up still; routes: what was found."""

    def __init__(self, question, domains):
        self.question = question
        self.left = set(domains)
        self.routes = {}


class RouteFinder:
    """Finds routes, several domains at once, and remembers them for a while. The methods are the queue manager's.

    router: a Router. events: what threads put calls into, for the queue manager's thread. answered: called in that
    thread with a question and its answer, and never before the question was asked to its end.
    `share` is a name in bounds.SHARES throughout: whose threads look up.
    """

    def __init__(self, router, events, answered):
        self._router = router
        self._events = events
        self._answered = answered
        self._quick = {name: ThreadPoolExecutor(share.quick) for name, share in SHARES.items()}
        self._patient = {name: ThreadPoolExecutor(share.patient) for name, share in SHARES.items()}
        self._known = {}            # {(share, domain): (Route or NoRoute, until when)}, the oldest first
        self._asked = {}            # {(share, domain): Searches}, of those that are looked up quickly
        self._waited_for = {}       # the same, of those for whom we have patience

    def share(self, domain, sender):
        """Whose threads serve mail from `sender` ("" for <>) to `domain`."""
        return self._router.share(domain, sender)

    def known(self, share, domains):
        """{domain: its Route or NoRoute} of those of `domains` that need no look-up."""
        found = ((domain, self._router.static(domain) or self._remembered(share, domain)) for domain in domains)
        return {domain: route for domain, route in found if route}

    def _remembered(self, share, domain):
        route, until = self._known.get((share, domain), (None, 0))
        return route if time.monotonic() < until else None

    def forget(self):
        """Look up anew whatever is asked for."""
        self._known.clear()

    def find(self, share, domains, question):
        """Answer `question` with {domain: its Route or NoRoute, or None where no name server has answered quickly:
        find_patiently() may know more}."""
        search = Search(question, domains)
        for domain in domains:
            if (share, domain) in self._waited_for:
                self._found(search, domain, None)
            else:
                self._look_up(self._asked, self._quick, share, domain, search)

    def find_patiently(self, share, domain, question):
        """Answer `question` with {domain: its Route or NoRoute}, in its time."""
        self._look_up(self._waited_for, self._patient, share, domain, Search(question, [domain]))

    def _look_up(self, asked, threads, share, domain, search):
        if (share, domain) in asked:
            asked[share, domain].append(search)
        else:
            asked[share, domain] = [search]
            try:
                threads[share].submit(self._ask, asked, share, domain)
            except RuntimeError:
                pass            # no thread can be started: it waits for one that there is, or for the next look-up's

    def _ask(self, asked, share, domain):
        """In a thread."""
        is_last = asked is self._waited_for
        patience = Patience(PATIENT_LOOKUP if is_last else QUICK_LOOKUP, is_last)
        try:
            route = self._router.look_up(domain, patience)
        except NoAnswer:
            route = None
        except Exception as error:
            route = NoRoute(DeliveryResult(LATER, f"internal error: {error!r}", UNKNOWN))
        self._events.put(self._looked_up, asked, share, domain, route)

    def _looked_up(self, asked, share, domain, route):
        if route:
            self._remember(share, domain, route)
        for search in asked.pop((share, domain)):
            self._found(search, domain, route)

    def _found(self, search, domain, route):
        search.routes[domain] = route
        search.left.discard(domain)
        if not search.left:
            self._events.put(self._answered, search.question, search.routes)

    def _remember(self, share, domain, route):
        """What may be different later is left alone for as long as its share says."""
        is_late = isinstance(route, NoRoute) and route.result.outcome == LATER
        seconds = SHARES[share].memory if is_late else ROUTE_SECONDS
        self._known.pop((share, domain), None)
        self._known[share, domain] = (route, time.monotonic() + seconds)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
