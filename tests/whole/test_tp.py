"""The sheet of exercises, rapport/tp.pdf: every command of it does on this machine what the sheet says that it does.

rapport/enregistrer-tp types them, in namespaces of its own, from the files from which the sheet has them; what it
gets is compared with what was got for the sheet, apart from what is never the same twice.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.helpers import support

FOLDER = support.ROOT / "rapport" / "tp"
SHEET = support.ROOT / "rapport" / "tp.typ"
RECORDER = support.ROOT / "rapport" / "enregistrer-tp"
UNSHARE = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"]
SECONDS = 600              # more than the recorder's own patience
# What differs each time, and what stands for it.
CHANGING = tuple((re.compile(pattern, re.M), word) for pattern, word in (
    (r"\b\d{10}\.M\d+P\d+\.", "FICHIER."),
    (r"\b\d{10}-serveur-\d+", "LIMITE"),
    (r"\bE?[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}\b", "ID"),
    (r"\w{3}, [ \d]\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE"),
    (r"^\w{3}\.? .*\d\d:\d\d:\d\d.*\d{4}.*$", "DATE"),          # date, whatever the language
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
    (r"\b\w{3} +\d+ \d\d:\d\d\b", "DATE"),                      # ls -l
    (r"(?:\b[0-9A-F]{2}:\n?){20,}[0-9A-F]{2}", "EMPREINTE"),
    (r"^ *\d+ +\d+ (?=\S*(?:python3|nc\.traditional|bash) )", "PID PPID "),
    (r"^\d+ (?=/usr/bin/nc)", "PID "),
    (r"\b[Pp]rocess(us)? \d+", "PID"),
    (r"(socket|pipe):\[\d+\]", r"\1"),
    (r"^(?:[l-][rwx-]{9} .* )(\d+ -> )'pipe'$\n", ""),          # which pipes, and how many, the launcher knows
    (r"\bino:\d+ sk:\w+( cgroup:\S+)?( <->)?", "INODE"),
    (r"127\.0\.0\.1:\d{5}\b", "CLIENT"),
    (r"htons\(\d+\)", "PORT"),
    (r"0x[0-9a-f]+ /\* \d+ vars \*/", "ENVIRONNEMENT"),
    (r"python3\.\d+", "python3"),
    (r"^ *\d+m +(?=\d+ ID)", "ÂGE "),
    (r" *= *", "="),                                            # openssl 3.0 and later ones; strace's columns
    (r"TLS_\w+", "CHIFFRE"),
    (r"^ *\d+ (220|perdue)$\n", ""),                            # how many of a burst: chance
    (r"^Pour ne perdre aucun client.*\n", ""),
    (r"^serveur.sh: attention : -relay : dig .*\n", ""),       # where it is not installed
    (r"self signed", "self-signed"),                            # openssl 1.1, as is the next
    (r"^SHA256 Fingerprint", "sha256 Fingerprint"),
    (r"^Connecting to 127\.0\.0\.1\n", ""),                    # openssl 3.5
    (r"^Failed to find cgroup2 mount\n", ""),                   # ss in a chroot
    (r"Peer Address:Port.*", "Peer Address:Port"),
))


def steady(text):
    """A recording without what changes."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return text


@support.needs_root
@support.needs_program("unshare", "ip", "nc.traditional", "telnet", "openssl", "strace", "ss", "pgrep")
@unittest.skipUnless(os.path.exists("/proc/sys/net/ipv4/tcp_migrate_req"), "noyau antérieur à Linux 5.14")
class SheetTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if subprocess.run(UNSHARE, capture_output=True).returncode:
            raise unittest.SkipTest("unshare n'a pas le droit de faire un réseau et des processus à part")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([str(RECORDER), "-dans", folder], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
            cls.output = done.stdout
            cls.got = {path.stem: path.read_text("utf-8") for path in pathlib.Path(folder).glob("*.txt")}

    def check(self, exercise):
        if exercise not in self.got:
            self.fail("not played to its end:\n" + self.output)
        written = (FOLDER / (exercise + ".txt")).read_text("utf-8")
        self.assertEqual(steady(written), steady(self.got[exercise]))

    def test_nobody_of_a_burst_is_lost(self):
        after = self.got.get("14-rafale", self.output).partition("== avec")[2]
        self.assertEqual(re.findall(r"^ *(\d+) (\w+)$", after, re.M), [("300", "220")])


def make_test(exercise):
    def test(self):
        self.check(exercise)
    test.__doc__ = "Exercise " + exercise
    return test


for commands in sorted(FOLDER.glob("*.cmd")):
    setattr(SheetTest, "test_" + commands.stem.replace("-", "_"), make_test(commands.stem))


class SourceTest(unittest.TestCase):
    """What the sheet takes from the files, and what it takes for granted."""

    def test_every_block_is_in_the_sheet(self):
        """But for Ctrl-C in the server's terminal, which is told in words."""
        shown = set(re.findall(r'#a-taper\("([\w-]+)", "([\w-]+)"\)', SHEET.read_text("utf-8")))
        blocks = {(path.stem, name) for path in FOLDER.glob("*.cmd")
                  for name in re.findall(r"(?m)^== (.*)$", path.read_text("utf-8")) if name != "arret"}
        self.assertEqual(shown, blocks)

    def test_each_has_its_recording(self):
        self.assertEqual({path.stem for path in FOLDER.glob("*.cmd")}, {path.stem for path in FOLDER.glob("*.txt")})

    def test_typed_as_recorded(self):
        for path in FOLDER.glob("*.cmd"):
            with self.subTest(path.name):
                kept = re.compile(r"(?m)^(?:\w[$#>] .*|\w\^C|== .*)$")
                self.assertEqual(kept.findall(path.read_text("utf-8")),
                                 kept.findall(path.with_suffix(".txt").read_text("utf-8")))

    def test_dialogues_that_it_names_exist(self):
        table = SHEET.read_text("utf-8").partition("dialogues de `tests/dialogues/`")[2].partition("caption")[0]
        names = [name for name in re.findall(r"`([\w-]+)`", table)]
        self.assertGreater(len(names), 10)
        for name in names:
            self.assertTrue((support.ROOT / "tests" / "dialogues" / (name + ".txt")).is_file(), name)


if __name__ == "__main__":
    unittest.main()
