"""What the agent's master and workers know of each other, in memory that they share: who is idle, and who has been at
one account's mail for long."""
import mmap
from struct import Struct
from time import monotonic

from common.worker_states import BUSY, WorkerStates

NAME_OCTETS = 24
TASK = Struct(f"d{NAME_OCTETS}s")   # since when (monotonic seconds), at whose mail


class TaskBoard(WorkerStates):
    """For so many `workers`."""

    def __init__(self, workers):
        super().__init__(workers)
        self._tasks = mmap.mmap(-1, workers * TASK.size)

    def begin(self, user):
        """Note that this worker begins something with the mail of `user`."""
        TASK.pack_into(self._tasks, self.slot * TASK.size, monotonic(), _name(user))

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
