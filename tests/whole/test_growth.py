"""tests/bench/growth still runs: a few of its rows, at sizes that prove nothing."""

import re
import subprocess
import sys
import unittest

from tests.bench.growth_steps import ROWS
from tests.helpers import support
from tests.lab.exim import needs_exim

ROW = re.compile(r"^\S.* \((\w+) ; ([\d ]+), ([\d ]+)\)((?: +[-\d,]+){3}|(?: +[-\d,]+){6})$")


@needs_exim
class GrowthTest(unittest.TestCase):

    def run_bench(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, str(support.ROOT / "tests/bench/growth"), *words], capture_output=True,
                              text=True, timeout=5 * support.PATIENCE)

    def test_table(self):
        names = ("alias-prefork", "nom", "repos-prefork", "suppression")
        done = self.run_bench("-minuscule", *names)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        heading, *rows, note = done.stdout.splitlines()
        self.assertEqual(heading.split()[:3], ["peu", "beaucoup", "rapport"])
        self.assertEqual([len(ROW.match(row)[4].split()) for row in rows], [6, 3, 3, 3], rows)
        self.assertIn("Charge de la machine", note)

    def test_names(self):
        self.assertEqual(len({row.name for row in ROWS}), len(ROWS))
        self.assertEqual(self.run_bench("nothing").returncode, 2)


if __name__ == "__main__":
    unittest.main()
