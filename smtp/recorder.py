"""Sessions' dialogues in files, for the page (web/): written only while `-web` is on.

A file a process, in web/dialogues/ of the state folder, called by its beginning and pid, so that names sort by time:
behind netcat that is one session, a warm worker writes its sessions one behind the other. A file is a row of pieces,
each of one session: its length (4 octets, the highest first), and a list of steps as marshal has it. That is the
interpreter's own form, which costs a session a tenth of what any text does; only this server's own processes, all of
one user, write and read it. The steps, each with its seconds since 1970:

    (seconds, "arrived", address, pid)
    (seconds, "heard", line, verb, whether it ended in LF alone, state)
    (seconds, "said", code, enhanced, the reply's octets, state)
    (seconds, "text", lines)            a line: (text, its octets, "CRLF", "LF" or "")
    (seconds, "end", octets)            of a message
    (seconds, "chunk", octets, whether it was dropped)
    (seconds, "accepted", message id)
    (seconds, "secured", cipher)
    (seconds, "full")                   no more is recorded, but the end
    (seconds, "gone")

A state is smtp.transcript.State's fields. In texts, octets that are no UTF-8 are surrogates. As long as the process
writes there it holds a lock on the file.
"""
import posix
from marshal import dumps
from time import time

from smtp.transcript import FOREVER, OPENING, Lines

TEXT_OCTETS = 65536         # of a message that are kept
LINE_OCTETS = 16384         # of each of its lines
SESSION_OCTETS = 1 << 20    # of a session's dialogue
FILE_OCTETS = 1 << 20       # after which the next session begins a file anew
DUE_OCTETS = 1 << 16        # that are kept back at most
STEP_OCTETS = 100           # of a step, beside what strangers say in it; roughly
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

    _due_octets = 0
    _asked = 0              # how many steps were due when the client was last waited for
    _room = SESSION_OCTETS

    def __init__(self, recording):
        self._recording = recording
        self._due = []
        self._begin_text()

    def arrived(self, _, address):
        self._note((time(), "arrived", address, posix.getpid()))

    def heard(self, line, verb, bare_lf, state):
        if verb in OPENING:
            self._begin_text()
        self._note((time(), "heard", line, verb, bare_lf, state), len(line))

    def said(self, reply, state):
        octets = reply.encode()
        self._note((time(), "said", reply.code, reply.enhanced, octets, state), len(octets))

    def text(self, piece):
        if self._text_room > 0:
            self._note_lines(self._lines.feed(piece[:self._text_room]))
            self._text_room -= len(piece)

    def end_of_text(self, octets):
        self._note_lines(self._lines.rest())
        self._note((time(), "end", octets))
        self._begin_text()

    def end_of_chunk(self, octets, dropped):
        self._note_lines(self._lines.rest())
        self._note((time(), "chunk", octets, dropped))

    def accepted(self, message_id):
        self._note((time(), "accepted", message_id))

    def secured(self, cipher):
        self._note((time(), "secured", cipher))

    def patience(self):
        """What is due is written once the client has let this pass."""
        if not self._due:
            return FOREVER
        if self._asked != len(self._due):
            self._asked = len(self._due)
            return PATIENCE
        self._write()
        return FOREVER

    def gone(self):
        self._due.append((time(), "gone"))
        self._recording.write(self._due)
        self._recording.end_session()

    def _begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._text_room = TEXT_OCTETS

    def _note_lines(self, lines):
        if lines:
            self._note((time(), "text", lines), sum(len(text) for text, _, _ in lines))

    def _note(self, step, octets=0):
        """Keep a step for the next write. octets: of what a stranger says in it."""
        if self._room > 0:
            self._due.append(step)
            self._due_octets += octets + STEP_OCTETS
            if self._due_octets > DUE_OCTETS:
                self._write()

    def _write(self):
        written = self._recording.write(self._due)
        self._due = []
        self._due_octets = self._asked = 0
        self._room = self._room - written if written else 0
        if self._room <= 0:
            self._recording.write([(time(), "full")])
