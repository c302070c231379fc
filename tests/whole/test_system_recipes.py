"""Recipes of README.txt that change a machine: msmtp as sendmail, for cron and PHP; fail2ban; a certificate that the
system is to trust. Each is played as it stands, in a mount namespace where /etc and what else it touches are ours."""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import typing
import unittest

from tests.helpers import readme, secure, support
from tests.helpers.accounts import system_users
from tests.helpers.readme import ReadmeTestCase, block, blocks, commands, replaced
from tests.lab import namespace
from tests.lab.etc import Etc

MSMTP = support.find_program("msmtp") or ""
INTRUDER = "127.0.0.5"
# Nothing is banned but in fail2ban's own books, and addresses of this machine are as good as others.
HARMLESS = "[DEFAULT]\nbanaction = dummy\nignoreself = false\nignoreip =\n"


@namespace.needed
class SystemCase(ReadmeTestCase):
    """`places`: {a folder or file of the machine: what is shown there}; "" is an empty folder of the test's own."""

    places: typing.Dict[str, str] = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="recette-essai-")
        cls.addClassCleanup(folder.cleanup)
        cls.machine = pathlib.Path(folder.name)
        cls.machine.chmod(0o755)
        cls.etc = Etc(cls.machine, {place: shown or str(cls.shown_at(place)) for place, shown in cls.places.items()})
        for place in (place for place, shown in cls.places.items() if not shown):
            cls.shown_at(place).mkdir()

    @classmethod
    def shown_at(cls, place: str) -> pathlib.Path:
        """The folder of ours that is shown at `place`."""
        return cls.machine / place.strip("/").replace("/", "-")

    def run_line(self, line: str, places: typing.Optional[typing.Dict[str, str]] = None) -> str:
        """What a command line writes there, or where only other places show ours."""
        return readme.run(shlex.join(namespace.command(places or self.etc.places, "bash", "-c", line)), cwd="/")

    def start(self, *words: str) -> subprocess.Popen:
        """A daemon that ends with the test."""
        mark = "RECETTE_ESSAI=" + self.folder.name
        self.addCleanup(support.end_marked, mark)
        with open(self.folder / "output", "ab") as output:
            process = subprocess.Popen(namespace.command(self.etc.places, *words), stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, env=support.marked_environment(mark))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


@support.needs_program("msmtp", "sendmail", "php", "cron", "crontab")
class SendmailTest(SystemCase):
    """What msmtp-mta does is done by a mount: on a machine with another MTA that package can't be installed."""

    places = {"/usr/sbin/sendmail": MSMTP, "/run": "", "/var/spool/cron": ""}

    def setUp(self):
        super().setUp()
        self.settings = block(6, "et dans /etc/msmtprc")
        self.by_hand, self.by_php = commands(block(6, "À la main, par PHP"))

    def serve(self, line: str = "./serveur.sh"):
        self.server = self.readme_server(line)
        self.settings = replaced(self.settings, {"4567": str(self.server.port)})
        self.etc.write("msmtprc", self.settings)

    def arrived(self) -> str:
        """The newest message, once there is one."""
        return support.wait_for(lambda: self.server.messages("etudiant"), "a message")[-1].content.decode()

    def test_by_hand(self):
        self.serve()
        self.run_line(self.by_hand)
        self.assertIn("\n\nBonjour\n", self.arrived())
        self.assertTrue(self.arrived().startswith("Return-path: <root@%s>\n" % support.DOMAIN))

    def test_php(self):
        self.serve()
        self.run_line(self.by_php)
        self.assertIn("\nSubject: PHP\n", self.arrived())

    def test_cron(self):
        """At its start, which is sooner than at 7 o'clock."""
        self.serve()
        (self.shown_at("/var/spool/cron") / "crontabs").mkdir()
        shutil.rmtree(self.etc.own("cron.d"))
        table = self.folder / "table"
        table.write_text(replaced(blocks(6, "À la main, par PHP")[1], {"0 7 * * *": "@reboot"}))
        self.run_line("crontab %s" % table)
        self.start("cron", "-f")
        self.assertRegex(self.arrived(), "\nSubject: Cron <.*> df -h /\n")

    def test_login_under_tls(self):
        """A user who is not in our /etc, with a ~/.msmtprc."""
        self.serve("./serveur.sh -tls auto -pass login_pass.txt")
        told = support.wait_for(lambda: re.search("SHA-256 : (.*)\n", self.server.output()), "it is announced")
        more = replaced(block(6, "Sous « -tls auto -pass login_pass.txt »"), {"EMPREINTE": told[1]})
        with system_users("etudiant") as users:
            account = users["etudiant"]
            file = pathlib.Path(account.pw_dir, ".msmtprc")
            file.write_text(self.settings + more)
            file.chmod(0o600)
            os.chown(file, account.pw_uid, account.pw_gid)
            self.run_line(shlex.join(["su", "etudiant", "-c", self.by_hand]), {"/usr/sbin/sendmail": MSMTP})
        self.assertIn("\n\nBonjour\n", self.arrived())
        self.assertRegex(self.server.log(), " P=(esmtp|utf8smtp)sa .* A=[a-z0-9-]+:alice ")


@support.needs_program("fail2ban-regex", "fail2ban-server", "fail2ban-client")
class Fail2banTest(SystemCase):
    places = {"/run": "", "/var/lib/fail2ban": ""} if support.find_program("fail2ban-server") else {}

    def refuse(self, server, source: str, count: int):
        """So many refusals: recipients that nobody knows, of the kind that the filter looks for."""
        with server.client(source=source) as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            for number in range(count):
                client.expect("RCPT TO:<nobody%d@%s>" % (number, server.domain), 550)
            client.expect("QUIT", 221)

    def test_five_refusals(self):
        server = self.readme_server("./serveur.sh")
        log = {"/var/spool/serveur-smtp/mainlog": str(server.log_path)}
        jails = self.etc.own("fail2ban") / "jail.d"
        shutil.rmtree(jails)
        jails.mkdir()
        (jails / "serveur-smtp.conf").write_text(replaced(block(10, "Avec fail2ban"), log))
        (jails / "zz.local").write_text(HARMLESS)
        regex, reload, status = commands(block(10, "Ce que le filtre trouve"))
        self.refuse(server, "127.0.0.1", 1)
        self.refuse(server, INTRUDER, 5)
        self.assertIn(" 6 matched,", self.run_line(replaced(regex, log)))
        (self.shown_at("/run") / "fail2ban").mkdir()
        self.start("fail2ban-server", "-xf", "--logtarget", "stderr", "start")
        support.wait_for(lambda: INTRUDER in self.status(status), "the ban")
        self.assertEqual(re.findall("Banned IP list:\t(.*)", self.status(status)), [INTRUDER])
        self.run_line(reload)
        self.assertIn(INTRUDER, self.status(status))

    def status(self, line: str) -> str:
        """"" as long as the daemon doesn't answer."""
        with contextlib.suppress(AssertionError):
            return self.run_line(line)
        return ""


@support.needs_program("update-ca-certificates", "openssl")
class AuthoritiesTest(SystemCase):
    places = {"/usr/local/share/ca-certificates": ""}

    def test_certificate_of_a_host(self):
        certificate = secure.Certificate()
        self.addCleanup(certificate.destroy)
        self.etc.own("ssl")
        copy, update = commands(block(7, "Un mot de passe ne part que sous TLS"))
        verify = "openssl verify %s" % certificate.certificate
        with self.assertRaises(AssertionError):
            self.run_line(verify)
        self.run_line("%s && %s" % (replaced(copy, {"hote.pem": str(certificate.certificate)}), update))
        self.assertIn(": OK", self.run_line(verify))


if __name__ == "__main__":
    unittest.main()
