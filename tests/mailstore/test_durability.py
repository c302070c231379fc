"""Whoever hears 250 may forget the message: the order of system calls shows it, and each of them that fails undoes
all."""

import pathlib
import unittest

from tests.helpers import faults, harness, support
from tests.helpers.accounts import system_users
from tests.helpers.client import Client
from tests.helpers.tracing import Tracing

TEXT = b"Subject: durable\r\n\r\n" + b"text\r\n" * 100
ACCEPTED = r"^\d+<(socket|TCP).*\"250 2\.0\.0 OK id="


def needs_tracing(case):
    """Decorator: strace has to be there, and to be allowed."""
    return support.needs_root(support.needs_program("strace")(case))


def begin(client: Client, *recipients: str) -> None:
    """A session up to its 354. recipients: addresses; with parameters, in brackets."""
    client.expect("EHLO client.example", 250)
    client.expect("MAIL FROM:<a@client.example>", 250)
    for recipient in recipients:
        client.expect("RCPT TO:" + (recipient if recipient[0] == "<" else "<%s>" % recipient), 250)
    client.expect("DATA", 354)


class OrderTestCase(support.ServerTestCase):
    """Its tests trace the process that has a client, and those that write mailboxes for it."""

    options = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")

    def traced(self, *recipients: str) -> Tracing:
        """The trace of one message's end of data."""
        with self.client() as client:
            begin(client, *recipients)
            client.write(TEXT)
            pid = self.server.process_of(client)
            with Tracing([pid, *self.server.agent_workers()]) as tracing:
                client.write(b".\r\n")
                self.assertEqual(client.reply().code, 250)
                client.expect("NOOP", 250)
        return tracing

    def assert_order(self, tracing: Tracing, *steps):
        """These (call, pattern of its arguments) happened one after another."""
        positions = [tracing.position(*step) for step in steps]
        self.assertEqual(positions, sorted(positions), tracing.calls)


@needs_tracing
@support.both_listeners
class MaildirOrderTest(OrderTestCase):
    """write, fsync, rename, fsync of the folder, `<=`, 250; of several places, `<=` before the first counts."""

    def test_one_mailbox(self):
        self.server.send(self.address("alice"), b"Subject: makes the folders\r\n.\r\n")
        tracing = self.traced(self.address("alice"))
        self.assert_order(tracing, ("openat", r"alice/Maildir/tmp/.*O_EXCL"), ("write", r"Maildir/tmp/"),
                          ("fsync", r"Maildir/tmp/"), ("rename", r"Maildir/tmp/.*Maildir/new/"),
                          ("fsync", r"Maildir/new>"), ("write", r"mainlog>.* <= "), ("write", ACCEPTED))

    def test_folders_that_are_made(self):
        """Each new folder's own name is made durable too."""
        folder = self.server.add_account("carol")
        tracing = self.traced(self.address("carol"))
        self.assert_order(tracing, ("fsync", r"<%s>" % folder), ("fsync", r"carol/Maildir>"),
                          ("rename", r"Maildir/tmp/.*Maildir/new/"), ("fsync", r"Maildir/new>"), ("write", ACCEPTED))

    def test_two_mailboxes(self):
        """Both are ready before either counts."""
        tracing = self.traced(self.address("alice"), self.address("bob"))
        for last in ("alice", "bob"):
            for first in ("alice", "bob"):
                self.assert_order(tracing, ("fsync", first + r"/Maildir/tmp/"), ("rename", last + r"/Maildir/tmp/"),
                                  ("fsync", last + r"/Maildir/new>"), ("write", ACCEPTED))

    def test_queue(self):
        """Message, then envelope, then both names: the envelope's last, for it makes the message count."""
        tracing = self.traced("x@tpmail.info.unicaen.fr")
        self.assert_order(tracing, ("write", r"queue/tmp/.*message>"), ("fsync", r"queue/tmp/.*message>"),
                          ("write", r"queue/tmp/.*envelope>"), ("fsync", r"queue/tmp/.*envelope>"),
                          ("write", r"mainlog>.* <= "), ("rename", r"queue/tmp/.*\.message"),
                          ("rename", r"queue/tmp/.*\.envelope"), ("fsync", r"queue>"), ("write", ACCEPTED))

    def test_mailbox_and_queue(self):
        tracing = self.traced(self.address("alice"), "x@tpmail.info.unicaen.fr")
        self.assert_order(tracing, ("fsync", r"queue/tmp/.*envelope>"), ("rename", r"Maildir/tmp/"),
                          ("write", ACCEPTED))
        self.assert_order(tracing, ("fsync", r"Maildir/tmp/"), ("rename", r"queue/tmp/.*\.envelope"),
                          ("fsync", r"queue>"), ("write", ACCEPTED))

    def test_success_to_be_reported(self):
        """The report's entry in the queue is ready before the mailbox is written, counts after it, and before 250."""
        tracing = self.traced("<%s> NOTIFY=SUCCESS" % self.address("alice"))
        self.assert_order(tracing, ("fsync", r"queue/tmp/.*envelope>"), ("rename", r"Maildir/tmp/.*Maildir/new/"),
                          ("fsync", r"Maildir/new>"), ("rename", r"queue/tmp/.*\.message"),
                          ("rename", r"queue/tmp/.*\.envelope"), ("fsync", r"queue>"), ("write", ACCEPTED))


@needs_tracing
class MboxOrderTest(OrderTestCase):
    """Lock, write, fsync, 250; a new mbox's name is made durable too."""

    options = ("-store", "mbox")
    accounts = None

    def test_mbox(self):
        with system_users("essaimbox"):
            mbox = pathlib.Path("/var/mail/essaimbox")
            tracing = self.traced(self.address("essaimbox"))
            self.assert_order(tracing, ("link", r"essaimbox\.lock"), ("fsync", r"</var/mail>"),
                              ("write", r"<%s>" % mbox), ("fsync", r"<%s>" % mbox), ("unlink", r"essaimbox\.lock\""),
                              ("write", r"mainlog>.* <= "), ("write", ACCEPTED))
            self.assertIn(b"Subject: durable\n", mbox.read_bytes())


@needs_tracing
@support.both_listeners
class FaultTest(support.ServerTestCase):
    """A call that fails: 4xx, nothing kept, not even in part, and the same session goes on."""

    FAULTS = {"inject=fsync:error=EIO:when=1": 451, "inject=fsync:error=EIO:when=2": 451,
              "inject=fsync:error=ENOSPC:when=1": 452, "inject=rename:error=EIO:when=1": 451,
              "inject=rename:error=EROFS:when=1": 451, "inject=openat:error=EMFILE:when=1": 451,
              "inject=openat:error=EDQUOT:when=1": 452, "inject=openat:error=ENOSPC:when=1": 452}

    def setUp(self):
        self.server.send(self.address("alice"), b"Subject: makes the folders\r\n.\r\n")
        self.remove_all()

    def remove_all(self):
        for message in self.server.messages("alice"):
            message.path.unlink()

    def assert_nothing_kept(self):
        self.assertEqual(self.server.messages("alice"), [])
        self.assertEqual([*self.server.spool.glob("tmp/*"), *self.server.mail.glob("*/Maildir/tmp/*")], [])

    def assert_goes_on(self, client: Client):
        begin(client, self.address("alice"))
        client.write(TEXT + b".\r\n")
        self.assertEqual(client.reply().code, 250)
        self.assertEqual(len(self.server.messages("alice")), 1)
        self.remove_all()

    def test_each_fault(self):
        for fault, code in self.FAULTS.items():
            with self.subTest(fault=fault), self.client() as client:
                self.assert_goes_on(client)         # imports what would be opened too
                begin(client, self.address("alice"))
                client.write(TEXT)
                pid = self.server.process_of(client)
                with Tracing([pid, *self.server.agent_workers()], fault):
                    client.write(b".\r\n")
                    self.assertEqual(client.reply().code, code)
                self.assert_nothing_kept()
                self.assert_goes_on(client)


class ShortWritesTest(unittest.TestCase):
    """A kernel may take less than it is given: all of it arrives in the end, or none."""

    def test_every_write_is_short(self):
        with harness.Handlers(patch={"posix.write": faults.write_little}) as server, server.client() as client:
            begin(client, "alice@" + server.domain, "bob@" + server.domain)
            client.write(TEXT * 50 + b".\r\n")
            self.assertEqual(client.reply().code, 250)
            for account in ("alice", "bob"):
                message, = server.messages(account)
                self.assertTrue(message.content.endswith((TEXT * 50).replace(b"\r\n", b"\n")))

    def test_file_that_takes_a_part_only(self):
        """A write that is cut short, then fails: as on a disk that fills up."""
        with harness.Handlers(file_size=9000) as server, server.client() as client:
            for repeat, code, kept in ((20, 451, 0), (1, 250, 1), (20, 451, 1)):
                begin(client, "alice@" + server.domain)
                client.write(TEXT * repeat + b".\r\n")
                self.assertEqual(client.reply().code, code)
                self.assertEqual(len(server.messages("alice")), kept)
                self.assertEqual(list(server.mail.glob("*/Maildir/tmp/*")), [])


class ClockTest(unittest.TestCase):
    """The time set back an hour in the middle of a session, at every message: no name is used twice."""

    def test_clock_that_falls(self):
        variables = {"SMTP_RELAY": "tpmail.info.unicaen.fr=127.0.0.1:9"}
        with harness.Handlers(variables, {"time.time": faults.falling_time}) as server, server.client() as client:
            client.expect("EHLO client.example", 250)
            ids = set()
            for number in range(50):
                reply = client.letter("a@client.example", ["alice@" + server.domain, "x@tpmail.info.unicaen.fr"],
                                      b"Subject: number %d\r\n.\r\n" % number)
                self.assertEqual(reply.code, 250)
                ids.add(reply.text)
            self.assertEqual(len(ids), 50)
            texts = {message.content.partition(b"Subject: ")[2] for message in server.messages("alice")}
            self.assertEqual(len(texts), 50)
            self.assertEqual(len(list(server.spool.glob("queue/*.envelope"))), 50)


if __name__ == "__main__":
    unittest.main()
