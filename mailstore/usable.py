"""Whether a mailbox could be written right now, as far as one can see. Everything here runs as the mailbox's owner."""
import posix
from stat import S_ISDIR, S_ISREG

from common.ownership import open_owned
from mailstore import mailboxes
from mailstore.files import are_all, parent, try_entering, try_writing
from mailstore.outcome import UNUSABLE, Later


def check_usable(mailbox):
    """Raise Later if mail could not be stored in `mailbox` right now, for a reason one can see."""
    try:
        _check_mbox(mailbox) if mailbox.is_mbox else _check_maildir(mailbox)
    except OSError as error:
        raise _later(error.errno, mailbox.path) from error


def open_forward(mailbox):
    """A descriptor to read the ~/.forward of an account by, None if there is none. Raises Later for one that others may
    have a hand in, or that is no plain file."""
    path = f"{mailbox.home}/.forward"
    try:
        return open_owned(path, mailbox.uid)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        is_the_systems = error.strerror == posix.strerror(error.errno)     # else it is we who don't want the file
        raise _later(*((error.errno, path) if is_the_systems else (-1, f"{path}: {error.strerror}"))) from error


def _later(errno, doing):
    return Later(UNUSABLE, errno, doing)


def _check_maildir(mailbox):
    path = mailbox.path
    if are_all(mailbox.folders, try_writing):
        return                  # as nearly always; else find out what it is that is wrong
    if not _exists(path):
        is_missing = mailbox.is_ours and not _exists(mailbox.home)
        _check_folder(parent(mailbox.home) if is_missing else mailbox.home)
        return
    _check_folder(path, try_entering)
    for folder in mailbox.folders:
        # One that is missing is made; a Maildir that has all three need not be writable itself.
        _check_folder(folder if _exists(folder) else path)


def _exists(path):
    try:
        posix.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _check_folder(path, attempt=try_writing):
    if not S_ISDIR(posix.stat(path).st_mode):
        raise _later(-5, f"{path} is not a directory")
    try:
        attempt(path)
    except OSError as error:
        raise _later(error.errno, path) from error


def _check_mbox(mailbox):
    _check_folder(mailboxes.SPOOL)
    if not _exists(mailbox.path):
        return
    check_mbox_state(mailbox, posix.lstat(mailbox.path))
    posix.close(posix.open(mailbox.path, posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC))


def check_mbox_state(mailbox, state):
    """Raise Later unless `state` (of lstat) is that of a mailbox file which only its owner holds."""
    if state.st_uid != mailbox.uid:
        kind = "" if S_ISREG(state.st_mode) else " (symlink)"
        errno, problem = -6, f"mailbox {mailbox.path}{kind} has wrong uid ({state.st_uid} != {mailbox.uid})"
    elif not S_ISREG(state.st_mode):
        errno, problem = -4, f"mailbox {mailbox.path} is not a regular file"
    elif state.st_nlink != 1:
        errno, problem = -4, f"mailbox {mailbox.path} has too many links ({state.st_nlink})"
    else:
        return
    raise _later(errno, problem)
