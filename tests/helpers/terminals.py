"""Pseudo-terminals of people who are logged in, as far as a server can see."""

import contextlib
import itertools
import os
import select
import termios
import typing

from tests.helpers import support
from tests.helpers.client import PATIENCE, Client, Reply

# Of users that no login and no other process of the tests has, sixteen of them; a folder of a store says who they are.
FIRST_UID = (1 << 26) + os.getpid() * 16
IUTF8 = 0o40000                 # of c_iflag (termios(3))
LAST_LINE = b"\nEOF\r\r\n"    # as a terminal that shows our CRLF gives it to its window
TEXT = b"Subject: small\r\n\r\ntext\r\n.\r\n"
SHOWN = "Message from a@client.example, (x) [127.0.0.1], at "


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


class TerminalsTestCase(support.ServerTestCase):
    """alice, bob and carol are different users, of whom no terminal is open unless a test opens it."""

    options = ("-terminals", "-relay", "relay.example=127.0.0.1:9")
    accounts = ("alice", "bob", "carol")
    aliases = ("both: alice, bob\nmixed: alice, x@relay.example\nmoved: x@relay.example\ngone: x@far.example\n"
               "void: :blackhole:\n")
    uids: typing.Dict[str, int]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.uids = dict(zip(cls.accounts, itertools.count(FIRST_UID)))
        for name, uid in cls.uids.items():
            os.chown(cls.server.mail / name, uid, uid)

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.mailed = self.count_mail()

    def terminal(self, user: str, **arguments) -> PseudoTerminal:
        return self.stack.enter_context(PseudoTerminal(self.uids[user], **arguments))

    def count_mail(self) -> typing.Dict[str, int]:
        queued = len(list(self.server.spool.glob("queue/*.envelope")))
        return {**{name: len(self.server.messages(name)) for name in self.accounts}, "queue": queued}

    def assert_mail(self, **expected: int):
        """So many messages have come meanwhile, and no others."""
        found = {name: count - self.mailed[name] for name, count in self.count_mail().items()}
        self.assertEqual({name: count for name, count in found.items() if count}, expected)

    def open(self, verb: str) -> Client:
        client = self.stack.enter_context(self.client())
        client.expect("EHLO x", 250)
        client.expect("%s FROM:<a@client.example>" % verb, 250)
        return client

    def name(self, client: Client, user: str) -> Reply:
        return client.ask("RCPT TO:<%s>" % (user if "@" in user else self.address(user)))

    def end(self, client: Client, text: bytes = TEXT) -> Reply:
        client.expect("DATA", 354)
        client.write(text)
        return client.reply()

    def send(self, verb: str, *users: str, text: bytes = TEXT) -> Reply:
        client = self.open(verb)
        for user in users:
            self.assertEqual(self.name(client, user).code, 250, user)
        return self.end(client, text)

    def assert_shown(self, *where: PseudoTerminal):
        for terminal in where:
            text = terminal.shown()
            self.assertTrue(text.startswith(SHOWN), text)
            self.assertTrue(text.endswith("\n  Subject: small\n\n  text\nEOF\n"), text)
            self.assertTrue(terminal.is_blank())
