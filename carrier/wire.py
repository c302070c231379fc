"""A queued message as it goes over the line: LF to CRLF, first dots doubled, the final dot (RFC 5321 §4.5.2)."""
import base64
import email
import io
from email.generator import BytesGenerator
from email.policy import compat32

PIECE = 1 << 18
END = b".\r\n"


class Message:
    """The message in the file at `path`. Raises OSError.

    size: its octets on the line, without dots added. is_8bit: whether any octet is past 127.
    """

    def __init__(self, path):
        self._file = open(path, "rb")
        self.size = 0
        self.is_8bit = False
        for piece in self._pieces():
            self.size += len(piece) + piece.count(b"\n")
            self.is_8bit = self.is_8bit or not piece.isascii()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _pieces(self):
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
            before = piece[-1:]
            yield dotted.replace(b"\n", b"\r\n")

    def make_7bit(self):
        """Encode what is not ASCII, for a host that takes no 8-bit octets (RFC 6152 §3)."""
        converted = io.BytesIO(_encoded(self._file))
        self._file.close()
        self._file = converted
        self.size = sum(len(piece) + piece.count(b"\n") for piece in self._pieces())
        self.is_8bit = False


def _encoded(file):
    file.seek(0)
    message = email.message_from_binary_file(file)
    for part in message.walk():
        if not part.is_multipart():
            _encode_part(part)
        elif part.get("Content-Transfer-Encoding"):
            del part["Content-Transfer-Encoding"]
    output = io.BytesIO()
    BytesGenerator(output, mangle_from_=False, maxheaderlen=0, policy=compat32.clone(cte_type="7bit")).flatten(message)
    return output.getvalue()


def _encode_part(part):
    if part.get_payload().isascii():
        return
    body = part.get_payload(decode=True)
    del part["Content-Transfer-Encoding"]
    part.set_payload(base64.encodebytes(body).decode())
    part["Content-Transfer-Encoding"] = "base64"
    if "MIME-Version" not in part and "Content-Type" not in part:
        part["MIME-Version"] = "1.0"
        part["Content-Type"] = f"text/plain; charset={_charset(body)}"


def _charset(body):
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "unknown-8bit"
    return "utf-8"
