"""What listener/prefork.py's master and workers know of each other, in memory that they share: of each worker whether it is
idle, and the client that it serves.

A worker has a place of its own, so here no lock says whose a slot is, as in the register that netcat's sessions keep.
"""
import mmap

from common.admission import EMPTY, SLOT, Register, TooMany

FREE, IDLE, BUSY = 0, 1, 2


class Board(Register):
    """For so many `places`; `limit`: sessions at most. Made by the master.

    place: this process's own, once it is a worker.
    """

    def __init__(self, places, limit):
        super().__init__(limit)
        self.place = 0
        self._states = mmap.mmap(-1, places)
        self._clients = mmap.mmap(-1, places * SLOT)

    def count_idle(self):
        return self._states[:].count(IDLE)

    def reserve(self):
        """A free place, which counts as an idle worker's from now on. There must be one."""
        place = self._states.find(bytes([FREE]))
        self._states[place] = IDLE
        return place

    def clear(self, place):
        """Whoever had `place` is no more."""
        self._states[place] = FREE
        self._seat(EMPTY, place)

    def mark(self, state):
        """Note this worker's own state."""
        self._states[self.place] = state

    def leave(self):
        self._seat(EMPTY, self.place)

    def _seat(self, entry, place):
        self._clients[place * SLOT:(place + 1) * SLOT] = entry

    def _read(self):
        return self._clients[:]

    def _take(self, register, entry):
        # First taken, then counted: of two at the same moment neither may overlook the other.
        self._seat(entry, self.place)
        if self._free(self._read()) < 0:
            self.leave()
            raise TooMany(from_address=False)
