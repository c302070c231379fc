"""relay.py list, show, retry, remove: with the relay running and without, and what it says when it cannot."""

import subprocess
import unittest

from tests.helpers import support
from tests.lab.relay import SENDER, TEXT, Relay
from tests.lab.sink import SILENCE, Sink

LATER = {"rcpt": "450 later"}


class CommandCase(unittest.TestCase):

    def assert_done(self, result, text=None):
        self.assertEqual((result.returncode, result.stderr), (0, ""), result)
        if text is not None:
            self.assertEqual(result.stdout, text)

    def assert_refused(self, result, code, text):
        self.assertEqual((result.returncode, result.stdout), (code, ""), result)
        self.assertIn(text, result.stderr)
        self.assertTrue(result.stderr.startswith("relay.py: ") and result.stderr.count("\n") == 1, result.stderr)


class ListTest(CommandCase):

    def test_empty(self):
        with Relay() as relay:
            self.assert_done(relay.command("list"), "La file d'attente est vide.\n")

    def test_like_mailq(self):
        with Relay() as relay:
            ids = [relay.enqueue("x@s.example", {"address": "y@s.example", "state": "done"}, text=b"x" * 384),
                   relay.enqueue("z@s.example", sender="", text=b"x" * 1946, age=3600 * 5),
                   relay.enqueue("z@s.example", text=b"x" * 102400, age=86400 * 4)]
            self.assert_done(relay.command("list"), (
                " 0m   384 %s <%s>\n          x@s.example\n        D y@s.example\n\n"
                " 5h  1.9K %s <>\n          z@s.example\n\n"
                " 4d  100K %s <%s>\n          z@s.example\n\n") % (ids[0], SENDER, ids[1], ids[2], SENDER))

    @support.needs_program("exiqsumm")
    def test_read_by_exim_tools(self):
        with Relay() as relay:
            for number in range(3):
                relay.enqueue("x%d@s.example" % number)
            queue = relay.command("list").stdout
            summary = subprocess.run(["exiqsumm"], input=queue, capture_output=True, text=True, check=True)
            self.assertRegex(summary.stdout, r"\n\s*3 +\S+ +\S+ +\S+ +s\.example\n")

    def test_set_aside(self):
        with Sink({"rcpt": "550 no"}) as sink, Relay({"s.example": sink.port}) as relay:
            frozen = relay.enqueue("x@s.example", sender="")
            broken = relay.enqueue("y@s.example")
            (relay.queue / (broken + ".envelope")).write_text("{")
            relay.start()
            relay.wait_empty()
            text = relay.command("list").stdout
            self.assertIn("%s <> *** frozen *** (mis de côté)\n          x@s.example\n" % frozen, text)
            self.assertIn("%s *** illisible ***\n" % broken, text)

    def test_nothing_a_terminal_obeys(self):
        with Relay() as relay:
            message_id = relay.enqueue("x\x1b[2J@s.example", text=TEXT + b"\x1b]0;title\x07\n")
            for words in (["list"], ["show", message_id]):
                self.assertNotIn("\x1b", relay.command(*words).stdout)


class ShowTest(CommandCase):

    def test_all_of_a_message(self):
        with Sink(LATER) as sink, Relay({"s.example": sink.port}) as relay:
            message_id = relay.enqueue("x@s.example", {"address": "y@s.example", "state": "done"},
                                       text=TEXT + "Ça va.\n".encode())
            relay.start()
            relay.wait_log("== x@s.example")
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][0]["tries"], "the note of the attempt")
            result = relay.command("show", message_id)
            self.assert_done(result)
            for text in ("Expéditeur   <%s>\n" % SENDER, "y@s.example : remis\n", "450 later\n",
                         ", 1 tentative sans succès", "prochaine le ", "\nSubject: essai\n", "\nÇa va.\n"):
                self.assertIn(text, result.stdout)


class RetryTest(CommandCase):

    def test_one_and_all(self):
        """Before its time, and only what is named."""
        with Sink(LATER) as sink, Relay({"s.example": sink.port}) as relay:
            first, second = relay.enqueue("x@s.example"), relay.enqueue("y@s.example")
            relay.start()
            for message_id in (first, second):
                support.wait_for(lambda: relay.envelope(message_id)["recipients"][0]["tries"], "the first attempts")
            self.assert_done(relay.command("retry", first), "Nouvelle tentative demandée pour le message %s.\n" % first)
            relay.wait_log("== x@s.example", 2)
            self.assertEqual(relay.log().count("== y@s.example"), 1)
            self.assert_done(relay.command("retry", first, second),
                             "Nouvelle tentative demandée pour les messages %s %s.\n" % (first, second))
            support.wait_for(lambda: relay.envelope(first)["recipients"][0]["tries"] == 3,
                             "the note of the third attempt")
            self.assertIn(", 3 tentatives sans succès", relay.command("show", first).stdout)
            sink.script["rcpt"] = "250 now"
            self.assert_done(relay.command("retry"), "Nouvelle tentative demandée pour toute la file.\n")
            relay.wait_empty()
            self.assertEqual(len(sink.messages), 2)

    def test_frozen(self):
        with Sink({"rcpt": "550 no"}) as sink, Relay({"s.example": sink.port}) as relay:
            message_id = relay.enqueue("x@s.example", sender="")
            relay.start()
            relay.wait_log("Frozen")
            sink.script["rcpt"] = "250 now"
            self.assert_done(relay.command("retry", message_id))
            sink.wait_messages(1)
            relay.wait_log(message_id + " Completed")
            self.assertIn("Unfrozen by forced delivery", relay.lines(message_id))
            relay.wait_empty()              # the line comes first
            self.assertEqual(relay.ids(aside=True), [])

    def test_without_relay(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            message_id = relay.enqueue({"address": "x@s.example", "next": 4e9})
            result = relay.command("retry", message_id)
            self.assert_done(result)
            self.assertIn("Le relais ne tourne pas", result.stdout)
            relay.start()
            sink.wait_messages(1)


class RemoveTest(CommandCase):

    def test_with_and_without_relay(self):
        for running in (True, False):
            with self.subTest(running=running), Sink(LATER) as sink, Relay({"s.example": sink.port}) as relay:
                ids = [relay.enqueue("x%d@s.example" % number) for number in range(3)]
                if running:
                    relay.start()
                    relay.wait_log("== ", 3)
                self.assert_done(relay.command("remove", *ids[:2]),
                                 "Message %s supprimé.\nMessage %s supprimé.\n" % tuple(ids[:2]))
                self.assertEqual(relay.ids(), ids[2:])
                self.assertEqual(list(relay.queue.glob(ids[0] + "*")), [])
                self.assertRegex("\n".join(relay.lines(ids[0])[-2:]), r"^removed by \w+\nCompleted$")
                self.assertEqual(relay.messages("alice"), [])

    @support.needs_program("strace")
    def test_looks_at_what_is_named_only(self):
        """The cost is that of what is removed, however long the queue is: nobody lists its folder."""
        for running in (True, False):
            with self.subTest(running=running), Relay() as relay:
                ids = [relay.enqueue("x@nowhere.example", sender="") for _ in range(3)]
                trace = relay.folder / "trace"
                if running:
                    relay.start()
                    relay.wait_log(" == x@nowhere.example", 3)
                result = subprocess.run(
                    ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=getdents64", str(support.ROOT / "relay.py"),
                     "remove", *ids], capture_output=True, text=True, env=relay.environment)
                self.assert_done(result)
                self.assertEqual(relay.ids(), [])
                self.assertNotIn(str(relay.queue), trace.read_text())

    def test_while_it_is_sent(self):
        """The attempt that runs is finished; then the message is gone, sent or not."""
        with Sink({"rcpt": SILENCE}) as sink, Relay({"s.example": sink.port}, limits={"command": 1}) as relay:
            message_id = relay.enqueue("x@s.example")
            relay.start()
            sink.wait(lambda sink: "RCPT TO:<x@s.example>" in sink.commands, "the RCPT")
            self.assert_done(relay.command("remove", message_id), "Message %s supprimé.\n" % message_id)
            self.assertEqual([line[:2] for line in relay.lines(message_id)], ["H=", "==", "re", "Co"])

    def test_set_aside(self):
        with Relay() as relay:
            relay.start()
            message_id = relay.enqueue("x@s.example", sender="")
            (relay.queue / (message_id + ".envelope")).write_text("[]")
            relay.wake()
            relay.wait_log("Frozen")
            self.assert_done(relay.command("remove", message_id))
            self.assertEqual(relay.ids(aside=True), [])


class RefusalTest(CommandCase):

    def test_usage(self):
        with Relay() as relay:
            for words, text in ((["frobnicate"], "commande inconnue : frobnicate"), (["show"], "demande un numéro"),
                                (["remove"], "demande un numéro"), (["list", "x"], "argument de trop : x"),
                                (["-spool"], "-spool demande un dossier"), (["-x"], "commande inconnue : -x")):
                with self.subTest(words):
                    self.assert_refused(relay.command(*words), 2, text)

    def test_help(self):
        with Relay() as relay:
            result = relay.command("-help")
            self.assert_done(result)
            for word in ("list", "show", "retry", "remove", "-spool"):
                self.assertIn(word, result.stdout)

    def test_no_such_message(self):
        with Relay() as relay:
            for command in ("show", "retry", "remove"):
                self.assert_refused(relay.command(command, "1xVmS1-00zzzz-aa"), 1, "aucun message 1xVmS1-00zzzz-aa")
                self.assert_refused(relay.command(command, "../../x"), 1, "« ../../x » n'est pas un numéro de message")

    def test_no_such_spool(self):
        with Relay() as relay:
            self.assert_refused(relay.command("-spool", "/nonexistent", "list"), 1, "/nonexistent n'existe pas")

    def test_from_a_folder_that_is_gone(self):
        """A path from there on leads nowhere; any other works."""
        with Relay() as relay:
            relay.enqueue("x@s.example")
            script = 'mkdir gone && cd gone && rmdir "$PWD" && exec "$0" -spool "$1" list'

            def listed(spool):
                words = ["sh", "-c", script, str(support.ROOT / "relay.py"), spool]
                return subprocess.run(words, capture_output=True, text=True, env=relay.environment, cwd=relay.folder)

            self.assert_refused(listed("x"), 2, "-spool x : le dossier courant n'existe plus")
            self.assertIn("x@s.example", listed(str(relay.spool)).stdout)

    def test_spool_by_option(self):
        with Relay() as relay:
            relay.enqueue("x@s.example")
            result = relay.command("-spool", str(relay.spool), "list", SMTP_SPOOL="/nonexistent")
            self.assertIn("x@s.example", result.stdout)

    @support.needs_root
    def test_queue_of_someone_else(self):
        """Who may not read the queue is told so, in one line."""
        with Relay() as relay:
            relay.enqueue("x@s.example")
            relay.spool.chmod(0o700)
            result = subprocess.run([str(support.open_root() / "relay.py"), "list"], capture_output=True, text=True,
                                    env=relay.environment, user=support.NOBODY, group=support.NOBODY, extra_groups=[])
            self.assert_refused(result, 1, "%s : permission refusée\n" % relay.queue)

    def test_broken_message(self):
        with Relay() as relay:
            message_id = relay.enqueue("x@s.example")
            (relay.queue / (message_id + ".message")).unlink()
            self.assert_refused(relay.command("show", message_id), 1, "illisible")

    def test_second_relay(self):
        with Relay() as relay:
            relay.start()
            self.assert_refused(relay.command(), 1, "un relais s'occupe déjà de ")
