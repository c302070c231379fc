"""How other threads, and signals, reach the queue manager's."""
import os
import signal
from queue import Empty, SimpleQueue


class Events:
    """What threads tell the queue manager: calls that it makes, in order, when it gets to them."""

    def __init__(self):
        self._calls = SimpleQueue()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def fileno(self):
        """A descriptor that is readable when there is something to do."""
        return self._reading

    def put(self, call, *arguments):
        """Have the queue manager call `call`; from any thread or signal handler."""
        self._calls.put((call, arguments))
        try:
            os.write(self._writing, b".")
        except BlockingIOError:
            pass    # a full pipe wakes as well

    def woken_by_signals(self):
        """Have the descriptor readable after a signal too: one that comes just before the queue manager waits
        would else be heard after the wait."""
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
