"""Who is connected now, so that one busy client may use nearly all sessions and a hostile one never all.

A register is a row of slots, 16 octets a session: the client's network, padded with NULs. Processes that netcat
starts keep one file of them in the state folder. While a session runs it holds a lock on its slot's octet in the
range 0..max, and the kernel drops the lock however the process ends; a slot whose lock is free is free, whatever
stands in it. Behind the slots stands when somebody last looked for such, in milliseconds since the machine started:
that takes a lock's try for each slot, and each try goes through all locks. (Those of listener/prefork.py:
listener/scoreboard.py.)
"""
import _socket
import posix
from posix import F_TLOCK, F_ULOCK
from time import monotonic

SLOT = 16                   # an IPv4 address has at most 15 characters, a /64 in hexadecimal 16
EMPTY = bytes(SLOT)
LOOK_MILLISECONDS = 0.5     # a slot: how long those who were killed may still be counted; a second at -max 2000


class TooMany(Exception):
    """No further session. `from_address`: because of this address's own, not because of all."""

    def __init__(self, from_address):
        super().__init__()
        self.from_address = from_address


def network(address):
    """What counts as one client: an IPv4 address, or the /64 that anyone with IPv6 has for himself."""
    if ":" not in address:
        return address
    try:
        return _socket.inet_pton(_socket.AF_INET6, address.partition("%")[0])[:8].hex()
    except OSError:
        return address          # whatever a program that is no netcat put into REMOTE_ADDR


def entry_of(address):
    """What stands in the slot of a client at `address` (str), in bytes."""
    return network(address).encode()[:SLOT].ljust(SLOT, b"\0")


def _empty_slots(register):
    """Yield the numbers of the slots that look free, and look no further than asked: there may be thousands."""
    position = register.find(EMPTY)
    while position >= 0:
        slot = -(-position // SLOT)     # what was found may begin in the padding of the slot before
        yield slot
        position = register.find(EMPTY, (slot + 1) * SLOT)


class ClientTable:
    """At most `limit` sessions. Where their slots are is for a class of its own to say: _read() returns their
    octets, _take() fills this process's own, number() tells which that is, leave() empties it."""

    def __init__(self, limit):
        self.limit = limit

    def enter(self, address):
        """Take a slot for a client at `address` (str). Raises TooMany."""
        entry = entry_of(address)
        register = self._read()
        if self._is_under_stress(register):
            register = self._without_dead(register)
            if self._is_under_stress(register) and self._count(register, entry) > self.limit // 4:
                raise TooMany(from_address=True)
        self._take(register, entry)

    def under_stress(self):
        """Whether fewer than an eighth of the sessions are free."""
        return self._is_under_stress(self._read())

    def _is_under_stress(self, register):
        return self._free(register) < self.limit // 8

    def _free(self, register):
        # Exact, wherever EMPTY is found: no entry begins with a NUL, and no padding is as long as EMPTY.
        return self.limit - len(register) // SLOT + register.count(EMPTY)

    def _count(self, register, entry):
        return sum(register[i:i + SLOT] == entry for i in range(0, len(register), SLOT))

    def _without_dead(self, register):
        """`register`, once the slots of sessions that have died are empty."""
        return register


class ClientTableFile(ClientTable):
    """The register in the file `path`, for processes that do not know each other."""

    def __init__(self, path, limit):
        super().__init__(limit)
        self._file = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
        self._slot = -1

    def number(self):
        """This process's slot, from 1 on; 0 while it has none."""
        return self._slot + 1

    def leave(self):
        """Give the slot back."""
        if self._slot >= 0:
            posix.pwrite(self._file, EMPTY, self._slot * SLOT)
            self._change_lock(F_ULOCK, self._slot)
            self._slot = -1

    def _read(self):
        return posix.pread(self._file, self.limit * SLOT, 0).ljust(self.limit * SLOT, b"\0")

    def _take(self, register, entry):
        if self._take_empty(register, entry) or self._take_empty(self._without_dead(register), entry):
            return
        # Slots that look free and are all locked are locked by a stranger, who must not send everybody away.
        slot = next(_empty_slots(self._read()), None)
        if slot is None:
            raise TooMany(from_address=False)
        self._fill(slot, entry)

    def _take_empty(self, register, entry):
        for slot in _empty_slots(register):
            if self._lock(slot):
                self._fill(slot, entry)
                return True
        return False

    def _fill(self, slot, entry):
        posix.pwrite(self._file, entry, slot * SLOT)
        self._slot = slot

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

    def _without_dead(self, register):
        now, place = int(monotonic() * 1000), self.limit * SLOT
        looked = int.from_bytes(posix.pread(self._file, 8, place), "big")
        if 0 <= now - looked < LOOK_MILLISECONDS * self.limit:
            return register
        posix.pwrite(self._file, now.to_bytes(8, "big"), place)
        for slot in range(self.limit):
            if register[slot * SLOT] and self._lock(slot):
                posix.pwrite(self._file, EMPTY, slot * SLOT)
                self._change_lock(F_ULOCK, slot)
        return self._read()
