"""The table of options (launcher/options.py) against what people read and what processes read: -help, README.txt,
settings."""

import contextlib
import io
import re
import subprocess
import unittest

from common import settings
from launcher import options, preflight
from tests.helpers import support

# It tells them to what it starts.
BY_THE_LAUNCHER = {"SMTP_PORT", "SMTP_IMPLICIT_TLS", "SMTP_TERMINAL", "SMTP_COLOURS", "SMTP_AGENT"}
BY_WHOEVER_STARTS = {"SMTP_DNS"}                                        # no option: for tests, and tools


class OptionTableTest(unittest.TestCase):

    def test_help(self):
        shown = subprocess.run([str(support.ROOT / "serveur.sh"), "-help"], capture_output=True, text=True, check=True,
                               timeout=support.PATIENCE).stdout
        self.assertEqual(shown, options.help_text() + "\n")
        self.assertLessEqual(max(map(len, shown.split("\n"))), 80)
        for option in options.OPTIONS:
            self.assertIn("\n  %s" % " ".join(filter(None, (option.name, option.value))), shown)

    def test_readme(self):
        """Section 4 has each option with its value's name and its default, and no other one."""
        text = (support.ROOT / "README.txt").read_text("utf-8")
        section = text[text.index("\n4. OPTIONS\n"):text.index("\n5. ")]
        entries = dict(re.findall(r"^    (-[a-z-]+)((?: .*)?(?:\n {5,}.*)*)", section, re.M))
        self.assertEqual(set(entries), {option.name for option in options.OPTIONS})
        for option in options.OPTIONS:
            self.assertTrue(entries[option.name].startswith(" " + option.value), option.name)
            self.assertIn(option.default, entries[option.name].replace("tiré des noms", option.default))

    def test_every_variable_is_read(self):
        """What an option sets is what settings ask for, and nothing else is."""
        class Environment(dict):
            asked = set()

            def get(self, name, default=None):
                self.asked.add(name.decode())
                return default
        settings.from_environ(Environment())
        ours = {name for name in Environment.asked if name.startswith("SMTP_")}
        carried = {option.variable for option in options.OPTIONS if option.variable}
        self.assertEqual(ours - BY_THE_LAUNCHER - BY_WHOEVER_STARTS, carried)

    def test_every_variable_is_passed_on(self):
        """What an option sets reaches those whom the launcher starts: they have what the preflight prints, no more."""
        with contextlib.redirect_stdout(io.StringIO()) as said:
            preflight.print_resolved(settings.from_environ({b"SMTP_DOMAIN": b"x.example"}), (), "")
        printed = set(re.findall("^(SMTP_[A-Z_]+)=", said.getvalue(), re.M))
        self.assertEqual({option.variable for option in options.OPTIONS if option.variable} - printed, set())

    def test_bounds(self):
        for name, (default, least, most) in settings.NUMBERS.items():
            if default != "":
                self.assertTrue(least <= int(default) <= most or name == "SMTP_PORT", name)
            for value in (least - 1, most + 1):
                with self.assertRaises(settings.BadSetting, msg=name):
                    settings.from_environ({name.encode(): b"%d" % value, b"SMTP_DOMAIN": b"x"})

    def test_command_line(self):
        read = options.read(["–port", "25", "--port", "26", "-tls", "c.pem,/k", "-v", "-store", "mbox", "-log", "/l"])
        here = support.os.getcwd()
        self.assertEqual(read, {"SMTP_PORTS": "25 26", "SMTP_TLS": here + "/c.pem,/k", "SMTP_VERBOSE": "1",
                                "SMTP_STORE": "mbox", "SMTP_LOG": "/l"})
        for words in (["-port"], ["-port", ""], ["-port", "-v"], ["-nothing"], ["word"], ["-"]):
            with self.assertRaises(options.Wrong, msg=words):
                options.read(words)


if __name__ == "__main__":
    unittest.main()
