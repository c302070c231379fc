"""Every command line of README.txt is run by some test; here, what no other file runs."""

import importlib
import os
import pathlib
import subprocess
import tarfile
import unittest

from tests.helpers import readme, secure, support
from tests.helpers.readme import ReadmeTestCase, block, command, replaced, run, where_present

RECIPES, SYSTEM, UNITS = "tests.whole.test_recipes.", "tests.whole.test_system_recipes.", "tests.launcher.test_units."
TYPED, HERE = "tests.launcher.test_typed.ReadmeTest.", "tests.whole.test_readme_commands."
TWO = RECIPES + "TwoServersTest.test_one_arrives_and_one_comes_back"
# {a command line, or how it begins and "*": the test that runs it}
PLAYED = {
    "./auth.py *": RECIPES + "AccountsTest.test_auth_command",
    "./relay.py *": RECIPES + "QueueTest.test_commands",
    "./relay.py -spool *": TWO,
    "./serveur.sh": TYPED + "test_telnet",
    "./serveur.sh -domain *": TWO,
    "./serveur.sh -help": "tests.launcher.test_typed.HelpTest.test_fits_a_terminal",
    "./serveur.sh -listen prefork*": HERE + "ServersTest.test_each_starts",
    "./serveur.sh -listen prefork -proxy 10.0.0.1 -store *":
        "tests.whole.test_several_hosts.SeveralHostsTest.test_nothing_is_lost",
    "./serveur.sh -pass login_pass.txt": TYPED + "test_swaks",
    "./serveur.sh -pass login_pass.txt -relay-login *": HERE + "ServersTest.test_each_starts",
    "./serveur.sh -port 25 *": HERE + "ServersTest.test_each_starts",
    "./serveur.sh -store lmtp:*": "tests.whole.test_lmtp_servers.DovecotTest.test_who_is_there",
    "./serveur.sh -store *": HERE + "ServersTest.test_each_starts",
    "./serveur.sh -tls auto": TYPED + "test_swaks",
    "./serveur.sh -tls auto -smtps 5465 -pass login_pass.txt": TYPED + "test_swaks",
    "./serveur.sh -v": HERE + "ServersTest.test_each_starts",
    "./serveur.sh -web *": HERE + "ServersTest.test_each_starts",
    "SMTP_DOMAIN=binome.tp.info.unicaen.fr ncat *": UNITS + "ActivationTest.test_ncat",
    "cat /tmp/*": TWO,
    "cat ~/Maildir*": RECIPES + "ReadingTest.test_cat",
    "cp hote.pem *": SYSTEM + "AuthoritiesTest.test_certificate_of_a_host",
    "echo Bonjour | /usr/sbin/sendmail *": SYSTEM + "SendmailTest.test_by_hand",
    "fail2ban-*": SYSTEM + "Fail2banTest.test_five_refusals",
    "git archive *": HERE + "ArchiveTest.test_archive",
    "maildirmake.courier *": RECIPES + "ReadingTest.test_courier_before_the_first_message",
    "mkdir -p /tmp/*": TWO,
    "mkdir -p ~/courrier*": HERE + "ServersTest.test_each_starts",
    "mutt *": RECIPES + "ReadingTest.test_mutt",
    "openssl *": RECIPES + "ByHandTest.test_openssl",
    "php *": SYSTEM + "SendmailTest.test_php",
    "printf '\\0alice*": TYPED + "test_base64_for_auth",
    "printf '%s*": TYPED + "test_netcat",
    "printf alice*": TYPED + "test_base64_for_auth",
    "printf secret1*": TYPED + "test_base64_for_auth",
    "ss *": HERE + "PortTest.test_who_listens",
    "swaks -s 127.0.0.1:4567 -f *": TWO,
    "swaks -s 127.0.0.1:*": TYPED + "test_swaks",
    "telnet 127.0.0.1 4567": TYPED + "test_telnet",
    "telnet 127.0.0.1 1*": RECIPES + "ReadingTest.test_courier",
    "update-ca-certificates": SYSTEM + "AuthoritiesTest.test_certificate_of_a_host",
}
# {those that no test runs: why}
NOT_PLAYED = {
    "apt-get install *": "tests/run installs what it needs, and msmtp-mta would take another MTA's place",
    "tests/bench/growth*": "minutes; test_growth runs it at sizes that prove nothing",
    "tests/bench/run*": "minutes, at rest",
    "tests/run*": "it is what runs",
}


def entry(line: str) -> str:
    """What stands for a command line in the tables, the longest; "" if nothing does."""
    found = [start for start in (*PLAYED, *NOT_PLAYED)
             if line == start or start.endswith("*") and line.startswith(start[:-1])]
    return max(found, key=len, default="")


class TableTest(unittest.TestCase):
    def test_every_command_is_in_it(self):
        self.assertEqual([line for line in readme.command_lines() if not entry(line)], [])

    def test_nothing_else_is(self):
        self.assertEqual({*PLAYED, *NOT_PLAYED} - set(map(entry, readme.command_lines())), set())

    def test_the_tests_are_there(self):
        for name in PLAYED.values():
            module, case, test = name.rsplit(".", 2)
            self.assertTrue(callable(getattr(getattr(importlib.import_module(module), case), test)), name)


class ServersTest(ReadmeTestCase):
    """`./serveur.sh ...` with all the options that README gives it."""

    def setUp(self):
        super().setUp()
        certificate = secure.Certificate()
        self.addCleanup(certificate.destroy)
        self.table = {"/etc/ssl/cert.pem": str(certificate.certificate),
                      "/etc/ssl/private/cle.pem": str(certificate.key), "~": str(self.folder)}
        for words in ("-port 25", "-port 587", "-smtps 465", "-web 8025"):
            self.table[words] = "%s %d" % (words.split()[0], support.free_port())
        run(command(8, "mkdir"), env={**os.environ, "HOME": str(self.folder)})

    def start(self, line: str) -> support.Server:
        accounts = None if "-store" in line else ("etudiant",)
        logins = block(7, "Un fournisseur qui demande un login")
        return self.readme_server(where_present(line, self.table), accounts=accounts, logins=logins)

    def test_each_starts(self):
        """Those that no other test starts; each has no complaint but that README's passwords are public."""
        lines = [line for line in readme.command_lines() if PLAYED.get(entry(line)) == self.id()]
        lines = [line for line in lines if line.startswith("./serveur.sh")]
        self.assertGreater(len(lines), 5)
        for server in list(map(self.start, lines)):
            with self.subTest(server.arguments):
                if "-proxy" not in server.arguments:
                    server.client().close()
                self.assertEqual(server.stop(), 0, server.output())
                told = [line for line in server.output().splitlines() if line.startswith("serveur.sh: ")]
                self.assertEqual([line for line in told if "login_pass.txt" not in line], [])


class PortTest(ReadmeTestCase):
    @support.needs_root
    @support.needs_program("ss")
    def test_who_listens(self):
        server = self.readme_server("./serveur.sh")
        environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        line = replaced(command(10, "ss "), {"4567": str(server.port)})
        # the first of those that listen, and all begin together
        support.wait_for(lambda: '"nc' in run(line, env=environment), "netcat's name")
        self.assertEqual(server.stop(), 0)


@support.needs_program("git")
class ArchiveTest(ReadmeTestCase):
    def test_archive(self):
        """The archive has all that the commit has, under one folder."""
        listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=support.ROOT, capture_output=True,
                                text=True)
        if listed.returncode:
            self.skipTest("pas de dépôt git")
        path = self.folder / "serveur-smtp.tar.gz"
        run(replaced(command(12, "git archive"), {"serveur-smtp.tar.gz": str(path)}), cwd=support.ROOT)
        with tarfile.open(path) as archive:
            names = {pathlib.PurePath(member.name) for member in archive if not member.isdir()}
        self.assertEqual(names, {pathlib.PurePath("serveur-smtp", name) for name in listed.stdout.splitlines()})
        self.assertIn(pathlib.PurePath("serveur-smtp/README.txt"), names)


if __name__ == "__main__":
    unittest.main()
