"""What the agent's master and workers know of each other, in memory that they share: who is idle, and who has been at
one account's mail for long."""
import mmap
from struct import Struct
from time import monotonic

FREE, IDLE, BUSY = 0, 1, 2
NAME_OCTETS = 24
TASK = Struct(f"d{NAME_OCTETS}s")   # since when (monotonic seconds), at whose mail


class TaskBoard:
    """For so many workers. place: this process's own, once it is a worker."""

    def __init__(self, count):
        self.place = 0
        self._states = mmap.mmap(-1, count)
        self._tasks = mmap.mmap(-1, count * TASK.size)

    def reserve(self):
        """A free place, which counts as an idle worker's from now on; None if there is none."""
        place = self._states.find(bytes([FREE]))
        if place < 0:
            return None
        self._states[place] = IDLE
        return place

    def clear(self, place):
        """Whoever had `place` is no more."""
        self._states[place] = FREE

    def count_idle(self):
        return self._states[:].count(IDLE)

    def mark(self, state):
        """Note this worker's own state."""
        self._states[self.place] = state

    def begin(self, user):
        """Note that this worker begins something with the mail of `user`."""
        TASK.pack_into(self._tasks, self.place * TASK.size, monotonic(), _name(user))

    def count_late(self, user, seconds, enough):
        """How many workers have been at the mail of `user` for longer than so many seconds; 0 if there can't be
        `enough` of them."""
        states = self._states[:]
        if states.count(BUSY) < enough:
            return 0
        name, before = _name(user), monotonic() - seconds
        tasks = zip(states, TASK.iter_unpack(self._tasks[:]))
        return sum(state == BUSY and since < before and whose == name for state, (since, whose) in tasks)


def _name(user):
    return user.encode("utf-8", "surrogateescape")[:NAME_OCTETS].ljust(NAME_OCTETS, b"\0")
