"""smtp/recorder.py: whatever a stranger sends, the page reads it back as it was."""

import os
import pathlib
import tempfile
import unittest

from smtp import recorder
from web.dialogues import pieces_from

ODD = ['quote " and \\', "tab\tescape \x1b[31m", "\0\x01\x1f\x7f", "é ☃ 😀", "\udcff\udc80 no UTF-8", "\u2028", "",
       "\\u0041"]
NOOP = (1.5, "heard", "NOOP", "NOOP", False)


class RecorderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.recording = recorder.Recording(folder.name)
        self.recorder = self.recording.begin_session()

    def pieces(self):
        """What was written at a time, in lists of steps without their times."""
        path, = self.folder.iterdir()
        offset = 0
        while pieces := pieces_from(path, offset):
            for _, end, steps in pieces:
                yield [step[1:] for step in steps]
                offset = end

    def steps(self):
        """The steps that were recorded, without their times, once the session is over."""
        self.recorder.finish((1.5, "gone"))
        return [step for piece in self.pieces() for step in piece]

    def test_odd_texts(self):
        heard = [(1.5, "heard", text, "", True) for text in ODD]
        said = (1.5, "said", 250, "", b"250 x\r\n", ("greeted", *ODD[:3], None, 3))
        for step in (*heard, said):
            self.recorder.take(step)
        self.assertEqual(self.steps(), [step[1:] for step in (*heard, said)] + [("gone",)])

    def test_texts(self):
        octets = b'a "line"\r\n\xff\xfe\n\0\x1b\r\nrest'
        for place in range(len(octets)):
            self.recorder.text(octets[place:place + 1])
        self.recorder.end_line()
        lines = [line for kind, *rest in self.steps() if kind == "text" for line in rest[0]]
        self.assertEqual(lines, [('a "line"', 8, "CRLF"), ("\udcff\udcfe", 2, "LF"), ("\0\x1b", 2, "CRLF"),
                                 ("rest", 4, "")])

    def test_long_session(self):
        """Beyond its room nothing is kept but the end, however long the last step was. What is kept back is bounded."""
        for _ in range(200):
            self.recorder.take((1.5, "heard", "x" * 60000, "", False))
        *_, before, full, gone = self.steps()
        self.assertEqual((before[0], full, gone), ("heard", ("full",), ("gone",)))
        self.assertLessEqual(max(map(len, self.pieces())), recorder.DUE_STEPS)

    def test_patience(self):
        """Only a client that takes its time costs a write."""
        self.assertEqual(self.recorder.patience(), recorder.FOREVER)
        for _ in range(3):
            self.recorder.take(NOOP)
            self.assertEqual(self.recorder.patience(), recorder.PATIENCE)
        self.assertEqual([*self.folder.iterdir()], [])
        self.assertEqual(self.recorder.patience(), recorder.FOREVER)
        self.assertEqual(len(self.steps()), 4)

    def test_full_disk(self):
        """Of a piece that could be written in part nothing is read, and nothing is written behind it."""
        self.recorder.take(NOOP)
        whole, write = os.write, recorder.posix.write
        recorder.posix.write = lambda file, octets: whole(file, octets[:-1])
        try:
            self.assertEqual(self.steps(), [])
        finally:
            recorder.posix.write = write
        another = self.recording.begin_session()
        another.finish((1.5, "gone"))
        self.assertEqual(len([*self.folder.iterdir()]), 2)


if __name__ == "__main__":
    unittest.main()
