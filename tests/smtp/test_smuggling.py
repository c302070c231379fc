"""What is said in a message's text or in an argument stays text: no second message, no header line, no log line, no
path, no way to another host.
"""

import itertools
import re
import unittest

from tests.helpers import support
from tests.helpers.client import Client
from tests.helpers.lasting import enter
from tests.lab.sink import Sink

LINE_ENDS = {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n", "CRCRLF": b"\r\r\n", "LFCR": b"\n\r", "NUL": b"\r\n\0",
             "none": b""}
REMOTE = "smuggled@tpmail.info.unicaen.fr"
TERMINATOR = {b"\n": b"\n.\n", b"\r\n": b"\r\n.\r\n"}
PRINTABLE_LINE = re.compile(rb"[ -~]*")
REPLY_LINE = re.compile(rb"\d{3}[ -][ -~]{0,506}\r\n")


def ends_data(before: bytes, after: bytes, line_end: bytes) -> bool:
    """Whether `before` dot `after` is the end of data for a client whose lines end in `line_end`."""
    return before.endswith(line_end) and after.startswith(line_end) and (line_end == b"\r\n" or b"\r\n" not in before)


def lookalikes(line_end: bytes):
    """What looks like an end of data and is none, for a client whose lines end in `line_end`."""
    for (first, before), (second, after) in itertools.product(LINE_ENDS.items(), repeat=2):
        if not ends_data(before, after, line_end):
            yield first + "." + second, before + b"." + after


class TwoPlacesTestCase(support.ServerTestCase):
    """A server whose relay domain is carried to a host of ours."""

    @classmethod
    def setUpClass(cls):
        cls.sink = enter(cls.addClassCleanup, Sink())
        cls.options = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:%d" % cls.sink.port)
        super().setUpClass()


@support.both_listeners
class EndOfDataTest(TwoPlacesTestCase):
    """CRLF . CRLF, and LF . LF for who has never sent a CRLF: one message in, one stored, one relayed."""

    def begin(self, line_end: bytes) -> Client:
        """A session up to its 354."""
        client = self.client()
        for command, code in (("EHLO client.example", 250), ("MAIL FROM:<a@client.example>", 250),
                              ("RCPT TO:<%s>" % self.address("alice"), 250),
                              ("RCPT TO:<x@tpmail.info.unicaen.fr>", 250), ("DATA", 354)):
            client.write(command.encode() + line_end)
            self.assertEqual(client.reply().code, code)
        return client

    def text(self, name: str, lookalike: bytes, line_end: bytes) -> bytes:
        """A message in whose text a second one is hidden behind `lookalike`."""
        hidden = ["MAIL FROM:<evil@client.example>", "RCPT TO:<%s>" % self.address("bob"), "RCPT TO:<%s>" % REMOTE,
                  "DATA", "Subject: smuggled", "", "hidden"]
        return line_end.join([b"Subject: " + name.encode(), b"", b"open" + lookalike + hidden[0].encode(),
                              *(line.encode() for line in hidden[1:])])

    def assert_one_message(self, client: Client, name: str):
        self.assertEqual(client.reply().code, 250)
        client.expect("NOOP", 250)
        client.expect("QUIT", 221)
        self.assertEqual(client.rest(), b"")
        client.close()
        marked = [m for m in self.server.messages("alice") if b"\nSubject: %b\n" % name.encode() in m.content]
        self.assertEqual(len(marked), 1)
        self.assertIn(b"\nhidden\n", marked[0].content)
        self.assertEqual(self.server.messages("bob"), [])

    def check(self, name: str, command_end: bytes, lookalike: bytes, line_end: bytes):
        with self.subTest(lookalike=name, commands=command_end, text=line_end):
            label = "%s %s %s" % (name, command_end.hex(), line_end.hex())
            client = self.begin(command_end)
            strict = b"\r\n" in (command_end, line_end) or b"\r\n" in lookalike
            client.write(self.text(label, lookalike, line_end) + TERMINATOR[b"\r\n" if strict else b"\n"])
            self.assert_one_message(client, label)

    def test_client_that_ends_lines_in_crlf(self):
        for name, lookalike in self.sample(lookalikes(b"\r\n"), 2):
            self.check(name, b"\r\n", lookalike, b"\r\n")

    def test_client_that_ends_lines_in_lf(self):
        for name, lookalike in lookalikes(b"\n"):
            if b"\r\n" not in lookalike:
                self.check(name, b"\n", lookalike, b"\n")

    def test_crlf_in_one_part_of_the_session_only(self):
        for name, lookalike in self.sample(lookalikes(b"\r\n"), 2):
            self.check(name, b"\r\n", lookalike, b"\n")
            if not (b"\r\n" not in lookalike
                    and ends_data(b"\n" + lookalike.partition(b".")[0], lookalike.partition(b".")[2], b"\n")):
                self.check(name, b"\n", lookalike, b"\r\n")

    def tearDown(self):
        """What was relayed is what was stored, and not a message more."""
        stored = len(self.server.messages("alice"))
        self.sink.wait_messages(stored)
        support.wait_for(lambda: not list(self.server.spool.glob("queue/*.envelope")), "an empty queue")
        self.assertEqual(len(self.sink.messages), stored)
        for message in self.sink.messages:
            self.assertEqual(message.recipients, ["TO:<x@tpmail.info.unicaen.fr>"])
            self.assertEqual(re.findall(rb"(?<!\r)\n|\r(?!\n)", message.data), [])
        self.sink.messages.clear()
        for message in self.server.messages("alice"):
            message.path.unlink()


CONTROLS = {"NUL": b"\0", "BEL": b"\a", "BS": b"\b", "TAB": b"\t", "VT": b"\v", "FF": b"\f", "CR": b"\r",
            "ESC": b"\x1b[31m", "DEL": b"\x7f", "CSI": b"\x9b", "NEL": b"\xc2\x85", "LS": b"\xe2\x80\xa8",
            "RLO": b"\xe2\x80\xae", "8-bit": b"\xff\xfe", "UTF-8": "é".encode(),
            "fold": b"\r 2026-01-01 00:00:00 forged"}
ARGUMENTS = (b"HELO a%bb", b"EHLO a%bb", b"MAIL FROM:<a%bb@c.example>", b"MAIL FROM:<a@c%bc.example>",
             b'MAIL FROM:<"a%bb"@c.example>', b"MAIL FROM:<a@c.example> SIZE=1%b0", b"MAIL FROM:<a@c.example> X%b=1",
             b"MAIL FROM:<a@c.example> AUTH=x%by", b"RCPT TO:<a%bb@{domain}>", b'RCPT TO:<"a%bb"@{domain}>',
             b"RCPT TO:<alice@{domain}%b>", b"RCPT TO:<@h%bx:alice@{domain}>", b"VRFY a%bb", b"EXPN a%bb", b"HELP a%bb",
             b"NOOP a%bb", b"AUTH PLAIN a%bb", b"AUTH %b", b"BDAT 1%b0", b"BDAT %bx LAST", b"RSET %b", b"DATA %b",
             b"QUIT %b", b"STARTTLS %b", b"NO%bOP", b"%b")


@support.both_listeners
class ControlCharactersTest(support.ServerTestCase):
    """In every argument of every command: none of them comes back raw, nor reaches the log or a header."""

    options = ("-v",)

    def replies(self, argument: bytes):
        """What the server says to one command, in the state in which it looks at it closest."""
        with self.client() as client:
            client.write(b"EHLO client.example\r\n")
            if argument.startswith(b"RCPT"):
                client.write(b"MAIL FROM:<a@client.example> SMTPUTF8\r\n")
            client.write(argument.replace(b"{domain}", self.server.domain.encode()) + b"\r\nQUIT\r\n")
            return client.rest()

    def test_every_argument(self):
        for (name, control), argument in self.sample(itertools.product(CONTROLS.items(), ARGUMENTS), 5):
            with self.subTest(control=name, argument=argument):
                said = self.replies(argument.replace(b"%b", control))
                self.assertRegex(said, rb"221 [ -~]*\r\n\Z")
                for line in said.splitlines(keepends=True):
                    self.assertTrue(REPLY_LINE.fullmatch(line), line)

    def test_stored_and_logged(self):
        """What may be in an address by SMTPUTF8 is in the header as it came, and in the log in ASCII."""
        with self.client() as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<é@client.example> SMTPUTF8".encode(), 250)
            client.expect("RCPT TO:<%s>" % self.address("bob"), 250)
            client.expect("DATA", 354)
            client.write(b"From: a\r\nSubject: x\rX-Forged: 1\nX-Also: 1\r\nX-Ctrl: \x1b[31m\r\n.\r\n")
            self.assertEqual(client.reply().code, 250)
        message, = self.server.messages("bob")
        header = message.content.partition(b"\n\n")[0]
        self.assertEqual([line for line in header.split(b"\n") if line.startswith((b"X-Forged", b"X-Also"))], [])

    @classmethod
    def tearDownClass(cls):
        """Every line of the log is a line of ours, in printable ASCII; all that -v shows is to be seen."""
        lines = cls.server.log_path.read_bytes().split(b"\n")
        forged = [line for line in lines[:-1]
                  if not re.match(rb"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d ", line) or b" forged" in line[:40]]
        shown = [line for line in cls.server.output_path.read_bytes().split(b"\n")
                 if re.match(rb" *\d+ \xe2\x94\x82 ", line)]
        unprintable = [line for line in lines if not PRINTABLE_LINE.fullmatch(line)]
        unprintable += [line for line in shown if not line.decode().isprintable()]
        super().tearDownClass()
        if forged or unprintable:
            raise AssertionError("in the log or on the terminal: %r" % (forged + unprintable)[:5])


NO_USERS = (
    "../alice", "a/b", "alice/../bob", "..", ".", "./alice", "/etc/passwd", "//etc", "alice/Maildir", "|id", "|/bin/sh",
    ":include:/etc/passwd", ":fail:", ":blackhole:", "~alice", "~root", "$HOME", "`id`", "%s", "%n%n",
    "alice%elsewhere.example", "elsewhere.example!alice", "alice@elsewhere.example", "a b", "x" * 200, "alıce", "аlice",
    "alice ", " alice", "alice\\", "\\alice", "alice,bob", "<alice>", "-alice")
NO_RELAYS = (
    "x@elsewhere.example", "@elsewhere.example:x@other.example", "x%elsewhere.example@other.example", "x@[192.0.2.1]",
    "x@[IPv6:2001:db8::1]", "x@tpmail.info.unicaen.fr.elsewhere.example", "x@info.unicaen.fr",
    "x@sub.tpmail.info.unicaen.fr", '"x@tpmail.info.unicaen.fr"@elsewhere.example',
    "@tpmail.info.unicaen.fr:x@elsewhere.example", "x@tpmail-info.unicaen.fr", "x@localhost",
    "x@tpmail.info.unicaen.fr@elsewhere.example", "x@elsewhere.example,y@tpmail.info.unicaen.fr",
    "x@tpmail.info.unicaen.fr.", "elsewhere.example!x@elsewhere.example")


@support.both_listeners
class AddressTest(TwoPlacesTestCase):
    """A local part is never a path, a command or a route; a domain that is not ours is never carried."""

    aliases = ("pipe: |id\nfile: /tmp/serveur-smtp-essai-never\ninclude: :include:/etc/passwd\nhole: :blackhole:\n"
               "mixed: alice, |id, /etc/x\naway: x@elsewhere.example\n")

    def setUp(self):
        self.tree = self.names()

    def names(self):
        return {path for path in self.server.folder.rglob("*") if self.server.spool not in path.parents}

    def codes(self, paths):
        """{path: the code of RCPT TO:<path>}."""
        codes = {}
        for path in paths:
            with self.client() as client:
                client.expect("EHLO client.example", 250)
                client.expect("MAIL FROM:<a@client.example> SMTPUTF8", 250)
                codes[path] = client.ask(("RCPT TO:<%s>" % path).encode()).code
        return codes

    def assert_refused(self, paths):
        codes = self.codes(paths)
        self.assertEqual({path: code for path, code in codes.items() if code not in (501, 550, 551, 553)}, {})
        self.assertEqual(self.names(), self.tree)
        self.assertEqual(list(self.server.spool.glob("queue/*.envelope")), [])
        self.assertEqual(self.sink.messages, [])

    def test_no_user(self):
        # A blank in front of an address is one that was typed.
        self.assert_refused("%s@%s" % (name, self.server.domain) for name in NO_USERS if name[0] != " ")

    def test_no_user_quoted(self):
        quoted = (name.replace("\\", "\\\\") for name in NO_USERS)
        self.assert_refused('"%s"@%s' % (name, self.server.domain) for name in quoted)

    def test_no_relay(self):
        self.assert_refused(NO_RELAYS)

    def test_route_to_here_is_dropped(self):
        for path in ("@elsewhere.example:" + self.address("alice"), "@a.example,@b.example:" + self.address("alice")):
            self.assertEqual(self.codes([path]), {path: 250})

    def test_aliases_that_ask_for_more(self):
        codes = self.codes(self.address(name) for name in ("pipe", "file", "include", "hole"))
        self.assertEqual(list(codes.values()), [550, 550, 550, 250])
        self.assertEqual(self.codes([self.address("away")]), {self.address("away"): 551})
        self.assertEqual(self.names(), self.tree)

    def test_alias_of_a_user_and_a_command(self):
        self.assertEqual(self.server.send(self.address("mixed"), b"Subject: x\r\n.\r\n").code, 250)
        self.assertEqual(len(self.server.messages("alice")), 1)
        new = {path.name for path in self.names() - self.tree}
        self.assertEqual(new, {"Maildir", "tmp", "new", "cur", self.server.messages("alice")[0].path.name})

    def test_recipient_whose_name_is_an_alias_does_not_open_the_relay(self):
        with self.client() as client:
            client.expect("EHLO client.example", 250)
            client.expect("MAIL FROM:<>", 250)
            self.assertEqual(client.ask("RCPT TO:<%s>" % self.address("away")).code, 551)
            self.assertEqual(client.ask("RCPT TO:<x@elsewhere.example>").code, 550)
            self.assertEqual(client.ask("DATA").code, 554)


if __name__ == "__main__":
    unittest.main()
