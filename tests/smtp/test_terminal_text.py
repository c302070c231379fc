"""What a message looks like on a terminal: whatever it is, nothing in it is obeyed, and it has its bounds."""

import random
import tempfile
import typing
import unittest

from mailstore.content import Content
from mailstore.delivery import MailObject
from mailstore.incoming import IncomingText
from mailstore.terminals import MOST_OCTETS, is_harmless
from mailstore.trace import Origin
from smtp.terminal_text import COLUMNS, INDENT, MOST_LINES, terminal_text


class NeutralTest(unittest.TestCase):
    def text(self, body: bytes, sender="a@b.example", login="") -> typing.Tuple[str, bool]:
        incoming = IncomingText(tempfile.gettempdir())
        self.addCleanup(incoming.close)
        incoming.write(body)
        message = MailObject(Content(incoming), sender, [], Origin("192.0.2.1", "x", "esmtp", login))
        text, is_whole = terminal_text(message, 0)
        self.assertTrue(is_harmless(text))
        return text.decode(), is_whole

    def assert_harmless(self, body: bytes):
        text, _ = self.text(body)
        first, *lines = text.removeprefix("\r\n\a").split("\r\n")
        self.assertTrue(first.isprintable() and first.startswith("Message from "))
        self.assertEqual(lines[-2:], ["EOF", ""])
        self.assertLessEqual(len(lines), MOST_LINES + 3)
        self.assertLessEqual(len(text.encode()), MOST_OCTETS)
        for line in lines[:-2]:
            self.assertTrue(line.isprintable() and (not line or line.startswith(INDENT)), line)
            self.assertLessEqual(len(line), COLUMNS + len(INDENT))

    def test_every_character(self):
        for start in range(0, 0x110000, 4096):
            text = "".join(map(chr, range(start, start + 4096)))
            octets = text.encode("utf-8", "surrogatepass").replace(b"\r", b"")
            for part in range(0, len(octets), 4000):
                self.assert_harmless(b"\n" + octets[part:part + 4000])

    def test_any_octets(self):
        dice = random.Random(20260821)
        for _ in range(300):
            octets = b"\n\r\t\x1b\xc2\x9b\x9f\xe2\x80\xae\x00\x7f :aSubjectFrom"
            self.assert_harmless(bytes(dice.choices(octets, k=400)))

    def test_harmless(self):
        for text in (b"\x1b", b"\x9b", b"\xc2\x9b", b"\x7f", b"\x0e", b"\b", b"\t", "\u202e".encode(), b"\xff"):
            self.assertFalse(is_harmless(b"a" + text + b"b"), text)

    def test_title(self):
        self.assertIn("Message from <>, (x) [192.0.2.1], at ", self.text(b"\n", "")[0])
        self.assertIn("Message from a@b.example, alice, (x) [192.0.2.1], at ", self.text(b"\n", login="alice")[0])
        self.assertIn("Message from \\033@b.example", self.text(b"\n", "\x1b@b.example")[0])

    def test_folded(self):
        self.assertEqual(self.text(b"\n" + b"x" * COLUMNS + b"y\n")[0].split("\r\n")[2:-2],
                         ["  " + "x" * COLUMNS, "  y"])
        self.assertEqual(self.text("\n{}y\n".format("日" * (COLUMNS // 2)).encode())[0].split("\r\n")[2:-2],
                         ["  " + "日" * (COLUMNS // 2), "  y"])
        self.assertEqual(self.text(b"\na\tb\n")[0].split("\r\n")[2:-2], ["  a       b"])

    def test_whole(self):
        self.assertTrue(self.text(b"\n" + b"x\n" * (MOST_LINES - 1))[1])
        self.assertFalse(self.text(b"\n" + b"x\n" * MOST_LINES)[1])
        self.assertFalse(self.text(b"\n" + b"x" * 1000000)[1])


if __name__ == "__main__":
    unittest.main()
