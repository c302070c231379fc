"""One message into one Maildir, durably, as Exim does it: written to tmp/, synced, renamed into new/.

Beyond Exim, the folder is synced after the rename, so a power cut takes nothing back that was answered
with 250. Everything here runs as the mailbox's owner (common/privileges.py).
"""
import posix

from mailstore.files import FOLDER, WRITE_NEW, are_all, failed, parent, remove, sync_folder, try_entering

TRIES = 10


class Prepared:
    """A message that lies in tmp/. `commit` makes it mail; `discard` forgets it."""

    def __init__(self, mailbox, name, new_folder):
        self.mailbox = mailbox
        self._temporary = f"{mailbox.path}/tmp/{name}"
        self._final = f"{mailbox.path}/new/{name}"
        self._new_folder = new_folder

    def commit(self):
        """Rename it into new/ and make that durable. Raises Later, and then nothing is in new/."""
        try:
            posix.rename(self._temporary, self._final)
        except OSError as error:
            self.discard()
            raise failed(error, "while renaming tmp/NAME as new/NAME") from error
        try:
            posix.fsync(self._new_folder)
        except OSError as error:
            remove(self._final)
            raise failed(error, f"while syncing {self.mailbox.path}/new") from error
        finally:
            posix.close(self._new_folder)

    def discard(self):
        """Leave nothing behind."""
        remove(self._temporary)
        posix.close(self._new_folder)


def prepare(mailbox, letter, front, clock):
    """Write `letter`, behind `front` (bytes), into the Maildir's tmp/. Returns a Prepared.

    clock: gives the moment that the file's name is made of. Raises Later, NoRoom.
    """
    _make_folders(mailbox)
    name, file = _create(mailbox.path, clock)
    try:
        letter.write(file, front)
        posix.fsync(file)
        return Prepared(mailbox, name, posix.open(f"{mailbox.path}/new", FOLDER))
    except OSError as error:
        remove(f"{mailbox.path}/tmp/{name}")
        raise failed(error, "error while writing to tmp/NAME") from error
    finally:
        posix.close(file)


def _make_folders(mailbox):
    if are_all(mailbox.folders, try_entering):
        return
    try:
        for folder in (mailbox.path, *mailbox.folders):
            _make_folder(folder)
    except OSError as error:
        raise failed(error, f"cannot create {mailbox.path}") from error


def _make_folder(path):
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return
    # The process's umask must not narrow it, and the folder's own name has to last too.
    posix.chmod(path, 0o700)
    sync_folder(parent(path))


def _create(path, clock):
    """A new file in tmp/: (name, descriptor). The name is time, process and host: djb's maildir rules."""
    for _ in range(TRIES):
        seconds, microseconds = clock.moment()
        name = f"{seconds}.M{microseconds}P{posix.getpid()}.{clock.host}"
        try:
            return name, posix.open(f"{path}/tmp/{name}", WRITE_NEW, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise failed(error, "failed to open tmp/NAME") from error
    raise failed(FileExistsError(17, "File exists"), f"failed to open tmp/NAME ({TRIES} tries)")
