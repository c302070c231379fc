"""Who is connected now, so that one busy client may use nearly all sessions and a hostile one never all.

One file in the state folder, a slot of 48 octets a session: the client's network, padded with NULs.
While a session runs it holds a lock on its slot's octet in the range 0..max, and the kernel drops the
lock however the process ends; a slot whose lock is free is free, whatever stands in it.
"""
import _socket
import posix
from posix import F_TLOCK, F_ULOCK

SLOT = 48                   # the longest IPv6 address has 45 characters
EMPTY = bytes(SLOT)


class TooMany(Exception):
    """No further session. `from_address`: because of this address's own, not because of all."""

    def __init__(self, from_address):
        super().__init__()
        self.from_address = from_address


def _network(address):
    """What counts as one client: an IPv4 address, or the /64 that anyone with IPv6 has for himself."""
    try:
        return _socket.inet_pton(_socket.AF_INET6, address.partition("%")[0])[:8].hex()
    except OSError:
        return address


class Sessions:
    """The register in `path` for at most `limit` sessions."""

    def __init__(self, path, limit):
        self.limit = limit
        self._file = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o640)
        self._slot = -1

    def enter(self, address):
        """Take a slot for a client at `address` (str). Raises TooMany."""
        entry = _network(address).encode()[:SLOT].ljust(SLOT, b"\0")
        slots = self._slots()
        if self._is_pressed(slots):
            slots = self._without_dead(slots)
            if self._is_pressed(slots) and slots.count(entry) > self.limit // 4:
                raise TooMany(from_address=True)
        self._take(slots, entry)

    def pressed(self):
        """Whether fewer than an eighth of the sessions are free."""
        return self._is_pressed(self._slots())

    def leave(self):
        """Give the slot back."""
        if self._slot >= 0:
            posix.pwrite(self._file, EMPTY, self._slot * SLOT)
            self._change_lock(F_ULOCK, self._slot)
            self._slot = -1

    def _slots(self):
        data = posix.pread(self._file, self.limit * SLOT, 0).ljust(self.limit * SLOT, b"\0")
        return [data[i:i + SLOT] for i in range(0, len(data), SLOT)]

    def _is_pressed(self, slots):
        return slots.count(EMPTY) < self.limit // 8

    def _take(self, slots, entry):
        # Two passes: a slot that looks taken may belong to a process that was killed.
        looks_free = [i for i, slot in enumerate(slots) if slot == EMPTY]
        looks_taken = [i for i, slot in enumerate(slots) if slot != EMPTY]
        for slot in looks_free + looks_taken:
            if self._lock(slot):
                posix.pwrite(self._file, entry, slot * SLOT)
                self._slot = slot
                return
        raise TooMany(from_address=False)

    def _lock(self, slot):
        try:
            self._change_lock(F_TLOCK, slot)
        except OSError:
            return False
        return True

    def _change_lock(self, command, slot):
        # posix.lockf counts from where the file stands. (Importing fcntl costs what the rest of enter does.)
        posix.lseek(self._file, slot, 0)
        posix.lockf(self._file, command, 1)

    def _without_dead(self, slots):
        for i, slot in enumerate(slots):
            if slot != EMPTY and self._lock(i):
                posix.pwrite(self._file, EMPTY, i * SLOT)
                self._change_lock(F_ULOCK, i)
                slots[i] = EMPTY
        return slots
