"""What is typed first: `sh serveur.sh`, the command lines of README.txt as they stand, and what is said when one goes
wrong."""

import pathlib
import re
import shlex
import shutil
import subprocess
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE
from tests.helpers.launcher import SCRIPT, LauncherTestCase, path_without
from tests.helpers.readme import (TEXT, ReadmeTestCase, Terminal, block, command, commands, dialogue, run, section,
                                  where_present)

LETTER = b"Subject: x\r\n\r\nx\r\n.\r\n"
IPV6 = pathlib.Path("/proc/net/if_inet6")              # the addresses, if there are any


class ShellTest(LauncherTestCase):
    """`sh serveur.sh` goes on under bash, whatever sh is."""

    def serves(self, *interpreter: str, **environment: str):
        server = self.make_server(environment=environment)
        server.interpreter = interpreter
        server.start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.assertEqual(server.stop(), 0, server.output())
        self.assertNotIn("rror", server.output())

    def test_dash(self):
        self.serves("dash")

    def test_bash_that_is_called_sh(self):
        folder = self.make_server().folder
        (folder / "sh").symlink_to(shutil.which("bash"))
        self.serves(str(folder / "sh"))

    def test_posix_mode_from_the_environment(self):
        self.serves(POSIXLY_CORRECT="1")

    def test_arguments_arrive_as_they_are(self):
        done = subprocess.run(["dash", SCRIPT, "-listen", "a  *"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (2, "", "serveur.sh: -listen attend netcat ou prefork, pas « a  * »\n"))


class HelpTest(unittest.TestCase):
    def test_fits_a_terminal(self):
        for program in ("serveur.sh", "relay.py", "auth.py"):
            with self.subTest(program):
                done = subprocess.run([support.ROOT / program, "-help"], capture_output=True, text=True,
                                      timeout=PATIENCE)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual([line for line in done.stdout.splitlines() if len(line) > 80], [])


class AnnouncedLineTest(LauncherTestCase):
    """The line that the server prints to be typed."""

    def announced(self, server: support.Server) -> str:
        server.launch()
        text = support.wait_for(lambda: re.search("Pour essayer : (telnet [^ ]+ [^ ]+) ", server.output()),
                                "the announcement")
        return text[1]

    def test_two_addresses(self):
        server = self.make_server("-bind", "127.0.0.2")
        self.assertEqual(self.announced(server), "telnet 127.0.0.1 %d" % server.port)

    def test_all_addresses(self):
        server = self.make_server()
        server.replace_option("-bind")
        self.assertEqual(self.announced(server), "telnet 127.0.0.1 %d" % server.port)

    @unittest.skipUnless(IPV6.exists() and IPV6.read_text(), "cette machine n'a pas d'IPv6")
    def test_all_addresses_of_ipv6(self):
        server = self.make_server("-listen", "prefork")
        server.replace_option("-bind", "-bind", "::")
        self.assertEqual(self.announced(server), "telnet ::1 %d" % server.port)
        with server.client(host="::1") as client:
            client.expect("QUIT", 221)


class ReadmeTest(ReadmeTestCase):
    """Command lines of README.txt, word for word but for the ports, which are free ones."""

    def serve(self, line: str) -> support.Server:
        self.ports = {"5465": str(support.free_port())}
        server = self.readme_server(where_present(line, self.ports))
        self.ports["4567"] = str(server.port)
        return server

    def run_line(self, line: str) -> str:
        return run(where_present(line, self.ports))

    @support.needs_program("telnet")
    def test_telnet(self):
        server = self.serve("./serveur.sh")
        text = re.sub("(?<=id=)[0-9A-Za-z-]+", "...", block(2, "Le serveur tourne"))
        self.assertGreater(len(dialogue(text)), 15)
        with Terminal(shlex.split(where_present(text.splitlines()[0][2:], self.ports))) as telnet:
            for told in ("Trying ...", "Connected to ...", "Escape character ..."):
                telnet.hear(told)
            telnet.play(dialogue(text))
        self.assertIn(b"\nUn premier message.\n", server.messages("etudiant")[0].content)

    @support.needs_program("nc.traditional")
    def test_netcat(self):
        server = self.serve("./serveur.sh")
        self.assertIn("250 2.0.0 OK id=", self.run_line(command(2, "printf")))
        self.assertEqual(len(server.messages("etudiant")), 1)

    @support.needs_program("swaks")
    def test_swaks(self):
        """Each under the server of the line above it."""
        server, sent = None, 0
        for line in commands(section(6)):
            if line.startswith("  ./serveur.sh"):
                if server:
                    self.assertEqual(server.stop(), 0)
                server, sent = self.serve(line), 0
            elif line.startswith("    swaks "):
                with self.subTest(line.strip()):
                    self.run_line(line)
                    sent += 1
                    self.assertEqual(len(server.messages("etudiant")), sent)
        self.assertEqual(sum(line.startswith("    swaks ") for line in commands(section(6))), 6)

    def test_base64_for_auth(self):
        """What README says a line writes is what it writes, and what the dialogue auth-by-hand sends."""
        pairs = re.findall(r"\n    \$ (printf [^\n]*base64) +(\S+)", section(5))
        self.assertEqual(len(pairs), 3)
        dialogue = (support.ROOT / "tests" / "dialogues" / "auth-by-hand.txt").read_text()
        for line, result in pairs:
            self.assertEqual(subprocess.run(["sh", "-c", line], capture_output=True, text=True).stdout, result + "\n")
            self.assertRegex(dialogue, r"(?m)^C: (AUTH PLAIN )?%s( \{ \*\d+\})?$" % re.escape(result))

    def test_nobody_is_sent_to_localhost(self):
        """It is ::1 first on many machines, where netcat doesn't listen, and swaks tries no second address."""
        found = re.findall(r"(?:swaks|telnet|nc\.traditional) [^\n]*localhost:? ?4567", TEXT)
        self.assertEqual(found, [])


class ReasonTest(LauncherTestCase):
    """A path that will not do is one line of French that names its option, and the code is 2."""

    def test_absent(self):
        for option, path, text in (
                ("-pass", "/nex", "-pass /nex : il n'existe pas"),
                ("-aliases", "/nex", "-aliases /nex : il n'existe pas"),
                ("-log", "/nex/log", "-log /nex/log : /nex : il n'existe pas ; donnez un autre fichier par -log"),
                ("-store", "/nex", "-store : le dossier /nex n'existe pas"),
                ("-tls", "/nex", "-tls : /nex est introuvable"),
                ("-spool", "/dev/null", "-spool /dev/null : il existe déjà, et ce n'est pas un dossier ; donnez un "
                                        "autre"
                                        " dossier par -spool")):
            with self.subTest(option):
                self.assertEqual(self.refused(self.make_server(option, path), 2), "serveur.sh: " + text)

    def test_no_names(self):
        for content, reason in ((None, "il n'existe pas"), (b"# x\n", "aucun nom dans ce fichier"),
                                (b"X" * 64, "ces noms font un nom de domaine trop long, plus de 63 caractères"),
                                ("Ana NÚÑEZ\n".encode("utf-16"), "ce n'est pas du texte en UTF-8 ou en Latin-1")):
            with self.subTest(content):
                server = self.make_server("-noms", "noms")
                server.replace_option("-domain")
                path = server.folder / "noms"
                if content is not None:
                    path.write_bytes(content)
                self.assertEqual(self.refused(server, 2),
                                 "serveur.sh: -noms %s : %s ; corrigez-le, ou donnez -domain" % (path, reason))

    @support.needs_root
    def test_not_ours(self):
        for option in ("-pass", "-aliases", "-log", "-noms"):
            with self.subTest(option):
                server = self.make_server(option, "/closed", run_as=support.NOBODY)
                if option == "-noms":
                    server.replace_option("-domain")
                path = server.folder / "closed"
                path.touch(0)
                server.arguments[server.arguments.index("/closed")] = str(path)
                line = self.refused(server, 2)
                self.assertRegex(line, "^serveur.sh: %s %s : permission refusée( ;|$)" % (option, path))

    @support.needs_root
    def test_home_that_is_not_there(self):
        """So it is with accounts of daemons."""
        server = self.make_server(run_as=support.NOBODY, environment={"HOME": "/nonexistent", "XDG_STATE_HOME": ""})
        server.replace_option("-spool")
        self.assertEqual(self.refused(server, 2),
                         "serveur.sh: -spool /nonexistent/.local/state/serveur-smtp : /nonexistent : permission refusée"
                         " ; donnez un autre dossier par -spool")

    @support.needs_root
    def test_certificate_that_cannot_be_written(self):
        server = self.make_server("-tls", "auto")
        path = server.spool / (server.domain + ".pem")
        path.mkdir(parents=True)
        if support.IS_ROOT:
            support.shutil.chown(server.spool, "mail", "mail")
        self.assertEqual(self.refused(server, 2), "serveur.sh: -tls : %s : c'est un dossier" % path)


class NamesTest(LauncherTestCase):
    def domain(self, content: bytes) -> str:
        server = self.make_server("-noms", "noms")
        server.replace_option("-domain")
        (server.folder / "noms").write_bytes(content)
        server.start()
        found = support.wait_for(lambda: re.search("Domaine local : ([^ ]+)", server.output()), "the announcement")
        return found[1]

    def test_encodings(self):
        text = "Ana NÚÑEZ\r\nYann LE GOFF\r\nZoë Lœb\r\n"
        for octets in (text.encode("utf-8-sig"), text.replace("œ", "é").encode("latin-1")):
            with self.subTest(octets):
                self.assertRegex(self.domain(octets), r"^nunez-legoff-zoe\.tp\.info\.unicaen\.fr$")

    def test_line_ends(self):
        """CR, LF and CRLF; what else Unicode breaks lines at is a blank."""
        octets = "Ana\fNÚÑEZ\rYann\x85LE\u2028GOFF\r\n".encode()
        self.assertRegex(self.domain(octets), r"^nunez-legoff\.tp\.info\.unicaen\.fr$")


class MissingProgramTest(LauncherTestCase):
    @support.needs_program("dig")
    def test_dig(self):
        """Only for domains whose MX must be looked up."""
        path = path_without(self, "dig")
        for relay, told in ((("-relay", "a.example", "-relay", "b.example=127.0.0.1"), True),
                            (("-relay", "b.example=127.0.0.1"), False)):
            with self.subTest(relay):
                server = self.make_server(*relay, environment={"PATH": str(path)}).start()
                warning = "dig n'est pas installé, et sans lui le courrier pour a.example attend"
                self.assertEqual(warning in server.output(), told)
                self.assertEqual(server.output().count("attention"), told)


class HandedInAccountsTest(LauncherTestCase):
    def test_one_line_says_that_they_are_public(self):
        server = self.make_server("-pass", "login_pass.txt")
        shutil.copy(support.ROOT / "login_pass.txt", server.folder)
        (server.folder / "login_pass.txt").chmod(0o644)
        server.start()
        warnings = [line for line in server.output().splitlines() if "attention" in line]
        self.assertEqual(warnings, [
            "serveur.sh: attention : -pass %s : tout le monde connaît les mots de passe de l'exemple livré (alice, "
            "bruno)"
            " ; remplacez-les avant de servir à quelqu'un" % (server.folder / "login_pass.txt")])


if __name__ == "__main__":
    unittest.main()
