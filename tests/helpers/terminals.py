"""Pseudo-terminals of people who are logged in, as far as a server can see."""

import contextlib
import os
import select
import termios

from tests.helpers.client import PATIENCE

# Of users that no login and no other process of the tests has, sixteen of them; a folder of a store says who they are.
FIRST_UID = (1 << 26) + os.getpid() * 16
IUTF8 = 0o40000                 # of c_iflag (termios(3))
LAST_LINE = b"\nEOF\r\r\n"   # as a terminal that shows our CRLF gives it to its window


class PseudoTerminal:
    """A terminal of `uid`, to which others may write (mesg y) unless it is silenced.

    reads_utf8: whether it says so of itself, as terminals of today do.
    """

    def __init__(self, uid: int, reads_utf8: bool = True):
        self.screen, self.line = os.openpty()
        self.path = os.ttyname(self.line)
        if os.geteuid() == 0:
            os.chown(self.path, uid, -1)
        self.silence(False)
        modes = termios.tcgetattr(self.line)
        modes[0] = modes[0] | IUTF8 if reads_utf8 else modes[0] & ~IUTF8
        termios.tcsetattr(self.line, termios.TCSANOW, modes)

    def silence(self, is_silent: bool = True) -> None:
        """mesg n, or mesg y."""
        os.chmod(self.path, 0o600 if is_silent else 0o620)

    def stop(self) -> None:
        """Ctrl-S: from now on, whoever writes waits."""
        termios.tcflow(self.line, termios.TCOOFF)

    def fill(self) -> None:
        """The same, since its window reads nothing."""
        os.set_blocking(self.line, False)
        while select.select([], [self.line], [], 0.5)[1]:       # the kernel makes room as long as it can
            with contextlib.suppress(BlockingIOError):
                os.write(self.line, b"x")

    def raw(self) -> bytes:
        """One message, the octets as they came; AssertionError if none comes."""
        octets = b""
        while not octets.endswith(LAST_LINE):
            if not select.select([self.screen], [], [], PATIENCE)[0]:
                raise AssertionError("nothing more on the terminal behind %r" % octets)
            octets += os.read(self.screen, 1)
        return octets

    def shown(self) -> str:
        """One message, as one reads it, the lines ended by LF."""
        return self.raw().decode().replace("\r", "").replace("\a", "").lstrip("\n")

    def is_blank(self) -> bool:
        """Whether nothing has come that was not read."""
        return not select.select([self.screen], [], [], 0)[0]

    def close(self) -> None:
        """Its user has left."""
        for descriptor in (self.screen, self.line):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.screen = self.line = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
