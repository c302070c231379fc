"""smtp/recorder.py: whatever a stranger sends, the page reads it back as it was."""

import json
import pathlib
import tempfile
import unittest

from smtp import recorder, replies
from smtp.transcript import State

ODD = ['quote " and \\', "tab\tescape \x1b[31m", "\0\x01\x1f\x7f", "é ☃ 😀", "\udcff\udc80 no UTF-8", "\u2028", "",
       "\\u0041"]


class RecorderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.recorder = recorder.Recorder(recorder.Recording(folder.name))

    def steps(self):
        """The steps that were recorded, without their times, once the session is over."""
        self.recorder.gone()
        path, = self.folder.iterdir()
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        return [json.loads(line)[1:] for line in lines[:-1]]

    def test_commands(self):
        for text in ODD:
            self.recorder.heard(text, "", True, State("greeted", text, text, text, text, 3))
        self.assertEqual(self.steps(), [["heard", text, "", True, ["greeted", text, text, text, text, 3]]
                                        for text in ODD] + [["gone"]])

    def test_replies(self):
        reply = replies.Reply(250, "2.1.5", 'first "one" \\', "second")
        self.recorder.said(reply, State("connected"))
        self.assertEqual(self.steps()[0], ["said", 250, "2.1.5", ['250-2.1.5 first "one" \\', "250 2.1.5 second"],
                                           ["connected", "", "", "", None, 0]])

    def test_texts(self):
        octets = b'a "line"\r\n\xff\xfe\n\0\x1b\r\nrest'
        for place in range(len(octets)):
            self.recorder.text(octets[place:place + 1])
        self.recorder.end_of_text(len(octets))
        lines = [line for kind, *rest in self.steps() if kind == "text" for line in rest[0]]
        self.assertEqual(lines, [['a "line"', 8, "CRLF"], ["\udcff\udcfe", 2, "LF"], ["\0\x1b", 2, "CRLF"],
                                 ["rest", 4, ""]])

    def test_long_session(self):
        """Beyond its room nothing is kept but the end, however long the last step was."""
        for _ in range(200):
            self.recorder.heard("x" * 60000, "", False, State("greeted"))
        *_, before, full, gone = self.steps()
        self.assertEqual((before[0], full, gone), ("heard", ["full"], ["gone"]))


if __name__ == "__main__":
    unittest.main()
