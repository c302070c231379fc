"""What the page of -web tells of sessions, messages and the queue, and what it never tells."""

import os
import signal
import stat
import time
import unittest

from tests.helpers import support
from tests.helpers.secure import ALICE, WRONG, AccountsTestCase, encoded, plain
from tests.lab.sink import Sink
from tests.web.page import LETTER, Page, PageTestCase


@support.both_listeners
class ToldTest(PageTestCase):
    """What the page tells of sessions and messages."""

    more = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")
    aliases = "gone: :fail: nobody\n"

    def test_a_session_step_by_step(self):
        with self.page.events() as events, self.client() as client:
            events.next("snapshot")
            client.expect("HELO élève".encode(), 501)
            client.expect("HELO eleve", 250)
            while not any(session["client"] == "eleve" for session in events.next("sessions")["sessions"]):
                pass
            client.expect("MAIL FROM:<a@b.example>", 250)
            client.expect("RCPT TO:<nobody@%s>" % self.server.domain, 550)
            client.write(b"RSET\nQUIT\r\n")
            client.rest()
        session = self.page.session("eleve")
        self.assertEqual((session["address"], session["refusals"], session["last"]), ("127.0.0.1", 2, "221 2.0.0"))
        steps = self.page.steps(session["name"])
        self.assertEqual(steps[0]["kind"], "arrived")
        self.assertEqual(steps[-1]["kind"], "gone")
        refused = next(step for step in steps if step.get("code") == 550)
        self.assertEqual(refused["what"], "550 5.1.1")
        self.assertIn("Personne ici ne porte ce nom", refused["meaning"])
        self.assertIn("de <a@b.example>, 0 destinataire", refused["state"])
        heard = {step["line"]: step for step in steps if step["kind"] == "heard"}
        self.assertIn("HELO élève", heard)
        self.assertEqual((heard["RSET"]["lf"], heard["QUIT"]["lf"]), (True, False))
        self.assertEqual(heard["RSET"]["section"], "RFC 5321 4.1.1.5")

    def test_a_message_and_where_it_went(self):
        with self.client() as client:
            client.expect("EHLO local", 250)
            client.letter("a@b.example", self.address("alice"), LETTER)
            client.expect("QUIT", 221)
        session = self.page.session("local")
        message_id, = session["messages"]
        text = [step["lines"] for step in self.page.steps(session["name"]) if step["kind"] == "text"]
        self.assertEqual(sum(text, []), [[line, 0, "CRLF"] for line in ("Subject: x", "", "one", "..two", ".")])

        def told_to_the_end():
            told = self.page.json("/message?id=" + message_id)
            return told if told["events"][2:] else None
        told = support.wait_for(told_to_the_end, "its end")
        self.assertEqual([entry["label"] for entry in told["events"]], ["reçu", "remis", "terminé"])
        self.assertEqual(told["events"][1]["sentence"], "remis : alice, dans %s/alice/Maildir/new" % self.server.mail)

    def test_a_message_that_waits(self):
        with self.page.events() as events, self.client() as client:
            client.expect("EHLO waiting", 250)
            client.letter("a@b.example", "x@tpmail.info.unicaen.fr", LETTER)
            client.expect("QUIT", 221)
            message_id, = self.page.session("waiting")["messages"]
            while message_id not in [message["id"] for message in events.next("queue")["messages"]]:
                pass

        def tried():
            told = self.page.json("/message?id=" + message_id)
            return told if told["queue"] and told["queue"]["recipients"][0]["tries"] else None
        told = support.wait_for(tried, "an attempt")
        recipient, = told["queue"]["recipients"]
        self.assertEqual((recipient["address"], recipient["state"]), ("x@tpmail.info.unicaen.fr", "waiting"))
        self.assertGreater(recipient["next"], time.time())
        self.assertEqual(recipient["why"], "rien n'écoute à cette adresse sur ce port")
        queued = told["queue"]
        self.assertEqual(queued["path"], "%s/queue/%s.message" % (self.server.spool, message_id))
        self.assertGreater(queued["until"], recipient["next"])
        self.assertEqual(queued["warned"], "a@b.example")

    def test_what_kind_of_server_it_is(self):
        facts = self.page.snapshot()["facts"]
        lines = dict(facts["lines"])
        self.assertEqual(facts["port"], self.server.port)
        self.assertIn("%s/compte/Maildir" % self.server.mail, lines["Domaine local"])
        self.assertIn("tpmail.info.unicaen.fr → 127.0.0.1:9", lines["Domaines relayés"])
        self.assertEqual(lines["File d'attente"], "%s/queue" % self.server.spool)

    def test_reports_that_are_asked_for(self):
        """A report of success comes from a part of the message; who asked to hear of nothing is not told of failure."""
        alice = self.address("alice")
        with self.client() as client:
            client.expect("EHLO asking", 250)
            client.expect("MAIL FROM:<%s>" % alice, 250)
            client.expect("RCPT TO:<%s> NOTIFY=SUCCESS" % alice, 250)
            client.expect("RCPT TO:<x@tpmail.info.unicaen.fr> NOTIFY=NEVER", 250)
            client.expect("DATA", 354)
            client.write(LETTER)
            self.assertEqual(client.reply().code, 250)
            client.expect("QUIT", 221)
        session = self.page.session("asking")
        message_id, = session["messages"]
        heard = [step for step in self.page.steps(session["name"]) if step["kind"] == "heard"]
        self.assertEqual([[name for name, _, _ in step["parameters"]] for step in heard],
                         [[], [], ["NOTIFY"], ["NOTIFY"], [], []])

        def reported():
            told = self.page.json("/message?id=" + message_id)
            reports = [report for part in told["parts"] for report in part["reports"]]
            return told if reports and [event for event in reports[0]["events"] if event["flag"] == "=>"] else None
        self.assertEqual(support.wait_for(reported, "the report, delivered")["queue"]["warned"], "")

    def test_long_texts_are_cut(self):
        with self.client() as client:
            client.expect("EHLO long", 250)
            text = b"Subject: x\r\n\r\n%s\r\n%s.\r\n" % (b"y" * 20000, b"line\r\n" * 40000)
            client.letter("a@b.example", self.address("alice"), text)
            client.expect("QUIT", 221)
        session = self.page.session("long")
        lines = sum((step["lines"] for step in self.page.steps(session["name"]) if step["kind"] == "text"), [])
        self.assertEqual((len(lines[2][0]), lines[2][1]), (16384, 20000 - 16384))
        self.assertLess(sum(len(text) for text, _, _ in lines), 65536)
        octets = sum(path.stat().st_size for path in (self.server.spool / "web/dialogues").iterdir())
        self.assertLess(octets, 400000)

    def test_strangers_letters(self):
        """What turns the direction of writing, or is not to be seen, is written out before a browser gets it."""
        with self.client() as client:
            client.expect("HELO hostile", 250)
            client.expect("<script>\x1b[31m\u202e\u200b".encode() + b"\xff\xed\xa0\x80", 500)
            client.expect("QUIT", 221)
        steps = self.page.steps(self.page.session("hostile")["name"])
        written = "<script>\\033[31m\\342\\200\\256\\342\\200\\213\\377\\355\\240\\200"
        self.assertIn(written, [step.get("line") for step in steps])

    def test_samples(self):
        """Of sessions, messages and the queue: one every ten seconds, and the short ones count as well."""
        self.server.send(self.address("bob"), LETTER)
        support.wait_for(lambda: any(sample[1] and sample[2] for sample in self.page.snapshot()["samples"]),
                         "a sample with a session and a message")

    def test_a_killed_session_is_over(self):
        with self.client() as client:
            client.expect("HELO killed", 250)
            self.page.session("killed", over=False)
            os.kill(self.server.process_of(client), signal.SIGKILL)
            self.page.session("killed")

    def test_nobody_else_may_read_the_files(self):
        self.server.send(self.address("bob"), LETTER)
        folder = self.server.spool / "web"
        for path in (folder, folder / "dialogues"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
        for path in (folder / "dialogues").iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)


class BounceTest(unittest.TestCase):

    def test_a_bounce_belongs_to_its_message(self):
        with Sink({"rcpt": "550 no such user here"}) as sink:
            relay = "tpmail.info.unicaen.fr=127.0.0.1:%d" % sink.port
            server = support.Server(("-web", str(support.free_port()), "-relay", relay))
            self.addCleanup(server.destroy)
            page = Page(server.start())
            server.send("x@tpmail.info.unicaen.fr", LETTER, sender="alice@" + server.domain)
            message_id, = page.session("client.example.org")["messages"]

            def bounced():
                told = page.json("/message?id=" + message_id)
                return told if told["reports"] and told["reports"][0]["events"][2:] and told["events"][2:] else None
            told = support.wait_for(bounced, "the bounce, delivered")
            self.assertEqual([entry["label"] for entry in told["events"]], ["reçu", "échec définitif", "terminé"])
            self.assertIn("550 no such user here", told["events"][1]["text"])
            self.assertIn("réponse 550 : « Refus définitif", told["events"][1]["why"])
            self.assertEqual([entry["label"] for entry in told["reports"][0]["events"]], ["reçu", "remis", "terminé"])
            self.assertEqual(server.stop(), 0)


class SecretsTest(AccountsTestCase):
    more = ("-web", str(support.free_port()))

    def test_no_password_is_recorded(self):
        client = self.client()
        client.expect("EHLO secret", 250)
        client.expect("AUTH PLAIN " + plain("alice", WRONG), 535)
        client.expect("AUTH LOGIN", 334)
        client.expect(encoded("alice"), 334)
        client.expect(encoded(ALICE), 235)
        client.expect("QUIT", 221)
        client.close()
        session = Page(self.server).session("secret")
        self.assertEqual(session["login"], "alice")
        recorded = b"".join(path.read_bytes() for path in (self.server.spool / "web/dialogues").iterdir())
        self.assertIn(b"AUTH PLAIN ***", recorded)
        for secret in (ALICE, WRONG, encoded(ALICE), encoded(WRONG), plain("alice", WRONG)):
            self.assertNotIn(secret.encode(), recorded)


if __name__ == "__main__":
    unittest.main()
