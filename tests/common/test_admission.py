"""The register of sessions: what one more costs while very many are there, counted in locks that are tried."""

import os
import pathlib
import tempfile
import unittest
from unittest import mock

from common import admission
from common.admission import ClientTableFile, TooMany


class CountingTable(ClientTableFile):
    """tries: locks that were tried."""

    tries = 0

    def _change_lock(self, command, slot):
        self.tries += 1
        super()._change_lock(command, slot)


class RegisterTest(unittest.TestCase):

    LIMIT = 200

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(pathlib.Path(folder.name) / "sessions")
        self.now = 1000.0
        patched = mock.patch.object(admission, "monotonic", lambda: self.now)
        patched.start()
        self.addCleanup(patched.stop)

    def table(self) -> CountingTable:
        return CountingTable(self.path, self.LIMIT)

    def fill(self, count: int) -> None:
        """As many sessions as if each had a process that lives: by one that holds their locks."""
        slots = b"".join((b"10.0.%d.%d" % divmod(number, 250)).ljust(16, b"\0") for number in range(count))
        pathlib.Path(self.path).write_bytes(slots)
        ready, told = os.pipe()
        gone, end = os.pipe()
        child = os.fork()
        if not child:
            file = os.open(self.path, os.O_RDWR)
            os.lockf(file, os.F_LOCK, count)
            os.close(end)
            os.write(told, b".")
            os.read(gone, 1)
            os._exit(0)
        os.read(ready, 1)
        for descriptor in (ready, told, gone):
            os.close(descriptor)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.close, end)

    def enter(self, address: str) -> int:
        """A client comes, and stays; how many locks were tried for it."""
        table = self.table()
        try:
            table.enter(address)
        finally:
            self.tries = table.tries
        self.addCleanup(os.close, table._file)
        return table.tries

    def test_free(self):
        self.assertEqual(self.enter("10.1.0.1"), 1)

    def test_pressed(self):
        """Once in a while somebody looks at all of them, and nobody else."""
        self.fill(190)
        self.assertGreater(self.enter("10.1.0.1"), 190)
        self.assertEqual([self.enter("10.1.0.%d" % number) for number in (2, 3)], [1, 1])
        self.now += 1
        self.assertGreater(self.enter("10.1.0.4"), 190)

    def test_full(self):
        """Who is turned away costs no more."""
        self.fill(self.LIMIT)
        tries = []
        for _ in range(3):
            with self.assertRaises(TooMany):
                self.enter("10.1.0.1")
            tries.append(self.tries)
        self.assertEqual(tries[1:], [0, 0])

    def test_dead(self):
        """Those who were killed are counted for a while at most."""
        pathlib.Path(self.path).write_bytes(b"10.0.0.1".ljust(16, b"\0") * self.LIMIT)
        self.enter("10.0.0.1")
        self.assertEqual(pathlib.Path(self.path).read_bytes()[:self.LIMIT * 16].count(b"10.0.0.1"), 1)

    def test_small(self):
        """Also where no session is ever under stress."""
        self.LIMIT = 4
        self.test_dead()

    def test_a_time_that_is_none(self):
        """What stood there when there were more slots."""
        self.fill(190)
        for junk in (b"10.0.0.1", b"\xff" * 8, b"x"):
            with open(self.path, "r+b") as file:
                file.seek(self.LIMIT * 16)
                file.write(junk)
            self.assertGreater(self.enter("10.1.0.1"), 190, junk)


if __name__ == "__main__":
    unittest.main()
