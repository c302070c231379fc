"""A whole message, parted into header and body as Exim parts it, ready to be written anywhere.

In an IncomingText's text LF ends a line, and CR stands where a client sent a bare CR or a bare LF. In the body
that becomes a line end; in the header it becomes a fold, so that it cannot begin a field of its own.
"""
from mailstore.files import write_all
from mailstore.trace import mail_date

MOST_FIELDS = 10000         # each takes far more memory than the few octets it may consist of
NAME_OCTETS = 998           # no field's name is longer than a line may be (RFC 5322 §2.1.1)
DELIVERY_FIELDS = (b"return-path", b"envelope-to", b"delivery-date")
BLANKS = b" \t\v"
NOT_IN_NAMES = frozenset(range(33)) | {127}


class HeaderTooBig(Exception):
    """The header passes the MiB that is kept in memory, or has more than MOST_FIELDS fields."""


class Content:
    """A message out of an IncomingText.

    The header's fields are kept without the three that only the final delivery may add.
    octets: what is stored, from the header's first octet on. Raises HeaderTooBig.
    """

    def __init__(self, incoming):
        self._incoming = incoming
        text = incoming.beginning()
        fields, start, first = split_header(text)
        if incoming.is_long and start == len(text) and not _has_ended(text, first):
            raise HeaderTooBig
        named = [(field_name(field), field.replace(b"\0", b"?")) for field in fields]
        self._fields = [(name, field) for name, field in named if name not in DELIVERY_FIELDS]
        self._before = []
        self._after = []
        if first or b"\r" in text:
            self._body = first + text[start:].replace(b"\r", b"\n")
        else:
            self._body = memoryview(text)[start:]       # copying a long text takes as long as receiving it
        self._body_octets = len(self._body) - len(text) + incoming.octets

    @property
    def octets(self):
        return sum(map(len, self._header())) + 1 + self._body_octets

    def _header(self):
        return [*self._before, *(field for _, field in self._fields), *self._after]

    def complete(self, message_id, sender, domain):
        """Add what a submission server adds if it is missing, as Exim does (RFC 6409 §8.1).

        A message that is resent, with any Resent- field, gets the Resent- forms, all but From in front.
        """
        names = {name for name, _ in self._fields}
        resent = self.is_resent()
        prefix = "Resent-" if resent else ""
        added = {name: f"{prefix}{name}: {value}\n".encode("utf-8", "surrogateescape") for name, value in (
                     ("Message-Id", f"<E{message_id}@{domain}>"), ("From", sender), ("Date", mail_date()))
                 if f"{prefix}{name}".lower().encode() not in names}
        in_front = ("Date", "Message-Id") if resent else ()
        self._before = [added.pop(name) for name in in_front if name in added]
        self._after = list(added.values())

    def is_resent(self):
        """Whether somebody has sent it again (RFC 5322 §3.6.6)."""
        return any(name.startswith(b"resent-") for name, _ in self._fields)

    def values(self, name):
        """The values (bytes, unfolded, stripped) of the fields called `name` (bytes, lower case)."""
        found = [field.partition(b":")[2] for known, field in self._fields if known == name]
        return [b" ".join(value.split()) for value in found]

    def pieces(self, front):
        """Yield the message in pieces, `front` (bytes) before its header."""
        yield b"".join([front, *self._header(), b"\n"])
        yield self._body
        for piece in self._incoming.remainder():
            yield piece.replace(b"\r", b"\n")

    def write(self, file, front):
        """Write the message to descriptor `file` behind `front`. Raises OSError."""
        for piece in self.pieces(front):
            write_all(file, piece)


def field_name(field):
    """The name of a header field (bytes) in lower case."""
    return field.partition(b":")[0].rstrip(BLANKS).lower()


def split_header(text):
    """([fields], where the rest of the body starts, the body's beginning) of an IncomingText's `text`.

    A field is a line and the lines behind it that begin with a blank; of those, last ones of nothing but
    blanks are dropped. What can be no field ends the header and is, in one piece, the body's beginning.
    Raises HeaderTooBig.
    """
    fields = []
    position = 0
    while position < len(text):
        if len(fields) > MOST_FIELDS:
            raise HeaderTooBig
        end = _field_end(text, position)
        if text[position] == 10:
            return fields, position + 1, b""
        field = text[position:end].replace(b"\r", b"\n ")
        if not _is_field(field):
            return fields, end, field
        fields.append(_without_blank_end(field))
        position = end
    return fields, position, b""


def _has_ended(text, first):
    """Whether the header ends with `text`, behind which more comes: by an empty line, or by one (`first`, as far as it
    has come) that is seen to be no field. What may be a field's name has not ended it."""
    if not first:
        return text.endswith(b"\n\n")
    return first.endswith(b"\n") or len(first) > NAME_OCTETS or not NOT_IN_NAMES.isdisjoint(first.rstrip(BLANKS))


def _line_end(text, position):
    return text.find(b"\n", position) + 1 or len(text)


def _field_end(text, position):
    end = _line_end(text, position)
    while text[end:end + 1] in (b" ", b"\t"):
        end = _line_end(text, end)
    return end


def _is_field(field):
    name, colon, _ = field.partition(b":")
    return bool(colon) and NOT_IN_NAMES.isdisjoint(name.rstrip(BLANKS))


def _without_blank_end(field):
    """`field` without last lines that hold nothing but blanks."""
    kept = field.rstrip(b" \t\n")
    return field[:_line_end(field, len(kept))]
