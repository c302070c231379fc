"""How results and outcomes are worded for the log (queue_manager/log_lines.py, mailstore/outcome.py), as Exim does."""

import unittest

from mailstore.envelope import Recipient
from mailstore.outcome import Later, Never, deferral, refusal
from queue_manager.attempt import Tried
from queue_manager.log_lines import note_line, reason, result_of, tried_line
from smtp_client.result import DONE, LATER, NEVER, UNKNOWN, DeliveryResult, Note, Peer

PEER = Peer("mx.example", "192.0.2.1", "TLS1.3:TLS_AES_256_GCM_SHA384:256")
AFTER = "SMTP error from remote mail server after RCPT TO:<x@y.example>"
BUSY = DeliveryResult(LATER, AFTER, -44, "450 busy", peer=PEER)
REFUSED = DeliveryResult(NEVER, AFTER, 0, "550-5.1.1 no\n550 5.1.1 such user", peer=PEER)
REFUSED_CONNECTION = DeliveryResult(LATER, errno=111)
SILENT = DeliveryResult(LATER, "SMTP timeout after DATA", 110, peer=PEER)


def line(result, given="x@y.example", follows=False, **more):
    way = {"router": "dnslookup", "transport": "remote_smtp", **more}
    return tried_line(Tried(Recipient("x@y.example", [given]), result, **way), follows)


class LinesTest(unittest.TestCase):

    def test_done(self):
        taken = DeliveryResult(DONE, reply='250 "ok"\n\\', peer=PEER)
        columns = 'R=dnslookup T=remote_smtp H=mx.example [192.0.2.1] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no ' \
            'C="250 \\"ok\\"\\\\n\\\\"'
        self.assertEqual(line(taken), "=> x@y.example " + columns)
        self.assertEqual(line(taken, "list@here.example", follows=True),
                         "-> x@y.example <list@here.example> " + columns)
        self.assertEqual(line(DeliveryResult(DONE), account="bob", router="local_user", transport="maildir_home"),
                         "=> bob <x@y.example> R=local_user T=maildir_home")

    def test_later(self):
        start = "== x@y.example R=dnslookup T=remote_smtp defer "
        host = "H=mx.example [192.0.2.1]"
        self.assertEqual(line(BUSY), "%s(-44) %s: %s: 450 busy" % (start, host, AFTER))
        self.assertEqual(line(SILENT), "%s(110): Connection timed out %s: SMTP timeout after DATA" % (start, host))
        self.assertEqual(line(REFUSED_CONNECTION), start + "(111): Connection refused")

    def test_never(self):
        start = "** x@y.example"
        self.assertEqual(line(REFUSED), "%s R=dnslookup T=remote_smtp H=mx.example [192.0.2.1]: %s: %s" % (
            start, AFTER, REFUSED.reply))
        self.assertEqual(line(DeliveryResult(NEVER, "Unrouteable address"), router="", transport=""),
                         start + ": Unrouteable address")
        self.assertEqual(line(BUSY, gave_up=True), start + ": retry timeout exceeded")

    def test_notes_of_a_host(self):
        for result, text in ((REFUSED_CONNECTION, " Connection refused"), (BUSY, ": %s: 450 busy" % AFTER),
                             (SILENT, ": SMTP timeout after DATA: Connection timed out")):
            self.assertEqual(note_line(Note(PEER, result)), "H=mx.example [192.0.2.1]" + text)

    def test_reason(self):
        self.assertEqual([reason(result) for result in (REFUSED_CONNECTION, BUSY, SILENT)],
                         ["Connection refused", AFTER + ": 450 busy", "SMTP timeout after DATA"])
        self.assertEqual((REFUSED.status, BUSY.status), ("5.1.1", ""))


class OutcomesTest(unittest.TestCase):
    """What the mail store says, where a message is kept for later, and where a recipient is refused."""

    def test_words(self):
        for outcome, deferred, refused in (
                (Later("Later", 13, "/m"), "defer (13): Permission denied: /m", "(13) Permission denied: /m"),
                (Later("Later", -9, "locked"), "defer (-9): locked", "(-9) locked"),
                (Later("being moved"), "being moved", "being moved"),
                (Never("No such user", doing="Unrouteable address"), "Unrouteable address", "Unrouteable address")):
            self.assertEqual((deferral(outcome), refusal(outcome)), (deferred, refused))

    def test_as_results(self):
        for outcome, expected in (
                (Later("Later", 13, "/m"), (LATER, "/m", 13, "")),
                (Later("being moved"), (LATER, "being moved", UNKNOWN, "")),
                (Never("No such user", doing="Unrouteable address"), (NEVER, "Unrouteable address", 0, "5.1.1"))):
            result = result_of(outcome)
            self.assertEqual((result.outcome, result.text, result.errno, result.status), expected)


if __name__ == "__main__":
    unittest.main()
