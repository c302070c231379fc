"""The structure of a message as its boundaries give it (RFC 2045, 2046), found while its file is read block by block.

In memory are one block, and the entities that enclose the place reached. Lines end in LF, and in nothing else.
"""
import re

BLOCK = 1 << 18
MOST_LINES = 50000          # of headers and delimiters together: what has more was made to keep us busy
FIELD_OCTETS = 16384        # a longer field of those that matter here is as good as none

HEAD, END_OF_HEAD, BODY, OUTSIDE, DELIMITER = "head", "end of head", "body", "outside", "delimiter"

CONTENT_TYPE, ENCODING, VERSION = b"content-type", b"content-transfer-encoding", b"mime-version"
FIELD = re.compile(rb"([^\0-\x20\x7f:]*)([ \t]*):")
ENVELOPE_LINES = (b"From ", b">From ")                  # of an mbox; readers pass over one on top of a header
MEDIA_TYPE = re.compile(rb"\s*([^\s/;()]+/[^\s/;()]+)")
PARAMETER = re.compile(rb";\s*([^\s=;\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;]*))", re.S)
UNENCODED = (b"", b"7bit", b"8bit", b"binary")          # RFC 2045 §6.2
CONTAINERS = (b"message/rfc822", b"message/global")
READ = {}               # of a header that nobody looks at any more


class TooComplex(Exception):
    """There are more than MOST_LINES lines of structure."""


class Entity:
    """A message or a body part (RFC 2045 §2.4). number: how many began before it; parent: the Entity it is
    in, or None; is_message: whether it is a message; is_enclosed: whether a delimiter is to end it, to which
    the line end before it belongs. octets, octets_8bit: of its body, for whoever counts them.

    fields: {name: value} of the three fields above, the first of each. Known once the header is read:
    media_type and encoding (lower case); boundary; is_opaque: whether its body must stay as it is.
    field: the name of the field that the HEAD line at hand belongs to. is_started: whether a delimiter of
    its own has come.
    """

    __slots__ = ("number", "parent", "is_message", "is_enclosed", "octets", "octets_8bit", "fields", "media_type",
                 "encoding", "boundary", "is_opaque", "field", "is_started", "_is_first")

    def __init__(self, number, parent=None, is_message=True):
        self.number = number
        self.parent = parent
        self.is_message = is_message
        self.is_enclosed = bool(parent) and (parent.is_enclosed or not is_message)
        self.octets = self.octets_8bit = 0
        self.fields = {}
        self.media_type = b"text/plain"
        self.encoding = self.boundary = self.field = b""
        self.is_opaque = bool(parent) and parent.is_opaque
        self.is_started = self._is_first = False

    @property
    def is_multipart(self):
        return self.media_type.startswith(b"multipart/")

    @property
    def is_container(self):
        """Whether its body is a message with a header of its own (RFC 2046 §5.2.1, RFC 6532 §3.7)."""
        return self.media_type in CONTAINERS and self.encoding in UNENCODED

    def begin_field(self, name, value, has_blanks):
        """A field begins with the line `name: value`. has_blanks: whether there are some before the colon."""
        self.field = name
        is_ours = name in (CONTENT_TYPE, ENCODING, VERSION)
        self._is_first = is_ours and name not in self.fields
        # Obsolete (RFC 5322 §4.5), or none at all: some readers take these for fields, for others the header is over.
        self.is_opaque = self.is_opaque or is_ours and has_blanks or not name.isascii()
        if self._is_first:
            self.fields[name] = value

    def continue_field(self, value):
        """`value` is more of the field at hand."""
        if self._is_first and len(self.fields[self.field]) <= FIELD_OCTETS:
            self.fields[self.field] += value

    def read_fields(self):
        """The header is read: see what it says."""
        self.field = b""
        is_digest = self.parent and self.parent.media_type == b"multipart/digest"
        value = self.fields.get(CONTENT_TYPE, b"message/rfc822" if is_digest else b"")
        found = MEDIA_TYPE.match(value)
        if found and len(value) <= FIELD_OCTETS:
            self.media_type = found[1].lower()
        self.encoding = self.fields.get(ENCODING, b"").partition(b"(")[0].partition(b";")[0].strip().lower()
        self.boundary = _boundary(value) if self.is_multipart else b""
        self.is_opaque = self.is_opaque or self._has_its_own_rules()

    def _has_its_own_rules(self):
        # A signature is one of octets (RFC 1847 §2.1). Other kinds of message may not be encoded (RFC 2045 §6.4), but
        # for those that came with RFC 6532.
        return self.media_type == b"multipart/signed" or (
            self.media_type.startswith(b"message/") and self.media_type not in CONTAINERS
            and not self.media_type.startswith(b"message/global"))


def _boundary(value):
    """The boundary that a Content-Type field's value gives, b"" if there is none, or one that is not ASCII."""
    for name, quoted, plain in PARAMETER.findall(value):
        if name.lower() == b"boundary":
            boundary = (re.sub(rb"\\(.)", rb"\1", quoted, flags=re.S) or plain).strip()
            return boundary if boundary.isascii() else b""
    return b""


class Structure:
    """file: a binary file; where it stands does not matter. Raises OSError, TooComplex."""

    def __init__(self, file):
        self._file = file
        self._count = 0
        self._lines = 0
        self._delimited = []        # the multiparts whose delimiters may come, outermost first
        self._boundaries = {}       # {boundary: its multipart}
        self._begin(None, True)

    def _begin(self, parent, is_message):
        self._entity = Entity(self._count, parent, is_message)
        self._count += 1
        self._state = HEAD

    def walk(self):
        """Yield (where, Entity, octets) for the whole message: put together, the octets are it.

        HEAD: a line of a header, or a piece of one. END_OF_HEAD: the empty line, or b"" where it is missing.
        BODY: lines of a discrete body, or pieces of one. OUTSIDE: lines before a multipart's first delimiter, or
        behind its last. DELIMITER: a line that is one of the Entity's. Empty octets come nowhere else.
        """
        at_start = True
        for block in self._blocks():
            position = 0
            while position < len(block):
                for where, entity, octets in self._next(block, position, at_start):
                    yield where, entity, octets
                    position += len(octets)
                    at_start = octets.endswith(b"\n") or not octets
        if self._state is HEAD:
            yield from self._end_head(b"")

    def _blocks(self):
        """The file in pieces that end where lines do, unless a line is longer than a block."""
        self._file.seek(0)
        rest = b""
        while piece := self._file.read(BLOCK):
            text = rest + piece
            end = text.rfind(b"\n") + 1 or len(text)
            yield text[:end]
            rest = text[end:]
        yield rest

    def _next(self, block, position, at_start):
        """What stands at `position`, as walk() yields it."""
        if at_start and self._boundaries and block.startswith(b"--", position):
            line = _line(block, position)
            entity, is_last = self._find_delimiter(line)
            if entity:
                self._delimit(entity, is_last)
                return [(DELIMITER, entity, line)]
        if self._state is HEAD:
            return self._head(_line(block, position), at_start)
        # All up to the next line that may be a delimiter.
        end = block.find(b"\n--", position) + 1 if self._boundaries else 0
        return [(self._state, self._entity, block[position:end or len(block)])]

    def _count_line(self):
        self._lines += 1
        if self._lines > MOST_LINES:
            raise TooComplex

    # Headers

    def _head(self, line, at_start):
        entity = self._entity
        self._count_line()
        if line == b"\n" and at_start:
            return self._end_head(line)
        if not at_start or line[0] in b" \t":
            entity.continue_field(line)
        elif field := FIELD.match(line):
            entity.begin_field(field[1].lower(), line[field.end():], has_blanks=bool(field[2]))
        elif not line.startswith(ENVELOPE_LINES):
            return self._end_head(b"")      # what is no field begins the body
        return [(HEAD, entity, line)]

    def _end_head(self, line):
        entity = self._entity
        entity.read_fields()
        self._state = BODY
        if entity.is_container:
            self._begin(entity, True)
        elif entity.is_multipart:
            self._open(entity)
        return [(END_OF_HEAD, entity, line)]

    # Multiparts

    def _open(self, entity):
        if not entity.boundary or entity.boundary in self._boundaries:
            entity.is_opaque = True         # nothing can part it
            return
        self._state = OUTSIDE
        self._delimited.append(entity)
        self._boundaries[entity.boundary] = entity

    def _find_delimiter(self, line):
        """(the multipart that `line` is a delimiter of, or None, whether it is the last one) (RFC 2046 §5.1.1)."""
        text = line[2:].rstrip(b" \t\n")
        between = self._boundaries.get(text)
        last = self._boundaries.get(text[:-2]) if text.endswith(b"--") else None
        if last and not (between and between.number < last.number):
            return last, True
        return between, False

    def _delimit(self, entity, is_last):
        """A delimiter of `entity` has come: all that it encloses is over, and it too if it is the last one."""
        self._count_line()
        while self._delimited[-1] is not entity:
            del self._boundaries[self._delimited.pop().boundary]
        entity.is_started = True
        entity.fields = READ                # what counts of them is known, and many may enclose this place
        if is_last:
            del self._boundaries[self._delimited.pop().boundary]
            self._entity, self._state = entity, OUTSIDE
        else:
            self._begin(entity, False)


def _line(block, position):
    return block[position:block.find(b"\n", position) + 1 or len(block)]
