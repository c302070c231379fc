"""Mailboxes that cannot be used: a 4xx at RCPT or after the dot, a log line that says why, nothing half-written, and
the next message works."""

import json
import os
import pathlib
import re
import shutil
import struct
import typing
import unittest

from tests.helpers import faults, harness, mailbox_faults, mailboxes, support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter

SMALL = b"Subject: small\r\n\r\ntext\r\n.\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 6000 + b".\r\n"        # 468 kB
HUGE = b"Subject: huge\r\n\r\n" + (b"x" * 76 + b"\r\n") * 40000 + b".\r\n"         # 3 MB: more than is kept in memory


def files_below(*folders: pathlib.Path) -> typing.List[pathlib.Path]:
    return [path for folder in folders for path in folder.rglob("*") if not path.is_dir()]


class FailureCase(unittest.TestCase):
    """`self.server`: a Handlers, which a subclass sets; `self.home`: alice's folder there."""

    def serve(self, *arguments, **keywords) -> harness.Handlers:
        server = harness.Handlers(*arguments, **keywords)
        self.addCleanup(server.destroy)
        return server

    def send(self, recipients, wire: bytes) -> str:
        """The reply to the end of the data."""
        reply = self.server.send([name + "@" + self.server.domain for name in recipients], wire)
        return reply.raw.decode().rstrip()

    def answer_to_rcpt(self, name: str) -> str:
        with self.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<sender@client.example.org>", 250)
            answer = client.ask("RCPT TO:<%s@%s>" % (name, self.server.domain)).raw.decode().rstrip()
            client.expect("RSET", 250)
            client.expect("QUIT", 221)
        return answer

    def send_while(self, spoil, recipients, wire: bytes = SMALL) -> str:
        """The reply to a message whose recipients were accepted before spoil() was called."""
        with self.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<sender@client.example.org>", 250)
            for name in recipients:
                client.expect("RCPT TO:<%s@%s>" % (name, self.server.domain), 250)
            client.expect("DATA", 354)
            spoil()
            client.write(wire)
            reply = client.reply().raw.decode().rstrip()
            client.expect("NOOP", 250)
        return reply

    def assert_works(self, name: str = "alice"):
        """A message comes through, and is the only one there is."""
        self.assertRegex(self.send([name], SMALL), "^250 ")
        message, = self.server.messages(name)
        self.assertTrue(message.content.endswith(b"Subject: small\n\ntext\n"))
        message.path.unlink()


class MaildirStatesTest(FailureCase):
    """What may have become of a Maildir or the folder around it."""

    def setUp(self):
        self.server = self.serve(aliases="team: bob, alice\n")
        self.home = self.server.mail / "alice"
        self.maildir = self.home / "Maildir"
        self.addCleanup(self.open_again)
        self.assert_works()
        self.assert_works("bob")

    def replace_by_file(self):
        shutil.rmtree(self.maildir)
        self.maildir.write_text("a file")

    def replace_by_dangling_link(self):
        shutil.rmtree(self.maildir)
        self.maildir.symlink_to("/nonexistent/Maildir")

    def replace_new_by_file(self):
        (self.maildir / "new").rmdir()
        (self.maildir / "new").write_text("a file")

    def close_home(self):
        shutil.rmtree(self.maildir)
        self.home.chmod(0o500)

    def open_again(self):
        """Undo whatever was done."""
        self.home.chmod(0o700)
        if self.maildir.is_symlink() or self.maildir.is_file():
            self.maildir.unlink()
        elif self.maildir.is_dir():
            self.maildir.chmod(0o700)
            for folder in self.maildir.iterdir():
                folder.chmod(0o700)
            shutil.rmtree(self.maildir)

    def states(self):
        """{why the log says that it cannot be used: what makes it so}"""
        return {
            "%s is not a directory" % self.maildir: self.replace_by_file,
            "No such file or directory: %s" % self.maildir: self.replace_by_dangling_link,
            "%s/new is not a directory" % self.maildir: self.replace_new_by_file,
            "Permission denied: %s" % self.maildir: lambda: self.maildir.chmod(0),
            "Permission denied: %s/tmp" % self.maildir: lambda: (self.maildir / "tmp").chmod(0o500),
            "Permission denied: %s" % self.home: self.close_home,
        }

    def test_store_that_is_closed(self):
        """Nobody can tell then who has an account, and so nobody is refused for good."""
        self.server.mail.chmod(0o600)
        try:
            self.assertEqual(self.answer_to_rcpt("alice"), "450 4.2.0 Account cannot be looked up now")
        finally:
            self.server.mail.chmod(0o755)
        self.assert_works()

    def close_new(self):
        (self.maildir / "new").chmod(0o500)

    def test_at_rcpt(self):
        states = {**self.states(), "Permission denied: %s/new" % self.maildir: self.close_new}
        for why, spoil in states.items():
            with self.subTest(why):
                spoil()
                self.assertEqual(self.answer_to_rcpt("alice"), "450 4.2.0 Mailbox cannot be used now")
                self.server.wait_log("temporarily rejected RCPT <alice@%s>: (" % self.server.domain)
                self.assertIn(why, self.server.log())
                self.assertEqual(self.answer_to_rcpt("team"), "450 4.2.0 Mailbox cannot be used now")
                self.open_again()
                self.assert_works()

    def test_after_the_dot(self):
        """The second of two mailboxes fails: nothing is kept in the first one either."""
        for why, spoil in self.states().items():
            with self.subTest(why):
                log = len(self.server.log())
                self.assertRegex(self.send_while(spoil, ["bob", "alice"]), "^451 4.3.0 Mailbox cannot be used now$")
                lines = self.server.log()[log:]
                self.assertRegex(lines, r" == alice@\S+ R=local_user T=maildir_home defer \(-?\d+\): .*")
                self.assertRegex(lines, r"temporarily rejected after DATA: defer \(-?\d+\): ")
                self.assertNotIn("=>", lines)
                self.open_again()
                self.assertEqual(files_below(self.server.mail / "bob", self.home, self.server.spool / "tmp"), [])
                self.assert_works()

    def test_after_the_dot_when_all_was_ready(self):
        self.assertRegex(self.send_while(self.close_new, ["alice"]), "^451 4.3.0 Mailbox cannot be used now$")
        self.server.wait_log("temporarily rejected after DATA: defer (13): Permission denied: "
                             "while renaming tmp/NAME as new/NAME")
        self.assertEqual(files_below(self.server.mail), [])
        self.open_again()
        self.assert_works()

    def test_list_after_the_dot(self):
        self.assertRegex(self.send_while(self.replace_by_file, ["team"]), "^451 ")
        self.open_again()
        self.assertEqual(files_below(self.server.mail / "bob", self.home), [])

    def test_folders_are_made_again(self):
        for spoil in (lambda: shutil.rmtree(self.maildir), (self.maildir / "cur").rmdir, (self.maildir / "new").rmdir):
            spoil()
            self.assert_works()

    def test_closed_folder_that_has_all_it_needs(self):
        self.maildir.chmod(0o500)
        self.assert_works()


@support.needs_root
class HomeTest(FailureCase):
    """Homes of real accounts."""

    @classmethod
    def setUpClass(cls):
        cls.user = enter(cls.addClassCleanup, system_users("essaihome"))["essaihome"]
        cls.home = pathlib.Path(cls.user.pw_dir)

    def setUp(self):
        self.server = self.serve(accounts=None)
        self.addCleanup(self.open_again)

    def open_again(self):
        shutil.rmtree(self.home / "Maildir", ignore_errors=True)
        self.home.mkdir(exist_ok=True)
        os.chown(self.home, self.user.pw_uid, self.user.pw_gid)

    def check(self, why: str):
        self.assertEqual(self.answer_to_rcpt("essaihome"), "450 4.2.0 Mailbox cannot be used now")
        self.server.wait_log(why)
        self.open_again()
        self.assertRegex(self.send(["essaihome"], SMALL), "^250 ")
        self.assertEqual(len(mailboxes.read_maildir(self.home / "Maildir")), 1)

    def test_missing(self):
        shutil.rmtree(self.home)
        self.check("(2) No such file or directory")

    def test_another_owner(self):
        os.chown(self.home, 0, 0)
        self.check("(13) Permission denied: %s" % self.home)

    def test_closed(self):
        os.chown(self.home, 0, 0)
        self.home.chmod(0o700)
        self.check("(13) Permission denied: %s" % self.home)

    def test_access_list(self):
        """It says more than the mode does: a home of root's may be the user's to write in."""
        os.chown(self.home, 0, 0)
        entries = ((0x01, 7, -1), (0x02, 7, self.user.pw_uid), (0x04, 5, -1), (0x10, 7, -1), (0x20, 5, -1))
        packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(self.home, "system.posix_acl_access", struct.pack("<I", 2) + packed)
        self.addCleanup(os.removexattr, self.home, "system.posix_acl_access")
        self.assertRegex(self.send(["essaihome"], SMALL), "^250 ")

    def test_sticky(self):
        """As /tmp is: another's, but anyone may make files."""
        os.chown(self.home, 0, 0)
        for mode, code in ((0o1777, "250 "), (0o1755, "450 ")):
            self.home.chmod(mode)
            self.assertRegex(self.answer_to_rcpt("essaihome"), code)
        self.home.chmod(0o755)

    def test_goes_after_rcpt(self):
        self.assertRegex(self.send_while(lambda: shutil.rmtree(self.home), ["essaihome"]), "^451 4.3.0 ")
        self.assertFalse(self.home.exists())
        self.server.wait_log("== essaihome@%s R=local_user T=maildir_home defer (2): No such file" % self.server.domain)

    def test_never_as_root(self):
        """A link out of the home leads nowhere that the user could not write to."""
        target = self.server.folder / "of-root"
        target.mkdir(0o700)
        (self.home / "Maildir").symlink_to(target)
        self.assertEqual(self.answer_to_rcpt("essaihome"), "450 4.2.0 Mailbox cannot be used now")
        (self.home / "Maildir").unlink()
        self.assertRegex(self.send_while(lambda: (self.home / "Maildir").symlink_to(target), ["essaihome"]), "^451 ")
        self.assertEqual(files_below(target), [])
        (self.home / "Maildir").unlink()


class CommitTest(FailureCase):
    """Everything is ready, and one place fails all the same."""

    COMMIT = "mailstore.maildir.Prepared.commit"

    def test_the_second_is_queued(self):
        """No recipient loses the message, none gets it twice: what did not work is left to the relay."""
        self.server = self.serve(patch={self.COMMIT: mailbox_faults.fail_for_bob})
        reply = self.send(["alice", "bob"], SMALL)
        self.assertRegex(reply, "^250 2.0.0 OK id=")
        self.assertEqual((len(self.server.messages("alice")), self.server.messages("bob")), (1, []))
        queued, = self.server.spool.glob("queue/*.message")
        self.assertRegex(queued.read_bytes(), rb"(?s)^Received: .*\nSubject: small\n\ntext\n$")
        envelope = queued.with_suffix(".envelope").read_text()
        self.assertIn('"mailbox": "bob"', envelope)
        self.assertNotIn("alice", envelope)
        log, message_id = self.server.log(), reply.partition("id=")[2]
        self.assertIn("%s => alice " % message_id, log)
        self.assertIn("%s == bob@%s R=local_user T=maildir_home defer (5): Input/output error" % (
            message_id, self.server.domain), log)
        self.assertRegex(log, "%s <= sender@client.example.org R=%s P=local S=" % (queued.stem, message_id))

    def test_the_first_stops_all(self):
        self.server = self.serve(patch={self.COMMIT: mailbox_faults.fail_for_alice})
        self.assertRegex(self.send(["alice", "bob"], SMALL), "^451 4.3.0 Mailbox cannot be used now")
        self.assertEqual(files_below(self.server.mail, self.server.spool / "queue"), [])
        arrived, ended, refused = self.server.log().splitlines()[-3:]
        self.assertRegex(arrived, " <= sender@client.example.org ")
        self.assertRegex(ended, " Completed$")      # or exigrep would wait for its end for ever
        self.assertRegex(refused, " temporarily rejected after DATA: ")

    def test_success_is_told_of_the_first_alone(self):
        """NOTIFY=SUCCESS (RFC 3461): the second has its success when the relay delivers it."""
        self.server = self.serve(patch={self.COMMIT: mailbox_faults.fail_for_bob})
        self.assertEqual(self.ask_for_success("alice", "bob").code, 250)
        asked = [[(one["address"].partition("@")[0], one["state"], one["notify"], one.get("report"))
                  for one in json.loads(path.read_text())["recipients"]]
                 for path in sorted(self.server.spool.glob("queue/*.envelope"))]
        self.assertEqual(sorted(asked), [[("alice", "done", "SUCCESS", "delivered")],
                                         [("bob", "waiting", "SUCCESS", None)]])

    def test_success_is_told_of_nobody_if_there_is_none(self):
        self.server = self.serve(patch={self.COMMIT: mailbox_faults.fail_for_alice})
        self.assertEqual(self.ask_for_success("alice").code, 451)
        self.assertEqual(files_below(self.server.mail, self.server.spool / "queue"), [])

    def ask_for_success(self, *names):
        with self.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<a@client.example.org>", 250)
            for name in names:
                client.expect("RCPT TO:<%s@%s> NOTIFY=SUCCESS" % (name, self.server.domain), 250)
            client.expect("DATA", 354)
            client.write(SMALL)
            return client.reply()

    def test_the_second_finds_no_room_in_the_queue(self):
        """The client alone has the message then for whom it failed, and must hear that."""
        self.server = self.serve(patch={self.COMMIT: mailbox_faults.fail_for_bob,
                                        "mailstore.queue.Queue.prepare_local": mailbox_faults.no_room})
        self.assertRegex(self.send(["alice", "bob"], SMALL), "^452 4.3.1 ")
        self.assertEqual((len(self.server.messages("alice")), self.server.messages("bob")), (1, []))
        self.assertEqual(files_below(self.server.spool / "queue"), [])
        said = [line.split()[3] for line in self.server.log().splitlines() if re.search(r" \S{6}-\S{6}-\S\S ", line)]
        self.assertEqual(said[:4], ["<=", "=>", "==", "Completed"])

    def test_a_report_of_success_finds_none(self):
        """Who has the message must not get it again because of that."""
        self.server = self.serve(patch={"mailstore.queue.Prepared.commit": mailbox_faults.no_room})
        with self.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<alice@%s>" % self.server.domain, 250)
            client.expect("RCPT TO:<bob@%s> NOTIFY=SUCCESS" % self.server.domain, 250)
            client.expect("DATA", 354)
            client.write(SMALL)
            self.assertEqual(client.reply().code, 250)
        self.assertEqual(len(self.server.messages("bob")), 1)
        self.server.wait_log("cannot queue a report of success: ")
        self.server.wait_log(" Completed")

    def test_killed_before_the_first(self):
        """What nobody was answered for is not in new/. Where there is a delivery agent, it is what is killed, at each
        try."""
        self.server = self.serve(patch={self.COMMIT: faults.die})
        if support.IS_ROOT:
            self.assertRegex(self.send(["alice", "bob"], SMALL), "^451 ")
        else:
            with self.assertRaises(EOFError):
                self.send(["alice", "bob"], SMALL)
        self.server.finished()
        self.assertEqual((self.server.messages("alice"), self.server.messages("bob")), ([], []))
        self.server.patch = {}
        self.assert_works()


class AliasesTest(FailureCase):
    def test_unreadable(self):
        """Nobody is refused for good while nobody can know who is who."""
        self.server = self.serve()
        aliases = self.server.folder / "aliases"
        aliases.unlink()
        self.assertEqual(self.answer_to_rcpt("alice"), "450 4.2.0 Aliases cannot be read now")
        self.assertEqual(self.answer_to_rcpt("nobody-here"), "450 4.2.0 Aliases cannot be read now")
        self.server.wait_log("temporarily rejected RCPT <alice@%s>: (2) No such file or directory: %s" % (
            self.server.domain, aliases))
        aliases.touch()
        self.assert_works()
        self.assertEqual(self.answer_to_rcpt("nobody-here"), "550 5.1.1 No such user here")


if __name__ == "__main__":
    unittest.main()
