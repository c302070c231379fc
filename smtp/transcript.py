"""The dialogue as it happens, for whoever watches the launcher's terminal (`serveur.sh -v`)."""
import posix

from common.mainlog import printable

CLIENT_COLOUR = "\033[36m"
SERVER_COLOUR = "\033[32m"
MESSAGE_LINES = 40          # of a message that are shown
LINE_OCTETS = 1000          # of an unfinished line that are kept
PLAIN = "\033[0m"


class Transcript:
    """Writes to `sink`, a descriptor; in colours if it is a terminal, or `coloured` says that it leads to one."""

    def __init__(self, sink=2, coloured=False):
        self.sink = sink
        self.coloured = coloured or posix.isatty(sink)
        self._line = b""
        self._lines = 0

    def heard(self, line):
        """A command line (str) that the client sent, without its secrets."""
        self._show("C:", CLIENT_COLOUR, line)

    def text(self, piece):
        """A piece of a message (bytes), cut anywhere: its first lines are shown."""
        lines = (self._line + piece).split(b"\n")
        self._line = lines.pop()[:LINE_OCTETS]
        for line in lines[:max(0, MESSAGE_LINES - self._lines)]:
            self._show("C:", CLIENT_COLOUR, line.decode("utf-8", "surrogateescape"))
        self._lines += len(lines)

    def end_of_text(self, octets):
        """The message that text() was given is complete."""
        if self._lines > MESSAGE_LINES:
            self._show("C:", CLIENT_COLOUR, f"[... {self._lines - MESSAGE_LINES} more lines]")
        self._show("C:", CLIENT_COLOUR, f"[end of message, {octets} octets]")
        self._line = b""
        self._lines = 0

    def said(self, line):
        """A reply line."""
        self._show("S:", SERVER_COLOUR, line)

    def _show(self, who, colour, line):
        text = f"[{posix.getpid()}] {who} {printable(line)}"
        if self.coloured:
            text = colour + text + PLAIN
        try:
            posix.write(self.sink, text.encode() + b"\n")
        except OSError:
            pass
