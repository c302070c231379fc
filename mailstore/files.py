"""Files, durably: what every mailbox format and the queue need of the file system."""
import posix
from errno import EDQUOT, ENOSPC

from mailstore.outcome import Later, NoRoom, defer_text

WRITE_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
COPY_OCTETS = 262144


def failed(error, doing):
    """The outcome that an OSError met while `doing` something stands for; to be raised."""
    detail = defer_text(error, doing)
    if error.errno in (ENOSPC, EDQUOT):
        return NoRoom("No room to store the message", detail)
    return Later("Mailbox cannot be used now", detail)


def write_all(file, data):
    """Write every octet of `data` to descriptor `file`. Raises OSError."""
    written = posix.write(file, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += posix.write(file, view[written:])


def sync_folder(path):
    """Make the names in folder `path` durable. Raises OSError."""
    folder = posix.open(path, FOLDER)
    try:
        posix.fsync(folder)
    finally:
        posix.close(folder)


def are_open(folders, access):
    """Whether these paths are all folders where who we are now has `access` (as of posix.access)."""
    return all(posix.access(f"{folder}/.", access, effective_ids=True) for folder in folders)


def remove(path):
    """Remove a file that may be gone already; whatever else fails is not worth failing for."""
    try:
        posix.unlink(path)
    except OSError:
        pass


def parent(path):
    return path.rpartition("/")[0] or "/"
