"""Lists in files that somebody keeps: `:include:` in the aliases."""

import os
import pathlib
import unittest

from tests.helpers import harness, support
from tests.helpers.accounts import system_users
from tests.lab.asking import ask

SMALL = b"Subject: to the list\r\n\r\ntext\r\n.\r\n"
MEMBERS = ["e%03d" % number for number in range(200)]
MISTAKES = ('\ufeff# the group\r\nJean Dupont\r\n|/bin/false\r\n:include:/etc/passwd\r\n"e000\r\n'
            "  # indented, with a comma\r\n")


class IncludedTestCase(unittest.TestCase):
    """The list is the folder's file `list`, owned by whoever a test says."""

    def served(self, text, mode=0o644, owner=None, **arguments):
        server = support.Server(**arguments)
        self.addCleanup(server.destroy)
        self.path = server.folder / "lists" / "group"
        self.path.parent.mkdir()
        self.path.write_bytes(text.encode("utf-8"))
        self.path.chmod(mode)
        if owner is not None:
            os.chown(self.path.parent, owner, -1)
            os.chown(self.path, owner, -1)
        (server.folder / "aliases").write_text("group: :include:%s, alice\nhidden: bob\n" % self.path)
        return server

    def answer(self, server, command):
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            return client.ask(command)


class ListTest(IncludedTestCase):
    listener = "netcat"

    def test_two_hundred_members(self):
        text = MISTAKES + "".join("%s, \r\n" % name for name in MEMBERS[:100]) + "\r\n".join(
            "Élève %s <%s@localhost> (groupe 2)" % (name, name) for name in MEMBERS[100:])
        teacher = support.NOBODY if support.IS_ROOT else None
        server = self.served(text, 0o600, teacher, options=("-listen", self.listener, "-rcpts", "5"))
        for name in MEMBERS:
            server.add_account(name)
        server.start()
        for mistake, why in (("Jean Dupont", "pas une adresse"), ("|/bin/false", "jamais suivi"),
                             (":include:/etc/passwd", "jamais suivi"), ('"e000', "pas une adresse")):
            line, = (line for line in server.output().splitlines() if "« %s »" % mistake in line)
            self.assertIn("alias group : %s" % self.path, line)
            self.assertIn(why, line)
        shown = self.answer(server, "EXPN group")
        self.assertEqual(shown.code, 250)
        self.assertEqual(shown.raw.count(b"\r\n"), 201)
        self.assertEqual(server.send("group@" + server.domain, SMALL).code, 250)
        self.assertEqual([len(server.messages(name)) for name in [*MEMBERS, "alice", "bob"]], [1] * 201 + [0])
        server.wait_log('alias group: skipped error: not an address in "Jean Dupont"')
        self.path.write_text("bob\n")               # the teacher needs nobody's help for that
        self.assertEqual(server.send("group@" + server.domain, SMALL).code, 250)
        self.assertEqual((len(server.messages("bob")), len(server.messages("e000"))), (1, 1))
        self.assertEqual(server.stop(), 0)


class ListPreforkTest(ListTest):
    listener = "prefork"


class WhoseListTest(IncludedTestCase):

    def refused(self, server, spoil, *words):
        """The list answers 450 once spoil() was done, and the start names it."""
        spoil()
        server.start()
        reply = self.answer(server, "RCPT TO:<group@%s>" % server.domain)
        self.assertEqual((reply.code, self.answer(server, "EXPN group").code), (450, 450), reply.raw)
        line = server.wait_log("temporarily rejected RCPT <group@")
        for word in words:
            self.assertIn(word, line)
        self.assertIn("alias group : %s" % self.path, server.output())
        self.assertEqual(self.answer(server, "RCPT TO:<hidden@%s>" % server.domain).code, 250)
        self.assertEqual(server.stop(), 0)

    def test_missing(self):
        server = self.served("bob\n")
        self.refused(server, self.path.unlink, "No such file")

    def test_writable_by_others(self):
        self.refused(self.served("bob\n", 0o666), lambda: None, "others may write it")

    def test_in_a_folder_of_all(self):
        server = self.served("bob\n")
        self.refused(server, lambda: self.path.parent.chmod(0o777), "others may change where it leads")

    def test_fifo(self):
        server = self.served("")
        self.refused(server, lambda: (self.path.unlink(), os.mkfifo(self.path, 0o644)), "Not a regular file")

    def test_too_long(self):
        self.refused(self.served("bob\n" * 30000), lambda: None, "more than 10000 targets")
        self.refused(self.served("x" * (2 << 20)), lambda: None, "File too large")

    @support.needs_root
    def test_link_to_a_file_of_roots(self):
        """Whoever keeps the list gets no file read by it that he couldn't read."""
        server = self.served("bob\n", owner=support.NOBODY)
        secret = server.folder / "secret"
        secret.write_text("secretword\n")
        secret.chmod(0o600)

        def link():
            self.path.unlink()
            self.path.symlink_to(secret)
        self.refused(server, link, "others may change where it leads")
        self.assertNotIn("secretword", server.log() + server.output())

    @support.needs_root
    def test_aliases_of_one_who_is_not_root(self):
        """Who keeps the aliases can have read by them what he could read himself, and no more."""
        with system_users("essaialias") as people:
            home, uid = pathlib.Path(people["essaialias"].pw_dir), people["essaialias"].pw_uid
            aliases = home / "aliases"
            secret, own = home.parent / "essaialias-secret", home / "own"
            self.addCleanup(secret.unlink)
            for path, text, owner in ((secret, "bob\n", 0), (own, "bob\n", uid),
                                      (aliases, "s: :include:%s\no: :include:%s\n" % (secret, own), uid)):
                path.write_text(text)
                path.chmod(0o600)
                os.chown(path, owner, -1)
            with harness.Handlers({"SMTP_ALIASES": str(aliases)}) as server:
                self.assertEqual(self.answer(server, "EXPN o").code, 250)
                self.assertEqual(self.answer(server, "EXPN s").code, 450)


@support.needs_root
class AskingTest(unittest.TestCase):
    def test_agent_opens_only_what_the_aliases_include(self):
        """Whoever took a session over can ask for any path."""
        with harness.Handlers() as server:
            wanted = server.folder / "list"
            for path in (wanted, server.folder / "lis", server.folder / "other"):
                path.write_text("alice\n")
            (server.folder / "aliases").write_text(
                "# :include:%s/other\nl: alice, :include:%s\n" % (server.folder, wanted))
            server.send("alice@" + server.domain, SMALL)        # starts the agent
            answers = [ask(server.agent.socket, "include", path)
                       for path in (wanted, server.folder / "lis", server.folder / "other", "/etc/shadow")]
            self.assertEqual(answers, ["alice\n"] + [None] * 3)


if __name__ == "__main__":
    unittest.main()
