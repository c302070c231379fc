"""Routes for many domains at once, so that a slow name server holds up only those that depend on it."""
import time
from concurrent.futures import ThreadPoolExecutor

from carrier.fate import LATER, UNKNOWN, Fate, Undeliverable

LOOKUPS = 16                # at once
ROUTE_SECONDS = 60          # how long a route that the DNS gave is good for
MOST_KNOWN = 1000


class RouteFinder:
    """Finds routes, several domains at once, and remembers them for a while. The methods are the runner's."""

    def __init__(self, router, events):
        self._router = router
        self._events = events
        self._threads = ThreadPoolExecutor(LOOKUPS)
        self._known = {}
        self._asked = {}

    def find(self, domains, done):
        """Have `done` called, perhaps at once, with {domain: its Route, or the Fate of having none}."""
        routes = {}
        left = set(domains)

        def found(domain, route):
            routes[domain] = route
            left.discard(domain)
            if not left:
                done(routes)

        for domain in domains:
            self._find_one(domain, found)

    def _find_one(self, domain, found):
        route = self._router.static(domain) or self._remembered(domain)
        if route:
            found(domain, route)
        elif domain in self._asked:
            self._asked[domain].append(found)
        else:
            self._asked[domain] = [found]
            self._threads.submit(self._look_up, domain)

    def _remembered(self, domain):
        route, until = self._known.get(domain, (None, 0))
        return route if time.monotonic() < until else None

    def _look_up(self, domain):
        """In a thread."""
        try:
            route = self._router.look_up(domain)
        except Undeliverable as error:
            route = error.fate
        except Exception as error:
            route = Fate(LATER, f"internal error: {error!r}", UNKNOWN)
        self._events.put(self._answered, domain, route)

    def _answered(self, domain, route):
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        # What may be different at the next try is asked again then.
        if not (isinstance(route, Fate) and route.outcome == LATER):
            self._known[domain] = (route, time.monotonic() + ROUTE_SECONDS)
        for found in self._asked.pop(domain):
            found(domain, route)
