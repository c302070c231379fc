"""Terminals as devices, by whoever runs the tests: only those that are made here are written to."""

import contextlib
import fcntl
import os
import signal
import tempfile
import termios
import threading
import unittest
from unittest import mock

from mailstore import terminals
from mailstore.outcome import Later
from tests.helpers import support
from tests.helpers.terminals import FIRST_UID, PseudoTerminal


def in_background(task):
    """Do it in a process group of its own, and end with 0 if that was not stopped."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setpgid(0, 0)
            task()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
    os._exit(status != 0)


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

    def test_long_text_and_a_window_that_reads_nothing(self):
        """It takes a part, and is left."""
        with PseudoTerminal(self.uid) as terminal:
            rescue = threading.Timer(support.PATIENCE, terminal.close)
            rescue.start()
            with self.assertRaises(Later):
                terminals.write(self.uid, b"x" * terminals.MOST_OCTETS)
            self.assertTrue(rescue.is_alive(), "it waited for ever")
            rescue.cancel()

    def test_own_terminal_that_stops_who_writes(self):
        """`stty tostop`, and a server in the background."""
        with PseudoTerminal(self.uid) as terminal:
            modes = termios.tcgetattr(terminal.line)
            modes[3] |= termios.TOSTOP
            termios.tcsetattr(terminal.line, termios.TCSANOW, modes)
            child = os.fork()
            if not child:
                try:
                    os.setsid()
                    fcntl.ioctl(terminal.line, termios.TIOCSCTTY, 0)
                    in_background(lambda: terminals.write(self.uid, b"x\r\nEOF\r\n"))
                finally:
                    os._exit(2)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertEqual(terminal.shown(), "x\nEOF\n")

    def test_looked_at_once_open(self):
        """A path may lead elsewhere than it did when it was looked at."""
        with tempfile.TemporaryDirectory() as folder, PseudoTerminal(self.uid) as terminal:
            link, file = folder + "/link", folder + "/file"
            os.symlink(terminal.path, link)
            open(file, "w").close()
            os.chown(file, self.uid, -1)
            os.chmod(file, 0o620)
            for path, uid in ((terminal.path, self.uid + 1), (link, self.uid), (file, self.uid), ("/dev/null", 0)):
                with mock.patch.object(terminals, "_paths", lambda _, path=path: [path]), self.assertRaises(Later):
                    terminals.write(uid, b"x")
            self.assertTrue(terminal.is_blank())
            self.assertEqual(os.path.getsize(file), 0)


if __name__ == "__main__":
    unittest.main()
