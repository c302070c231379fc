"""What the kernel tells about a server: files that appear in a folder, and the memory of its processes."""

import contextlib
import ctypes
import os
import pathlib
import select
import struct
import typing

IN_MOVED_TO, IN_CREATE = 0x80, 0x100
EVENT = struct.Struct("iIII")


class Folder:
    """Counts the files that appear in `path`, made there or moved there (inotify: nobody polls)."""

    def __init__(self, path: pathlib.Path):
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.inotify_init1(os.O_CLOEXEC)
        if self._file < 0 or libc.inotify_add_watch(self._file, os.fsencode(path), IN_MOVED_TO | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(path))
        self._count = 0

    def wait(self, count: int, seconds: float) -> None:
        """Until `count` files have come since the last wait; AssertionError when it takes too long."""
        while self._count < count:
            if not select.select([self._file], [], [], seconds)[0]:
                raise AssertionError("%d of %d files in %g s" % (self._count, count, seconds))
            self._count += events_in(os.read(self._file, 65536))
        self._count -= count

    def close(self) -> None:
        os.close(self._file)


def events_in(data: bytes) -> int:
    count = position = 0
    while position < len(data):
        position += EVENT.size + EVENT.unpack_from(data, position)[3]
        count += 1
    return count


def descendants(ancestor: int) -> typing.Set[int]:
    """The process and all that descend from it."""
    parents = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, grown = {ancestor}, True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found}
        grown = not children <= found
        found |= children
    return found


def sockets_at(port: int, clients: typing.Collection[int]) -> typing.Set[str]:
    """How /proc/PID/fd shows the server's ends, at `port`, of the connections from these local ports."""
    rows = (row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    ends = ((int(row[1].rpartition(":")[2], 16), int(row[2].rpartition(":")[2], 16), row[9]) for row in rows)
    return {"socket:[%s]" % inode for own, other, inode in ends if own == port and other in clients}


def holds_one(pid: int, sockets: typing.Set[str]) -> bool:
    with contextlib.suppress(OSError):
        return any(os.readlink(entry.path) in sockets for entry in os.scandir("/proc/%d/fd" % pid))
    return False


def proportional_size(pid: int) -> int:
    """PSS of a process, in KiB: what it has for itself, and its share of what it shares."""
    for line in pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def whole_memory(ancestor: int) -> int:
    """KiB (PSS) of a process and of all that descend from it."""
    size = 0
    for pid in descendants(ancestor):
        with contextlib.suppress(OSError):      # it has just ended
            size += proportional_size(pid)
    return size


def session_memory(ancestor: int, port: int, clients: typing.Collection[int]) -> float:
    """KiB (PSS) per session, over the processes that hold these clients' connections."""
    sockets = sockets_at(port, clients)
    holders = [pid for pid in descendants(ancestor) if holds_one(pid, sockets)]
    return sum(map(proportional_size, holders)) / len(clients)
