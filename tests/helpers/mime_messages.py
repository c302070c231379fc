"""Messages of many parts made at random from a seed, 8-bit everywhere it may be, and two copies of one compared."""

import email
import random

WORDS = (b"caf\xc3\xa9", b"plain", b"\xe9t\xe9", b"a=b", b"--", b"--x", b".", b" ", b"\t", b"=3D", b"From x",
         b"\x0b\x0c\x1c", b"\x85", "\u6f22\u5b57".encode() * 20, b"x" * 150)
ENCODINGS = (b"", b"Content-Transfer-Encoding: 8bit\n", b"Content-Transfer-Encoding:\n 8BIT\n",
             b"Content-transfer-encoding: binary\n")
BOUNDARIES = (b"abc", b"b d", b"x--", b"=_y")
ADDED = ("content-transfer-encoding", "mime-version")       # fields that an encoded body changes or adds
# what plain text gets that has no type
ADDED_TYPES = ("text/plain; charset=utf-8", "text/plain; charset=unknown-8bit")
KINDS = ("text", "text", "text", "file", "multipart", "multipart", "message", "untyped")
MOST_DEEP = 4


class Maker:
    """rng: all of its choices come from there."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def message(self) -> bytes:
        return b"Received: x\nMIME-Version: 1.0\nSubject: \xc3\xa9t\xc3\xa9\n" + self._entity(0, "multipart")

    def _entity(self, depth: int, kind: str) -> bytes:
        encoding = self.rng.choice(ENCODINGS)
        if kind == "text":
            kind = self.rng.choice((b"Content-Type: text/plain; charset=utf-8\n", b"Content-Type: text/html\n"))
            return kind + encoding + b"\n" + self._lines()
        if kind == "untyped":
            return encoding + b"X-Y: \xe9\n\n" + self._lines()
        if kind == "file":
            content = bytes(self.rng.randrange(1, 256) for _ in range(self.rng.randrange(400))).replace(b"\r", b"")
            return encoding + b'Content-Type: application/pdf; name="r\xc3\xa9sum\xc3\xa9.pdf"\n\n' + content + b"\n"
        if kind == "message":
            head = b"Content-Type: message/rfc822\n" + encoding + b"\nMIME-Version: 1.0\nSubject: inn\xc3\xa9r\n"
            return head + self._inner(depth)
        return self._multipart(depth, encoding)

    def _inner(self, depth: int) -> bytes:
        return self._entity(depth + 1, self.rng.choice(KINDS) if depth < MOST_DEEP else "text")

    def _multipart(self, depth: int, encoding: bytes) -> bytes:
        boundary = self.rng.choice(BOUNDARIES) + b"%d" % depth
        pieces = [b'Content-Type: multipart/mixed;\n boundary="%b"\n' % boundary, encoding, b"\n",
                  self.rng.choice((b"", b"preamble\n", b"pr\xc3\xa9ambule\n"))]
        for _ in range(self.rng.randrange(1, 4)):
            pieces += [b"--" + boundary + self.rng.choice((b"", b" ", b"\t")) + b"\n", self._inner(depth),
                       self.rng.choice((b"", b"\n"))]
        return b"".join(pieces) + b"--" + boundary + b"--\n" + self.rng.choice((b"", b"epilogue\n", b"\xe9pilogue\n"))

    def _lines(self) -> bytes:
        lines = (b" ".join(self.rng.choice(WORDS) for _ in range(self.rng.randrange(5)))
                 for _ in range(self.rng.randrange(12)))
        return b"".join(line + b"\n" for line in lines)


def structure(data: bytes):
    """What a reader sees of a message: its fields, but for those of its encoding, and what is in it."""
    return _structure(email.message_from_bytes(data))


def _structure(entity):
    fields = [(name, str(value)) for name, value in entity.raw_items()
              if name.lower() not in ADDED and value not in ADDED_TYPES]
    if entity.is_multipart():
        content = [_structure(part) for part in entity.get_payload()]
    else:
        content = entity.get_payload(decode=True).replace(b"\r\n", b"\n")
    return entity.get_content_type(), fields, content
