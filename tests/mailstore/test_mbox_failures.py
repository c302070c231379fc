"""mbox files that cannot be used, as tests/mailstore/test_maildir_failures.py has it for Maildirs; in a spool of the
test's own, and with locks that are waited for only a moment."""

import contextlib
import fcntl
import grp
import os
import unittest

from tests.helpers import faults, support
from tests.helpers.accounts import system_users
from tests.helpers.disks import full_disk
from tests.helpers.lasting import enter
from tests.mailstore.test_maildir_failures import LARGE, SMALL, FailureCase, files_below

OLD = b"From old@b.example Sat Jan 03 10:05:00 2026\nSubject: old\n\nold\n\n"


@support.needs_root
class MboxCase(FailureCase):
    NAMES = ("essaimboxa", "essaimboxb")

    @classmethod
    def setUpClass(cls):
        cls.users = enter(cls.addClassCleanup, system_users(*cls.NAMES))

    def setUp(self):
        self.server = self.serve({"SMTP_STORE": "mbox"}, accounts=None)
        self.spool = self.server.folder / "var-mail"
        self.spool.mkdir()
        os.chown(self.spool, 0, grp.getgrnam("mail").gr_gid)
        self.spool.chmod(0o2775)
        self.server.patch = {"mailstore.mailboxes.SPOOL": str(self.spool), "mailstore.mbox.LOCK_SECONDS": 0.03}
        self.name, self.other = self.NAMES
        self.mbox = self.spool / self.name
        self.make_mbox()

    def make_mbox(self):
        """An mbox with one message, as it should be."""
        if self.mbox.is_dir() and not self.mbox.is_symlink():
            self.mbox.rmdir()
        self.mbox.unlink(missing_ok=True)
        self.mbox.write_bytes(OLD)
        os.chown(self.mbox, self.users[self.name].pw_uid, grp.getgrnam("mail").gr_gid)
        self.mbox.chmod(0o660)

    def assert_untouched(self):
        """Neither a part of a message nor a lock is left."""
        self.assertEqual((self.mbox.read_bytes(), os.listdir(self.spool)), (OLD, [self.name]))

    def assert_appends(self):
        """The next message works."""
        self.assertRegex(self.send([self.name], SMALL), "^250 ")
        content = self.mbox.read_bytes()
        self.assertTrue(content.startswith(OLD + b"From sender@client.example.org "), content)
        self.assertTrue(content.endswith(b"\nSubject: small\n\ntext\n\n"), content)
        self.assertEqual(content.count(b"\nFrom "), 1)
        self.assertEqual(os.listdir(self.spool), [self.name])


class StatesTest(MboxCase):
    """What may be there in place of the file; all of it shows at RCPT."""

    def become_link(self):
        self.mbox.unlink()
        self.mbox.symlink_to(self.server.folder / "elsewhere")

    def become_folder(self):
        self.mbox.unlink()
        self.mbox.mkdir()
        os.chown(self.mbox, self.users[self.name].pw_uid, 0)

    def become_fifo(self):
        self.mbox.unlink()
        os.mkfifo(self.mbox)
        os.chown(self.mbox, self.users[self.name].pw_uid, 0)

    def states(self):
        return {
            "has wrong uid (0 != %d)" % self.users[self.name].pw_uid: lambda: os.chown(self.mbox, 0, 0),
            "(symlink) has wrong uid (0 != ": self.become_link,
            "has too many links (2)": lambda: os.link(self.mbox, self.server.folder / "second-name"),
            "%s is not a regular file" % self.mbox: self.become_folder,
            "is not a regular file": self.become_fifo,
            "(13) Permission denied: %s" % self.mbox: lambda: self.mbox.chmod(0o400),
            "(13) Permission denied: %s" % self.spool: lambda: self.spool.chmod(0o755),
        }

    def restore(self):
        (self.server.folder / "second-name").unlink(missing_ok=True)
        self.spool.chmod(0o2775)
        self.make_mbox()

    def test_at_rcpt(self):
        for why, spoil in self.states().items():
            with self.subTest(why):
                log = len(self.server.log())
                spoil()
                self.assertEqual(self.answer_to_rcpt(self.name), "450 4.2.0 Mailbox cannot be used now")
                self.assertIn(why, self.server.log()[log:])
                self.restore()
                self.assert_appends()
                self.make_mbox()

    def test_after_the_dot(self):
        """Nothing is kept in the first mailbox when the second cannot be used any more; the log says for now."""
        for why, spoil in self.states().items():
            with self.subTest(why):
                log = len(self.server.log())
                self.assertRegex(self.send_while(spoil, [self.other, self.name]),
                                 "^451 4.3.0 Mailbox cannot be used now")
                self.assertIn(" T=mail_spool defer (", self.server.log()[log:])
                self.assertIn(" temporarily rejected after DATA: defer (", self.server.log()[log:])
                self.assertFalse((self.server.folder / "elsewhere").exists())
                self.assertFalse([path for path in files_below(self.spool) if ".lock" in path.name])
                other = self.spool / self.other
                self.assertFalse(other.exists() and other.read_bytes())
                other.unlink(missing_ok=True)
                self.restore()

    def test_narrower_and_wider_modes(self):
        for mode, after in ((0o600, 0o600), (0o660, 0o660), (0o666, 0o660)):
            self.mbox.chmod(mode)
            self.assert_appends()
            self.assertEqual(self.mbox.stat().st_mode & 0o777, after)
            self.make_mbox()


class LockTest(MboxCase):
    LOCKED = "^451 4.3.0 Mailbox is locked"

    def assert_locked(self, how: str):
        self.assertRegex(self.send([self.other, self.name], SMALL), self.LOCKED)
        self.server.wait_log("== %s@%s R=local_user T=mail_spool defer (-9): failed to lock mailbox %s (%s)" % (
            self.name, self.server.domain, self.mbox, how))
        other = self.spool / self.other
        self.assertEqual(other.read_bytes() if other.exists() else b"", b"")
        other.unlink(missing_ok=True)
        self.assertEqual(self.mbox.read_bytes(), OLD)

    def test_lock_file(self):
        """Another program's, which says nothing of its holder."""
        lock = self.spool / (self.name + ".lock")
        lock.write_bytes(b"")
        self.assert_locked("lock file")
        self.assertEqual(os.listdir(self.spool).count(lock.name), 1)
        lock.unlink()
        self.assert_appends()

    def test_lock_file_of_a_living_process(self):
        lock = self.spool / (self.name + ".lock")
        lock.write_text("%d %s\n%d\n" % (os.getpid(), os.uname().nodename, 5))
        self.assert_locked("lock file")
        lock.unlink()
        self.assert_untouched()

    def test_fcntl(self):
        with open(self.mbox, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            self.assert_locked("fcntl/flock")
        self.assert_untouched()
        self.assert_appends()

    def test_lock_that_is_let_go(self):
        """The server tries again, and gets it."""
        self.server.patch["mailstore.mbox.LOCK_SECONDS"] = 20
        lock = self.spool / (self.name + ".lock")
        lock.write_bytes(b"")
        with self.server.client() as client:
            client.expect("HELO client.example.org", 250)
            client.expect("MAIL FROM:<sender@client.example.org>", 250)
            client.expect("RCPT TO:<%s@%s>" % (self.name, self.server.domain), 250)
            client.expect("DATA", 354)
            client.write(SMALL)
            support.wait_for(lambda: len(os.listdir(self.spool)) == 3, "the server waits for the lock")
            lock.unlink()
            self.assertEqual(client.reply().code, 250)
        self.assertEqual(self.mbox.read_bytes().count(b"\nSubject: small\n"), 1)

    def test_answer_that_an_nfs_server_gives_twice(self):
        """The link is there, though the call says that something was there before."""
        self.server.patch["posix.link"] = faults.link_and_deny
        self.assert_appends()

    def test_killed_while_it_appends(self):
        """The next one cuts off what nobody was answered for, and goes on."""
        self.server.patch["mailstore.mbox.write_all"] = faults.write_half_and_die
        self.assertRegex(self.send([self.name], SMALL), "^451 ")
        self.server.finished()
        self.assertGreater(len(self.mbox.read_bytes()), len(OLD))
        del self.server.patch["mailstore.mbox.write_all"]
        self.assert_appends()


class FullDiskTest(MboxCase):
    NO_ROOM = "452 4.3.1 Insufficient system storage, please try later"

    def test_no_room_for_a_lock(self):
        """What a lock file is made of does not stay there."""
        with full_disk(self.spool, "128k"):
            self.make_mbox()
            with contextlib.suppress(OSError):
                (self.spool / "filler").write_bytes(bytes(1 << 18))
            self.assertEqual(self.send([self.name], SMALL), self.NO_ROOM)
            (self.spool / "filler").unlink()
            self.assert_untouched()
            self.assert_appends()

    def test_full(self):
        with full_disk(self.spool, "128k"):
            self.make_mbox()
            self.assertEqual(self.send([self.name], LARGE), self.NO_ROOM)
            self.server.wait_log("temporarily rejected after DATA: defer (28): No space left on device: "
                                 "error while writing to %s" % self.mbox)
            self.assert_untouched()
            self.assert_appends()


if __name__ == "__main__":
    unittest.main()
