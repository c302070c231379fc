"""What /proc tells of a process."""

import contextlib
import pathlib
import typing


def parent_of(pid: int) -> int:
    """The pid of a process's parent; 0 when it has ended."""
    try:
        return int(pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def children_of(pid: int) -> typing.Set[int]:
    """The pids of the processes whose parent is `pid`. (/proc/PID/task/PID/children may miss one while another ends)"""
    everybody = (int(folder.name) for folder in pathlib.Path("/proc").glob("[0-9]*"))
    return {other for other in everybody if parent_of(other) == pid}


def states_of(commands: typing.Mapping[int, str]) -> str:
    """A line for each of these processes ({pid: command line}): whose child it is, and what it waits for."""
    lines = []
    for pid, command in sorted(commands.items()):
        with contextlib.suppress(OSError):          # it has ended meanwhile
            state = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0]
            waits = pathlib.Path("/proc/%d/wchan" % pid).read_text()
            lines.append("%d of %d %s %s %s\n" % (pid, parent_of(pid), state, waits, command))
    return "".join(lines)


def peak_memory(pid: int) -> int:
    """Octets that a process has had in memory at most."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


class Identity(typing.NamedTuple):
    """users: a process's real, effective, saved and file system user ids; groups: the same, and the supplementary
    ones."""
    users: typing.Set[int]
    groups: typing.Set[int]


def identity_of(pid: int) -> Identity:
    """Who a process is, and can become again."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    lines = dict(line.partition(":")[::2] for line in status.splitlines())
    users, groups, more = (set(map(int, lines[name].split())) for name in ("Uid", "Gid", "Groups"))
    return Identity(users, groups | more)
