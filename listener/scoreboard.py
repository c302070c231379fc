"""What listener/prefork.py's master and workers know of each other, in memory that they share: of each worker whether
it is idle, and the client that it serves.

A worker has a slot of its own, so here no lock says whose a slot is, as in the register that netcat's sessions keep.
"""
import mmap

from common.admission import EMPTY, SLOT, ClientTable, TooMany

FREE, IDLE, BUSY = 0, 1, 2


class Scoreboard(ClientTable):
    """For so many `slots`; `limit`: sessions at most. Made by the master.

    slot: this process's own, once it is a worker.
    """

    def __init__(self, slots, limit):
        super().__init__(limit)
        self.slot = 0
        self._states = mmap.mmap(-1, slots)
        self._clients = mmap.mmap(-1, slots * SLOT)

    def count_idle(self):
        return self._states[:].count(IDLE)

    def reserve(self):
        """A free slot, which counts as an idle worker's from now on. There must be one."""
        slot = self._states.find(bytes([FREE]))
        self._states[slot] = IDLE
        return slot

    def clear(self, slot):
        """Whoever had `slot` is no more."""
        self._states[slot] = FREE
        self._fill(EMPTY, slot)

    def mark(self, state):
        """Note this worker's own state."""
        self._states[self.slot] = state

    def number(self):
        """This worker's slot, from 1 on."""
        return self.slot + 1

    def leave(self):
        self._fill(EMPTY, self.slot)

    def _fill(self, entry, slot):
        self._clients[slot * SLOT:(slot + 1) * SLOT] = entry

    def _read(self):
        return self._clients[:]

    def _take(self, register, entry):
        # First taken, then counted: of two at the same moment neither may overlook the other.
        self._fill(entry, self.slot)
        if self._free(self._read()) < 0:
            self.leave()
            raise TooMany(from_address=False)
