"""Who guesses passwords: failures are counted for each client, over connections and processes, so that its next
attempts wait; nobody else's do.

A file of ROWS rows in the state folder: 16 octets for the client's network, as the table of clients has it, and 8
for the moment at which all its failures will be forgiven, one every FORGIVEN_SECONDS, in seconds since 1970. When all
rows are taken, whoever is forgiven first makes room. There is no lock: of two failures at the same moment one may be
lost.
"""
import posix
from time import time

from common.admission import SLOT, entry_of

ROWS = 512
ROW = SLOT + 8
FORGIVEN_SECONDS = 60
MOST = 20                   # that are remembered


class Guesses:
    """path: the file, made when the first attempt fails. A file that cannot be used keeps nobody from sending."""

    def __init__(self, path):
        self._path = path

    def failures(self, address):
        """How many of the client at `address` (str) are not forgiven yet."""
        try:
            _, due = self._find(entry_of(address), self._read())
        except OSError:
            return 0
        return -int(-due // FORGIVEN_SECONDS)

    def note(self, address):
        """One more attempt of the client at `address` has failed."""
        entry = entry_of(address)
        try:
            row, due = self._find(entry, self._read())
            due = min(due, (MOST - 1) * FORGIVEN_SECONDS) + FORGIVEN_SECONDS
            self._write(row, entry + int(time() + due).to_bytes(8, "big"))
        except OSError:
            pass

    def _find(self, entry, table):
        """(the row that this network has, or may take; seconds until all its failures are forgiven)."""
        now = time()
        rows = [table[at:at + ROW] for at in range(0, ROWS * ROW, ROW)]
        for number, row in enumerate(rows):
            if row[:SLOT] == entry:
                # Of a clock that was set back nothing stays behind.
                return number, min(max(0, _moment(row) - now), MOST * FORGIVEN_SECONDS)
        return min(range(ROWS), key=lambda number: _moment(rows[number])), 0

    def _read(self):
        try:
            file = posix.open(self._path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
        except FileNotFoundError:
            return bytes(ROWS * ROW)
        try:
            return posix.read(file, ROWS * ROW).ljust(ROWS * ROW, b"\0")
        finally:
            posix.close(file)

    def _write(self, number, row):
        file = posix.open(self._path, posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600)
        try:
            posix.pwrite(file, row, number * ROW)
        finally:
            posix.close(file)


def _moment(row):
    return int.from_bytes(row[SLOT:], "big")
