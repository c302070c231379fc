"""SEND, SOML and SAML (RFC 821 §3.4) to real pseudo-terminals: who is reached, who has mail instead, and what stands
there in the end."""

import os
import subprocess
import types
import unittest
from unittest import mock

from smtp import limits, send_soml_saml
from smtp.terminal_text import MOST_LINES
from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.client import Reply
from tests.helpers.secure import ALICE, AccountsTestCase, plain
from tests.helpers.terminals import FIRST_UID, TEXT, PseudoTerminal, TerminalsTestCase

LONG = b"Subject: long\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(MOST_LINES)) + b".\r\n"


# What is there of alice's: her terminals, each as a function of a PseudoTerminal; whether the first ones show it.
PLACES = {
    "none": ([], 0),
    "open": ([lambda one: None], 1),
    "mesg n": ([PseudoTerminal.silence], 0),
    "two": ([lambda one: None] * 2, 2),
    "one of two": ([lambda one: None, PseudoTerminal.silence], 1),
    "blocking": ([PseudoTerminal.stop], 0),
    "blocking and open": ([lambda one: None, PseudoTerminal.stop], 1),
}


@support.needs_root
@support.both_listeners
class ReachedTest(TerminalsTestCase):
    def check_place(self, verb: str, place: str):
        self.setUp()
        kinds, shows = PLACES[place]
        hers, others = [self.terminal("alice") for _ in kinds], self.terminal("bob")
        for prepare, terminal in zip(kinds, hers):
            prepare(terminal)
        client = self.open(verb)
        reply = self.name(client, "alice")
        seems_active = shows or place == "blocking"
        if verb == "SEND" and not seems_active:
            self.assertEqual((reply.code, reply.text), (450, "4.2.1 User not active now"))
            self.assert_mail()
        else:
            told = "2.1.5 Recipient OK" if seems_active else "2.1.5 User not active now, so will do mail"
            self.assertEqual((reply.code, reply.text), (250, told))
            is_mailed = verb == "SAML" or verb == "SOML" and not shows
            self.assertEqual(self.end(client).code, 250 if shows or is_mailed else 451)
            self.assert_mail(**({"alice": 1} if is_mailed else {}))
        self.assert_shown(*hers[:shows])
        self.assertTrue(all(one.is_blank() for one in hers[shows:] if "blocking" not in place))
        self.assertTrue(others.is_blank())
        self.stack.close()

    def check_places(self, verb: str):
        for place in PLACES:
            with self.subTest(place):
                self.check_place(verb, place)

    def test_send(self):
        self.check_places("SEND")

    def test_soml(self):
        self.check_places("SOML")

    def test_saml(self):
        self.check_places("SAML")

    def leave(self, verb: str, way) -> Reply:
        terminal = self.terminal("alice")
        client = self.open(verb)
        self.assertEqual(self.name(client, "alice").text, "2.1.5 Recipient OK")
        way(terminal)
        return self.end(client)

    def test_left_before_the_end(self):
        """The window is closed, or its owner wants no more, between RCPT and the end of the text."""
        for way in (PseudoTerminal.close, PseudoTerminal.silence):
            self.assertEqual(self.leave("SEND", way).code, 451)
            self.assert_mail()
            self.assertEqual(self.leave("SOML", way).code, 250)
            self.assert_mail(alice=1)
            self.assertEqual(self.leave("SAML", way).code, 250)
            self.assert_mail(alice=2)
            self.mailed = self.count_mail()
        self.server.wait_log("temporarily rejected after DATA: no terminal shows it to alice@")

    def test_given_to_another_user(self):
        """As a number of /dev/pts is, once its window is closed."""
        terminal = self.terminal("alice")
        client = self.open("SEND")
        self.name(client, "alice")
        os.chown(terminal.path, self.uids["bob"], -1)
        self.assertEqual(self.end(client).code, 451)
        self.assertTrue(terminal.is_blank())

    def test_one_of_two_has_left(self):
        """SEND promises each of its recipients; SOML mails whom it does not reach."""
        hers, his = self.terminal("alice"), self.terminal("bob")
        client = self.open("SEND")
        for user in ("alice", "bob"):
            self.assertEqual(self.name(client, user).code, 250)
        his.silence()
        self.assertEqual(self.end(client).code, 451)
        self.assert_shown(hers)
        self.assert_mail()
        identity = self.server.wait_log("no terminal shows it to bob@").split()[2]
        self.server.wait_log("%s => alice <%s> R=local_user T=terminal" % (identity, self.address("alice")))
        self.assertEqual(self.send("SOML", "alice", "bob").code, 250)
        self.assert_shown(hers)
        self.assert_mail(bob=1)

    def test_once(self):
        """However often, and by whatever names, a user is given."""
        terminal = self.terminal("alice")
        self.assertEqual(self.send("SOML", "alice", "ALICE", "both").code, 250)
        self.assert_shown(terminal)
        self.assert_mail(bob=1)

    def test_after_a_message(self):
        """The next transaction is MAIL's again."""
        terminal = self.terminal("alice")
        client = self.open("SEND")
        self.name(client, "alice")
        self.assertEqual(self.end(client).code, 250)
        self.assert_shown(terminal)
        self.assertEqual(client.letter("a@client.example", self.address("alice"), TEXT).code, 250)
        self.assert_mail(alice=1)
        self.assertTrue(terminal.is_blank())

    def test_chunks(self):
        terminal = self.terminal("alice")
        client = self.open("SEND")
        self.name(client, "alice")
        client.write(b"BDAT 16 LAST\r\nSubject: small\r\n")
        self.assertEqual(client.reply().code, 250)
        self.assertEqual(terminal.shown().split("\n")[1:], ["  Subject: small", "", "EOF", ""])

    def test_mailbox_that_cannot_be_written(self):
        """SOML needs none for who is active; SAML does."""
        terminal = self.terminal("carol")
        (self.server.mail / "carol" / "Maildir").write_text("")
        self.assertEqual(self.name(self.open("SAML"), "carol").code, 450)
        self.assertEqual(self.send("SOML", "carol").code, 250)
        self.assert_shown(terminal)
        terminal.silence()
        self.assertEqual(self.name(self.open("SOML"), "carol").code, 450)

    def test_postmaster(self):
        """Root's, or the store's owner's, whose terminals are not opened here: no error of ours."""
        self.assertIn(self.name(self.open("SOML"), "postmaster").code, (250, 450))


@support.needs_root
@support.both_listeners
class AliasesTest(TerminalsTestCase):
    def test_list(self):
        """Whom of it SEND finds, SEND reaches; SOML mails the others."""
        self.assertEqual(self.name(self.open("SEND"), "both").code, 450)
        hers = self.terminal("alice")
        self.assertEqual(self.send("SEND", "both").code, 250)
        self.assert_shown(hers)
        self.assert_mail()
        self.assertEqual(self.send("SOML", "both").code, 250)
        self.assert_shown(hers)
        self.assert_mail(bob=1)
        his = self.terminal("bob")
        self.assertEqual(self.send("SAML", "both").code, 250)
        self.assert_shown(hers, his)
        self.assert_mail(alice=1, bob=2)

    def test_members_elsewhere(self):
        hers = self.terminal("alice")
        self.assertEqual(self.send("SEND", "mixed").code, 250)
        self.assert_shown(hers)
        self.assert_mail()
        self.assertEqual(self.send("SOML", "mixed").code, 250)
        self.assert_shown(hers)
        self.assert_mail(queue=1)

    def test_elsewhere(self):
        client = self.open("SEND")
        for user, code in (("x@relay.example", 550), ("x@far.example", 550), ("moved", 551), ("gone", 551),
                           ("void", 550), ("nobody", 550)):
            self.assertEqual(self.name(client, user).code, code, user)
        for verb in ("SOML", "SAML"):
            client = self.open(verb)
            for user, code in (("x@relay.example", 250), ("x@far.example", 550), ("moved", 251), ("gone", 551),
                               ("void", 250), ("nobody", 550)):
                self.assertEqual(self.name(client, user).code, code, user)
            self.assertEqual(self.end(client).code, 250)
        self.assert_mail(queue=2)


@support.needs_root
class ForwardTest(unittest.TestCase):
    def test_who_sends_mail_on_sits_here(self):
        with system_users("essaiici", "essaila") as people, support.Server(("-terminals",), None) as server:
            home = people["essaiici"].pw_dir
            with open(home + "/.forward", "w") as file:
                file.write("essaila\n")
            os.chown(home + "/.forward", people["essaiici"].pw_uid, -1)
            server.start()
            with PseudoTerminal(people["essaiici"].pw_uid) as here, PseudoTerminal(people["essaila"].pw_uid) as there:
                for verb, mailed in (("SEND", 0), ("SOML", 0), ("SAML", 1)):
                    with server.client() as client:
                        client.expect("EHLO x", 250)
                        client.expect("%s FROM:<a@client.example>" % verb, 250)
                        client.expect("RCPT TO:<essaiici@%s>" % server.domain, 250)
                        client.expect("DATA", 354)
                        client.write(TEXT)
                        self.assertEqual(client.reply().code, 250)
                    self.assertIn("  text\n", here.shown())
                    self.assertTrue(there.is_blank())
                    new = people["essaila"].pw_dir + "/Maildir/new"
                    self.assertEqual(len(os.listdir(new)) if os.path.exists(new) else 0, mailed)
                self.assertFalse(os.path.exists(home + "/Maildir/new"))
            self.assertEqual(server.stop(), 0)


# As README has it; Debian 13 has no mesg.
OPENED = "mesg y; mesg; cat" if support.find_program("mesg") else "chmod g+w $(tty); echo is y; cat"


@support.needs_root
@support.needs_program("script")
class RealTerminalTest(TerminalsTestCase):
    """script(1) makes the terminal, alice opens it."""

    def test_script(self):
        uid, seen = self.uids["alice"], self.server.mail / "alice" / "typescript"
        # Its terminal has a foreground process that does not end before its input does.
        process = subprocess.Popen(["script", "-qfc", OPENED, str(seen)], user=uid, group=uid,
                                   extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/",
                                   env={"PATH": os.environ["PATH"], "SHELL": "/bin/sh", "LC_ALL": "C"})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        support.wait_for(lambda: seen.exists() and b"is y" in seen.read_bytes(), "an open terminal")
        self.assertEqual(self.send("SEND", "alice").code, 250)
        support.wait_for(lambda: b"EOF" in seen.read_bytes(), "the message")
        self.assertIn(b"Message from a@client.example, (x) [127.0.0.1], at ", seen.read_bytes())
        process.stdin.close()
        self.assertEqual(process.wait(support.PATIENCE), 0)
        self.assertEqual(self.name(self.open("SEND"), "alice").code, 450)


@support.needs_root
@support.both_listeners
class TextTest(TerminalsTestCase):
    """What is sent, and what stands there."""

    def test_nothing_is_obeyed(self):
        hostile = bytes(n for n in range(256) if n not in b"\r\n") + "\x9b2J\u202e\u2028\u200f\ufeff".encode()
        for reads_utf8 in (True, False):
            terminal = self.terminal("alice", reads_utf8=reads_utf8)
            self.assertEqual(self.send("SEND", "alice", text=b"Subject: a\x1bc\xc2\x9bb\r\n\r\n" + hostile
                                       + b"\x1b]0;title\x07\r\nEOF\r\n.\r\n").code, 250)
            raw = terminal.raw().replace(b"\r\r\n", b"\n")
            self.assertEqual(raw.count(b"\a"), 1)
            seen = raw.replace(b"\a", b"").decode("utf-8" if reads_utf8 else "ascii")
            self.assertTrue(seen.replace("\n", "").isprintable(), seen)
            self.assertIn("\n  Subject: a\\033c\\302\\233b\n", seen)
            self.assertIn("\n  EOF\nEOF\n", seen)
            self.assertIn("\\302\\2332J\\342\\200\\256", seen.replace("\n  ", ""))
            terminal.close()

    def test_letters(self):
        text = "Subject: Réunion\r\n\r\nÀ midi\u00a0! Û 日本\r\n.\r\n".encode()
        for reads_utf8, seen in ((True, "  Subject: Réunion\n\n  À midi ! Û 日本\n"),
                                 (False, "  Subject: R?union\n\n  ? midi ! ? ??\n")):
            terminal = self.terminal("alice", reads_utf8=reads_utf8)
            self.assertEqual(self.send("SEND", "alice", text=text).code, 250)
            self.assertIn(seen, terminal.shown())
            terminal.close()

    def test_long(self):
        """SEND takes nothing that a terminal does not show whole; SOML mails it."""
        terminal = self.terminal("alice")
        reply = self.send("SEND", "alice", text=LONG)
        self.assertEqual((reply.code, reply.text), (552, "5.2.3 Message too long for a terminal, use MAIL"))
        self.assertTrue(terminal.is_blank())
        self.assert_mail()
        for count, verb in enumerate(("SOML", "SAML"), 1):
            self.assertEqual(self.send(verb, "alice", text=LONG).code, 250)
            lines = terminal.shown().split("\n")
            self.assertEqual((len(lines), lines[-4:]), (MOST_LINES + 3, ["  line %d" % (MOST_LINES - 4), "  [...]",
                                                                         "EOF", ""]))
            self.assert_mail(alice=count)

    def test_log(self):
        terminal = self.terminal("alice")
        identity = self.send("SEND", "alice").lines[0].partition("id=")[2]
        self.assert_shown(terminal)
        lines = [line.split(" ", 3)[3] for line in self.server.log().splitlines() if " %s " % identity in line]
        self.assertEqual(lines[0].split(" S=")[0], "<= a@client.example H=(x) [127.0.0.1] P=esmtp")
        self.assertEqual(lines[1:], ["=> alice <%s> R=local_user T=terminal" % self.address("alice"), "Completed"])


@support.needs_root
class WithoutRootTest(TerminalsTestCase):
    """As who is not root: one's own terminals, and the start says so."""

    run_as = FIRST_UID

    def test_own(self):
        self.assertIn("-terminals : sans root, SEND, SOML et SAML n'atteignent que vos propres terminaux",
                      self.server.output())
        terminal = self.terminal("alice")
        for verb in ("SEND", "SOML"):
            self.assertEqual(self.send(verb, "alice").code, 250)
            self.assert_shown(terminal)
        self.assert_mail()
        terminal.stop()
        self.assertEqual(self.send("SEND", "alice").code, 451)
        self.assertEqual(self.send("SOML", "alice").code, 250)
        self.assert_mail(alice=1)

    def test_anothers(self):
        terminal = self.terminal("bob")
        self.assertEqual(self.name(self.open("SEND"), "bob").code, 450)
        self.server.wait_log("temporarily rejected RCPT <bob@")
        self.assertTrue(terminal.is_blank())


@support.needs_root
@support.both_listeners
class AuthenticationTest(AccountsTestCase):
    """Under -pass they need it, as MAIL does."""

    more = ("-terminals",)

    def test_guards(self):
        with self.client() as client:
            client.expect("EHLO x", 250)
            for verb in ("SEND", "SOML", "SAML"):
                client.expect("%s FROM:<a@client.example>" % verb, 530)
            client.expect("AUTH PLAIN " + plain("alice", ALICE), 235)
            os.chown(self.server.mail / "alice", FIRST_UID, FIRST_UID)
            with PseudoTerminal(FIRST_UID) as terminal:
                client.expect("SEND FROM:<a@client.example>", 250)
                client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
                client.expect("DATA", 354)
                client.write(TEXT)
                self.assertEqual(client.reply().code, 250)
                self.assertTrue(terminal.shown().startswith("Message from a@client.example, alice, (x) [127.0.0.1]"))


class TimeTest(unittest.TestCase):
    def test_of_all_terminals_together(self):
        """Each may keep us waiting; the last of many are not waited for, and not reached."""
        people = [types.SimpleNamespace(user=name) for name in ("alice", "bob", "carol")]
        recipients = [(person.user + "@b.example", object()) for person in people]
        transaction = send_soml_saml.Sending("SOML", None)
        transaction._found = {resolution: [person] for person, (_, resolution) in zip(people, recipients)}
        now = [0]
        slow = types.SimpleNamespace(write=lambda *_: now.append(now[-1] + limits.TERMINALS_SECONDS * 2 // 3))
        with mock.patch.object(send_soml_saml, "monotonic", lambda: now[-1]):
            shown = transaction._write(slow, recipients, b"")
        self.assertEqual([user for user, _ in shown], ["alice", "bob"])


if __name__ == "__main__":
    unittest.main()
