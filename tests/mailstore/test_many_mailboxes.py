"""Many mailboxes for one message, and many messages for one mailbox: files that are open, and pauses, are counted."""

import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from mailstore import dotlock, mbox
from mailstore.outcome import Later
from mailstore.trace import Clock
from tests.helpers import support

LETTER = b"Subject: to many\r\n\r\ntext\r\n.\r\n"
FILES = 64
MEMBERS = ["m%d" % number for number in range(4 * FILES)]


@support.both_listeners
class FewFilesTest(support.ServerTestCase):
    """A list of Maildirs needs no file for each of its members."""

    accounts = MEMBERS
    aliases = "members: %s\n" % ", ".join(MEMBERS)

    @classmethod
    def setUpClass(cls):
        few = ("bash", "-c", 'ulimit -n %d && exec "$@"' % FILES, "bash")
        with mock.patch.object(support.Server, "interpreter", few):
            super().setUpClass()

    def test_list(self):
        self.assertEqual(self.server.send(self.address("members"), LETTER).code, 250)
        self.assertEqual([len(self.server.messages(name)) for name in MEMBERS], [1] * len(MEMBERS))
        limits = pathlib.Path("/proc/%d/limits" % self.server.process.pid).read_text()
        self.assertRegex(limits, r"Max open files +%d " % FILES)


class FilesOfMboxesTest(unittest.TestCase):
    """Locked mboxes are open: the process lets itself have as many files, or refuses before it begins."""

    def limits_after(self, soft: int, hard: int, count: int) -> str:
        code = ("import resource as r\nfrom mailstore import mbox\nr.setrlimit(r.RLIMIT_NOFILE, (%d, %d))\n"
                "mbox.check_files(%d)\nprint(r.getrlimit(r.RLIMIT_NOFILE))\n" % (soft, hard, count))
        done = subprocess.run([sys.executable, "-c", code], cwd=support.ROOT, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def test_enough(self):
        self.assertEqual(self.limits_after(512, 2000, 100), "(512, 2000)")

    def test_more_than_usual(self):
        self.assertEqual(self.limits_after(512, 2000, 1020), "(%d, 2000)" % (1020 + mbox.OTHER_FILES))

    def test_more_than_allowed(self):
        self.assertIn("Later", self.limits_after(512, 1000, 1020))


class PausesTest(unittest.TestCase):
    """Who finds a lock taken tries again soon, and gives up no earlier than Exim."""

    def setUp(self):
        self.slept = []
        patched = mock.patch.object(dotlock, "sleep", self.sleep)
        patched.start()
        self.addCleanup(patched.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/alice"
        self.release = lambda: None

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.release()

    def lock(self) -> None:
        dotlock.lock(self.path, Clock("x.example"), mbox.LOCK_SECONDS)

    def test_a_lock_that_is_soon_free(self):
        pathlib.Path(self.path + ".lock").write_text("1 elsewhere\n")
        self.release = pathlib.Path(self.path + ".lock").unlink
        self.lock()
        self.assertEqual(len(self.slept), 1)
        self.assertLess(self.slept[0], 0.02)

    def test_a_lock_that_stays(self):
        pathlib.Path(self.path + ".lock").write_text("1 elsewhere\n")
        with self.assertRaises(Later):
            self.lock()
        self.assertAlmostEqual(sum(self.slept), 27)
        self.assertLess(len(self.slept), 150)
        self.assertEqual(list(pathlib.Path(self.path).parent.glob("*.lock.*")), [])

    def test_not_in_step(self):
        first, second = list(dotlock.tries(5)) and self.slept[:], list(dotlock.tries(5)) and self.slept[:]
        self.assertNotEqual(first, second[len(first):])


if __name__ == "__main__":
    unittest.main()
