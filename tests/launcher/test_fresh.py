"""tests/fresh: what it refuses, and, with -long, the whole of it on each Debian."""

import subprocess
import unittest

from tests.helpers import support

FRESH = support.ROOT / "tests" / "fresh"


def run_fresh(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([FRESH, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


class RefusalTest(unittest.TestCase):
    def refused(self, *arguments: str) -> str:
        """The one line that it writes when it ends with 2."""
        done = run_fresh(*arguments)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertRegex(done.stdout, r"\Atests/fresh: [^\n]+\n\Z")
        return done.stdout

    def test_arguments(self):
        for arguments in ((), ("buzz",), ("trixie", "buzz"), ("-x", "trixie"), ("-user",), ("trixie", "-cache")):
            with self.subTest(arguments=arguments):
                self.assertIn("usage : tests/fresh", self.refused(*arguments))

    @unittest.skipIf(support.IS_ROOT, "il faut ne pas être root")
    def test_ordinary_user(self):
        self.assertIn("il faut être root", self.refused("trixie"))


@support.long_test
@support.needs_root
@support.needs_program("debootstrap", "git", "unshare", "setpriv")
class WholeTest(unittest.TestCase):
    """A newcomer's first two mails and all tests, where nothing but git and python3 was there."""

    def check(self, *arguments: str):
        done = run_fresh(*arguments)
        if "ne nomment aucun miroir" in done.stdout or "debootstrap a échoué" in done.stdout:
            self.skipTest("le dépôt Debian n'est pas joignable")
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])

    def test_bookworm(self):
        self.check("bookworm")

    def test_trixie(self):
        self.check("trixie")

    def test_bullseye(self):
        self.check("bullseye")

    def test_ordinary_user(self):
        self.check("-user", "trixie")

    def test_archive(self):
        """What is handed in, where nobody has git."""
        self.check("-archive", "bookworm")
