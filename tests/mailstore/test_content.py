"""Where the header of a long message ends, of which only the beginning is in memory."""

import tempfile
import unittest

from mailstore.content import Content, HeaderTooBig
from mailstore.incoming import MEMORY_OCTETS, IncomingText

FIELD = b"X-Field: " + b"y" * 1000 + b"\n"


class LongTest(unittest.TestCase):

    def content(self, beginning: bytes, rest: bytes) -> Content:
        """Of a text with so much in memory, behind as many fields as there is room for, and the rest in a file."""
        fields, spare = divmod(MEMORY_OCTETS - len(beginning), len(FIELD))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        incoming = IncomingText(folder.name)
        self.addCleanup(incoming.close)
        incoming.write(FIELD * (fields - 1))
        incoming.write(FIELD[:-1] + b"z" * spare + b"\n" + beginning)
        self.assertEqual(incoming.octets, MEMORY_OCTETS)
        incoming.write(rest)
        return Content(incoming)

    def test_cut_anywhere_in_a_field(self):
        field = b"Subject: too much\n folded\n"
        for cut in range(len(field)):
            with self.subTest(cut=cut), self.assertRaises(HeaderTooBig):
                self.content(field[:cut], field[cut:] + b"\ntext\n")

    def test_text_that_begins_in_memory(self):
        for beginning in (b"\n", b"\ntext", b"no field\n", b"no field", b"nofield\n", b"x" * 2000):
            with self.subTest(beginning=beginning[:10]):
                rest = b"more: text\n"
                pieces = b"".join(self.content(beginning, rest).pieces(b""))
                self.assertTrue(pieces.endswith(b"z\n\n" + beginning.removeprefix(b"\n") + rest), pieces[-99:])


if __name__ == "__main__":
    unittest.main()
