"""Recipes of README.txt, each line as it stands there: two servers on one machine, AUTH and TLS by hand, accounts, the
queue, and reading with Courier, mutt and cat."""

import os
import pathlib
import re
import unittest

from tests.helpers import readme, support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.helpers.readme import ReadmeTestCase, Terminal, block, blocks, command, commands, dialogue, replaced, run
from tests.lab.courier import Courier, needs_courier

ETUDIANT = "etudiant@" + support.DOMAIN
LETTER = b"Subject: Bonjour\r\n\r\nUn premier message.\r\n.\r\n"


def telnet(line: str, port: int) -> Terminal:
    """README's `$ telnet HOST PORT`, at our port, past what telnet itself says."""
    terminal = Terminal(re.sub(r"\d+$", str(port), line.replace("$ ", "")).split())
    for told in ("Trying ...", "Connected to ...", "Escape character ..."):
        terminal.hear(told)
    return terminal


class TwoServersTest(ReadmeTestCase):
    @support.needs_program("swaks")
    def test_one_arrives_and_one_comes_back(self):
        table = {"/tmp/un": str(self.folder / "un"), "/tmp/deux": str(self.folder / "deux"),
                 "4567": str(support.free_port()), "4568": str(support.free_port())}
        make, *servers = commands(replaced(block(7, "Deux serveurs sur une machine"), table))
        del table["4568"]
        sends, arrived, refused, bounced, queue = commands(replaced(block(7, "Dans un troisième terminal"), table))
        run(make)
        first, second = [self.readme_server(line, int(table["4567"]), accounts=None) for line in servers]
        run(sends)
        self.assertIn("\nTo: etudiant@deux.example\n", readme.run_until(arrived))
        run(refused)
        self.assertIn("personne@deux.example", readme.run_until(bounced))
        self.assertIn("550", run(bounced))
        first.wait_log("Completed")
        self.assertNotIn("deux.example", readme.run_until(queue, cwd=support.ROOT))
        self.assertEqual((first.stop(), second.stop()), (0, 0))


class ByHandTest(ReadmeTestCase):
    """README's lines of AUTH, and openssl in telnet's place."""

    def start(self, line: str):
        self.smtps = support.free_port()
        self.server = self.readme_server(line.replace("5465", str(self.smtps)))
        return self.server

    def letter(self, terminal: Terminal):
        for line in ("MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % ETUDIANT, "DATA"):
            terminal.say(line)
        terminal.hear("354 ...", skipping=True)
        for line in LETTER.decode().splitlines():
            terminal.say(line)
        terminal.hear("250 2.0.0 OK id=...")
        terminal.say("QUIT")
        terminal.hear("221 ...")

    @support.needs_program("telnet")
    def test_auth(self):
        server = self.start(command(5, "./serveur.sh -pass"))
        plain, login = map(dialogue, blocks(5, "À la main, dans telnet")[1:3])
        for lines in plain, login:
            with self.subTest(lines[0]), telnet(command(2, "$ telnet"), server.port) as terminal:
                terminal.hear("220 ...")
                terminal.say("EHLO moi")
                terminal.hear("250 HELP", skipping=True)
                terminal.play(lines)
                self.letter(terminal)
        self.assertEqual(len(server.messages("etudiant")), 2)

    @support.needs_program("openssl")
    def test_openssl(self):
        server = self.start(command(5, "./serveur.sh -tls auto"))
        login = dialogue(blocks(5, "À la main, dans telnet")[1])
        lines = commands(block(5, "openssl tient lieu de telnet"))
        self.assertEqual(len(lines), 2)
        for line in lines:
            line = readme.where_present(line, {"4567": str(server.port), "5465": str(self.smtps)})
            with self.subTest(line), Terminal(["bash", "-c", line]) as terminal:
                terminal.hear("220 ..." if "-starttls" not in line else "250 ...", skipping=True)
                terminal.say("EHLO moi")
                terminal.hear("250 HELP", skipping=True)
                terminal.play(login)
                self.letter(terminal)
        self.assertEqual(len(server.messages("etudiant")), 2)
        line = replaced(commands(block(5, "L'empreinte du certificat"))[0], {"4567": str(server.port)})
        fingerprint = run(line).strip().rpartition("=")[2]
        # it is told beside the first sessions, perhaps after them
        support.wait_for(lambda: fingerprint in server.output(), "the fingerprint")


class AccountsTest(ReadmeTestCase):
    def test_auth_command(self):
        """auth.py's lines, in a folder with what is handed in; they ask for a password."""
        path = self.folder / "login_pass.txt"
        path.write_bytes((support.ROOT / "login_pass.txt").read_bytes())
        check, clear, hashed, only_show = [line.replace("./auth.py", str(support.ROOT / "auth.py"))
                                           for line in commands(block(5, "Seuls les comptes du fichier"))]
        run(check, "secret1\n", cwd=self.folder)
        run(clear, "abricot\n", cwd=self.folder)
        self.assertIn("carole:abricot\n", path.read_text())
        run(hashed, "abricot\n", cwd=self.folder)
        self.assertIn("carole:$scrypt$", path.read_text())
        self.assertIn("$scrypt$", run(only_show, "abricot\n", cwd=self.folder))


class QueueTest(ReadmeTestCase):
    def test_commands(self):
        server = self.readme_server("./serveur.sh -relay relay.example=127.0.0.1:9")
        message_id = server.send("x@relay.example", LETTER).text.rpartition("id=")[2]
        server.wait_log("== x@relay.example")
        lines = commands(block(7, "Le courrier des domaines -relay est accepté"))
        self.assertEqual([line.split()[1] for line in lines], ["list", "show", "retry", "remove"])
        environment = support.marked_environment(server.mark, SMTP_SPOOL=str(server.spool))
        for line, told in zip(lines, (message_id, "Un premier message.", "", "")):
            line = line.replace("[ID]", "ID").replace("ID", message_id)
            self.assertIn(told, run(line, cwd=support.ROOT, env=environment))
        server.wait_log(message_id + " Completed")
        self.assertEqual(server.stop(), 0)


@support.needs_root
class ReadingTest(ReadmeTestCase):
    """Sections 3 and 10: a real account, whose ~/Maildir is not there until the first message."""

    def setUp(self):
        super().setUp()
        self.account = enter(self.addCleanup, system_users("etudiant"))["etudiant"]
        self.home = pathlib.Path(self.account.pw_dir)
        self.server = self.readme_server("./serveur.sh", accounts=None)

    def as_owner(self, line: str) -> str:
        """What a line of README writes to the account's owner."""
        return run("su etudiant -c '%s'" % line, cwd="/")

    def deliver(self):
        self.assertEqual(self.server.send(ETUDIANT, LETTER).code, 250)

    def courier(self) -> Courier:
        courier = Courier({"etudiant": self.home / "Maildir"}).start()
        self.addCleanup(courier.stop)
        return courier

    def read(self, courier: Courier):
        """Both dialogues of README, after the first message."""
        pop3, imap = blocks(3, "puis un client POP3")
        for text, port in ((pop3, courier.pop3_port), (imap, courier.imap_port)):
            with telnet(text.splitlines()[0], port) as terminal:
                terminal.play(dialogue(text))

    def read_too_early(self, courier: Courier):
        """What is said instead while there is no ~/Maildir."""
        pop3, imap = map(dialogue, blocks(10, "Un compte qui n'a encore rien reçu"))
        wholes = map(dialogue, blocks(3, "puis un client POP3"))
        for lines, whole, port in zip((pop3, imap), wholes, (courier.pop3_port, courier.imap_port)):
            with telnet("telnet 127.0.0.1 0", port) as terminal:
                terminal.play(whole[:whole.index(lines[0])] + lines)
                self.assertRaises(EOFError, terminal.hear, "", skipping=True)

    @needs_courier
    @support.needs_program("telnet")
    def test_courier(self):
        courier = self.courier()
        self.read_too_early(courier)
        self.deliver()
        self.read(courier)

    @needs_courier
    @support.needs_program("telnet", "maildirmake.courier")
    def test_courier_before_the_first_message(self):
        """With the Maildir that README's line makes, Courier lets in, and the message that comes then is read."""
        courier = self.courier()
        self.as_owner(commands(block(10, "Le premier message y remédie"))[0])
        self.assertEqual(courier.pop3("etudiant"), [])
        self.deliver()
        self.read(courier)

    def test_cat(self):
        self.deliver()
        cat, _ = commands(block(3, "Par défaut un message va"))
        self.assertIn("\nUn premier message.\n", self.as_owner(cat))

    @support.needs_program("mutt", "script")
    def test_mutt(self):
        """On a terminal that has a size: no to the folder that it offers to make, then the list, then q."""
        self.deliver()
        _, mutt = commands(block(3, "Par défaut un message va"))
        line = "script -qec \"stty rows 24 cols 80; su etudiant -c '%s'\" /dev/null" % mutt
        self.assertIn("Bonjour", run(line, "nq", cwd="/", env={**os.environ, "TERM": "xterm", "LC_ALL": "C"}))


if __name__ == "__main__":
    unittest.main()
