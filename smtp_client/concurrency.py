"""What the queue manager's thread and the clients' share."""
import threading
from time import monotonic

from smtp_client.bounds import REMEMBERED


class Stopping(Exception):
    """The relay stops: nothing more is sent."""


class Gate:
    """Knows the clients that wait for the answer which says whether a message is the other side's.

    Who stops the relay closes the gate, and waits until no client is inside: what other hosts have taken over must be
    noted, and no client begins anew.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = set()
        self._closed = False

    def enter(self):
        """Raises Stopping when it is closed."""
        with self._lock:
            if self._closed:
                raise Stopping
            self._inside.add(threading.get_ident())

    def leave(self):
        with self._lock:
            self._inside.discard(threading.get_ident())

    def close(self):
        with self._lock:
            self._closed = True

    def is_empty(self):
        with self._lock:
            return not self._inside


class Slots:
    """Holds the connections to one address and port to `most`, whichever destinations of a share they belong to; to one
    until that has reached it, for a silent address is to cost no more."""

    def __init__(self, most):
        self._most = most
        self._lock = threading.Lock()
        self._taken = {}
        self._reached = set()

    def take(self, place):
        """Take a slot at `place`, (address, port). False if none is free: nobody waits here."""
        with self._lock:
            if self.free(place) <= 0:
                return False
            self._taken[place] = self._taken.get(place, 0) + 1
            return True

    def free(self, place):
        """How many slots are free at `place`, 0 or less for none."""
        most = self._most if place in self._reached else 1
        return most - self._taken.get(place, 0)

    def reached(self, place):
        """A connection that holds a slot at `place` has been answered."""
        with self._lock:
            self._reached.add(place)

    def give_back(self, place):
        with self._lock:
            self._taken[place] -= 1
            if not self._taken[place]:
                del self._taken[place]
                self._reached.discard(place)


class Silence:
    """Remembers the places, (address, port), that were silent: another destination need not find that out again."""

    def __init__(self):
        self._lock = threading.Lock()
        self._results = {}          # {place: (when, DeliveryResult)}, the oldest first

    def note(self, place, result):
        """A connection to `place` came to `result`, a time-out."""
        with self._lock:
            self._results.pop(place, None)
            self._results[place] = (monotonic(), result)
            if len(self._results) > REMEMBERED:
                del self._results[next(iter(self._results))]

    def recent(self, place, seconds):
        """The DeliveryResult that was noted of `place` in the last `seconds`, or None."""
        when, result = self._results.get(place, (0, None))
        return result if result and monotonic() - when < seconds else None

    def end(self, place):
        """It has answered."""
        with self._lock:
            self._results.pop(place, None)

    def forget(self):
        """Whatever was silent is to be tried again."""
        with self._lock:
            self._results.clear()
