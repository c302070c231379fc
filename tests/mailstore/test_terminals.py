"""Terminals as devices, by whoever runs the tests: only those that are made here are written to."""

import contextlib
import os
import stat
import unittest

from mailstore import terminals
from mailstore.outcome import Later
from tests.helpers.terminals import FIRST_UID, PseudoTerminal


class DevicesTest(unittest.TestCase):
    def setUp(self):
        self.uid = os.geteuid() or FIRST_UID
        with contextlib.suppress(Later):
            terminals.check_active(self.uid)
            self.skipTest("des terminaux de ce compte sont ouverts, et prennent des messages (mesg n)")

    def test_open_and_closed(self):
        with PseudoTerminal(self.uid) as terminal:
            terminals.check_active(self.uid)
            terminals.write(self.uid, b"x\r\nEOF\r\n")
            self.assertEqual(terminal.shown(), "x\nEOF\n")
            terminal.silence()
            for attempt in (terminals.check_active, lambda uid: terminals.write(uid, b"x")):
                with self.assertRaises(Later):
                    attempt(self.uid)

    def test_many_that_block(self):
        """They keep nobody waiting longer than one does, and a last one that reads has it."""
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(PseudoTerminal(self.uid)).stop()
            stack.enter_context(PseudoTerminal(self.uid)).fill()
            terminal = stack.enter_context(PseudoTerminal(self.uid))
            terminals.write(self.uid, b"x\r\nEOF\r\n")
            self.assertEqual(terminal.shown(), "x\nEOF\n")

    def test_closed_meanwhile(self):
        """Its window is gone, though its device is still open somewhere."""
        with PseudoTerminal(self.uid) as terminal:
            os.close(terminal.screen)
            with self.assertRaises(Later):
                terminals.write(self.uid, b"x")

    def test_only_devices(self):
        self.assertFalse(terminals._takes_messages(os.stat_result((stat.S_IFREG | 0o620, *[0] * 3, self.uid, *[0] * 5)),
                                                 self.uid))


if __name__ == "__main__":
    unittest.main()
