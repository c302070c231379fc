"""The main log as it grows, and what it says of each message: its format is Exim's (common/mainlog.py)."""
import os
import re
from collections import OrderedDict, deque

from queue_manager.queue_store import ID
from web.fates import COMPLETED, LABELS, read

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:([0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}) )?(.*)")
START_OCTETS = 1 << 18      # of the log before us that are read
READ_OCTETS = 1 << 20       # at a time
LINE_CHARACTERS = 1000
KEPT_LINES = 200
KEPT_MESSAGES = 2000
KEPT_EVENTS = 100           # of each message


class LogReader:
    """lines: the last ones. arrivals: how many messages were received since the page runs."""

    def __init__(self, path):
        self.lines = deque(maxlen=KEPT_LINES)
        self.arrivals = 0
        self._path = path
        self._file = None
        self._partial = b""
        self._messages = OrderedDict()

    def read(self):
        """Take in what was added: (the new lines, the ids of messages with news)."""
        lines = self._new_lines()
        touched = set()
        for line in lines:
            self.lines.append(line)
            self._take(line, touched)
        return lines[-KEPT_LINES:], touched

    def _new_lines(self):
        data = self._partial + self._new_octets()
        *whole, self._partial = data.split(b"\n")
        self._partial = self._partial[-READ_OCTETS:]
        return [line.decode("utf-8", "replace")[:LINE_CHARACTERS] for line in whole]

    def _new_octets(self):
        try:
            if not self._file:
                self._open(START_OCTETS)
            data = self._file.read(READ_OCTETS)
            if not data and self._was_replaced():
                self._open(None)
                data = self._file.read(READ_OCTETS)
            return data
        except OSError:
            return b""

    def _open(self, last):
        """Open the file at its beginning; or where a line begins and no more than `last` octets follow."""
        if self._file:
            self._file.close()
        self._file = open(self._path, "rb")
        self._partial = b""
        start = 0 if last is None else max(0, os.fstat(self._file.fileno()).st_size - last)
        self._file.seek(start)
        if start:
            self._file.readline()

    def _was_replaced(self):
        """Whether a rotation has moved or emptied the file."""
        ours, named = os.fstat(self._file.fileno()), os.stat(self._path)
        return ours.st_ino != named.st_ino or named.st_size < self._file.tell()

    def _take(self, line, touched):
        found = LINE.fullmatch(line)
        if not found or not found[2]:
            return
        when, message_id, text = found.groups()
        fate = read(text)
        self.arrivals += text.startswith("<=")
        if fate and fate.flag == "<=" and ID.fullmatch(fate.router):
            kind = "reports" if " U=" in fate.rest else "parts"
            self._message(fate.router)[kind].append(message_id)
            touched.add(fate.router)
        self._note(self._message(message_id)["events"], when[11:], fate, text)
        touched.add(message_id)

    def _note(self, events, when, fate, text):
        """Add a line to a message's events. Of deferrals only each recipient's last one stays: there may be dozens."""
        flag = fate.flag if fate else ""
        label = LABELS[flag] if fate else "terminé" if text == COMPLETED else ""
        to = fate.address if fate and flag != "<=" else ""
        times = 1
        for before in [one for one in events if one["flag"] == flag == "==" and one["to"] == to]:
            times += before["times"]
            events.remove(before)
        if len(events) < KEPT_EVENTS:
            events.append({"when": when, "flag": flag, "label": label, "to": to, "text": text, "times": times})

    def _message(self, message_id):
        entry = self._messages.setdefault(message_id, {"events": [], "reports": [], "parts": []})
        self._messages.move_to_end(message_id)
        while len(self._messages) > KEPT_MESSAGES:
            self._messages.popitem(last=False)
        return entry

    def message(self, message_id):
        """{"events": [...], "reports": [ids], "parts": [ids]} of a message; empty lists if the log says nothing of it.
        reports: bounces and the like, to its sender; parts: the messages that go on with some of its recipients."""
        entry = self._messages.get(message_id) or {"events": [], "reports": [], "parts": []}
        return {name: [*values] for name, values in entry.items()}
