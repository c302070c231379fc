"""A queued message as it goes over the line: LF to CRLF, first dots doubled, the final dot (RFC 5321 §4.5.2)."""
from smtp_client import seven_bit

PIECE = 1 << 18
END = b".\r\n"


class Message:
    """The message in the file at `path`. Raises OSError.

    size: its octets on the line, without dots added. is_8bit: whether any octet is past 127.
    """

    def __init__(self, path):
        self._file = open(path, "rb")
        self._plan = None
        self.size = 0
        self.is_8bit = False
        self._measure()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _measure(self):
        self.size = 0
        for piece in self._pieces():
            self.size += len(piece) + piece.count(b"\n")
            self.is_8bit = self.is_8bit or not piece.isascii()

    def _pieces(self):
        if self._plan:
            yield from seven_bit.encoded(self._file, self._plan)
            return
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece

    def header_is_8bit(self):
        """Whether the header needs SMTPUTF8 (RFC 6531 §3.1)."""
        self._file.seek(0)
        for line in self._file:
            if line == b"\n":
                break
            if not line.isascii():
                return True
        return False

    def on_the_wire(self):
        """Yield the octets to send after the 354, but for the final dot."""
        before = b"\n"
        for piece in self._pieces():
            # A line may begin where a piece does; the line end before it decides that.
            dotted = (before + piece).replace(b"\n.", b"\n..")[1:]
            before = piece[-1:] or before
            yield dotted.replace(b"\n", b"\r\n")

    def encode(self):
        """Encode bodies that are 8-bit, for a host that takes none (RFC 6152 §3). Once is enough."""
        if self.is_8bit and self._plan is None:
            self._plan = seven_bit.plan(self._file) or b""
            self._measure()
