"""The terminals of people who are logged in (RFC 821 §3.4), for who runs as their owner.

A terminal is whose device it is, as login(1), sshd and whatever opens a window see to; it takes messages when its group
may write to it, which is what mesg(1) says. No utmp is asked: not every system has one.
"""
import _signal as signal
import posix
import select
import termios
from stat import S_IWGRP, S_ISCHR
from time import monotonic

from mailstore.outcome import Later

SECONDS = 1                 # that a terminal may keep us waiting
MOST_TERMINALS = 64         # of one user
MOST_OCTETS = 65536         # of a text
FORMAT = {ord(character): "" for character in "\r\n\a"}     # what a text has beside what is to be seen
OPEN = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_NOFOLLOW | posix.O_CLOEXEC
IUTF8 = 0o40000             # of c_iflag: what is written there is UTF-8 (termios(3))


def check_active(uid):
    """Raise Later unless a terminal of `uid` takes messages."""
    if not _paths(uid):
        raise _not_active(uid)


def write(uid, text):
    """Write `text` (bytes of UTF-8, nothing in them that a terminal obeys) to each terminal of `uid` that takes
    messages. Raises Later if none of them has it whole within SECONDS."""
    files = _opened(uid)
    # One of them may be our own, and `stty tostop` would stop us.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        rest = {file: memoryview(_as_it_reads(file, text)) for file in files}
        if not _write_all(rest):
            raise _not_active(uid)
    finally:
        signal.signal(signal.SIGTTOU, before)
        for file in files:
            posix.close(file)


def is_harmless(text):
    """Whether `text` (bytes) has nothing in it that a terminal obeys: who takes it from another makes sure."""
    try:
        return text.decode().translate(FORMAT).isprintable()
    except UnicodeDecodeError:
        return False


def _not_active(uid):
    return Later("User not active now", doing=f"no terminal of uid {uid} takes messages")


def _paths(uid):
    names = [f"/dev/pts/{name}" for name in _listed("/dev/pts") if name.isdigit()]
    if uid:     # consoles and serial lines are root's as long as nobody is logged in there
        names += [f"/dev/{name}" for name in _listed("/dev") if name.startswith("tty") and name != "tty"]
    return [name for name in names if _is_taking(name, uid)][:MOST_TERMINALS]


def _listed(folder):
    try:
        return posix.listdir(folder)
    except OSError:
        return []


def _is_taking(path, uid):
    try:
        return _takes_messages(posix.lstat(path), uid)
    except OSError:
        return False            # it has just been closed


def _takes_messages(state, uid):
    return S_ISCHR(state.st_mode) and state.st_uid == uid and bool(state.st_mode & S_IWGRP)


def _opened(uid):
    """Descriptors of the terminals: what was looked at may have become somebody else's before it was opened."""
    files = []
    for path in _paths(uid):
        try:
            file = posix.open(path, OPEN)
        except OSError:
            continue
        if _takes_messages(posix.fstat(file), uid) and posix.isatty(file):
            files.append(file)
        else:
            posix.close(file)
    return files


def _as_it_reads(file, text):
    """`text`, in ASCII for a terminal that does not read UTF-8: there an octet of a letter may be a command."""
    try:
        if termios.tcgetattr(file)[0] & IUTF8:
            return text
    except termios.error:
        pass                    # it has just been closed
    return text.decode("utf-8", "replace").encode("ascii", "replace")


def _write_all(rest):
    """Write to all files at once. rest: {file: what is to be written there}. Returns how many have all of it."""
    poll = select.poll()
    for file in rest:
        poll.register(file, select.POLLOUT)
    deadline = monotonic() + SECONDS
    done = 0
    while rest and (left := deadline - monotonic()) > 0:
        for file, _ in poll.poll(left * 1000):
            rest[file] = _write_some(file, rest[file])
            if not rest[file]:
                done += rest.pop(file) is not None
                poll.unregister(file)
    return done


def _write_some(file, text):
    """What is left of `text`; None if the terminal is no more."""
    try:
        return text[posix.write(file, text):]
    except BlockingIOError:
        return text
    except OSError:
        return None
