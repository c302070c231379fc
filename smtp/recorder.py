"""Sessions' dialogues in files, for the page (web/): written only while `-web` is on.

A file a process, in web/dialogues/ of the state folder, called by its beginning and pid, so that names sort by time:
behind netcat that is one session, a warm worker writes its sessions one behind the other. A step a line, in JSON, which
the page reads ten times faster than anything else that holds any stranger's text; octets that are no UTF-8 stand as
they came. Seconds are since 1970:

    [seconds, "arrived", address, pid]
    [seconds, "heard", line, verb, whether it ended in LF alone, state]
    [seconds, "said", code, enhanced, lines, state]
    [seconds, "text", lines]            a line: [text, its octets, "CRLF", "LF" or ""]
    [seconds, "end", octets]            of a message
    [seconds, "chunk", octets, whether it was dropped]
    [seconds, "accepted", message id]
    [seconds, "secured", cipher]
    [seconds, "full"]                   no more is recorded, but the end
    [seconds, "gone"]

A state is smtp.transcript.State's fields(). As long as the process writes there it holds a lock on the file.
"""
import posix
from time import time

from smtp.transcript import OPENING, Lines

TEXT_OCTETS = 65536         # of a message that are kept
LINE_OCTETS = 16384         # of each of its lines
SESSION_OCTETS = 1 << 20    # of a session's dialogue
FILE_OCTETS = 1 << 20       # after which the next session begins a file anew
LAST_OCTETS = 100           # that its end may take beyond them
DUE_OCTETS = 1 << 16        # that are kept back at most
PATIENCE = 20               # milliseconds: a client that answers sooner costs no write of its own
LINE_END = "\\u000d\\u000a"     # as escaped
# RFC 8259 §7. What stays as it is stands here too: what translate() doesn't find costs it an exception.
ESCAPES = {**{code: code for code in range(32, 128)}, **{code: f"\\u{code:04x}" for code in range(32)},
           ord('"'): '\\"', ord("\\"): "\\\\"}
FLAGS = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC


def quoted(text):
    """`text` as JSON has it. Here, since importing json takes a session longer than all that it records."""
    return f'"{text.translate(ESCAPES)}"'


class Recording:
    """A process's file in `folder`. If none can be made there, nothing is recorded: mail goes on."""

    def __init__(self, folder):
        self._folder = folder
        self._file = -1
        self._octets = 0

    def write(self, text):
        """Append `text` (bytes). False if that cannot be done."""
        try:
            if self._file < 0:
                self._open()
            self._octets += posix.write(self._file, text)
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

    _fields = _fields_in_json = None

    def __init__(self, recording):
        self._recording = recording
        self._due = []
        self._due_octets = 0
        self._room = SESSION_OCTETS
        self._begin_text()

    def arrived(self, _, address):
        self._note(f'"arrived",{quoted(address)},{posix.getpid()}')

    def heard(self, line, verb, bare_lf, state):
        if verb in OPENING:
            self._begin_text()
        self._note(f'"heard",{quoted(line)},"{verb}",{_word(bare_lf)},{self._state(state)}')

    def said(self, reply, state):
        lines = reply.encode().decode().translate(ESCAPES)[:-len(LINE_END)].replace(LINE_END, '","')
        self._note(f'"said",{reply.code},"{reply.enhanced}",["{lines}"],{self._state(state)}')

    def _state(self, state):
        """`state` in JSON. It is mostly the same as a step before."""
        fields = state.fields()
        if fields != self._fields:
            self._fields = fields
            name, client, cipher, login, sender, recipients = fields
            sender = "null" if sender is None else quoted(sender)
            self._fields_in_json = (f'["{name}",{quoted(client)},{quoted(cipher)},{quoted(login)},{sender},'
                                    f"{recipients}]")
        return self._fields_in_json

    def text(self, piece):
        if self._text_room > 0:
            self._note_lines(self._lines.feed(piece[:self._text_room]))
            self._text_room -= len(piece)

    def end_of_text(self, octets):
        self._note_lines(self._lines.rest())
        self._note(f'"end",{octets}')
        self._begin_text()

    def end_of_chunk(self, octets, dropped):
        self._note_lines(self._lines.rest())
        self._note(f'"chunk",{octets},{_word(dropped)}')

    def accepted(self, message_id):
        self._note(f'"accepted",{quoted(message_id)}')

    def secured(self, cipher):
        self._note(f'"secured",{quoted(cipher)}')

    def waiting(self, readable):
        if self._due and not readable.poll(PATIENCE):
            self._write()

    def gone(self):
        self._room = LAST_OCTETS
        self._note('"gone"')
        self._write()
        self._recording.end_session()

    def _begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._text_room = TEXT_OCTETS

    def _note_lines(self, lines):
        if lines:
            self._note(f'"text",[{",".join(map(_text_line, lines))}]')

    def _note(self, step):
        """Keep a step, in JSON without its time, for the next write."""
        if self._room <= 0:
            return
        self._room -= len(step)
        if self._room <= 0:
            step = '"full"'
        self._due.append(f"[{time():.3f},{step}]\n")
        self._due_octets += len(step)
        if self._due_octets > DUE_OCTETS:
            self._write()

    def _write(self):
        due = "".join(self._due).encode("utf-8", "surrogateescape")
        self._due = []
        self._due_octets = 0
        if not self._recording.write(due):
            self._room = 0


def _word(is_so):
    return "true" if is_so else "false"


def _text_line(line):
    text, octets, end = line
    return f'[{quoted(text)},{octets},"{end}"]'
