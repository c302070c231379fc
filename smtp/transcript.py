"""The dialogue as it happens, for whoever watches the launcher's terminal (`serveur.sh -v`)."""
import posix

from journal import printable

CLIENT_COLOUR = "\033[36m"
SERVER_COLOUR = "\033[32m"
PLAIN = "\033[0m"


class Transcript:
    """Writes to `sink`, a descriptor; in colours if that is a terminal.

    hide_next(): the next line heard is a secret and shows as `***`.
    """

    def __init__(self, sink=2):
        self.sink = sink
        self.coloured = posix.isatty(sink)
        self._secret = False

    def hide_next(self):
        self._secret = True

    def heard(self, line):
        """A command line (str) that the client sent."""
        words = line.split(" ", 2)
        if self._secret:
            line = "***"
        elif words[0].upper() == "AUTH" and len(words) > 2:
            line = f"{words[0]} {words[1]} ***"
        self._secret = False
        self._show("C:", CLIENT_COLOUR, line)

    def message(self, octets):
        """A message's text went by: its size stands for it."""
        self._show("C:", CLIENT_COLOUR, f"[message, {octets} octets]")

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
