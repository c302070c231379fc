"""One message into one Maildir, durably, as Exim does it: written to tmp/, synced, renamed into new/.

Beyond Exim, the folder is synced after the rename, so a power cut takes nothing back that was answered
with 250. Everything here runs as the mailbox's owner (common/privileges.py).
"""
import posix

from mailstore.files import FOLDER, WRITE_NEW, are_all, outcome_of, parent, remove, sync_folder, try_entering, write_all


class Prepared:
    """A message that lies in tmp/. `commit` makes it mail; `discard` forgets it. is_there: it is mail already.

    Nothing of it is open: a list may have a thousand members."""

    def __init__(self, mailbox, name, is_there=False):
        self.mailbox = mailbox
        self._temporary = f"{mailbox.path}/tmp/{name}"
        self._final = f"{mailbox.path}/new/{name}"
        self._is_there = is_there

    def commit(self):
        """Rename it into new/ and make that durable. Raises Later, and then nothing is in new/."""
        try:
            new_folder = posix.open(f"{self.mailbox.path}/new", FOLDER)
        except OSError as error:
            self.discard()
            raise outcome_of(error, f"while opening {self.mailbox.path}/new") from error
        try:
            self._rename()
            self._sync(new_folder)
        finally:
            posix.close(new_folder)

    def _rename(self):
        try:
            if not self._is_there:
                posix.rename(self._temporary, self._final)
        except OSError as error:
            self.discard()
            raise outcome_of(error, "while renaming tmp/NAME as new/NAME") from error

    def _sync(self, new_folder):
        try:
            posix.fsync(new_folder)
        except OSError as error:
            remove(self._final)
            raise outcome_of(error, f"while syncing {self.mailbox.path}/new") from error

    def discard(self):
        """Leave nothing behind."""
        remove(self._final if self._is_there else self._temporary)


def prepare(mailbox, name, pieces, again=False):
    """Write `pieces` (bytes) into the Maildir's tmp/ as `name`. Returns a Prepared. Raises Later, NoRoom.

    again: it was begun under that name before, by a process that is dead: what that did counts, or makes way.
    """
    if again and (done := _found(mailbox, name)):
        return done
    _make_folders(mailbox)
    path = f"{mailbox.path}/tmp/{name}"
    file = _create(path)
    try:
        for piece in pieces:
            write_all(file, piece)
        posix.fsync(file)
        posix.close(posix.open(f"{mailbox.path}/new", FOLDER))      # as commit() will
        return Prepared(mailbox, name)
    except OSError as error:
        remove(path)
        raise outcome_of(error, "error while writing to tmp/NAME") from error
    finally:
        posix.close(file)


def _found(mailbox, name):
    """The Prepared of a message that reached new/ before; None if none did, and then nothing is left of it."""
    try:
        posix.stat(f"{mailbox.path}/new/{name}")
        return Prepared(mailbox, name, is_there=True)
    except OSError:
        remove(f"{mailbox.path}/tmp/{name}")
        return None


def _make_folders(mailbox):
    if are_all(mailbox.folders, try_entering):
        return
    home = (mailbox.home,) if mailbox.is_ours else ()
    try:
        for folder in (*home, mailbox.path, *mailbox.folders):
            _make_folder(folder)
    except OSError as error:
        raise outcome_of(error, f"cannot create {mailbox.path}") from error


def _make_folder(path):
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return
    # The process's umask must not narrow it, and the folder's own name has to last too.
    posix.chmod(path, 0o700)
    sync_folder(parent(path))


def _create(path):
    try:
        return posix.open(path, WRITE_NEW, 0o600)
    except OSError as error:
        raise outcome_of(error, "failed to open tmp/NAME") from error
