"""The log, in the format of Exim's main log, and the one sanitiser of what strangers send.

A line is `YYYY-MM-DD HH:MM:SS [message-id ]text`, local time, written with a single write to a file
opened for append, so that lines of several processes never mix. exigrep, eximstats, logwatch and
fail2ban's exim filter read it.
"""
import posix
from time import strftime

FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
NAMED_ESCAPES = {"\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r", "\b": "\\b"}


def _escape(character):
    if character in NAMED_ESCAPES:
        return NAMED_ESCAPES[character]
    if " " <= character <= "~":
        return character
    octets = character.encode("utf-8", "surrogateescape")
    return "".join("\\%03o" % octet for octet in octets)


def printable(text):
    """`text` (str) with every character outside printable ASCII written as Exim's log does.

    The only way for a stranger's bytes into a log line: none of them can begin a line of its own.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def readable(text):
    """`text` (str) for people who read UTF-8: letters as they are, everything that is not to be seen (controls, what
    turns the direction of writing, octets that are no UTF-8) written as printable() does."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


class MainLog:
    """One log file, opened at the first line. `terminal`: also a short form on descriptor 2.

    Whoever renames the file need tell nobody: the next line goes into a new one.
    """

    def __init__(self, path, terminal=False):
        self.path = path
        self.terminal = terminal
        self._file = -1
        self._identity = None
        self._told = False

    def write(self, text, message_id=""):
        """Append one line. A log that cannot be written must not stop mail: it falls back to
        descriptor 2, where the launcher's user sees it."""
        entry = printable(f"{message_id} {text}" if message_id else text)
        line = f"{strftime('%Y-%m-%d %H:%M:%S')} {entry}\n".encode()
        try:
            self._append(line)
        except OSError as error:
            self._tell(error)
            _to_terminal(line)
        else:
            if self.terminal:
                _to_terminal(line[11:])

    def _append(self, line):
        if self._file < 0 or self._is_renamed():
            self._open()
        posix.write(self._file, line)

    def _is_renamed(self):
        """Whether the log's name is that of another file by now, or of none."""
        try:
            return _identity(posix.lstat(self.path)) != self._identity
        except OSError:
            return True

    def _open(self):
        """Open the log, or make it. Where that fails, the one that was renamed goes on."""
        try:
            file = posix.open(self.path, FLAGS, 0o600)
        except OSError as error:
            if self._file < 0:
                raise
            self._tell(error)
            return
        self.close()
        self._file = file
        self._identity = _identity(posix.fstat(file))
        self._told = False

    def _tell(self, error):
        """Say once on descriptor 2 why the log takes no lines."""
        if not self._told:
            self._told = True
            _to_terminal(f"{self.path}: {error.strerror}\n".encode())

    def close(self):
        """Let go of the file; the next line opens it again."""
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1


def _identity(state):
    return state.st_dev, state.st_ino


def _to_terminal(data):
    try:
        posix.write(2, data)
    except OSError:
        pass
