"""Sessions' dialogues in files, for the page (web/): written only while `-web` is on.

A file a process, in web/dialogues/ of the state folder, called by its beginning and pid, so that names sort by time:
behind netcat that is one session, a warm worker writes its sessions one behind the other. A step a line, a tuple as
Python's ascii() writes it (any stranger's text fits, and nothing need be imported), read by web/dialogues.py with
ast.literal_eval; seconds are since 1970:

    (seconds, "arrived", address, pid)
    (seconds, "heard", line, verb, whether it ended in LF alone, state)
    (seconds, "said", code, enhanced, lines, state)
    (seconds, "text", lines)            a line: (text, its octets, "CRLF", "LF" or "")
    (seconds, "end", octets)            of a message
    (seconds, "chunk", octets, whether it was dropped)
    (seconds, "accepted", message id)
    (seconds, "secured", cipher)
    (seconds, "full")                   no more is recorded, but the end
    (seconds, "gone")

A state is smtp.transcript.State's fields(). As long as the process writes there it holds a lock on the file.
"""
import posix
from time import time

from smtp.transcript import Lines

TEXT_OCTETS = 65536         # of a message that are kept
LINE_OCTETS = 16384         # of each of its lines
SESSION_OCTETS = 1 << 20    # of a session's dialogue
FILE_OCTETS = 1 << 20       # after which the next session begins a file anew
DUE_OCTETS = 1 << 16        # that are kept back at most
PATIENCE = 20               # milliseconds: a client that answers sooner costs no write of its own
FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC


class Recording:
    """A process's file in `folder`. If none can be made there, nothing is recorded: mail goes on."""

    def __init__(self, folder):
        self._folder = folder
        self._file = -1
        self._octets = 0

    def write(self, text):
        """Append `text` (str). False if that cannot be done."""
        try:
            if self._file < 0:
                self._open()
            self._octets += posix.write(self._file, text.encode())
        except OSError:
            return False
        return True

    def end_session(self):
        """What comes next is another session's."""
        if self._octets > FILE_OCTETS:
            posix.close(self._file)
            self._file = -1
            self._octets = 0

    def _open(self):
        self._file = posix.open(f"{self._folder}/{time():.6f}-{posix.getpid()}", FLAGS, 0o600)
        posix.lockf(self._file, posix.F_TLOCK, 0)


class Recorder:
    """Writes one session's dialogue to `recording`."""

    def __init__(self, recording):
        self._recording = recording
        self._due = ""
        self._room = SESSION_OCTETS
        self._begin_text()

    def arrived(self, _, address):
        self._note("arrived", address, posix.getpid())

    def heard(self, line, verb, bare_lf, state):
        if verb == "MAIL":
            self._begin_text()
        self._note("heard", line, verb, bare_lf, state.fields())

    def said(self, reply, state):
        self._note("said", reply.code, reply.enhanced, reply.lines(), state.fields())

    def text(self, piece):
        if self._text_room > 0:
            self._note_lines(self._lines.feed(piece[:self._text_room]))
            self._text_room -= len(piece)

    def end_of_text(self, octets):
        self._note_lines(self._lines.rest())
        self._note("end", octets)
        self._begin_text()

    def end_of_chunk(self, octets, dropped):
        self._note_lines(self._lines.rest())
        self._note("chunk", octets, dropped)

    def accepted(self, message_id):
        self._note("accepted", message_id)

    def secured(self, cipher):
        self._note("secured", cipher)

    def waiting(self, readable):
        if self._due and not readable.poll(PATIENCE):
            self._write()

    def gone(self):
        self._room += 100
        self._note("gone")
        self._write()
        self._recording.end_session()

    def _begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._text_room = TEXT_OCTETS

    def _note_lines(self, lines):
        if lines:
            self._note("text", lines)

    def _note(self, *step):
        """Keep a step for the next write."""
        if self._room <= 0:
            return
        line = ascii((round(time(), 3), *step)) + "\n"
        self._room -= len(line)
        if self._room <= 0 and step[0] != "gone":
            line = ascii((round(time(), 3), "full")) + "\n"
        self._due += line
        if len(self._due) > DUE_OCTETS:
            self._write()

    def _write(self):
        due, self._due = self._due, ""
        if not self._recording.write(due):
            self._room = 0
