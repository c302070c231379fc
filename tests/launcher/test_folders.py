"""-store DIR: each entry of the folder is an account, or the start names it and says why not."""

import os
import pathlib
import tempfile
import unittest
from unittest import mock

from launcher.folders import no_accounts
from tests.helpers import support


class FoldersTest(unittest.TestCase):

    def warnings(self, server):
        server.start()
        lines = [line for line in server.output().splitlines() if "compte" in line and str(server.mail) in line]
        return {line.partition(str(server.mail) + "/")[2].partition(" n'est")[0]: line for line in lines}

    def test_each_is_an_account_or_named(self):
        with support.Server() as server:
            for name in ("Alice", ".cache", "a\tb", "été", "x y"):
                server.add_account(name)
            server.add_account("closed").chmod(0)
            (server.mail / "link").symlink_to(server.mail / "alice")
            (server.mail / "notes.txt").write_text("")
            os.mkdir(os.fsencode(server.mail) + b"/\xff")
            if support.IS_ROOT:
                os.chown(os.fsencode(server.mail) + b"/\xff", support.NOBODY, support.NOBODY)
            named = self.warnings(server)
            expected = {"Alice": "minuscules", ".cache": "point", "a?b": "contrôle", "?": "UTF-8", "closed": "entrer",
                        "link": "lien", "notes.txt": "pas un dossier"}
            self.assertEqual(set(named), set(expected))
            for name, why in expected.items():
                self.assertIn(why, named[name])
            self.assertEqual(server.stop(), 0)

    def test_one_that_goes_meanwhile(self):
        with tempfile.TemporaryDirectory() as store:
            gone = pathlib.Path(store, "gone")
            gone.mkdir()
            entries = list(os.scandir(store))
            gone.rmdir()
            with mock.patch("os.scandir", lambda _: entries):
                self.assertEqual(no_accounts(store), [])

    def test_at_most_ten(self):
        with support.Server() as server:
            for number in range(25):
                (server.mail / ("f%02d" % number)).write_text("")
            named = self.warnings(server)
            self.assertEqual(sorted(name for name in named if name.startswith("f")), ["f%02d" % n for n in range(10)])
            self.assertIn("15 autres", server.output())
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
