"""What listener/prefork.py's master and workers know of each other, in memory that they share: of each worker whether
it is idle, and the client that it serves.

Here no lock says whose a slot is, as in the register that netcat's sessions keep.
"""
import mmap

from common.admission import EMPTY, SLOT, ClientTable, TooMany
from common.worker_states import WorkerStates


class Scoreboard(WorkerStates, ClientTable):
    """For so many `workers`; `limit`: sessions at most."""

    def __init__(self, workers, limit):
        WorkerStates.__init__(self, workers)
        ClientTable.__init__(self, limit)
        self._clients = mmap.mmap(-1, workers * SLOT)

    def clear(self, slot):
        super().clear(slot)
        self._fill(EMPTY, slot)

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
