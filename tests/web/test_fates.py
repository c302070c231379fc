"""What the page says of the log's lines about a message."""

import pathlib
import tempfile
import unittest

from web import fates
from web.log_reader import LogReader

FIRST, SECOND, THIRD = "1xWyVK-0005DF-Oe", "1xWyVK-0005DF-Of", "1xWyVK-0005DF-Og"
STORE = "/courrier"


def told(text, times=1, store=STORE):
    return fates.described({"text": text, "times": times}, store)


class SentenceTest(unittest.TestCase):
    """Lines as this server writes them, or soon will."""

    def test_where_it_lies_now(self):
        for line, store, sentence in (
                ("=> alice <alice@d> R=local_user T=maildir_home", STORE,
                 "remis : alice, dans /courrier/alice/Maildir/new"),
                ("=> alice <alice@d> R=local_user T=maildir_home", "maildir", "remis : alice, dans ~alice/Maildir/new"),
                ("=> alice <alice@d> R=local_user T=mail_spool", "mbox", "remis : alice, à la fin de /var/mail/alice"),
                ("=> alice <alice@d> R=local_user T=terminal", STORE, "remis : alice, sur son terminal"),
                ('=> bob <bob@d> R=local_user T=lmtp C="250 2.0.0 Saved"', STORE,
                 "remis : bob, par LMTP, au serveur qui garde sa boîte"),
                ('=> x@r R=hubbed_hosts T=remote_smtp H=mx.r [192.0.2.1] X=TLS C="250 OK"', STORE,
                 "remis : x@r, à l'hôte mx.r [192.0.2.1], qui en répond désormais"),
                ('-> "a <b> H=c"@r <x@d> R=h T=remote_smtp H=mx.r [192.0.2.1] C="250 T=terminal"', STORE,
                 'remis aussi : "a <b> H=c"@r, à l\'hôte mx.r [192.0.2.1], qui en répond désormais'),
                ("=> :blackhole: <nobody@d> R=system_aliases", STORE, "jeté, comme l'alias le demande : nobody@d"),
                ("=> /dev/null <nobody@d> R=system_aliases T=**bypassed**", STORE,
                 "jeté, comme l'alias le demande : nobody@d"),
                ("=> x <x@d> R=new_router T=new_transport", STORE, "remis : x"),
                ("=> x", STORE, "remis : x"),
                ("<= a@b H=(moi) [127.0.0.1] P=smtp S=222", STORE,
                 "reçu de <a@b>, 222 octets avec l'en-tête que le serveur ajoute"),
                ("<= <> R=%s U=mail P=local S=9" % FIRST, STORE, "écrit par ce serveur, 9 octets"),
                ("Completed", STORE, "terminé : plus rien n'attend"),
                ("Frozen (delivery error message)", STORE, "mis de côté : quelqu'un doit s'en occuper"),
                ("H=mx.r [192.0.2.1] Connection refused", STORE, "")):
            with self.subTest(line=line, store=store):
                self.assertEqual(told(line, store=store)["sentence"], sentence)

    def test_why_it_does_not(self):
        for line, sentence, why in (
                ("== x@r R=h T=remote_smtp defer (111): Connection refused", "remis à plus tard : x@r",
                 "rien n'écoute à cette adresse sur ce port"),
                ("== x@r R=h T=remote_smtp defer (-44) H=mx.r [192.0.2.1]: SMTP error after RCPT TO:<x@r>: 450 later",
                 "remis à plus tard : x@r", "l'hôte ne prend pas ce destinataire pour l'instant ; réponse 450 : « La "
                 "boîte ne peut pas servir en ce moment »"),
                ("== a@d R=local_user T=maildir_home defer (13): Permission denied", "remis à plus tard : a@d",
                 "permission refusée"),
                ("** x@r: retry timeout exceeded", "échec définitif : x@r",
                 "essayé jusqu'au bout du délai, sans succès"),
                ("** x@r R=h T=remote_smtp H=mx.r [192.0.2.1]: SMTP error after RCPT TO:<x@r>: 550 no",
                 "échec définitif : x@r", "réponse 550 : « Refus définitif : aucune boîte de ce nom, ou le courrier de "
                 "ce domaine n'est pas pris ici »"),
                ("** x@r R=h T=remote_smtp H=mx.r [192.0.2.1]: odd: 599 x", "échec définitif : x@r", "réponse 599")):
            with self.subTest(line=line):
                self.assertEqual((told(line)["sentence"], told(line)["why"]), (sentence, why))
        self.assertEqual(told("== x@r R=h defer (111): Connection refused", 7)["sentence"],
                         "remis à plus tard 7 fois : x@r")

    def test_an_envelopes_last_answer(self):
        self.assertEqual(fates.reason("Connection refused"), "rien n'écoute à cette adresse sur ce port")
        self.assertIn("réponse 450", fates.reason("SMTP error after RCPT TO:<x@r>: 450 later"))
        self.assertEqual(fates.reason("451 later"), fates.reason("x: 451 later"))
        self.assertEqual(fates.reason("something new"), "")


class LogTest(unittest.TestCase):

    def log(self, *lines):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "mainlog")
        path.write_text("".join("2026-11-27 16:08:0%d %s\n" % (number % 10, line) for number, line in enumerate(lines)))
        log = LogReader(str(path))
        log.read()
        return log

    def test_of_deferrals_the_last_one_stays(self):
        deferred = [FIRST + " == x@r R=h T=remote_smtp defer (111): Connection refused"] * 300
        other = FIRST + " == y@r R=h T=remote_smtp defer (110): Connection timed out"
        log = self.log(FIRST + " <= a@b H=(moi) [127.0.0.1] P=smtp S=2", other, *deferred,
                       FIRST + ' => x@r R=h T=remote_smtp H=mx.r [192.0.2.1] C="250 OK"')
        self.assertEqual([(event["flag"], event["to"], event["times"]) for event in log.message(FIRST)["events"]],
                         [("<=", "", 1), ("==", "y@r", 1), ("==", "x@r", 300), ("=>", "x@r", 1)])

    def test_what_belongs_to_a_message(self):
        """Reports to its sender, and what of it was queued when some mailboxes could not be written."""
        log = self.log(FIRST + " <= a@b H=(R=x) [127.0.0.1] P=smtp S=2",
                       SECOND + " <= <> R=%s U=mail P=local S=9" % FIRST,
                       THIRD + " <= a@b R=%s P=local S=9" % FIRST)
        message = log.message(FIRST)
        self.assertEqual((message["reports"], message["parts"]), ([SECOND], [THIRD]))
        self.assertEqual(log.message(SECOND)["reports"], [])


if __name__ == "__main__":
    unittest.main()
