"""The file of -relay-login: as a person edits it, what serveur.sh says about it, and when it is read."""

import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

from tests.helpers import support

sys.path.insert(0, str(support.ROOT))
from queue_manager.relay_logins import Logins, warnings     # noqa: E402 (the path comes first)

FILE = "\ufeff# mes fournisseurs\r\n\r\nsmtp.fai.example moi mot de passe: #1 \r\n" \
    "\tSMTP.Other.example:465\t moi@other.example \t  p\tq\r\n[2001:DB8::1]:587 a b\n2001:db8::2 é è"


class FileTest(unittest.TestCase):

    def test_as_a_person_edits_it(self):
        logins = Logins("f", FILE.encode())
        self.assertEqual(logins.problems, [])
        self.assertEqual(logins.by_host, {("smtp.fai.example", 0): ("moi", "mot de passe: #1"),
                                          ("smtp.other.example", 465): ("moi@other.example", "p\tq"),
                                          ("2001:db8::1", 587): ("a", "b"), ("2001:db8::2", 0): ("é", "è")})

    def test_problems(self):
        good = b"a.example x y\n"
        for line, said in ((b"b.example", "on attend"), (b"b.example x", "on attend"), (b"b.example x  ", "on attend"),
                           (b"b.example:0 x y", "mauvais"), (b"b.example:x x y", "mauvais"), (b":25 x y", "mauvais"),
                           (b"b.example:65536 x y", "mauvais"), (b"A.example z z", "ligne 1"),
                           (b"b.example x \xe9", "UTF-8"), (b"b.example x y\0", "nul"),
                           (b"b.example x \x07y", "contrôle")):
            logins = Logins("f", good + line + b"\n" + good.replace(b"a.", b"c."))
            self.assertEqual(len(logins.problems), 1, line)
            self.assertTrue(logins.problems[0].startswith("f, ligne 2 : "), line)
            self.assertIn(said, logins.problems[0])
            self.assertEqual(set(logins.by_host), {("a.example", 0), ("c.example", 0)})

    def test_unused(self):
        logins = Logins("f", b"a.example x y\nb.example:25 x y\nb.example:26 x y\nc.example x y\n")
        relays = {"one.example": "A.example:2525", "two.example": "", "*": "b.example", "three.example": "smtps:d"}
        self.assertEqual(logins.unused(relays), ["b.example", "c.example"])
        self.assertEqual(len(warnings("/etc/passwd", logins, relays)), 3)


class StartTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="logins-essai-")
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "logins"

    def server(self, host: str) -> support.Server:
        return support.Server(("-relay-login", self.file, "-relay", "x.example=" + host, "-listen", "prefork"))

    def write(self, text: str, mode: int = 0o600):
        self.file.write_text(text, "utf-8")
        self.file.chmod(mode)

    def test_what_is_said(self):
        """Each line that is wrong is named, and nothing is started."""
        self.write("a.example x\nb.example:x y z\n")
        server = support.Server(("-relay-login", self.file, "-relay", "x.example=a.example"))
        self.addCleanup(server.destroy)
        self.assertEqual(server.launch().wait(support.PATIENCE), 2)
        for number in (1, 2):
            self.assertIn("-relay-login %s, ligne %d : " % (self.file, number), server.output())
        self.file.unlink()
        self.assertEqual(server.launch().wait(support.PATIENCE), 2)
        self.assertIn("-relay-login %s : " % self.file, server.output())
        self.file.mkdir()
        self.assertEqual(server.launch().wait(support.PATIENCE), 2)
        self.assertIn("-relay-login %s : ce n'est pas un fichier ordinaire" % self.file, server.output())

    def test_warnings(self):
        self.write("a.example x y\nb.example x y\n", 0o644)
        with self.server("smtps:a.example") as server:
            server.start()
            self.assertIn("attention : -relay-login %s : aucun -relay ne mène à b.example" % self.file, server.output())
            self.assertIn("attention : -relay-login %s : tout le monde peut le lire" % self.file, server.output())
            self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_read_anew_after_hup(self):
        """As root, the file is root's alone; HUP ends the relay in good order, and serveur.sh starts it again."""
        self.write("a.example x y\n")
        self.file.parent.chmod(0o700)
        with self.server("a.example") as server:
            server.start()
            first = server.relay_pid()
            support.os.kill(first, signal.SIGHUP)
            support.wait_for(lambda: server.log().count("relay started: ") == 2, "another relay")
            self.assertIn("relay stopped: pid=%d" % first, server.log())
            self.assertEqual(server.stop(), 0)

    def test_the_relay_alone(self):
        self.write("a.example x\n")
        environment = {"SMTP_DOMAIN": "d.example", "SMTP_RELAY_LOGIN": str(self.file), "PATH": "/bin:/usr/bin",
                       "SMTP_SPOOL": str(self.file.parent / "spool")}
        relay = subprocess.run([str(support.ROOT / "relay.py")], capture_output=True, text=True, env=environment,
                               timeout=support.PATIENCE)
        self.assertEqual((relay.returncode, relay.stdout), (2, ""))
        self.assertIn("relay.py: -relay-login %s, ligne 1 : " % self.file, relay.stderr)


if __name__ == "__main__":
    unittest.main()
