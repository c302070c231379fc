"""Disks that take no more: a 4xx at RCPT or after the dot, nothing half-written, and the next message works."""

import contextlib

from tests.helpers import support
from tests.helpers.disks import full_disk, read_only_disk
from tests.mailstore.test_maildir_failures import HUGE, LARGE, SMALL, FailureCase, files_below

DISTANT = "x@tpmail.info.unicaen.fr"


@support.needs_root
class FullDiskTest(FailureCase):
    NO_ROOM = "452 4.3.1 Insufficient system storage, please try later"

    def setUp(self):
        self.server = self.serve()

    def test_mailbox(self):
        with full_disk(self.server.mail / "alice", "128k") as home:
            self.assertEqual(self.send(["bob", "alice"], LARGE), self.NO_ROOM)
            self.server.wait_log("temporarily rejected after DATA: defer (28): No space left on device: "
                                 "all copies need ")
            self.assertEqual(self.send(["alice"], LARGE), self.NO_ROOM)
            self.server.wait_log("== alice@%s R=local_user T=maildir_home defer (28): No space left on device: "
                                 "error while writing to tmp/NAME" % self.server.domain)
            self.assertEqual(files_below(home, self.server.mail / "bob"), [])
            self.assert_works()

    def test_text_that_comes_in(self):
        with full_disk(self.server.spool / "tmp", "1m") as folder:
            self.assertEqual(self.send(["alice"], HUGE), self.NO_ROOM)
            self.server.wait_log("temporarily rejected after DATA: defer (28): No space left on device: "
                                 "while writing to ")
            self.assertEqual(files_below(folder, self.server.mail), [])
            self.assert_works()

    def test_queue(self):
        with full_disk(self.server.spool / "queue", "128k") as folder:
            with self.server.client() as client:
                client.expect("EHLO client.example.org", 250)
                recipients = ["alice@" + self.server.domain, DISTANT]
                reply = client.letter("sender@client.example.org", recipients, LARGE)
                self.assertEqual(reply.raw.decode().rstrip(), self.NO_ROOM)
            self.assertEqual(files_below(folder, self.server.mail), [])
            self.server.wait_log("temporarily rejected after DATA: defer (28): No space left on device: "
                                 "while queueing ")
            self.assert_works()

    def test_room_is_asked_for_at_mail(self):
        with self.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            with full_disk(self.server.spool, "4m"):
                self.assertEqual(client.expect("MAIL FROM:<> SIZE=4000000", 452).raw.decode().rstrip(), self.NO_ROOM)
                client.expect("MAIL FROM:<> SIZE=3000000", 250)
                client.expect("RSET", 250)
                (self.server.spool / "fills-it").write_bytes(b"x" * 3500000)
                client.expect("MAIL FROM:<>", 452)
            client.expect("MAIL FROM:<> SIZE=4000000", 250)


@support.needs_root
class NoInodeTest(FailureCase):
    """There is room for octets, but for no more files."""

    NO_ROOM = FullDiskTest.NO_ROOM
    LATER = "temporarily rejected after DATA: defer (28): No space left on device: "

    def setUp(self):
        self.server = self.serve()

    def test_mailbox(self):
        for inodes, doing in ((2, "cannot create "), (4, "failed to open tmp/NAME")):
            with self.subTest(inodes=inodes), full_disk(self.server.mail / "alice", inodes=inodes) as home:
                self.assertEqual(self.send(["bob", "alice"], SMALL), self.NO_ROOM)
                self.server.wait_log(self.LATER + doing)
                self.assertEqual(files_below(home, self.server.mail / "bob"), [])
        self.assert_works()

    def test_text_that_comes_in(self):
        with full_disk(self.server.spool / "tmp", inodes=1) as folder:
            (folder / "last").touch()
            self.assertEqual(self.send(["alice"], HUGE), self.NO_ROOM)
            self.server.wait_log(self.LATER + "while writing to ")
            self.assert_works()             # a small message is kept in memory

    def test_queue(self):
        with full_disk(self.server.spool / "queue", inodes=2) as folder:
            self.assertEqual(self.server.send(["alice@" + self.server.domain, DISTANT], SMALL).code, 452)
            self.server.wait_log(self.LATER + "while queueing ")
            self.assertEqual(files_below(folder, self.server.mail), [])
            self.assert_works()


@support.needs_root
class ReadOnlyDiskTest(FailureCase):
    def setUp(self):
        self.server = self.serve()

    def test_mailbox(self):
        home = self.server.mail / "alice"
        for folders, place in (((), home), (("Maildir/tmp", "Maildir/new", "Maildir/cur"), home / "Maildir/tmp")):
            with self.subTest(folders=folders), read_only_disk(home, *folders):
                self.assertEqual(self.answer_to_rcpt("alice"), "450 4.2.0 Mailbox cannot be used now")
                self.server.wait_log(": (30) Read-only file system: %s" % place)
                self.assert_works("bob")
        self.assert_works()

    def test_mailbox_after_rcpt(self):
        with contextlib.ExitStack() as stack:
            reply = self.send_while(lambda: stack.enter_context(read_only_disk(self.server.mail / "alice")),
                                    ["bob", "alice"])
            self.assertEqual(reply, "451 4.3.0 Mailbox cannot be used now")
            self.server.wait_log("== alice@%s R=local_user T=maildir_home defer (30): Read-only file system"
                                 % self.server.domain)
            self.assertEqual(files_below(self.server.mail), [])
        self.assert_works()

    def test_text_that_comes_in(self):
        with read_only_disk(self.server.spool / "tmp"):
            self.assertEqual(self.send(["alice"], HUGE), "451 4.3.0 Mailbox cannot be used now")
            self.server.wait_log("rejected after DATA: defer (30): Read-only file system: while writing to ")
            self.assert_works()

    def test_queue(self):
        with read_only_disk(self.server.spool / "queue", "tmp"):
            self.assertEqual(self.server.send(["alice@" + self.server.domain, DISTANT], SMALL).code, 451)
            self.server.wait_log("rejected after DATA: defer (30): Read-only file system: while queueing ")
            self.assertEqual(files_below(self.server.mail), [])
            self.assert_works()
