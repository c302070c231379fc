"""One message into one mbox file, /var/mail/<user>, under Exim's locks.

A message begins with a `From ` line and ends with an empty line; a line of the message that begins
with `From ` gets a `>` in front. Locks, in this order: a lock file (mailstore/dotlock.py), then fcntl on
the whole file. Everything here runs as the mailbox's owner with the group of the spool, and that group is
what lets it make the lock file.
"""
import posix
from errno import EACCES, EAGAIN, EMFILE
from fcntl import LOCK_EX, LOCK_NB, lockf

from common.octets import partial_match_length
from mailstore import dotlock
from mailstore.files import outcome_of, parent, sync_folder, write_all
from mailstore.outcome import UNUSABLE, Later
from mailstore.trace import mbox_date
from mailstore.usable import check_mbox_state

LOCK_SECONDS = 27           # that each of the locks is waited for: Exim's ten tries, three seconds apart
FEW = 100                   # mailboxes that may be open at once under any limit
OTHER_FILES = 64            # that a process has open beside them
FROM_LINE = b"\nFrom "
MODE = 0o660
OPEN = dotlock.OPEN | posix.O_APPEND


class Prepared:
    """An open mbox with both its locks, for one message. `commit` appends it; `discard` only lets go of the locks."""

    def __init__(self, path, file):
        self.path = path
        self.file = file

    def commit(self, pieces):
        """Append a message (pieces of bytes, as message() has them), synced. Raises Later, NoRoom, and then the file
        is as it was."""
        try:
            self._append(pieces)
        except OSError as error:
            raise outcome_of(error, f"error while writing to {self.path}") from error
        finally:
            self.discard()

    def _append(self, pieces):
        length = posix.fstat(self.file).st_size
        try:
            for piece in pieces:
                write_all(self.file, piece)
            posix.fsync(self.file)
        except OSError:
            posix.ftruncate(self.file, length)
            raise

    def discard(self):
        """Let go of the locks."""
        posix.close(self.file)
        dotlock.unlock(self.path)


def check_files(count):
    """Have this process able to hold so many mailboxes open, which a message to all of them takes. Raises Later if it
    is not allowed to."""
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit
    wanted = count + OTHER_FILES
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if wanted > hard:
        raise Later(UNUSABLE, errno=EMFILE,
                    doing=f"{count} mailboxes have to be open at once, and only {hard} files may be (ulimit -Hn)")
    if wanted > soft:
        setrlimit(RLIMIT_NOFILE, (wanted, hard))


def prepare(mailbox, clock):
    """Lock the mbox for a message. Returns a Prepared. clock: a trace.Clock.

    Raises Later when it cannot be locked or may not be written.
    """
    return Prepared(mailbox.path, _lock(mailbox, clock))


def from_line(sender, seconds):
    """The line that parts messages, as str. sender: "" for the null reverse-path."""
    return f"From {sender or 'MAILER-DAEMON'} {mbox_date(seconds)}\n"


def message(pieces):
    """Yield a message as it stands in an mbox; its `From ` line comes first."""
    yield from escaped(pieces)
    yield b"\n"


def escaped(pieces):
    """Yield `pieces` (bytes) with a > before each line that begins with `From `, but for the first."""
    held = b""
    for piece in pieces:
        data = held + piece
        keep = partial_match_length(data, FROM_LINE)
        held = data[len(data) - keep:]
        yield data[:len(data) - keep].replace(FROM_LINE, b"\n>From ")
    yield held


def _lock(mailbox, clock):
    """The mbox's descriptor, under both locks."""
    dotlock.lock(mailbox.path, clock, LOCK_SECONDS)
    try:
        return _open_locked(mailbox)
    except OSError as error:
        dotlock.unlock(mailbox.path)
        raise outcome_of(error, f"while opening mailbox {mailbox.path}") from error
    except Later:
        dotlock.unlock(mailbox.path)
        raise


def _open_locked(mailbox):
    """The mbox's descriptor, opened for append, locked with fcntl, and checked to be what it was."""
    before = _state(mailbox)
    file = posix.open(mailbox.path, OPEN if before else OPEN | posix.O_CREAT | posix.O_EXCL, MODE)
    try:
        _settle(mailbox, file, before)
        for _ in dotlock.tries(LOCK_SECONDS):
            if _try_lock(file):
                dotlock.note_length(mailbox.path, posix.fstat(file).st_size)
                return file
        raise Later("Mailbox is locked", errno=-9,
                    doing=f"failed to lock mailbox {mailbox.path} (fcntl/flock)")
    except BaseException:
        posix.close(file)
        raise


def _state(mailbox):
    """The mbox's state (of lstat), None if it is to be made. Raises Later unless only its owner holds it."""
    try:
        state = posix.lstat(mailbox.path)
    except FileNotFoundError:
        return None
    check_mbox_state(mailbox, state)
    return state


def _settle(mailbox, file, before):
    """See to it that the mbox that is open now is the one that was looked at, and its mode no wider than it should be;
    or, if there was none, that the new one lasts."""
    if not before:
        posix.fchmod(file, MODE)
        sync_folder(parent(mailbox.path))
        return
    after = posix.fstat(file)
    if (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino):
        raise Later(UNUSABLE, errno=-4,
                    doing=f"{mailbox.path} changed while it was opened")
    if after.st_mode & 0o777 & ~MODE:
        posix.fchmod(file, after.st_mode & MODE)


def _try_lock(file):
    try:
        lockf(file, LOCK_EX | LOCK_NB)
    except OSError as error:
        if error.errno in (EACCES, EAGAIN):
            return False
        raise
    return True
