"""The reader of DATA (smtp/data_reader.py) against an independent one that takes an octet at a time, for every text and
every cut.

Texts are made of CR, LF, dot and a letter, which is all that the reader tells apart.
"""

import itertools
import random
import typing
import unittest

from smtp.data_reader import DataReader
from tests.helpers import support

ALPHABET = (b"\r", b"\n", b".", b"a")
LENGTH = 6
CUT_LENGTH = 6 if support.LONG else 5     # in all ways: 32 for the longest
END = b"\r\n.\r\n"          # ends every text, whatever came before it
BEHIND = b"QUIT\r\n.\r\n"


class Result(typing.NamedTuple):
    """What a text comes to: the text as it is kept, its size on the wire, what stands behind it, whether CRLF was
    seen."""
    text: bytes
    octets: int
    rest: bytes
    crlf_seen: bool


def symbols(data: bytes) -> typing.Iterator[bytes]:
    """The octets of `data` one by one, a CR and the LF behind it as one."""
    position = 0
    while position < len(data):
        width = 2 if data[position:position + 2] == b"\r\n" else 1
        yield data[position:position + width]
        position += width


def expected(data: bytes, crlf_seen: bool) -> Result:
    """The Result for `data`, an octet at a time.  It must end."""
    text, octets, position = b"", 0, 0
    at_start, lone_dot, first_end = True, False, b""
    for symbol in symbols(data):
        position += len(symbol)
        ends_line = symbol == b"\r\n" or symbol == b"\n" and not crlf_seen
        if ends_line and lone_dot and (crlf_seen or symbol == b"\n"):
            return Result(text, octets, data[position:], crlf_seen)
        crlf_seen = crlf_seen or symbol == b"\r\n"
        first_end = first_end or (symbol if symbol in (b"\r\n", b"\n") else b"")
        lone_dot = at_start and symbol == b"."
        at_start = ends_line
        if not lone_dot:
            octets += len(symbol)
            text += b"\n" if ends_line or symbol == first_end else symbol.replace(b"\n", b"\r")
    raise ValueError("no end in %r" % data)


def read(pieces: typing.Iterable[bytes], crlf_seen: bool) -> Result:
    """The Result of the server's reader for a text that comes in `pieces`; those after the end are not asked for."""
    reader = DataReader(crlf_seen)
    text, pieces = b"", iter(pieces)
    while not reader.ended:
        text += reader.feed(next(pieces))
    return Result(text, reader.octets, reader.rest + b"".join(pieces), reader.crlf_seen)


def cuts(data: bytes) -> typing.Iterator[typing.List[bytes]]:
    """All ways to cut `data` into pieces that are not empty."""
    places = range(1, len(data))
    for count in range(len(data)):
        for chosen in itertools.combinations(places, count):
            bounds = [0, *chosen, len(data)]
            yield [data[start:end] for start, end in zip(bounds, bounds[1:])]


def texts(length: int) -> typing.Iterator[bytes]:
    return (b"".join(letters) for count in range(length + 1) for letters in itertools.product(ALPHABET, repeat=count))


class EveryTextTest(unittest.TestCase):
    """All texts up to LENGTH, in a session that has sent a CRLF before and in one that has not."""

    def test_in_one_piece(self):
        for crlf_seen, text in itertools.product((True, False), texts(LENGTH)):
            data = text + END + BEHIND
            self.assertEqual(read([data], crlf_seen), expected(data, crlf_seen), (text, crlf_seen))

    def test_octet_by_octet(self):
        for crlf_seen, text in itertools.product((True, False), texts(LENGTH)):
            data = text + END + BEHIND
            pieces = (data[i:i + 1] for i in range(len(data)))
            self.assertEqual(read(pieces, crlf_seen), expected(data, crlf_seen), (text, crlf_seen))

    def test_every_cut(self):
        for crlf_seen, text in itertools.product((True, False), texts(CUT_LENGTH)):
            wanted = expected(text + END, crlf_seen)
            for pieces in cuts(text):
                self.assertEqual(read([*pieces, END], crlf_seen), wanted, (pieces, crlf_seen))

    def test_every_cut_of_the_end(self):
        for crlf_seen, text in itertools.product((True, False), texts(3)):
            data = text + END + b"a"
            wanted = expected(data, crlf_seen)
            for pieces in cuts(data):
                self.assertEqual(read(pieces, crlf_seen), wanted, (pieces, crlf_seen))


class LongTextTest(unittest.TestCase):
    """Long texts of a random generator with a fixed seed, cut at random."""

    def test_random(self):
        dice = random.Random(20)
        for _ in range(300):
            crlf_seen = dice.random() < 0.5
            symbols_ = (b"\r\n", b"\n", b"\r", b".", b"\r\n.", b"\n.", b"text", bytes(range(128, 160)))
            data = b"".join(dice.choices(symbols_, k=dice.randrange(400))) + END
            bounds = [0, *sorted(dice.choices(range(len(data)), k=dice.randrange(40))), len(data)]
            pieces = [data[start:end] for start, end in zip(bounds, bounds[1:])]
            self.assertEqual(read(pieces, crlf_seen), expected(data, crlf_seen), (pieces, crlf_seen))

    def test_nothing_is_held_back_but_a_beginning_of_the_end(self):
        reader = DataReader(crlf_seen=True)
        sent = kept = 0
        for piece in (b"a" * 1000, b"\r\n" * 1000, b".\r" * 1000, b"\r\n."):
            sent += len(piece)
            kept += len(reader.feed(piece))
        self.assertLessEqual(sent - kept, 1000 + len(END))      # 1000: the LFs of 1000 CRLFs went out alone


class AttackTest(unittest.TestCase):
    """Marks by which one relay's text was another's end of data: none of them is ours (CVE-2023-51764 and its kin)."""

    def assert_is_text(self, mark: bytes):
        data = b"one" + mark + b"MAIL FROM:<x@y.example>\r\n.\r\nQUIT\r\n"
        self.assertEqual(read([data], crlf_seen=True).rest, b"QUIT\r\n", mark)

    def test_marks(self):
        ends = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\n\0")
        for before, after in itertools.product(ends, repeat=2):
            mark = before + b"." + after
            if END not in mark:
                self.assert_is_text(mark)

    def test_what_is_kept_ends_nothing_when_it_is_sent_on(self):
        for text in texts(LENGTH):
            kept = read([text + END], crlf_seen=True).text.replace(b"\r", b"\n")
            lines = kept.split(b"\n")
            wire = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
            self.assertEqual(read([wire + b".\r\n"], crlf_seen=True).text, kept, text)


if __name__ == "__main__":
    unittest.main()
