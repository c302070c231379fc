"""Where in a large text file each name's entry stands, so that one is found without reading the others.

The table lies in the state folder; whoever finds that the file is another one than the table is of makes it anew. In
it, integers are big-endian:

    HEAD octets     a line: VERSION, the file's stamp, how many buckets there are, how many entries; blanks
    4 each          for each bucket, and once more: how many entries stand before its first
    ROW each        the entries by their names' CRC-32: that, 6 octets where the entry begins, 6 how long it is
    the rest        a note, of whoever reads the file

Two names may have one CRC, and one name several entries: who asks reads them, and sees whose they are.
"""
import posix
from binascii import crc32

VERSION = 1
HEAD = 160
ROW = 16
CRC_BITS, PLACE_BITS = 32, 48
PLACE = (1 << PLACE_BITS) - 1
WRITE_NEW = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC


def lines_of(file, bom):
    """Yield (where it begins, the line with its end, in bytes) of the lines of the open file, without a byte order mark
    (bytes) before the first."""
    place = 0
    with open(posix.dup(file), "rb") as stream:
        stream.seek(0)
        for line in stream:
            if not place and line.startswith(bom):
                place = len(bom)
                line = line[place:]
            yield place, line
            place += len(line)


class Index:
    """The table in the open file `file`, a descriptor that it closes in the end. Raises ValueError if it is none of a
    file with this `stamp`.

    note: what was noted with it (bytes).
    """

    def __init__(self, file, stamp):
        self._file = file
        words = posix.pread(file, HEAD, 0).split()
        if words[:-2] != _words(stamp):
            raise ValueError(stamp)
        self._buckets, count = map(int, words[-2:])
        self._rows = HEAD + 4 * (self._buckets + 1)
        end = self._rows + ROW * count
        self.note = posix.pread(file, posix.fstat(file).st_size - end, end)

    def places(self, name):
        """[(where it begins, its octets)] of the entries that may be those of `name` (bytes), in the file's order."""
        key = crc32(name)
        bounds = posix.pread(self._file, 8, HEAD + 4 * _bucket(key, self._buckets))
        first, last = _integer(bounds[:4]), _integer(bounds[4:])
        rows = posix.pread(self._file, ROW * (last - first), self._rows + ROW * first)
        found = (_integer(rows[at:at + ROW]) for at in range(0, len(rows), ROW))
        return [(row >> PLACE_BITS & PLACE, row & PLACE) for row in found if row >> 2 * PLACE_BITS == key]

    def __del__(self):
        posix.close(self._file)


def open_index(path, stamp, entries, may_keep):
    """The Index kept at `path` of a file with this `stamp`, made if need be. entries: a function that yields for each
    entry (its name in bytes, where it begins, its octets), and returns the note; may_keep: whether the file will not
    change any more under the same stamp. One that cannot be kept is this process's own."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return _make(path, stamp, entries, may_keep)
    try:
        return Index(file, stamp)
    except ValueError:
        return _make(path, stamp, entries, may_keep)


def _make(path, stamp, entries, may_keep):
    table = _table(stamp, entries)
    file = _keep(path, table) if may_keep else -1
    return Index(_nameless(table) if file < 0 else file, stamp)


def _table(stamp, entries):
    """The table's octets."""
    rows = []
    note = _collect(entries(), rows)
    rows.sort()
    buckets = len(rows) or 1
    head = b" ".join([*_words(stamp), b"%d" % buckets, b"%d" % len(rows)])
    table = bytearray(head.ljust(HEAD))
    begun = 0
    for number, row in enumerate(rows):
        bucket = _bucket(row >> 2 * PLACE_BITS, buckets)
        table += number.to_bytes(4, "big") * (bucket + 1 - begun)
        begun = bucket + 1
    table += len(rows).to_bytes(4, "big") * (buckets + 1 - begun)
    for row in rows:
        table += row.to_bytes(ROW, "big")
    return table + note


def _collect(entries, rows):
    """Put a row for each of `entries` into `rows`; what they return."""
    while True:
        try:
            name, begin, octets = next(entries)
        except StopIteration as end:
            return end.value or b""
        rows.append((crc32(name) << PLACE_BITS | begin) << PLACE_BITS | octets)


def _keep(path, table):
    """Put the table at `path`, whole even if the power fails. Its descriptor, for by now another may stand there; -1 if
    it cannot be kept."""
    temporary = f"{path}.{posix.getpid()}"
    _remove(temporary)          # of a process of that number that was killed
    file = -1
    try:
        file = posix.open(temporary, WRITE_NEW, 0o600)
        _write(file, table)
        posix.fsync(file)
        posix.rename(temporary, path)
    except OSError:
        _remove(temporary)
        if file >= 0:
            posix.close(file)
        return -1
    return file


def _remove(path):
    try:
        posix.unlink(path)
    except OSError:
        pass


def _nameless(table):
    file = posix.memfd_create("index", posix.MFD_CLOEXEC)
    _write(file, table)
    return file


def _write(file, table):
    written = 0
    with memoryview(table) as view:
        while written < len(table):
            written += posix.write(file, view[written:])


def _words(stamp):
    return [b"%d" % number for number in (VERSION, *stamp)]


def _bucket(key, buckets):
    return key * buckets >> CRC_BITS


def _integer(octets):
    return int.from_bytes(octets, "big")
