"""~/.forward: read as the user, who may have mail sent on, and keep it; whatever else it says, nothing is lost."""

import os
import pathlib
import shutil
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.helpers.mailboxes import read_maildir

SMALL = b"Subject: on its way\r\n\r\ntext\r\n.\r\n"
ANN, BEN, CID = "essaiann", "essaiben", "essaicid"


@support.needs_root
@support.both_listeners
class ForwardTest(support.ServerTestCase):
    accounts = None
    options = ("-store", "maildir", "-tag", "+", "-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")
    aliases = "team: %s, %s\nchief: %s\n%s: \\%s\n" % (
        ANN, CID, ANN, CID, CID) + "ghosts: %s, ghost\nhole: :blackhole:\n" % CID

    @classmethod
    def setUpClass(cls):
        cls.people = enter(cls.addClassCleanup, system_users(ANN, BEN, CID))
        super().setUpClass()

    def setUp(self):
        for entry in self.people.values():
            for name in (".forward", "Maildir"):
                self.addCleanup(shutil.rmtree, "%s/%s" % (entry.pw_dir, name), ignore_errors=True)
            self.addCleanup(self.forward_path(entry.pw_name).unlink, missing_ok=True)

    def forward_path(self, user) -> pathlib.Path:
        return pathlib.Path(self.people[user].pw_dir) / ".forward"

    def write(self, user, text, mode=0o600, owner=None):
        path = self.forward_path(user)
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, self.people[user].pw_uid if owner is None else owner, -1)

    def got(self):
        return {name: len(read_maildir(entry.pw_dir + "/Maildir")) for name, entry in self.people.items()
                if read_maildir(entry.pw_dir + "/Maildir")}

    def sent(self, *names):
        reply = self.server.send([self.address(name) for name in names], SMALL)
        self.assertEqual(reply.code, 250)
        return self.got()

    def codes(self, *commands):
        with self.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            return [client.ask(command) for command in commands]

    def test_to_another_and_kept(self):
        self.write(ANN, "\ufeff# holidays\r\n  # until May\r\n\\%s,\r\n%s@localhost\r\n" % (ANN, BEN))
        self.assertEqual(self.sent(ANN), {ANN: 1, BEN: 1})

    def test_to_another_only(self):
        self.write(ANN, "Ben <%s>\n" % BEN, 0o644)
        self.assertEqual(self.sent("chief"), {BEN: 1})
        content = read_maildir(self.people[BEN].pw_dir + "/Maildir")[0].content
        self.assertIn(b"Envelope-to: chief@", content)

    def test_elsewhere(self):
        """The client isn't told where to, and neither is who asks."""
        self.write(ANN, "ann@private.example\n")
        replies = self.codes("RCPT TO:<%s>" % self.address(ANN), "VRFY " + ANN, "VRFY chief", "EXPN " + ANN,
                             "EXPN chief")
        self.assertEqual([reply.code for reply in replies], [250, 250, 250, 550, 250])
        self.assertIn(b"Compte Essai <%s@" % ANN.encode(), replies[1].raw)
        self.assertFalse(any(b"private" in reply.raw for reply in replies))
        self.assertEqual(self.sent(ANN), {})
        envelopes = [path.read_text() for path in self.server.spool.glob("queue/*.envelope")]
        self.assertTrue(any('"ann@private.example"' in text for text in envelopes))

    def test_empty(self):
        self.write(ANN, "# nobody\n\n")
        self.assertEqual(self.sent(ANN), {ANN: 1})

    def test_loops(self):
        """As Exim's check_ancestor has it: who would send it back keeps it."""
        self.write(ANN, BEN)
        self.write(BEN, ANN)
        self.assertEqual(self.sent(ANN), {BEN: 1})
        self.write(BEN, "team")
        self.assertEqual(self.sent("team"), {BEN: 2, CID: 1})

    def test_itself(self):
        for own in (ANN, "%s@%s" % (ANN.upper(), self.server.domain), ANN + "+kept"):
            self.write(ANN, own)
            self.sent(ANN)
        self.assertEqual(self.got(), {ANN: 3})

    def test_what_is_not_followed(self):
        outside = self.server.folder / "outside"
        for text in ("|/bin/touch %s" % outside, '"|exec /bin/touch %s"' % outside, str(outside),
                     ":include:/etc/passwd", "/dev/null", ":blackhole:", ":fail: no", "%s\nBen Martin\n" % BEN,
                     "# Exim filter\nsave /tmp/x\n", "#   Sieve filter\nkeep;\n", "nobody-at-all",
                     "\\team", "x," * 30000):
            with self.subTest(text[:40]):
                self.write(ANN, text)
                start = len(self.server.log())
                reply, = self.codes("RCPT TO:<%s>" % self.address(ANN))
                self.assertEqual(reply.code, 450)
                self.assertIn("%s: " % self.forward_path(ANN), self.server.log()[start:])
                self.assertFalse(outside.exists())
        self.assertEqual(self.got(), {})

    def test_what_is_not_his_own_file(self):
        path = self.forward_path(ANN)
        secret = path.parent.parent / "secret-essai"        # on the same disk, for a second name
        self.addCleanup(secret.unlink)
        secret.write_text("secretword\n")
        secret.chmod(0o600)
        ways = {"link": lambda: path.symlink_to(secret), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir,
                "others write": lambda: self.write(ANN, BEN, 0o666),
                "group writes": lambda: self.write(ANN, BEN, 0o620),
                "another's": lambda: self.write(ANN, BEN, 0o644, self.people[BEN].pw_uid),
                "another name": lambda: os.link(secret, path), "closed": lambda: self.write(ANN, BEN, 0o000)}
        for name, make in ways.items():
            with self.subTest(name):
                make()
                reply, = self.codes("RCPT TO:<%s>" % self.address(ANN))
                self.assertEqual(reply.code, 450)
                self.assertNotIn("secretword", self.server.log() + self.server.output())
                path.rmdir() if name == "folder" else path.unlink()
        self.write(ANN, BEN, 0o644, 0)              # which root wrote for him
        self.assertEqual(self.sent(ANN), {BEN: 1})

    def test_in_the_queue(self):
        """A bounce for who has his mail sent on follows him."""
        self.write(ANN, BEN)
        reply = self.server.send(self.address("ghosts"), SMALL, sender=self.address(ANN))
        self.assertEqual(reply.code, 250)
        support.wait_for(lambda: self.got() == {CID: 1, BEN: 1}, "the bounce")

    def test_in_the_queue_thrown_away(self):
        reply = self.server.send(self.address("ghosts"), SMALL, sender=self.address("hole"))
        bounce = self.server.wait_log(" <= <> R=%s " % reply.text.rpartition("id=")[2]).split()[2]
        self.server.wait_log(bounce + " Completed")


@support.needs_root
class OrdinaryUserTest(unittest.TestCase):
    """Without root: one's own, as who one is."""

    def test_own(self):
        with system_users(ANN) as people:
            entry = people[ANN]
            path = pathlib.Path(entry.pw_dir) / ".forward"
            path.write_text("team\n")
            os.chown(path, entry.pw_uid, -1)
            with support.Server(("-store", "maildir"), None, "team: \\%s, x@tpmail.info.unicaen.fr\n" % ANN,
                                run_as=entry.pw_uid) as server:
                server.start()
                self.assertEqual(server.send("%s@%s" % (ANN, server.domain), SMALL).code, 250)
                self.assertEqual(len(read_maildir(entry.pw_dir + "/Maildir")), 1)
                self.assertEqual(len(list(server.spool.glob("queue/*.envelope"))), 1)
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
