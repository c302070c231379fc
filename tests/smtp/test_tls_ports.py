"""Several ports at once, and TLS where there is no socket."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from tests.helpers import mailboxes, support
from tests.helpers.secure import MESSAGE, Certificate, TlsTestCase, implicit, log_in, start_tls
from tests.lab.agent import Agent, socket_in


class PortsTest(TlsTestCase):
    """Several ports at once: one log, one stop."""

    def test_each_port_has_its_way(self):
        client = self.client()
        self.addCleanup(client.close)
        second = support.greeted_client(self.second)
        self.addCleanup(second.close)
        for plain_client in (client, second):
            self.assertIn("STARTTLS", plain_client.expect("EHLO x", 250).lines)
        self.assertNotIn("STARTTLS", self.implicit().expect("EHLO x", 250).lines)

    def test_announced(self):
        support.wait_for(lambda: "Journal : " in self.server.output(), "the announcement")
        output = self.server.output()
        for port in (self.server.port, self.second):
            self.assertRegex(output, r"sur le port %d \(127\.0\.0\.1\)\.\n" % port)
        self.assertIn("sur le port %d (127.0.0.1), en TLS dès la connexion.\n" % self.smtps, output)

    def test_one_log(self):
        for client in (start_tls(support.greeted_client(self.second)), self.secured(), self.implicit()):
            log_in(client)
            reply = client.letter("a@x.example", self.address("bob"), MESSAGE)
            client.close()
            self.server.wait_log(reply.text.rpartition("id=")[2] + " Completed")

    def test_one_stop(self):
        smtps = support.free_port()
        server = support.Server(("-tls", self.certificate.option, "-smtps", smtps, "-port", support.free_port()))
        with server:
            server.start()
            support.wait_for(lambda: "Journal : " in server.output(), "the announcement")
            ports = [int(port) for port in re.findall(r"sur le port (\d+) ", server.output())]
            self.assertEqual(len(ports), 3)
            clients = [support.greeted_client(server.port), start_tls(support.greeted_client(server.port)),
                       implicit(smtps)]
            server.process.send_signal(signal.SIGTERM)
            for client in clients:
                self.assertEqual(client.reply().code, 421)
                client.close()
            self.assertEqual(server.stop(), 0)
            self.assertEqual([support.listeners(port) for port in ports], [0, 0, 0])


class PipesTest(unittest.TestCase):
    """Under ncat -e the handler has pipes, no socket."""

    @support.needs_program("ncat")
    def test_tls_over_pipes(self):
        for variables in ({}, {"SMTP_IMPLICIT_TLS": "1"}):
            with self.subTest(**variables), tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                self.check(folder, variables)

    def check(self, folder, variables):
        certificate = Certificate()
        self.addCleanup(certificate.destroy)
        os.chmod(folder, 0o777)
        (folder / "mail" / "alice").mkdir(parents=True)
        if support.IS_ROOT:
            os.chown(folder / "mail" / "alice", support.NOBODY, support.NOBODY)
        subprocess.run(["install", "-d", "-m", "777", folder / "spool", folder / "spool/tmp", folder / "spool/queue",
                        folder / "spool/queue/tmp"], check=True)
        environment = {"SMTP_DOMAIN": "d.example", "SMTP_STORE": str(folder / "mail"),
                       "SMTP_SPOOL": str(folder / "spool"),
                       "SMTP_TLS": certificate.option, "SMTP_ALIASES": "", "PATH": os.environ["PATH"],
                       "HOME": str(folder), **variables}
        if support.IS_ROOT:
            with tempfile.TemporaryDirectory() as name:     # of root's alone, which `folder` is not
                os.chmod(name, 0o755)
                environment["SMTP_AGENT"] = socket_in(pathlib.Path(name))
                agent = Agent(pathlib.Path(name), environment, folder / "output")
                try:
                    self.talk(folder, variables, environment)
                finally:
                    agent.end()
        else:
            self.talk(folder, variables, environment)

    def talk(self, folder, variables, environment):
        port = support.free_port()
        handler = str(support.open_root() / "smtp_handler.py")
        ncat = subprocess.Popen(["ncat", "-l", "127.0.0.1", str(port), "-k", "-e", handler], env=environment,
                                start_new_session=True)
        try:
            support.wait_for(lambda: support.listeners(port), "ncat")
            client = implicit(port) if variables else start_tls(support.greeted_client(port))
            with client:
                client.expect("EHLO x", 250)
                body = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 300000 + b".\r\n"
                self.assertEqual(client.letter("a@x.example", "alice@d.example", body).code, 250)
                client.expect("QUIT", 221)
            self.assertEqual(len(mailboxes.read_maildir(folder / "mail" / "alice" / "Maildir")), 1)
        finally:
            os.killpg(ncat.pid, signal.SIGKILL)
            ncat.wait()
