"""What the runner's thread and the workers' share."""
import os
import signal
import threading
from queue import Empty, SimpleQueue

MOST_FOR_A_HOST = 4


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
    """Holds the connections to one address and port to MOST_FOR_A_HOST, whichever lanes they belong to."""

    def __init__(self):
        self._changed = threading.Condition()
        self._taken = {}

    def take(self, place):
        """Wait for a free slot at `place` and take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken.get(place, 0) < MOST_FOR_A_HOST)
            self._taken[place] = self._taken.get(place, 0) + 1

    def give_back(self, place):
        with self._changed:
            self._taken[place] -= 1
            if not self._taken[place]:
                del self._taken[place]
            self._changed.notify_all()
