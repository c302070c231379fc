"""A message for a host that takes no 8-bit text: its bodies are encoded part by part (RFC 6152 §3, RFC 2045 §6).

Headers go as they came, and so do bodies that must not be encoded (mime.Entity.is_opaque), those whose encoding
is unknown, and multiparts that nothing parts. Outside of the parts 8-bit octets mean nothing, and become "?".
"""
import binascii
import codecs
import re

from smtp_client.mime import (
    BODY, CONTENT_TYPE, ENCODING, END_OF_HEAD, HEAD, OUTSIDE, UNENCODED, VERSION, Structure, TooComplex)

KEEP, QUOTED, BASE64, MEND, MASK, RELABEL = range(6)
STEP = 7                    # the bits of a plan that are one of these; the others are flags
IS_UTF8, HOLDS_8BIT, UNCLEAN_OUTSIDE, MASK_OUTSIDE = 8, 16, 32, 64

LABELS = {QUOTED: b"quoted-printable", BASE64: b"base64", RELABEL: b"7bit"}
LINE_OCTETS = 57            # what makes a line of base64 of the usual 76 letters (RFC 2045 §6.8)
GATHERED_OCTETS = 65536
MASKED = bytes(range(128)) + b"?" * 128
OCTETS_8BIT = bytes(range(128, 256))
OCTET_8BIT = re.compile(rb"[\x80-\xff]")


def plan(file):
    """What is to become of each entity of the message in `file`, for encoded(); None when nothing is to be done.
    Raises OSError."""
    planner = Planner()
    try:
        for where, entity, octets in Structure(file).walk():
            planner.note(where, entity, octets)
    except TooComplex:
        return None
    return planner.steps if planner.is_needed else None


class Planner:
    """steps: an octet for each entity, by its number: one of the steps above, and flags. is_needed: whether
    any of them changes anything."""

    def __init__(self):
        self.steps = bytearray()
        self.is_needed = False
        self._decoder = None

    def note(self, where, entity, octets):
        """Take in what Structure.walk() yields."""
        self.steps += bytes(max(0, entity.number + 1 - len(self.steps)))
        if where is END_OF_HEAD:
            self._enter(entity)
        elif where is BODY:
            self._count(entity, octets)
        elif not octets.isascii():
            self.steps[entity.number] |= UNCLEAN_OUTSIDE if where is OUTSIDE else 0
            self._mark(entity)
        # What is outside of the parts may be all that there is, until the first of them has begun.
        if entity.is_started and not entity.is_opaque and self.steps[entity.number] & UNCLEAN_OUTSIDE:
            self.steps[entity.number] |= MASK_OUTSIDE
            self.is_needed = True

    def _enter(self, entity):
        self._decoder = codecs.getincrementaldecoder("utf-8")() if _is_unnamed(entity) else None
        is_composite = entity.is_multipart or entity.is_container
        if is_composite and entity.encoding in (b"8bit", b"binary") and not entity.is_opaque:
            self.steps[entity.number] |= RELABEL

    def _count(self, entity, octets):
        entity.octets += len(octets)
        if not octets.isascii():
            entity.octets_8bit += len(octets) - len(octets.translate(None, OCTETS_8BIT))
        if self._decoder:
            self._decode(octets)
        if entity.octets_8bit:
            self._choose(entity)

    def _decode(self, octets):
        try:
            self._decoder.decode(octets)
        except UnicodeDecodeError:
            self._decoder = None

    def _choose(self, entity):
        step = _step(entity)
        self.steps[entity.number] = step | (IS_UTF8 if self._decoder else 0)
        self.is_needed = self.is_needed or step != KEEP
        if step == KEEP:
            self._mark(entity)

    def _mark(self, entity):
        """8-bit octets stay in `entity`, and so in all that it is in."""
        while entity and not self.steps[entity.number] & HOLDS_8BIT:
            self.steps[entity.number] |= HOLDS_8BIT
            entity = entity.parent


def _is_unnamed(entity):
    """Whether it is a message that knows nothing of MIME."""
    return entity.is_message and VERSION not in entity.fields and CONTENT_TYPE not in entity.fields


def _step(entity):
    """What is done with a discrete body that has 8-bit octets."""
    if entity.is_opaque:
        return KEEP
    if entity.encoding in UNENCODED:
        # The shorter one: the first takes two octets more for each that it encodes, the other a third of all.
        return QUOTED if entity.octets_8bit * 6 <= entity.octets else BASE64
    # Octets that have no business there: the one encoding can say them, and in the other they say nothing.
    return {b"quoted-printable": MEND, b"base64": MASK}.get(entity.encoding, KEEP)


def encoded(file, steps):
    """Yield the message in `file`, changed as the plan `steps` says. Lines end in LF. Raises OSError."""
    writer = Writer(steps)
    gathered = []
    octets = 0
    for event in Structure(file).walk():
        piece = writer.change(*event)
        gathered.append(piece)
        octets += len(piece)
        if octets >= GATHERED_OCTETS:
            yield b"".join(gathered)
            gathered, octets = [], 0
    gathered.append(writer.end_body())
    yield b"".join(gathered)


class Writer:
    """Changes what Structure.walk() yields as the plan `steps` says."""

    def __init__(self, steps):
        self._steps = steps
        self._encoder = None
        self._is_labelled = False
        self._changes = {HEAD: self._head, END_OF_HEAD: self._end_of_head, BODY: self._body, OUTSIDE: self._outside}

    def change(self, where, entity, octets):
        """The octets to write in the place of `octets`."""
        before = self.end_body() if where is not BODY else b""
        change = self._changes.get(where)
        return before + (change(entity, self._steps[entity.number], octets) if change else octets)

    def end_body(self):
        """What the body at hand, if there is one, still needs."""
        encoder, self._encoder = self._encoder, None
        return encoder.end() if encoder else b""

    def _head(self, entity, step, line):
        label = _label(step)
        if not label or entity.field != ENCODING:
            return line
        if self._is_labelled:
            return b""          # the field's other lines
        self._is_labelled = True
        return label

    def _end_of_head(self, entity, step, line):
        """The fields that are missing, and the empty line."""
        is_labelled, self._is_labelled = self._is_labelled, False
        if step & STEP not in (QUOTED, BASE64):
            return line
        added = b"" if is_labelled else _label(step)
        if _is_unnamed(entity):
            charset = b"utf-8" if step & IS_UTF8 else b"unknown-8bit"       # RFC 1428 §3
            added = b"Content-Type: text/plain; charset=" + charset + b"\n" + added
        if entity.is_message and VERSION not in entity.fields:
            added = b"MIME-Version: 1.0\n" + added
        return added + b"\n"

    def _body(self, entity, step, octets):
        self._encoder = self._encoder or ENCODERS.get(step & STEP, Unchanged)(entity)
        return self._encoder.feed(octets)

    def _outside(self, _, step, octets):
        return octets.translate(MASKED) if step & MASK_OUTSIDE else octets


def _label(step):
    """The field that names the encoding in the place of the one that is there, b"" to leave that."""
    if step & STEP == RELABEL and step & HOLDS_8BIT:
        return b""
    name = LABELS.get(step & STEP)
    return b"Content-Transfer-Encoding: " + name + b"\n" if name else b""


class Unchanged:
    """What all of these are: feed() takes lines of a body, or pieces of one, and returns what to write; end()
    returns what is left."""

    def __init__(self, entity):
        self._is_enclosed = entity.is_enclosed

    def feed(self, octets):
        return octets

    def end(self):
        return b""


class Masked(Unchanged):
    """base64 with octets that every reader passes over (RFC 2045 §6.8)."""

    def feed(self, octets):
        return octets.translate(MASKED)


class Mended(Unchanged):
    """quoted-printable with octets that are not quoted."""

    def feed(self, octets):
        return OCTET_8BIT.sub(lambda octet: b"=%02X" % ord(octet[0]), octets)


class QuotedPrintable(Unchanged):
    """RFC 2045 §6.7. Line ends stay line ends, whatever the type: text in 8 bits had no others either."""

    _is_open = False

    def feed(self, octets):
        before = b"=\n" if self._is_open else b""       # between two pieces of one line
        self._is_open = not octets.endswith(b"\n")
        return before + binascii.b2a_qp(octets)


class Base64(Unchanged):
    """RFC 2045 §6.8, of the text as it would go over the line, in CRLF."""

    _rest = b""
    _line_end = b""

    def feed(self, octets):
        text = self._rest + self._line_end + octets.removesuffix(b"\n").replace(b"\n", b"\r\n")
        self._line_end = b"\r\n" if octets.endswith(b"\n") else b""
        whole = len(text) - len(text) % LINE_OCTETS
        self._rest = text[whole:]
        return _lines_of_base64(text[:whole])

    def end(self):
        return _lines_of_base64(self._rest + (b"" if self._is_enclosed else self._line_end))


def _lines_of_base64(octets):
    return b"".join(binascii.b2a_base64(octets[start:start + LINE_OCTETS])
                    for start in range(0, len(octets), LINE_OCTETS))


ENCODERS = {QUOTED: QuotedPrintable, BASE64: Base64, MEND: Mended, MASK: Masked}
