"""A machine with very many accounts: whom a full name is, and who postmaster is, is told without all of them in
memory."""

import contextlib
import pwd
import tempfile
import tracemalloc
import types
import unittest
from unittest import mock

from mailstore import mailboxes
from tests.helpers import support

MANY = 30000
LINES = "".join("user%d:x:%d:1000:Fred Quuxson%d,,,:/home/user%d:/bin/sh\n" % (number, 1000 + number, number, number)
                for number in range(MANY))
SETTINGS = types.SimpleNamespace(store="maildir", domain=support.DOMAIN, tag="", aliases="", spool="/nonexistent")


def refuse(*_):
    raise AssertionError("all accounts are asked for")


class FullNamesTest(unittest.TestCase):

    def setUp(self):
        self.file = tempfile.NamedTemporaryFile("w")
        self.addCleanup(self.file.close)
        self.mailboxes = mailboxes.Mailboxes(SETTINGS, types.SimpleNamespace(uid=0, forward=lambda _: None))
        for place, name, value in ((mailboxes, "PASSWD", self.file.name), (pwd, "getpwall", refuse)):
            patched = mock.patch.object(place, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def write(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()

    def named(self, words: str):
        return [mailbox.user for mailbox in self.mailboxes.named(words)]

    def test_names(self):
        self.write("daemon:x:1:1:Fred:/:/bin/sh\nroot:x:0:0:The Root:/root:/bin/sh\nmrc:x:1000:1000:Mark &,,:/h:\n"
                   "odd:x:y:z:Fred:/:\nshort:Fred\n+::::::\nbob:x:1001:1000:Bob Élan:/home/bob:/bin/sh\n"
                   "two:x:1002:1000:Bob Two:/home/two:/bin/sh\n")
        for words, users in {"fred": [], "ROOT the": ["root"], "mark": ["mrc"], "Mrc": ["mrc"], "élan": ["bob"],
                             "bob": ["bob", "two"], "bob two": ["two"], "": [], "bo": [], "1001": []}.items():
            with self.subTest(words=words):
                self.assertEqual(self.named(words), users)

    def test_memory(self):
        self.write(LINES)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(self.named("quuxson%d" % (MANY - 1)), ["user%d" % (MANY - 1)])
        self.assertEqual(self.named("nobody"), [])
        self.assertLess(tracemalloc.get_traced_memory()[1], 300000)

    def test_two_are_enough(self):
        """More lines are not read when it is ambiguous."""
        lines = iter(LINES.splitlines(keepends=True))
        with mock.patch.object(mailboxes, "open", lambda *_, **__: contextlib.nullcontext(lines), create=True):
            self.assertEqual(self.named("fred"), ["user0", "user1"])
        self.assertEqual(len(list(lines)), MANY - 2)

    def test_postmaster(self):
        found = self.mailboxes.resolve("postmaster").mailboxes.values()
        self.assertEqual([mailbox.user for mailbox, _ in found], ["root"])


if __name__ == "__main__":
    unittest.main()
