"""What we store, read as its users read it: through Courier; and our log, through Exim's own log readers."""

import collections
import subprocess

from tests.helpers import mailboxes, support
from tests.lab import corpus
from tests.lab.courier import Courier, needs_courier
from tests.mailstore.test_corpus import USERS, StoreCase, converse


@needs_courier
class CourierTest(StoreCase):
    """The corpus lies in two users' Maildirs, and Courier serves them."""

    store = "maildir"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for message in corpus.all_messages():
            converse(cls.server.client(), message.commands, message.wire)
        cls.maildirs = {user: support.pathlib.Path("/home", user, "Maildir") for user in USERS}
        # Before Courier has seen them: it renames what it reads.
        cls.stored = {user: [message.content for message in mailboxes.read_maildir(path)]
                      for user, path in cls.maildirs.items()}
        cls.courier = cls.enter(Courier(cls.maildirs))

    def check(self, read) -> None:
        """Every message comes back once, each LF as CRLF."""
        for user in USERS:
            with self.subTest(user):
                self.assertTrue(self.stored[user])
                balance = collections.Counter(content.replace(b"\n", b"\r\n") for content in self.stored[user])
                balance.subtract(read(user))
                self.assertEqual([(message[:400], count) for message, count in balance.items() if count], [])

    def test_pop3(self):
        self.check(self.courier.pop3)

    def test_imap(self):
        self.check(self.courier.imap)

    def test_whole_corpus_is_there(self):
        total = sum(map(len, self.stored.values()))
        self.assertGreater(total, len(corpus.all_messages()))


class LogReadersTest(support.ServerTestCase):
    """Three messages for two users, one bounce for one, two refusals: Exim's tools count and group them."""

    wire = b"Subject: log\r\n\r\nbody\r\n.\r\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        alice, bob = "alice@" + cls.server.domain, "bob@" + cls.server.domain
        replies = [cls.server.send([alice, bob], cls.wire) for _ in range(3)]
        cls.server.send(alice, cls.wire, sender="")
        with cls.server.client() as client:
            client.expect("EHLO client.example.org", 250)
            client.expect("MAIL FROM:<sender@client.example.org>", 250)
            client.expect("RCPT TO:<nobody@%s>" % cls.server.domain, 550)
            client.expect("RCPT TO:<someone@elsewhere.example>", 550)
        cls.message_id = replies[1].text.rpartition("id=")[2]

    def read_log(self, *command: str) -> str:
        result = subprocess.run([*command, str(self.server.log_path)], capture_output=True, text=True, check=True)
        self.assertEqual(result.stderr, "")
        return result.stdout

    @support.needs_program("eximstats")
    def test_eximstats_counts(self):
        statistics = [line.split() for line in self.read_log("eximstats", "-nr", "-t0").splitlines()]
        self.assertEqual({words[0]: words[2] for words in statistics if words[:1] in (["Received"], ["Delivered"])},
                         {"Received": "4", "Delivered": "7"})
        self.assertIn("2", next(words for words in statistics if words[:1] == ["Rejects"])[1:])
        self.assertIn(["maildir_home", "7"], [words[:1] + words[2:] for words in statistics])

    @support.needs_program("exigrep")
    def test_exigrep_shows_one_message_whole(self):
        found = self.read_log("exigrep", self.message_id).splitlines()
        self.assertEqual([line.split()[2:4] for line in found if line],
                         [[self.message_id, mark] for mark in ("<=", "=>", "=>", "Completed")])
