"""What the runner's thread and the workers' share."""
import os
import signal
import threading
from copy import copy
from queue import Empty, SimpleQueue
from time import monotonic

from smtp_client.bounds import REMEMBERED


class Events:
    """What threads tell the runner: calls that it makes, in order, when it gets to them."""

    def __init__(self):
        self._calls = SimpleQueue()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def fileno(self):
        """A descriptor that is readable when there is something to do."""
        return self._reading

    def put(self, call, *arguments):
        """Have the runner call `call`; from any thread or signal handler."""
        self._calls.put((call, arguments))
        try:
            os.write(self._writing, b".")
        except BlockingIOError:
            pass    # a full pipe wakes as well

    def woken_by_signals(self):
        """Have the descriptor readable after a signal too: one that comes just before the runner waits would
        else be heard after the wait."""
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def handle(self):
        """Make the calls that have come."""
        try:
            os.read(self._reading, 65536)
        except BlockingIOError:
            pass
        while True:
            try:
                call, arguments = self._calls.get_nowait()
            except Empty:
                return
            call(*arguments)


class Stopping(Exception):
    """The relay stops: nothing more is sent."""


class Gate:
    """Counts who waits for the answer that says whether a message is the other side's.

    Whoever stops the relay closes the gate, and waits until nobody is inside: what others have taken
    over must be noted, and nobody begins anew.
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
    """Holds the connections to one address and port to `most`, whichever lanes of a share they belong to; to one
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
    """Remembers the places, (address, port), that were silent: another lane need not find that out again."""

    def __init__(self):
        self._lock = threading.Lock()
        self._fates = {}            # {place: (when, Fate)}, the oldest first

    def note(self, place, fate):
        """A connection to `place` came to `fate`, a time-out."""
        with self._lock:
            self._fates.pop(place, None)
            self._fates[place] = (monotonic(), fate)
            if len(self._fates) > REMEMBERED:
                del self._fates[next(iter(self._fates))]

    def recent(self, place, seconds):
        """The Fate that was noted of `place` in the last `seconds`, a copy, or None."""
        when, fate = self._fates.get(place, (0, None))
        return copy(fate) if fate and monotonic() - when < seconds else None

    def end(self, place):
        """It has answered."""
        with self._lock:
            self._fates.pop(place, None)

    def forget(self):
        """Whatever was silent is to be tried again."""
        with self._lock:
            self._fates.clear()
