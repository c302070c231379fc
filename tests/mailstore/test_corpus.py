"""Our corpus of nasty messages: what we store is what the Exim that runs beside us stores, in Maildir and mbox.

Compared are each copy's bytes, mode, owner and file name, the replies' kind and the log.  The differences we want stand
in the corpus, as `--- stored` parts; and a mailbox gets one copy of a message from us, however its recipient is
spelled: `--- one copy`.

What is stored does not depend on who listens, so each listener serves in one class.
"""

import dataclasses

from tests.helpers import support
from tests.helpers.accounts import system_users
from tests.helpers.lasting import enter
from tests.lab import compare, corpus
from tests.lab.exim import ALIASES, Exim, needs_model_exim

USERS = ("eximalice", "eximbob")
TAKE = {"maildir": compare.take_maildir, "mbox": compare.take_mbox}


def converse(client: support.Client, commands, wire: bytes):
    """Say one message's commands and data, and give the replies; no DATA when no RCPT was accepted.

    Without QUIT, after which Exim takes a fifth of a second to close.
    """
    with client:
        replies = [client.ask(command) for command in commands]
        if any(reply.code == 250 for command, reply in zip(commands, replies) if command.upper().startswith("RCPT")):
            client.expect("DATA", 354)
            client.write(wire)
            replies.append(client.reply())
    return replies


class StoreCase(support.ServerTestCase):
    """The server with real accounts; `store` is what subclasses choose."""

    store = ""
    more_options = ()
    accounts = None
    aliases = ALIASES

    @classmethod
    def setUpClass(cls):
        cls.options = ("-store", cls.store, *cls.more_options)
        cls.enter(system_users(*USERS))
        super().setUpClass()

    @classmethod
    def enter(cls, context):
        """Enter a context until the class is done."""
        return enter(cls.addClassCleanup, context)

    def take(self):
        """All copies that lie in the users' mailboxes; they are removed."""
        return [copy for user in USERS for copy in TAKE[self.store](user)]

    def assert_same_copies(self, ours, theirs) -> None:
        self.assertEqual([copy.attributes for copy in ours], [copy.attributes for copy in theirs])
        for our_copy, their_copy in zip(ours, theirs):
            if our_copy.content != their_copy.content:
                self.fail(compare.first_difference(our_copy.content, their_copy.content))


class AgainstExim:
    """Each message of our corpus goes to Exim, then to us."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.exim = cls.enter(Exim(cls.store))

    def test_stored_and_logged_as_exim_does(self):
        for message in corpus.all_messages():
            with self.subTest(message.name):
                self.check(message)

    def check(self, message: corpus.Message) -> None:
        replies, copies, log = self.ask_exim(message)
        if message.stored is not None:
            copies = [self.with_our_text(copy, message.stored) for copy in copies]
        our_replies, our_copies, our_log = self.ask_us(message)
        if message.one_copy is not None:
            copies, log = compare.as_one(copies, message.one_copy), self.with_one_delivery(log)
        self.assertEqual([reply.code // 100 for reply in our_replies], [reply.code // 100 for reply in replies])
        self.assert_same_copies(our_copies, copies)
        self.assertEqual(our_log, log)

    def ask_exim(self, message: corpus.Message):
        """What Exim replied, stored and logged."""
        before = len(self.exim.log())
        replies = converse(self.exim.client(), message.commands, message.wire)
        self.exim.wait_completed(replies[-1].text.rpartition("id=")[2])
        copies = self.take()
        return replies, copies, compare.log_lines(self.exim.log()[before:])

    def ask_us(self, message: corpus.Message):
        before = len(self.server.log())
        replies = converse(self.client(), message.commands, message.wire)
        copies, log = self.take(), self.server.log()[before:]
        if self.store == "maildir":
            self.assertEqual({copy.size for copy in copies}, {compare.log_size(log)})
        return replies, copies, compare.log_lines(log)

    @staticmethod
    def with_one_delivery(log):
        """Exim's log of several copies for one user, with the line of the first only."""
        deliveries = [line for line in log if line.startswith("=> ")]
        return [line for line in log if line not in deliveries[1:]]

    def with_our_text(self, copy: compare.Copy, stored: bytes) -> compare.Copy:
        """Exim's copy with our text below the headers that the server adds."""
        added = copy.content.index(b"\n\tDATE\n") + len(b"\n\tDATE\n")
        return dataclasses.replace(
            copy, content=copy.content[:added] + stored + (b"\n" if self.store == "mbox" else b""))


@needs_model_exim
class MaildirTest(AgainstExim, StoreCase):
    store = "maildir"


@needs_model_exim
class MboxTest(AgainstExim, StoreCase):
    store = "mbox"
    listener = "prefork"
