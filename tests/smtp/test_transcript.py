"""What -v and -vv show in the launcher's terminal, and the explanations that HELP, -vv and the page share."""

import ast
import contextlib
import os
import pty
import re
import unittest

from smtp import explanations
from smtp.commands import VERBS
from tests.helpers import support
from tests.helpers.secure import ALICE, AccountsTestCase, encoded

LETTER = b"Subject: x\r\n\r\nx\r\n.\r\n"
ROW = re.compile(r" *(\d+) │ (.*)")
FORMAT = "".join(map(chr, (0x202E, 0x2066, 0x200B, 0xFEFF)))    # turn the direction of writing, or are not to be seen
OPENED = b"%s\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ALICE>\r\n"


def rows(text):
    """[(a session's number, what it said)] out of what -v showed."""
    return [(int(found[1]), found[2]) for found in map(ROW.fullmatch, text.splitlines()) if found]


class ShownTestCase(support.ServerTestCase):

    def setUp(self):
        self.seen = len(self.server.output())

    def shown(self, last="fin de la session"):
        """What was shown since the test began, up to a row that says `last`."""
        support.wait_for(lambda: last in self.server.output()[self.seen:], last)
        return [text for _, text in rows(self.server.output()[self.seen:])]

    def assert_in_order(self, wanted, found):
        found = iter(found)
        self.assertEqual([row for row in wanted if row not in found], [], "missing, or out of order")


@support.both_listeners
class TerminalTest(ShownTestCase):
    options = ("-v",)

    def play(self, wire):
        with self.client() as client:
            client.write(wire.replace(b"ALICE", self.address("alice").encode()))
            return client.rest()

    def test_letters_as_they_are(self):
        commands = "EHLO x", "MAIL FROM:<élève@x.example> SMTPUTF8", "NOOP \x1b[31m\a" + FORMAT, "QUIT", ""
        self.play("\r\n".join(commands).encode())
        shown = self.shown()
        self.assertIn("C: MAIL FROM:<élève@x.example> SMTPUTF8", shown)
        self.assertIn("C: NOOP \\033[31m\\007\\342\\200\\256\\342\\201\\246\\342\\200\\213\\357\\273\\277", shown)

    def test_octets_that_are_no_text(self):
        self.play(b"NOOP \xff\xc2\x85\r\nQUIT\r\n")
        self.assertIn("C: NOOP \\377\\302\\205", self.shown())

    def test_line_ends(self):
        self.play(b"NOOP\n" + OPENED % b"HELO x" + b"DATA\r\nSubject: x\r\n\r\none\n..two\r\n.\r\nQUIT\r\n")
        self.assert_in_order(["C: NOOP ⏎LF", "C: MAIL FROM:<a@b.example>", "C: one ⏎LF", "C: ..two", "C: .", "C: QUIT"],
                             self.shown())

    def test_chunks_in_their_order(self):
        self.play(OPENED % b"EHLO x" + b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 3\r\noneBDAT 3 LAST\r\ntwoQUIT\r\n")
        self.assert_in_order(["C: BDAT 14", "C: Subject: x", "[morceau de 14 octets]", "C: BDAT 3", "C: one",
                              "[morceau de 3 octets]", "C: BDAT 3 LAST", "C: two", "[morceau de 3 octets]",
                              "[fin du message, 20 octets]", "C: QUIT"], self.shown())

    def test_a_chunk_out_of_its_turn(self):
        self.play(b"EHLO x\r\nBDAT 3 LAST\r\noneQUIT\r\n")
        self.assert_in_order(["C: BDAT 3 LAST", "[morceau de 3 octets, lu et jeté]"], self.shown())

    def test_long_texts_are_cut(self):
        text = b"Subject: x\r\n\r\n%s\r\n%s.\r\n" % (b"x" * 10000, b"y\r\n" * 50)
        self.play(OPENED % b"HELO x" + b"DATA\r\n" + text + b"QUIT\r\n")
        shown = self.shown()
        self.assertIn("C: %s [... encore 9000 octets]" % ("x" * 1000), shown)
        self.assertIn("[... encore 14 lignes]", shown)

    def test_a_number_for_each_session(self):
        with self.client() as first, self.client() as second:
            first.expect("HELO first", 250)
            second.expect("HELO second", 250)
            first.expect("QUIT", 221)
            second.expect("QUIT", 221)
        support.wait_for(lambda: self.server.output()[self.seen:].count("fin de la session") == 2, "both ends")
        number = {text: number for number, text in rows(self.server.output()[self.seen:])}
        self.assertNotEqual(number["C: HELO first"], number["C: HELO second"])

    def test_no_colours_in_a_file(self):
        self.play(b"QUIT\r\n")
        self.shown()
        self.assertNotIn("\x1b", self.server.output())


class ColoursTest(unittest.TestCase):
    """On a terminal each session has a colour, and so have client and server."""

    def test_colours(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        server = support.Server(("-v",))
        self.addCleanup(server.destroy)
        server.output_path = "/proc/self/fd/%d" % theirs
        server.launch()
        os.close(theirs)
        server.output_path = server.folder / "output"
        support.wait_for(lambda: support.listeners(server.port), "a listener")
        with server.client() as first, server.client() as second:
            first.expect("QUIT", 221)
            second.expect("QUIT", 221)
        shown = ""
        with contextlib.suppress(OSError):
            while shown.count("fin de la session") < 2:
                shown += os.read(ours, 65536).decode("utf-8", "replace")
        columns = set(re.findall(r"(\x1b\[[0-9;]+m) +\d+ \x1b\[0m│", shown))
        self.assertEqual(len(columns), 2, shown)
        self.assertRegex(shown, r"│ \x1b\[36mC: QUIT\x1b\[0m")
        self.assertRegex(shown, r"│ \x1b\[32mS: 221 ")


@support.both_listeners
class ExplainedTest(ShownTestCase):
    options = ("-vv",)

    def test_each_step(self):
        with self.client() as client:
            client.expect("HELO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            client.expect("RCPT TO:<nobody@%s>" % self.server.domain, 550)
            client.expect("DATA", 554)
            client.expect("QUIT", 221)
        self.assert_in_order([
            "C: HELO x", "   état : connecté ; HELO ou EHLO d'abord",
            "   HELO (RFC 5321 4.1.1.1) : " + explanations.COMMANDS["HELO"].french,
            "   état : présenté ; MAIL ouvre une transaction",
            "C: RCPT TO:<nobody@%s>" % self.server.domain, "S: 550 5.1.1 No such user here",
            "   550 5.1.1 (RFC 3463 3.2) : " + explanations.explain(550, "5.1.1").french,
            "C: DATA",
            "   état : transaction ouverte ; RCPT nomme ses destinataires ; de <a@b.example>, 0 destinataire",
            "   554 5.5.1 (RFC 5321 4.1.1.4) : " + explanations.explain(554, "5.5.1").french], self.shown())

    def test_the_message_has_a_name(self):
        self.server.send(self.address("alice"), LETTER)
        named = [row for row in self.shown() if row.startswith("le message s'appelle ")]
        self.assertIn(named[0].split()[3], self.server.log())


class ExplainedSecretsTest(AccountsTestCase):
    more = ("-vv",)

    def test_password(self):
        client = self.client()
        client.expect("EHLO x", 250)
        client.expect("AUTH LOGIN", 334)
        client.expect(encoded("alice"), 334)
        client.expect(encoded(ALICE), 235)
        client.expect("QUIT", 221)
        client.close()
        support.wait_for(lambda: "fin de la session" in self.server.output(), "the end")
        self.assertIn("authentifié (alice)", self.server.output())
        for secret in (ALICE, encoded(ALICE)):
            self.assertNotIn(secret, self.server.output())


class ExplanationsTest(unittest.TestCase):
    """Each command and each reply is explained, in both languages."""

    def test_every_verb(self):
        self.assertEqual(set(explanations.COMMANDS), set(VERBS))

    def test_every_reply(self):
        tree = ast.parse((support.ROOT / "smtp" / "replies.py").read_text("utf-8"))
        calls = [node for node in ast.walk(tree)
                 if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reply"]
        pairs = {(call.args[0].value, call.args[1].value) for call in calls if isinstance(call.args[0], ast.Constant)}
        self.assertGreater(len(pairs), 30)
        self.assertEqual([pair for pair in sorted(pairs) if not pair[1] and pair[0] not in explanations.CODES], [])
        self.assertEqual({pair for pair in pairs if pair[1]}, set(explanations.ENHANCED))
        self.assertEqual([code for code, _ in explanations.ENHANCED if code not in explanations.CODES], [])

    def test_texts(self):
        for table in (explanations.COMMANDS, explanations.CODES, explanations.ENHANCED, explanations.STATES):
            for key, entry in table.items():
                self.assertTrue(entry.english.isascii() and entry.english.isprintable() and entry.french, key)
                self.assertLess(len(entry.english) + len(entry.section), 480, key)
                self.assertRegex(entry.section, r"RFC \d{3,4} [0-9A-F][0-9.]*(, \d{4} [0-9.]+)?\Z")


if __name__ == "__main__":
    unittest.main()
