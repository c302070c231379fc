"""Large files of names: what is found by their index is what a reader of all of it finds, and costs no more than in a
small file, counted in octets read and in memory."""

import os
import pathlib
import random
import tempfile
import time
import tracemalloc
import unittest

from common import account_index
from common.account_index import IndexedAccounts
from common.logins import Accounts, Hashed
from mailstore.alias_index import IndexedAliases
from mailstore.aliases import AliasFile, parse, text_of
from mailstore.files import CLOCK_TICK, stamp_of
from tests.helpers import processes, support
from tests.helpers.secure import plain

MEBIBYTE = 1 << 20
MANY = 100000
SLACK = 50000               # octets that a session may read more because the file is large: of the index, modules
PIECES = ["alice", "Bob", "bob", '"a b"', "é", "\ufeff", ":", ": ", ",", " ", "\t", "\n", "\n", "\n", "\r\n", "\r",
          "#", "*", "x@y.example", "\u00a0", "\x0c", "\udcff", "|command", ":fail: no"]
HASH = Hashed((1, 8, 1), b"s" * 16, b"h" * 32).written()
OTHER = Hashed((2, 8, 1), b"s" * 16, b"h" * 32).written()
LINES = [b"alice:one", b"bob:two", b"bob three", b"\tcarol\t  four ", b"# x:y", b"", b"dave:", b":x", b"eve",
         b"nul:\0", b"alice:" + HASH, b"frank " + HASH, b"grace:" + OTHER, b"bad:$scrypt$ln=99$x$y", b"\xff:x",
         b"bad:again", b"h\xc3\xa9l\xc3\xa8ne:\xc3\xa9t\xc3\xa9", b"i: colon:inside"]


class FileTestCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "names"
        self.index = pathlib.Path(folder.name) / "index"

    def opened(self, octets: bytes) -> int:
        """A descriptor of a file that holds `octets`."""
        self.path.write_bytes(octets)
        file = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, file)
        return file

    def accounts(self, octets: bytes) -> IndexedAccounts:
        file = self.opened(octets)
        return IndexedAccounts(file, str(self.index), stamp_of(file), False)

    def settle(self) -> None:
        """Wait until the file is so old that its index may be kept."""
        support.wait_for(lambda: time.time() - self.path.stat().st_ctime > CLOCK_TICK, "the clock ticks")


def octets_read(pid="self") -> int:
    """How many octets a process has asked of the kernel so far, whatever it read them from."""
    return int(pathlib.Path("/proc/%s/io" % pid).read_text().split()[1])


class SameTest(FileTestCase):
    """At random, from a seed."""

    def test_aliases(self):
        chance = random.Random(1)
        for number in range(400):
            text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(60)))
            octets = text.encode("utf-8", "surrogateescape")
            with self.subTest(number=number, octets=octets):
                known = parse(text_of(octets))
                found = IndexedAliases(self.opened(octets), str(self.index))
                names = {*known, "alice", "bob", "*", "", "\ufeffalice", "é"}
                self.assertEqual({name: found.get(name) for name in names if name in found}, known)

    def test_accounts(self):
        chance = random.Random(2)
        for number in range(400):
            lines = [chance.choice(LINES) for _ in range(chance.randrange(12))]
            octets = chance.choice([b"", b"\xef\xbb\xbf"]) + chance.choice([b"\n", b"\r\n"]).join(lines)
            with self.subTest(number=number, octets=octets):
                known, found = Accounts("x", octets), self.accounts(octets)
                self.assertEqual(found.mechanisms(), known.mechanisms())
                for line in LINES:
                    login = line.strip().partition(b":")[0].partition(b" ")[0].partition(b"\t")[0]
                    self.assertEqual(found.has(login), known.has(login), login)
                    for password in (b"one", b"two", b"three", b"four ", b"again", b" colon:inside"):
                        self.assertEqual(found.accept(login, password), known.accept(login, password), login)

    def test_names_with_one_crc(self):
        """plumless and buckeroo."""
        octets = b"plumless: a\nbuckeroo: b\nplumless: c\n"
        found = IndexedAliases(self.opened(octets), str(self.index))
        self.assertEqual([found.get("plumless"), found.get("buckeroo")], ["c", "b"])


class ChangedMeanwhileTest(FileTestCase):
    """What others do at a bad moment: nobody gets in by it, and nothing breaks."""

    def test_accounts_written_anew(self):
        """In place, as some editors do it, while a client types its password."""
        for octets in (b"", b"#" * 30, b"\n" * 30):
            found = self.accounts(b"alice:one\nbob:two\n")
            self.path.write_bytes(octets)
            for login, password in ((b"alice", b"one"), (b"bob", b"two")):
                self.assertFalse(found.has(login) or found.accept(login, password), octets)

    def test_accounts_written_anew_while_they_are_read(self):
        entries = account_index.places(self.opened(b"alice:one\n"))
        next(entries)
        self.path.write_bytes(b"")
        self.assertEqual(list(entries), [])


class CostTest(FileTestCase):

    def file(self, count: int) -> AliasFile:
        self.path.write_text("".join("user%d: alice\n" % number for number in range(count)))
        return AliasFile(self, str(self.index))

    def open(self, _):
        """As what gives access to files has it."""
        return os.open(self.path, os.O_RDONLY)

    def octets_for(self, task) -> int:
        before = octets_read()
        task()
        return octets_read() - before

    def test_octets_of_a_look_up(self):
        """The same whether there are a thousand names or thirty times as many."""
        def look_up():
            self.assertEqual((entries.get("user7"), entries.get("nobody")), ("alice", None))
        costs = []
        for count in (1000, 30000):
            aliases = self.file(count)
            self.settle()
            aliases.current()                               # makes the index
            other = AliasFile(self, str(self.index))
            entries = other.current()
            costs.append(self.octets_for(look_up))
        self.assertLess(max(costs), 1000)

    def test_memory(self):
        """Neither making the index nor looking up has the file in memory."""
        aliases = self.file(30000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        aliases.current()
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 5 * MEBIBYTE)
        tracemalloc.reset_peak()
        kept, _ = tracemalloc.get_traced_memory()
        self.assertLess(kept, 100000)

    def test_read_once(self):
        """As long as nothing changes; and at once when something does, also by another file of that name."""
        aliases = self.file(10)
        self.settle()
        aliases.current()
        self.assertLess(self.octets_for(aliases.current), 300)       # /proc/self/io itself
        self.path.write_text("new: bob\n")
        self.assertEqual(aliases.current().get("new"), "bob")
        other = self.path.with_suffix(".new")
        other.write_text("new: eve\n")
        os.rename(other, self.path)
        self.assertEqual(aliases.current().get("new"), "eve")
        self.path.unlink()
        with self.assertRaises(FileNotFoundError):
            aliases.current()

    def test_an_index_of_another_file(self):
        first = self.file(1000)
        self.settle()
        first.current()
        made = self.index.stat().st_ino
        other = self.file(1001)
        self.settle()
        self.assertIn("user1000", other.current())
        self.assertNotEqual(self.index.stat().st_ino, made)

    def test_what_cannot_be_kept(self):
        """Each process then has an index of its own."""
        self.file(1000)
        aliases = AliasFile(self, "/nonexistent/index")
        self.assertIn("user999", aliases.current())

    def test_what_a_killed_process_left(self):
        """It makes way, whoever has that number now."""
        self.index.with_name("index.%d" % os.getpid()).write_bytes(b"half")
        aliases = self.file(1000)
        self.settle()
        self.assertIn("user999", aliases.current())
        self.assertEqual(sorted(path.name for path in self.index.parent.iterdir()), ["index", "names"])

    def test_a_damaged_index(self):
        self.file(1000)
        self.settle()
        for junk in (b"", b"\0" * 300, b"1 2 3 4 5 6 7 8\n", os.urandom(300)):
            self.index.unlink(missing_ok=True)
            self.index.write_bytes(junk)
            aliases = AliasFile(self, str(self.index))
            self.assertIn("user999", aliases.current())


@support.both_listeners
class SessionTest(support.ServerTestCase):
    """A hundred thousand aliases and as many accounts, in a whole server."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        cls.passwords = pathlib.Path(folder.name) / "accounts"
        cls.write(MANY)
        cls.aliases = "".join("user%d: alice\n" % number for number in range(MANY))
        cls.options = ("-pass", str(cls.passwords))
        super().setUpClass()

    @classmethod
    def write(cls, count: int) -> None:
        cls.passwords.write_text("".join("user%d:secret%d\n" % (number, number) for number in range(count)))
        cls.passwords.chmod(0o644)

    def session(self, name: str, password: str, code: int) -> "tuple[int, int]":
        """(octets read, peak memory) of a process by the end of a session of this login to that alias."""
        with self.client() as client:
            pid = self.server.process_of(client)
            before = octets_read(pid) if self.listener == "prefork" else 0
            client.expect("EHLO x", 250)
            client.expect("AUTH PLAIN " + plain(name, password), code)
            if code == 235:
                self.assertEqual(client.letter("a@b.example", self.address(name), b"Subject: x\r\n\r\n.\r\n").code, 250)
            return octets_read(pid) - before, processes.peak_memory(pid)

    def test_one_session(self):
        """Reads next to nothing of both files, and is told of a new account."""
        self.session("user7", "secret7", 235)
        costs = [self.session("user%d" % number, "secret%d" % number, 235) for number in (11, MANY - 1)]
        small = self.octets_of_a_small_server()
        for octets, memory in costs:
            self.assertLess(octets - small, SLACK)
            self.assertLess(memory, 32 * MEBIBYTE)
        self.session("new", "secret", 535)
        with open(self.passwords, "a") as file:
            file.write("new:secret\n")
        with self.client() as client:
            client.expect("EHLO x", 250)
            client.expect("AUTH PLAIN " + plain("new", "secret"), 235)
            self.assertLess(processes.peak_memory(self.server.process_of(client)), 32 * MEBIBYTE)

    def octets_of_a_small_server(self) -> int:
        """The same for a server with ten of each."""
        passwords = self.passwords.with_name("few")
        passwords.write_text("".join("user%d:secret%d\n" % (number, number) for number in range(10)))
        passwords.chmod(0o644)
        few = "".join("user%d: alice\n" % number for number in range(10))
        with support.Server(("-pass", str(passwords), "-listen", self.listener), aliases=few) as server:
            server.start()
            large, type(self).server = self.server, server
            try:
                self.session("user7", "secret7", 235)
                return self.session("user7", "secret7", 235)[0]
            finally:
                type(self).server = large
                server.stop()


if __name__ == "__main__":
    unittest.main()
