"""The lock file of an mbox, made by link() as Exim makes it, which is atomic on NFS too.

Ours says who holds it, `PID HOST`, and on a second line how many octets the mbox had before the message.
If that process was killed, the next one cuts off what it had begun to append, which nobody was answered
for, and goes on; any other lock file is broken when it is half an hour old. Everything here runs as the
mailbox's owner.
"""
import posix
from fcntl import LOCK_EX, LOCK_NB, lockf
from time import sleep, time

from mailstore.files import WRITE_NEW, outcome_of, remove, write_all
from mailstore.outcome import Later

STALE = 1800                # seconds, by the lock file's ctime
FIRST_PAUSE = 0.01          # before who found a lock taken tries again: most are held for as long as a disk takes
LONGEST_PAUSE = 0.5
MARK_OCTETS = 400           # more than a host's name, a process id and a length come to
FROM = b"From "
# Non-blocking: its owner may hold a lease on it (fcntl(2)), and we would wait for him.
OPEN = posix.O_RDWR | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC


def lock(path, clock, seconds):
    """Make `path`.lock, within so many seconds. clock: a trace.Clock. Raises Later."""
    now, microseconds = clock.moment()
    hitching_post = f"{path}.lock.{clock.host}.{now:08x}{microseconds:05x}.{posix.getpid():08x}"
    try:
        _write_new(hitching_post, f"{posix.getpid()} {posix.uname().nodename}\n")
        _link_patiently(hitching_post, path, seconds)
    except OSError as error:
        raise outcome_of(error, f"creating lock file hitching post {hitching_post}") from error
    finally:
        remove(hitching_post)


def tries(seconds):
    """Yield at once, and then after each of the pauses, ever longer, that make so many seconds together. No two who
    wait for one lock keep in step."""
    pause = FIRST_PAUSE
    yield
    while seconds > 0:
        slept = min(seconds, pause * (128 + posix.urandom(1)[0]) / 256)
        sleep(slept)
        yield
        seconds -= slept
        pause = min(LONGEST_PAUSE, 1.5 * pause)


def note_length(path, octets):
    """Say in our lock file how long the mbox at `path` is before the message. Raises OSError."""
    file = posix.open(f"{path}.lock", OPEN | posix.O_APPEND)
    try:
        write_all(file, b"%d\n" % octets)
    finally:
        posix.close(file)


def unlock(path):
    """Remove our lock file."""
    remove(f"{path}.lock")


def _write_new(path, text):
    file = posix.open(path, WRITE_NEW, 0o600)
    try:
        write_all(file, text.encode())
    finally:
        posix.close(file)


def _link_patiently(hitching_post, path, seconds):
    for _ in tries(seconds):
        if _link(hitching_post, path) or _break(path) and _link(hitching_post, path):
            return
    raise Later("Mailbox is locked", errno=-9, doing=f"failed to lock mailbox {path} (lock file)")


def _link(hitching_post, path):
    try:
        posix.link(hitching_post, f"{path}.lock")
    except FileExistsError:
        # Ours all the same, where an NFS server was asked a second time, for its first answer was lost.
        return posix.stat(hitching_post).st_nlink == 2
    return True


def _break(path):
    """Whether the lock file of `path`, whose holder is dead or which is stale, is gone now."""
    try:
        file = posix.open(f"{path}.lock", OPEN)
    except FileNotFoundError:
        return True
    except OSError:
        return _break_foreign(f"{path}.lock")
    try:
        # Only one process at a time does this, and only to the file that still has the name.
        lockf(file, LOCK_EX | LOCK_NB)
        return _is_current(file, f"{path}.lock") and _break_held(path, file)
    except OSError:
        return False
    finally:
        posix.close(file)


def _is_current(file, path):
    mine, named = posix.fstat(file), posix.stat(path, follow_symlinks=False)
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _break_foreign(lock_path):
    try:
        age = time() - posix.stat(lock_path, follow_symlinks=False).st_ctime
    except FileNotFoundError:
        return True             # whoever held it has just let go
    if age <= STALE:
        return False
    remove(lock_path)
    return True


def _break_held(path, file):
    holder, _, length = posix.pread(file, MARK_OCTETS, 0).partition(b"\n")
    pid, _, host = holder.partition(b" ")
    if host != posix.uname().nodename.encode() or not pid.isdigit() or _is_alive(int(pid)):
        return _break_foreign(f"{path}.lock")
    if length.strip().isdigit():
        _cut(path, int(length))
    remove(f"{path}.lock")
    return True


def _is_alive(pid):
    try:
        posix.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass                    # another user's
    return not _is_zombie(pid)


def _is_zombie(pid):
    """Whether it has ended, and whoever started it has not asked yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return False


def _cut(path, length):
    """Take from the mbox the part of a message that begins at `length`. Raises OSError."""
    try:
        file = posix.open(path, OPEN)
    except FileNotFoundError:
        return
    try:
        lockf(file, LOCK_EX | LOCK_NB)
        part = posix.pread(file, len(FROM), length)
        if part and FROM.startswith(part):
            posix.ftruncate(file, length)
    finally:
        posix.close(file)
