"""README's section 9, as it stands there: the handler under ncat, inetd and systemd, prefork.py under systemd, and
serveur.sh as a service. Units are verified, and their programs started by systemd-socket-activate; nothing boots."""

import os
import pathlib
import pwd
import re
import shlex
import signal
import subprocess
import typing
import unittest

from tests.helpers import readme, support
from tests.helpers.processes import children_of
from tests.helpers.readme import ReadmeTestCase, blocks, command, replaced, section

WIRE = b"Subject: x\r\n\r\nx\r\n.\r\n"
HOME = "/opt/serveur"


def units() -> typing.Dict[str, str]:
    """{name: text} of the units in README, whose first line is "# NAME"; their program is where the checkout is."""
    found = [readme.unindented(part) for part in readme.paragraphs(section(9)) if readme.is_block(part)]
    texts = {text.splitlines()[0][2:]: text for text in found if re.match(r"# \S+\.(service|socket)\n", text)}
    return {name: readme.where_present(text, {HOME: str(support.open_root())}) for name, text in texts.items()}


def setting(unit: str, name: str) -> str:
    """The value of a unit's one line `name=...`."""
    value, = re.findall("(?m)^%s=(.*)$" % name, unit)
    return value


@support.needs_program("systemd-analyze")
class VerifyTest(ReadmeTestCase):
    def write(self) -> typing.List[pathlib.Path]:
        relay = replaced(units()["smtp-agent.service"], {
            "/usr/bin/python3 -ES %s/delivery_agent" % support.open_root(): "%s/relay.py" % support.open_root()})
        for name, text in {**units(), "smtp-relay.service": relay}.items():
            (self.folder / name).write_text(text)
        return sorted(self.folder.iterdir())

    def test_verify(self):
        """systemd-analyze has nothing to say about them."""
        paths = self.write()
        self.assertEqual(len(paths), 7)
        paths[paths.index(self.folder / "smtp@.service")] = self.folder / "smtp@1.service"
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=support.PATIENCE)
        if "Failed to initialize manager" in done.stdout:
            self.skipTest("systemd-analyze de Debian 11 veut un cgroup, que cette machine n'a pas")
        about_ours = [line for line in done.stdout.splitlines() if str(self.folder) in line]
        self.assertEqual((done.returncode, about_ours), (0, []), done.stdout)

    @support.needs_program("systemctl")
    def test_enable(self):
        """With `enable`, each is started with the machine that names a target."""
        places = self.folder / "etc/systemd/system"
        paths = self.write()
        places.mkdir(parents=True)
        for path in paths:
            path.rename(places / path.name)
        for line in re.findall("systemctl enable --now [a-z.-]+", " ".join(section(9).split())):
            readme.run(replaced(line, {"--now": "--root=%s" % self.folder}))
        self.assertTrue((places / "multi-user.target.wants/serveur-smtp.service").is_symlink())
        self.assertTrue((places / "sockets.target.wants/smtp.socket").is_symlink())


class ServiceTest(ReadmeTestCase):
    def test_serveur_sh(self):
        """TERM to it alone (KillMode=mixed) is a proper end."""
        server = self.readme_server(replaced(setting(units()["serveur-smtp.service"], "ExecStart"),
                                             {"25": str(support.free_port())}))
        self.assertEqual(server.send("etudiant@" + server.domain, WIRE).code, 250)
        self.assertEqual(server.stop(), 0)


class ActivationTest(ReadmeTestCase):
    """Each program with the agent that root needs, and one message through it."""

    def setUp(self):
        super().setUp()
        self.server = self.make_server(accounts=("etudiant",))
        owner = pwd.getpwnam("mail") if support.IS_ROOT else pwd.getpwuid(os.geteuid())
        for folder in ("", "tmp", "queue", "queue/tmp"):
            (self.server.spool / folder).mkdir()
            os.chown(self.server.spool / folder, owner.pw_uid, owner.pw_gid)
        self.agent = self.folder / "agent" / "socket"
        self.variables = {"SMTP_STORE": str(self.server.mail), "SMTP_SPOOL": str(self.server.spool),
                          "SMTP_ALIASES": str(self.server.folder / "aliases"), "SMTP_MAX": "8"}
        if support.IS_ROOT:
            self.variables["SMTP_AGENT"] = str(self.agent)
            self.start(setting(units()["smtp-agent.service"], "ExecStart"))
            support.wait_for(self.agent.exists, "the agent")

    def start(self, line: str) -> subprocess.Popen:
        """Start a command line; it ends with the test, and all that it starts."""
        with open(self.server.output_path, "ab") as output:
            process = subprocess.Popen(["bash", "-c", "exec " + line], stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, cwd=support.open_root(),
                                       env=support.marked_environment(self.server.mark, **self.variables))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def assert_serves(self):
        support.wait_for(lambda: support.listeners(self.server.port), "a listener: " + self.server.output())
        self.assertEqual(self.server.send("etudiant@" + support.DOMAIN, WIRE).code, 250)
        self.assertEqual(len(self.server.messages("etudiant")), 1)

    def socket_activate(self, name: str, *options: str) -> typing.Tuple[subprocess.Popen, str]:
        """NAME.socket and its service, under systemd-socket-activate; also gives the service's text."""
        service = units()[name + ("@" if "--inetd" in options else "") + ".service"]
        listen = replaced(setting(units()[name + ".socket"], "ListenStream"), {"4567": str(self.server.port)})
        given = ["-E" + variable for variable in (setting(service, "Environment"), *self.variables)]
        words = ["systemd-socket-activate", "-l", "127.0.0.1:" + listen, *options, *given]
        return self.start("%s %s" % (shlex.join(words), setting(service, "ExecStart"))), service

    @support.needs_program("ncat")
    def test_ncat(self):
        line = command(9, "SMTP_DOMAIN=")
        self.start("env " + replaced(line, {"4567": str(self.server.port)}))
        self.assert_serves()

    @support.needs_root
    @support.needs_program("inetd")
    def test_inetd(self):
        line, = blocks(9, "inetd, dans /etc/inetd.conf")
        configuration = self.folder / "inetd.conf"
        configuration.write_text(replaced(line, {"4567": "127.0.0.1:%d" % self.server.port,
                                                 HOME: str(support.open_root())}))
        # -i: stay in the foreground; -E: keep the environment, which says where the test's mailboxes are
        self.start("/usr/sbin/inetd -i -E %s" % configuration)
        self.assert_serves()

    @support.needs_program("systemd-socket-activate")
    def test_a_process_for_each_connection(self):
        self.assertEqual(setting(units()["smtp.socket"], "Accept"), "yes")
        self.assertEqual(setting(units()["smtp@.service"], "StandardInput"), "socket")
        self.socket_activate("smtp", "--accept", "--inetd")
        self.assert_serves()

    @support.needs_program("systemd-socket-activate")
    def test_prefork(self):
        """It gets the socket that listens; ExecReload has it read its files anew."""
        process, service = self.socket_activate("prefork")
        self.assert_serves()
        workers = children_of(process.pid)
        readme.run(replaced(setting(service, "ExecReload"), {"$MAINPID": str(process.pid)}))
        support.wait_for(lambda: not workers & children_of(process.pid), "new workers")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(support.PATIENCE), 0, self.server.output())


if __name__ == "__main__":
    unittest.main()
