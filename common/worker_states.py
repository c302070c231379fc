"""Which workers of a master are idle, in memory that it shares with them: listener/prefork.py and the delivery agent
fork theirs by it, before anybody would have to wait.

A worker has a slot of its own, so no lock says whose a slot is.
"""
import mmap

FREE, IDLE, BUSY = 0, 1, 2


class WorkerStates:
    """For so many workers, made by their master. slot: this process's own, once it is a worker."""

    def __init__(self, workers):
        self.slot = 0
        self._states = mmap.mmap(-1, workers)

    def count_idle(self):
        return self._states[:].count(IDLE)

    def reserve(self):
        """A free slot, which counts as an idle worker's from now on; None if there is none."""
        slot = self._states.find(bytes([FREE]))
        if slot < 0:
            return None
        self._states[slot] = IDLE
        return slot

    def clear(self, slot):
        """Whoever had `slot` is no more."""
        self._states[slot] = FREE

    def mark(self, state):
        """Note this worker's own state."""
        self._states[self.slot] = state
