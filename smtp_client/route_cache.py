"""Routes for many domains at once, so that a slow name server holds up only those that depend on it."""
import time
from concurrent.futures import ThreadPoolExecutor

from smtp_client.bounds import PATIENT_LOOKUP, QUICK_LOOKUP, SHARES
from smtp_client.dns import NoAnswer, Patience
from smtp_client.result import LATER, UNKNOWN, Fate, Undeliverable

ROUTE_SECONDS = 60          # how long a route that the DNS gave is good for
MOST_KNOWN = 1000


class RouteFinder:
    """Finds routes, several domains at once, and remembers them for a while. The methods are the runner's.

    router: a Router; events: an Events. `share` is a name in bounds.SHARES throughout: whose threads look up.
    """

    def __init__(self, router, events):
        self._router = router
        self._events = events
        self._quick = {name: ThreadPoolExecutor(share.quick) for name, share in SHARES.items()}
        self._patient = {name: ThreadPoolExecutor(share.patient) for name, share in SHARES.items()}
        self._known = {}            # {(share, domain): (Route or Fate, until when)}, the oldest first
        self._asked = {}            # {(share, domain): functions to call}, of those that are looked up quickly
        self._waited_for = {}       # the same, of those for whom we have patience

    def known(self, share, domains):
        """{domain: its Route, or the Fate of having none} of those of `domains` that need no look-up."""
        found = ((domain, self._router.static(domain) or self._remembered(share, domain)) for domain in domains)
        return {domain: route for domain, route in found if route}

    def _remembered(self, share, domain):
        route, until = self._known.get((share, domain), (None, 0))
        return route if time.monotonic() < until else None

    def forget(self):
        """Look up anew whatever is asked for."""
        self._known.clear()

    def find(self, share, domains, done):
        """Have `done` called with {domain: its Route, the Fate of having none, or None where no name server has
        answered quickly: find_patiently() may know more}."""
        routes = {}
        left = set(domains)

        def found(domain, route):
            routes[domain] = route
            left.discard(domain)
            if not left:
                done(routes)

        for domain in domains:
            if (share, domain) in self._waited_for:
                found(domain, None)
            else:
                self._look_up(self._asked, self._quick, share, domain, found)

    def find_patiently(self, share, domain, done):
        """Have `done` called with {domain: its Route, or the Fate of having none}, in its time."""
        self._look_up(self._waited_for, self._patient, share, domain, lambda name, route: done({name: route}))

    def _look_up(self, asked, threads, share, domain, found):
        if (share, domain) in asked:
            asked[share, domain].append(found)
        else:
            asked[share, domain] = [found]
            threads[share].submit(self._ask, asked, share, domain)

    def _ask(self, asked, share, domain):
        """In a thread."""
        is_last = asked is self._waited_for
        patience = Patience(PATIENT_LOOKUP if is_last else QUICK_LOOKUP, is_last)
        try:
            route = self._router.look_up(domain, patience)
        except Undeliverable as error:
            route = error.fate
        except NoAnswer:
            route = None
        except Exception as error:
            route = Fate(LATER, f"internal error: {error!r}", UNKNOWN)
        self._events.put(self._answered, asked, share, domain, route)

    def _answered(self, asked, share, domain, route):
        if route:
            self._remember(share, domain, route)
        for found in asked.pop((share, domain)):
            found(domain, route)

    def _remember(self, share, domain, route):
        """What may be different later is left alone for as long as its share says."""
        is_late = isinstance(route, Fate) and route.outcome == LATER
        seconds = SHARES[share].memory if is_late else ROUTE_SECONDS
        self._known.pop((share, domain), None)
        self._known[share, domain] = (route, time.monotonic() + seconds)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
