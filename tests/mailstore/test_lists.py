"""Aliases that multiply: however lists contain each other, and however often one is given, it costs what its members
do."""

from tests.helpers import processes, support
from tests.helpers.disks import full_disk
from tests.whole.test_hostile import MOST_MEMORY

LETTER = b"Subject: to many\r\n\r\ntext\r\n.\r\n"
MEMBERS = ["m%d" % number for number in range(1000)]


def lists_of_each_other(count: int) -> str:
    """Each list holds all the others, and alice."""
    names = ["l%d" % number for number in range(count)]
    return "".join("%s: alice, %s\n" % (name, ", ".join(other for other in names if other != name)) for name in names)


def doubling_chain(length: int) -> str:
    links = "".join("a%d: a%d, a%d\n" % (number, number + 1, number + 1) for number in range(length))
    return "%sa%d: bob\n" % (links, length)


def long_chain(length: int) -> str:
    return "".join("c%d: c%d\n" % (number, number + 1) for number in range(length)) + "c%d: bob\n" % length


@support.both_listeners
class ListsTest(support.ServerTestCase):
    """Each of these took for ever, or all memory."""

    accounts = ("alice", "bob")
    aliases = "%s%s%smembers: %s\nfar: %s\nhuge: %s\n" % (
        lists_of_each_other(40), doubling_chain(60), long_chain(1500), ",\n  ".join(MEMBERS),
        ", ".join("%s@tpmail.info.unicaen.fr" % name for name in MEMBERS),
        ", ".join("n%d" % number for number in range(10001)))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in MEMBERS:
            cls.server.add_account(name)

    def begun(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO client.example", 250)
        client.expect("MAIL FROM:<a@client.example>", 250)
        return client

    def check_one_copy(self, name: str, account: str):
        self.assertEqual(self.server.send(self.address(name), LETTER).code, 250)
        message, = self.server.messages(account)
        self.assertIn(b"Envelope-to: %s@" % name.encode(), message.content)
        message.path.unlink()

    def test_lists_that_contain_each_other(self):
        self.check_one_copy("l0", "alice")

    def test_doubling_chain(self):
        self.check_one_copy("a0", "bob")

    def test_long_chain(self):
        self.check_one_copy("c0", "bob")

    def test_more_than_anybody_can_check(self):
        reply = self.begun().expect("RCPT TO:<%s>" % self.address("huge"), 450)
        self.assertEqual(reply.text, "4.2.0 Alias leads to too many recipients")
        self.server.wait_log("huge@%s: more than 10000 targets" % self.server.domain)

    def test_one_list_a_thousand_times(self):
        """In a few spellings; a list elsewhere too."""
        client = self.begun()
        for name in ("members", "Members", "MEMBERS", "far"):
            client.write(b"RCPT TO:<%s>\r\n" % self.address(name).encode() * 250)
            self.assertEqual([client.reply().code for _ in range(250)], [250] * 250)
        self.assertLess(processes.peak_memory(self.server.process_of(client)), MOST_MEMORY)
        client.expect("RSET", 250)

    def test_lists_beside_each_other(self):
        """Many aliases of one account: one copy, and all of them are named."""
        client = self.begun()
        codes = [client.ask("RCPT TO:<%s>" % self.address("c%d" % number)).code for number in range(100)]
        self.assertEqual(codes, [250] * 100)
        client.expect("DATA", 354)
        client.write(LETTER)
        self.assertEqual(client.reply().code, 250)
        message, = self.server.messages("bob")
        self.assertEqual(message.content.count(b"@" + self.server.domain.encode() + b",\n"), 99)
        message.path.unlink()


@support.needs_root
class RoomTest(support.ServerTestCase):
    """Room is looked for once, for all copies together."""

    accounts = ("alice", "bob", "carol")
    aliases = "all: alice, bob, carol\n"

    def test_room_for_two_of_three(self):
        text = b"Subject: x\r\n\r\n" + b"x" * 70 * 100 + b"\r\n" + (b"y" * 78 + b"\r\n") * 5000 + b".\r\n"
        with full_disk(self.server.mail, "1m") as store:
            for name in self.accounts:
                (store / name).mkdir()
                support.os.chown(store / name, support.NOBODY, support.NOBODY)
            self.assertEqual(self.server.send(self.address("all"), text).code, 452)
            self.server.wait_log("all copies need ")
            self.assertEqual(list(store.glob("*/*")), [])
            self.assertEqual(self.server.send(self.address("alice"), text).code, 250)
