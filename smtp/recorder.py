"""Sessions' dialogues in files, for the page (web/): written only while `-web` is on.

A file a process, in web/dialogues/ of the state folder, called by its beginning and pid, so that names sort by time:
behind netcat that is one session, a warm worker writes its sessions one behind the other. A file is a row of pieces,
each of one session: its length (4 octets, the highest first), and a list of smtp.transcript's steps as marshal has it.
That is the interpreter's own form, which costs a session a tenth of what any text does; only this server's own
processes, all of one user, write and read it. As long as the process writes there it holds a lock on the file.
"""
import posix
from marshal import dumps
from time import time

from smtp.transcript import FOREVER, Lines

TEXT_OCTETS = 65536         # of a message that are kept
LINE_OCTETS = 16384         # of each of its lines
SESSION_OCTETS = 1 << 20    # of a session's dialogue
FILE_OCTETS = 1 << 20       # after which the next session begins a file anew
DUE_STEPS = 50              # that are kept back at most
PATIENCE = 0.02             # seconds: a client that answers sooner costs no write of its own
LENGTH_OCTETS = 4           # before each piece
VERSION = 2                 # of marshal's form: what is there twice is written twice, which is faster
FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC


class Recording:
    """A process's file in `folder`, or a descriptor that is given. If no file can be made there, nothing is recorded:
    mail goes on."""

    def __init__(self, folder, file=-1):
        self._folder = folder
        self._file = file
        self._octets = 0

    def begin_session(self):
        """A Recorder of it."""
        return Recorder(self)

    def write(self, steps):
        """Append a piece. Returns its octets, 0 if that cannot be done."""
        piece = dumps(steps, VERSION)
        piece = len(piece).to_bytes(LENGTH_OCTETS, "big") + piece
        try:
            if self._file < 0:
                self._open()
            written = posix.write(self._file, piece)
        except OSError:
            return 0
        self._octets += written
        if written < len(piece):
            self._close()           # the disk is full; nobody could read what came behind this
            return 0
        return written

    def end_session(self):
        """What comes next is another session's."""
        if self._octets > FILE_OCTETS:
            self._close()

    def _open(self):
        self._file = posix.open(f"{self._folder}/{time():.6f}-{posix.getpid()}", FLAGS, 0o600)
        posix.lockf(self._file, posix.F_TLOCK, 0)

    def _close(self):
        posix.close(self._file)
        self._file = -1
        self._octets = 0


class Recorder:
    """Writes one session's dialogue to `recording`."""

    _asked = 0              # how many steps were due when the client was last waited for
    _room = SESSION_OCTETS

    def __init__(self, recording):
        self._recording = recording
        self._due = []
        self.begin_text()

    def take(self, step):
        """Keep it for the next write."""
        if self._room > 0:
            self._due.append(step)
            if len(self._due) >= DUE_STEPS:
                self._write()

    def begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._text_room = TEXT_OCTETS

    def text(self, piece):
        if self._text_room > 0:
            self._take_lines(self._lines.feed(piece[:self._text_room]))
            self._text_room -= len(piece)

    def end_line(self):
        self._take_lines(self._lines.rest())

    def _take_lines(self, lines):
        if lines:
            self.take((time(), "text", lines))

    def patience(self):
        """What is due is written once the client has let this pass."""
        if not self._due:
            return FOREVER
        if self._asked != len(self._due):
            self._asked = len(self._due)
            return PATIENCE
        self._write()
        return FOREVER

    def finish(self, step):
        """Write what is due, and this step, the last one."""
        self._due.append(step)
        self._recording.write(self._due)
        self._recording.end_session()

    def _write(self):
        written = self._recording.write(self._due)
        self._due = []
        self._asked = 0
        self._room = self._room - written if written else 0
        if self._room <= 0:
            self._recording.write([(time(), "full")])
