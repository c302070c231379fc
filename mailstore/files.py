"""Files, durably: what every mailbox format and the queue need of the file system."""
import posix
from errno import EDQUOT, EISDIR, ENODATA, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM
from time import time

from mailstore.outcome import UNUSABLE, Later, NoRoom

WRITE_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
COPY_OCTETS = 262144
NO_ATTRIBUTE = "user.serveur-smtp.none"
SMALL_OCTETS = 8192         # of a file of names that is read whole; a larger one gets an index
CLOCK_TICK = 0.1            # seconds: a file that changed so lately may change again and show the same time


class EditedFile:
    """A file that people edit, and what was read from it, until it changes. Each kind says how: _open() gives a
    descriptor of it, _read() makes something of one. The descriptor stays open as long as this object is there, and is
    its own: a file whose name another one takes gets a new ctime by that."""

    def __init__(self):
        self._file = -1
        self._stamp = self._found = None

    def current(self):
        """What is in it now. Raises OSError, and what _read() raises."""
        if self._file < 0 or stamp_of(self._file) != self._stamp:
            self._forget()
            self._look()
        return self._found

    def _look(self):
        file = self._open()
        try:
            self._stamp = stamp_of(file) if is_settled(file) else None
            self._found = self._read(file)
        except BaseException:
            posix.close(file)
            raise
        self._file = file

    def _forget(self):
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1
            self._found = None

    __del__ = _forget


def stamp_of(file):
    """What changes with the file that is open as descriptor `file`, whoever changes it."""
    state = posix.fstat(file)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def is_settled(file):
    """Whether a further change of the open `file` will show in its stamp."""
    return abs(time() - posix.fstat(file).st_ctime) > CLOCK_TICK


def outcome_of(error, doing):
    """The outcome that an OSError met while `doing` something stands for; to be raised."""
    if error.errno in (ENOSPC, EDQUOT):
        return NoRoom("No room to store the message", errno=error.errno, doing=doing)
    return Later(UNUSABLE, errno=error.errno, doing=doing)


def write_all(file, data):
    """Write every octet of `data` (bytes, or a view of some) to descriptor `file`. Raises OSError."""
    written = posix.write(file, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += posix.write(file, view[written:])


def nameless_file(folder):
    """The descriptor of a new file in `folder` that is gone when it is closed, whatever happens. Raises OSError."""
    name = f"{folder}/incoming.{posix.getpid()}"
    remove(name)
    file = posix.open(name, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    posix.unlink(name)
    return file


def sync_folder(path):
    """Make the names in folder `path` durable. Raises OSError."""
    folder = posix.open(path, FOLDER)
    try:
        posix.fsync(folder)
    finally:
        posix.close(folder)


def try_entering(folder):
    """Raise OSError unless `folder` is one, and who we are now may enter it."""
    posix.stat(f"{folder}/.")


def try_writing(folder):
    """Raise OSError unless `folder` is one where who we are now may make files.

    Asked by removing an attribute that is not there: the kernel looks at modes, access lists and the disk's state
    first, as for a file, and nothing changes. Not asked of access(2), which knows the real user, root; what a C library
    makes of it for the effective one may be wrong (glibc before 2.33).
    """
    try:
        posix.removexattr(f"{folder}/.", NO_ATTRIBUTE)
    except OSError as error:
        if error.errno in (EPERM, ENOSYS):
            _try_nameless_file(folder)      # another's sticky folder, for instance: no answer either way
        elif error.errno not in (ENODATA, EOPNOTSUPP):
            raise


def _try_nameless_file(folder):
    try:
        posix.close(posix.open(folder, posix.O_TMPFILE | posix.O_WRONLY | posix.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno not in (EISDIR, EOPNOTSUPP):     # where there are none, the delivery will tell
            raise


def are_all(folders, attempt):
    """Whether `attempt`, try_entering or try_writing, works with each of these paths."""
    try:
        for folder in folders:
            attempt(folder)
    except OSError:
        return False
    return True


def remove(path):
    """Remove a file that may be gone already; whatever else fails is not worth failing for."""
    try:
        posix.unlink(path)
    except OSError:
        pass


def parent(path):
    return path.rpartition("/")[0] or "/"
