"""serveur.sh before and while it starts: options, what it says, what it refuses, where it may be started from."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from tests.helpers import mailboxes, support
from tests.helpers.client import PATIENCE
from tests.helpers.launcher import LETTER, SCRIPT, LauncherTestCase, copy_tree
from tests.lab.lmtp_sink import LmtpSink

OPTIONS = ("-port", "-smtps", "-bind", "-pass", "-match-sender", "-noms", "-domain", "-store", "-aliases", "-tag",
           "-relay", "-tls", "-spool", "-log", "-max", "-size", "-rcpts", "-listen", "-proxy", "-relay-login", "-web",
           "-v", "-vv", "-help")
VALUELESS = ("-match-sender", "-v", "-vv", "-help")
STRANGER = 61234                # a user id that no login has


class OptionsTest(LauncherTestCase):
    def test_bad_options(self):
        for options, expected in (
                (["-porte", "4568"], "option inconnue : -porte"),
                (["4568"], "argument de trop : 4568"),
                (["-port", "65536"], "65536"),
                (["-proxy", "10.0.0.1", "-proxy", "h.example"], "-proxy demande une adresse IP, pas « h.example »"),
                (["-relay", "x.example=smtps:"], "-relay : « x.example=smtps: »"),
                (["-proxy", "10.0.0.0/8"], "-proxy demande une adresse IP"),
                (["-port", "vingt-cinq"], "vingt-cinq"),
                (["-max", "0"], "-max"),
                (["-max", "1e3"], "1e3"),
                (["-size", "gros"], "gros"),
                (["-rcpts", "-3"], "valeur de l'option -rcpts"),
                (["-bind", "localhost"], "localhost"),
                (["-bind", "::1"], "-listen prefork"),
                (["-listen", "inetd"], "inetd"),
                (["-store", "nulle-part"], "nulle-part"),
                (["-store", "lmtp:"], "-store demande lmtp:HÔTE:PORT ou lmtp:/SOCKET, pas « lmtp: »"),
                (["-store", "lmtp:mail.example"], "lmtp:mail.example"),
                (["-store", "lmtp:mail.example:0"], "lmtp:mail.example:0"),
                (["-store", "lmtp:::1:24"], "lmtp:::1:24"),
                (["-store", "lmtp:prise"], "lmtp:prise"),
                (["-tag", "+_"], "-tag demande un signe parmi + _ = # ~ ., pas « +_ »"),
                (["-pass", "absent.txt"], "absent.txt"),
                (["-noms", "absent.txt", "-domain", ""], "valeur de l'option -domain"),
                (["-smtps", "4465"], "-tls"),
                (["-port", "4568", "-port", "4568"], "4568 est donné deux fois"),
        ):
            with self.subTest(options):
                self.assertIn(expected, self.refused(self.make_server(*options), 2))

    def test_missing_value(self):
        cases = [[option] for option in OPTIONS if option not in VALUELESS]
        cases += [["-port", "-v"], ["-port", "–v"], ["-port", ""]]
        for case in cases:
            with self.subTest(case):
                self.assertIn("valeur de l'option %s" % case[0], self.refused(self.make_server(*case), 2))

    def test_pasted_dash(self):
        """A word processor makes “–pass” of “-pass”."""
        line = self.refused(self.make_server("–pass", "absent.txt"), 2)
        self.assertIn("absent.txt", line)

    def test_help_names_every_option(self):
        done = subprocess.run([SCRIPT, "-help"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = done.stdout.split()
        self.assertEqual([option for option in OPTIONS if option not in words], [])

    def test_environment_does_not_count(self):
        server = self.make_server(environment={"SMTP_PASS": "/nulle/part", "SMTP_STORE": "rien"}).start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.assertEqual(server.stop(), 0)

    def test_relative_paths(self):
        """They are those of the folder one is in, whoever runs later and wherever."""
        server = self.make_server("-store", "courrier", "-log", "journal", "-aliases", "alias", accounts=())
        (server.folder / "courrier" / "carol").mkdir(parents=True)
        (server.folder / "alias").write_text("chef: carol\n")
        if support.IS_ROOT:
            os.chown(server.folder / "courrier" / "carol", support.NOBODY, support.NOBODY)
        server.start()
        self.assertEqual(server.send("chef@" + server.domain, LETTER).code, 250)
        self.assertEqual(len(mailboxes.read_maildir(server.folder / "courrier" / "carol" / "Maildir")), 1)
        self.assertIn("<= sender@", (server.folder / "journal").read_text())
        self.assertEqual(server.stop(), 0)


class AnnouncementTest(LauncherTestCase):
    def test_what_a_user_reads(self):
        server = self.make_server().start()
        text = support.wait_for(lambda: "telnet" in server.output() and server.output(), "the announcement")
        for expected in ("Le serveur écoute sur le port %d (127.0.0.1)." % server.port,
                         "Domaine local : " + server.domain, str(server.mail / "compte" / "Maildir"),
                         str(server.log_path), "tout le monde", "telnet 127.0.0.1 %d" % server.port):
            self.assertIn(expected, text)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.output().splitlines()[-1], "Serveur arrêté.")

    def test_lmtp(self):
        """A server that does not answer yet is no reason not to start."""
        with LmtpSink() as sink:
            for store, answers in (("lmtp:127.0.0.1:1", "(personne n'écoute là)"), (sink.store, ""),
                                   ("lmtp:[::1]:1", "(personne n'écoute là)"), ("lmtp:/nex", "(il n'existe pas)")):
                server = self.make_server("-store", store, "-tag", "+", accounts=None).start()
                text = support.wait_for(lambda: "telnet" in server.output() and server.output(), "the announcement")
                self.assertEqual("-store %s : le serveur LMTP ne répond pas %s" % (store, answers) in text,
                                 bool(answers))
                self.assertIn("-tag + est sans effet", text)
                self.assertIn("son courrier va au serveur LMTP %s." % store[5:], text)
                self.assertEqual(server.stop(), 0)

    def test_what_to_type(self):
        """One address, and one that can be called."""
        for bind, host in (((), "127.0.0.1"), (("-bind", "127.0.0.1", "-bind", "127.0.0.2"), "127.0.0.1"),
                           (("-bind", "127.0.0.2"), "127.0.0.2"), (("-bind", "0.0.0.0"), "127.0.0.1")):
            with self.subTest(bind), self.make_server() as server:
                at = server.arguments.index("-bind")
                server.arguments[at:at + 2] = bind
                server.launch()
                support.wait_for(lambda: "telnet" in server.output(), "the announcement")
                self.assertIn("telnet %s %d " % (host, server.port), server.output())
                server.process.terminate()
                self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_accounts(self):
        server = self.make_server("-pass", "comptes", "-store", "mbox")
        (server.folder / "comptes").write_text("alice:secret\n")
        (server.folder / "comptes").chmod(0o600)
        server.start()
        text = support.wait_for(lambda: "telnet" in server.output() and server.output(), "the announcement")
        self.assertIn("les comptes de %s, une fois authentifiés" % (server.folder / "comptes"), text)
        self.assertIn("/var/mail/compte", text)
        self.assertNotIn("secret", text)


class StateTest(LauncherTestCase):
    def test_second_server(self):
        for listener in ("netcat", "prefork"):
            with self.subTest(listener), self.make_server("-listen", listener).start() as server:
                other = self.make_server("-spool", server.spool)
                self.assertIn("il faut à celui-ci son propre dossier, -spool", self.refused(other, 2))
                self.assertEqual(server.stop(), 0)
                self.assertEqual(other.start().stop(), 0)

    @support.needs_root
    def test_where_sessions_cannot_go(self):
        """Root may make it in a folder that is closed to the sessions' user, who could do nothing with it."""
        server = self.make_server()
        closed = server.folder / "closed"
        closed.mkdir(0o700)
        server.replace_option("-spool", "-spool", str(closed / "spool"))
        line = self.refused(server, 2)
        self.assertIn("-spool : l'utilisateur mail, ", line)
        self.assertIn("%s (un dossier au-dessus lui est fermé)" % (closed / "spool"), line)


class LocksTest(LauncherTestCase):
    @support.needs_root
    def test_nobody_else_can_have_made_them(self):
        """In a folder that all may write, somebody else could forbid a user's server."""
        for shared in ("/run/lock", "/tmp"):
            taken = pathlib.Path(shared, "serveur-smtp-%d" % support.NOBODY)
            if not taken.exists():
                taken.mkdir()
                self.addCleanup(taken.rmdir)
                os.chown(taken, STRANGER, STRANGER)
        with self.make_server(run_as=support.NOBODY).start() as server:
            self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_found_whatever_the_spool(self):
        """Two starts at the same moment, where the port itself does not tell yet."""
        folder = pathlib.Path("/run/user/%d" % STRANGER)
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder)
        os.chown(folder, STRANGER, STRANGER)
        server, other = [self.make_server(run_as=STRANGER) for _ in range(2)]
        other.arguments[other.arguments.index("-port") + 1] = str(server.port)
        with server.start(), other:
            locks = folder / ("serveur-smtp-%d" % STRANGER)
            self.assertEqual(locks.stat().st_mode & 0o777, 0o700)
            self.assertIn("un autre serveur.sh écoute déjà sur le port %d (processus %d)"
                          % (server.port, server.process.pid), self.refused(other, 1))
            self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_links_are_not_followed(self):
        home = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
        self.addCleanup(shutil.rmtree, home)
        (home / "elsewhere").mkdir()
        (home / ("serveur-smtp-%d" % STRANGER)).symlink_to(home / "elsewhere")
        for path in (home, home / "elsewhere"):
            os.chown(path, STRANGER, STRANGER)
        with self.make_server(run_as=STRANGER, environment={"XDG_STATE_HOME": str(home)}).start() as server:
            self.assertEqual(list((home / "elsewhere").iterdir()), [])
            self.assertEqual(server.stop(), 0)


class PlaceTest(LauncherTestCase):
    def serves(self, server: support.Server):
        server.start()
        self.assertEqual(server.send("alice@" + server.domain, LETTER).code, 250)
        self.assertEqual(len(server.messages("alice")), 1)
        self.assertEqual(server.stop(), 0)

    def test_folder_with_blanks_and_accents(self):
        server = self.make_server()
        server.script = copy_tree(self, "mon serveur d'été") / "serveur.sh"
        self.serves(server)

    def test_symbolic_link(self):
        server = self.make_server()
        server.script = server.folder / "serveur"
        server.script.symlink_to(SCRIPT)
        self.serves(server)

    @support.needs_root
    def test_ordinary_user(self):
        self.serves(self.make_server(run_as=support.NOBODY))

    @support.needs_root
    def test_user_id_without_a_login(self):
        """As containers have them: the server, its relay and the relay's command do without a name."""
        server = self.make_server(run_as=STRANGER)
        self.serves(server)
        command = [support.open_root() / "relay.py", "-spool", str(server.spool), "list"]
        done = subprocess.run(command, user=STRANGER, group=STRANGER, env={}, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("relay stopped", server.log())

    @support.needs_root
    def test_user_id_without_a_login_and_without_a_home(self):
        command = [support.open_root() / "serveur.sh", "-bind", "127.0.0.1", "-domain", "x.example"]
        done = subprocess.run(command, user=STRANGER, group=STRANGER, env={}, cwd="/", capture_output=True, text=True,
                              timeout=support.PATIENCE)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr,
                         r"\Aserveur.sh: -spool /.local/state/serveur-smtp : /.local : permission refusée ; [^\n]*\n\Z")

    def test_handler_not_executable(self):
        server = self.make_server()
        server.script = copy_tree(self) / "serveur.sh"
        server.script.with_name("smtp_handler.py").chmod(0o644)
        self.assertIn("n'est pas exécutable", self.refused(server, 1))


if __name__ == "__main__":
    unittest.main()
