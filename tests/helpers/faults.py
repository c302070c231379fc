"""What tests put in the place of the product's functions, in a process of its own (tests/helpers/patching.py)."""

import posix

whole_write, whole_link, whole_fork = posix.write, posix.link, posix.fork
clock_calls, forks = [0], [0]


def fail(*_):
    """A fault inside the server."""
    raise RuntimeError("a fault of the test")


def fail_full(*_):
    """No room on the disk."""
    raise OSError(28, "No space left on device")


def die(*_):
    """Killed, at this very moment."""
    posix.kill(posix.getpid(), 9)


def link_and_deny(source: str, target: str) -> None:
    """As over NFS, where the first answer was lost."""
    whole_link(source, target)
    raise FileExistsError(17, "File exists")


def fork_every_other_time() -> int:
    """The system has as many processes as it takes, now and then."""
    forks[0] += 1
    if forks[0] % 2:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return whole_fork()


def fork_while_there_is_room() -> int:
    """The system has four processes more, and then none."""
    forks[0] += 1
    if forks[0] > 4:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return whole_fork()


def yes(*_) -> bool:
    return True


def tell_pause(_, seconds: float) -> None:
    """What a session waits is told instead of waited for."""
    posix.write(2, b"pause %g\n" % seconds)


def write_little(file: int, data) -> int:
    """The kernel takes less than it is given."""
    return whole_write(file, bytes(data[:700]))


def write_half_and_die(file: int, data) -> None:
    posix.write(file, data[:len(data) // 2])
    die()


def falling_time() -> float:
    """The time, set back an hour at each look but the seventh."""
    clock_calls[0] += 1
    return 1800000000.25 - 3600 * (clock_calls[0] % 7)
