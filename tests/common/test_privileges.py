"""Started as root: nobody's client ever speaks to root, and nobody's links lead a byte out of his own mailbox."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import unittest

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.client import Client
from tests.helpers.tracing import Tracing

IDENTITY = "trace=setresuid,setreuid,setuid,setgroups,read,recvfrom,write"
SMALL = b"Subject: private\r\n\r\ntext\r\n.\r\n"


def effective_ids(pid: int):
    """(effective uid, effective gid, supplementary groups) of a process, as its status says."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    uids, gids = (re.search(r"^%s:\s+(.*)" % name, status, re.M)[1].split() for name in ("Uid", "Gid"))
    return int(uids[1]), int(gids[1]), re.search(r"^Groups:\s*(.*?)\s*$", status, re.M)[1]


@support.needs_root
@support.needs_program("strace")
@support.both_listeners
class EffectiveUserTest(support.ServerTestCase):
    """The effective user is `mail` whenever the client is read, and the recipient's while his mailbox is touched."""

    def setUp(self):
        self.service = pwd.getpwnam("mail")

    def test_at_every_step(self):
        with self.client() as client:
            for command in ("EHLO x", "MAIL FROM:<a@client.example>", "RCPT TO:<%s>" % self.address("alice"), "VRFY alice", "DATA"):
                self.assertLess(client.ask(command).code, 400)
                pid = self.server.process_of(client)
                expected = (self.service.pw_uid, self.service.pw_gid, str(self.service.pw_gid))
                self.assertEqual(effective_ids(pid), expected, command)
            client.write(SMALL)
            self.assertEqual(client.reply().code, 250)
            self.assertEqual(effective_ids(pid), expected)

    def test_between_steps(self):
        """Also in the moments that no look from outside can meet: every change of identity, and every read, in order."""
        with self.client() as client:
            pid = self.server.process_of(client)
            with Tracing(pid, calls=IDENTITY) as tracing:
                client.expect("EHLO x", 250)
                for recipient in ("alice", "nobody-at-all", "bob", "postmaster"):
                    self.assertEqual(client.letter("a@client.example", self.address("alice"), SMALL).code, 250)
                    client.ask("VRFY " + recipient)
                client.expect("NOOP", 250)
        effective, reads, delivered_as = self.service.pw_uid, 0, set()
        for call in tracing.calls:
            if call.name == "setresuid" and call.result == 0:
                effective = int(call.arguments.split(", ")[1])
            elif call.arguments.startswith("0<socket") and call.name in ("read", "recvfrom"):
                reads += 1
                self.assertEqual(effective, self.service.pw_uid)
            elif call.name == "write" and "Maildir/tmp" in call.arguments:
                delivered_as.add(effective)
        self.assertGreater(reads, 10)
        self.assertEqual(delivered_as, {support.NOBODY})

    def test_nobody_asks_access(self):
        """Of the effective user a C library may answer with what the real one, root, could do."""
        with self.client() as client:
            with Tracing(self.server.process_of(client), calls="trace=/access") as tracing:
                client.expect("EHLO x", 250)
                for name in ("alice", "bob"):
                    self.assertEqual(client.letter("a@client.example", self.address(name), SMALL).code, 250)
                client.expect("NOOP", 250)
        self.assertEqual([call for call in tracing.calls if str(self.server.mail) in call.arguments], [])


@support.needs_root
@support.both_listeners
class LinksTest(support.ServerTestCase):
    """What the owner of a home replaces by links to others' files."""

    options = ("-store", "maildir")
    accounts = None

    @classmethod
    def setUpClass(cls):
        users = system_users("essaimallory", "essaivictim")
        people = users.__enter__()
        cls.addClassCleanup(users.__exit__, None, None, None)
        cls.mallory, cls.victim = people["essaimallory"], people["essaivictim"]
        super().setUpClass()

    def setUp(self):
        self.home = pathlib.Path(self.mallory.pw_dir)
        self.maildir = self.home / "Maildir"
        self.outside = self.server.folder / ("outside-" + self._testMethodName)
        for owner, name in ((self.victim.pw_uid, "victim"), (0, "root")):
            for folder in (self.outside / name, *(self.outside / name / sub for sub in ("tmp", "new", "cur"))):
                folder.mkdir(parents=True)
                os.chown(folder, owner, owner)
                folder.chmod(0o700)
        self.addCleanup(self.clear)

    def clear(self):
        if self.maildir.is_symlink():
            self.maildir.unlink()
        else:
            shutil.rmtree(self.maildir, ignore_errors=True)

    def make_maildir(self):
        for folder in (self.maildir, *(self.maildir / sub for sub in ("tmp", "new", "cur"))):
            folder.mkdir()
            os.chown(folder, self.mallory.pw_uid, self.mallory.pw_gid)

    def assert_nothing_outside(self, reply_codes):
        """Mail for Mallory is refused with one of these codes, and no file is anywhere it was led to."""
        with self.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            reply = client.ask("RCPT TO:<essaimallory@%s>" % self.server.domain)
            if reply.code == 250:
                client.expect("DATA", 354)
                client.write(SMALL)
                reply = client.reply()
            self.assertIn(reply.code, reply_codes, reply)
        self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [])

    def test_maildir(self):
        for name in ("victim", "root"):
            self.maildir.symlink_to(self.outside / name)
            self.assert_nothing_outside((450, 451))
            self.maildir.unlink()

    def test_folder_in_it(self):
        for name in ("victim", "root"):
            for sub in ("tmp", "new"):
                with self.subTest(owner=name, folder=sub):
                    self.make_maildir()
                    (self.maildir / sub).rmdir()
                    (self.maildir / sub).symlink_to(self.outside / name)
                    self.assert_nothing_outside((450, 451))
                    self.clear()

    def test_link_to_nowhere_yet(self):
        """A link whose target could be made by root only is not made."""
        for target in ("/etc/serveur-smtp-essai", self.outside / "root" / "made"):
            self.maildir.symlink_to(target)
            self.assert_nothing_outside((450, 451))
            self.assertFalse(pathlib.Path(target).exists())
            self.maildir.unlink()

    def test_exchanged_after_rcpt(self):
        """Between RCPT and the end of data, when all has been looked at."""
        for name in ("victim", "root"):
            with self.subTest(owner=name), self.client() as client:
                self.make_maildir()
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@client.example>", 250)
                client.expect("RCPT TO:<essaimallory@%s>" % self.server.domain, 250)
                client.expect("DATA", 354)
                self.clear()
                self.maildir.symlink_to(self.outside / name)
                client.write(SMALL)
                self.assertEqual(client.reply().code, 451)
                self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [])
                self.clear()

    def test_home_itself(self):
        aside = self.home.with_name("essaimallory.aside")
        self.home.rename(aside)
        try:
            for name in ("victim", "root"):
                self.home.symlink_to(self.outside / name)
                self.assert_nothing_outside((450, 451))
                self.home.unlink()
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.home.unlink()
            aside.rename(self.home)

    def test_own_folder_elsewhere_is_the_owners_choice(self):
        elsewhere = self.home / "elsewhere"
        elsewhere.mkdir()
        os.chown(elsewhere, self.mallory.pw_uid, self.mallory.pw_gid)
        self.maildir.symlink_to(elsewhere)
        self.assertEqual(self.server.send("essaimallory@" + self.server.domain, SMALL).code, 250)
        message, = support.read_maildir(elsewhere)
        self.assertEqual((message.status.st_uid, message.status.st_gid), (self.mallory.pw_uid, self.mallory.pw_gid))


@support.needs_root
@support.both_listeners
class MboxLinksTest(support.ServerTestCase):
    """The same for /var/mail/NAME and its lock file."""

    options = ("-store", "mbox")
    accounts = None

    def attempt(self, client: Client) -> int:
        client.expect("EHLO x", 250)
        client.expect("MAIL FROM:<a@client.example>", 250)
        reply = client.ask("RCPT TO:<essaimallory@%s>" % self.server.domain)
        if reply.code == 250:
            client.expect("DATA", 354)
            client.write(SMALL)
            reply = client.reply()
        return reply.code

    def test_links(self):
        with system_users("essaimallory", "essaivictim") as people:
            mbox = pathlib.Path("/var/mail/essaimallory")
            for owner in (people["essaivictim"].pw_uid, 0):
                target = self.server.folder / "others"
                target.write_text("others' mail\n")
                os.chown(target, owner, owner)
                for link in (os.symlink, os.link):
                    with self.subTest(owner=owner, link=link.__name__), self.client() as client:
                        try:
                            link(target, mbox)
                        except OSError:             # /var/mail is another file system: no hard link leads there
                            continue
                        self.assertEqual(self.attempt(client), 450)
                        self.assertEqual(target.read_text(), "others' mail\n")
                        mbox.unlink()
                target.unlink()

    def test_lock_file_is_a_link(self):
        """It is not followed, and not waited for longer than any lock."""
        with system_users("essaimallory") as people, self.client() as client:
            target = self.server.folder / "locked"
            target.write_text("%d %s\n0\n" % (2 ** 22 + 1, os.uname().nodename))
            os.chown(target, people["essaimallory"].pw_uid, people["essaimallory"].pw_gid)
            lock = pathlib.Path("/var/mail/essaimallory.lock")
            lock.symlink_to(target)
            os.utime(lock, (0, 0), follow_symlinks=False)
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            client.expect("RCPT TO:<essaimallory@%s>" % self.server.domain, 250)
            client.expect("DATA", 354)
            client.write(SMALL)
            support.wait_for(lambda: list(pathlib.Path("/var/mail").glob("essaimallory.lock.*")), "it waits for the lock")
            self.assertTrue(target.read_text().endswith("0\n"))
            lock.unlink()
            self.assertEqual(client.reply().code, 250)
            self.assertTrue(target.exists())


if __name__ == "__main__":
    unittest.main()
