"""What a sender asked to be told (RFC 3461) while the message lies in the queue: notices of delay, reports across
restarts and full disks, and what relay.py tells of it."""

import typing
import unittest

from tests.helpers import support
from tests.helpers.reports import HEADERS, Told, reports
from tests.lab.relay import Relay
from tests.lab.sink import Sink

HERE = support.DOMAIN
PLAIN, AWARE, BAD = "plain.example", "aware.example", "bad.example"
# Behind a host that is slow: what is told after 25 hours, and what in the end: then it takes the message, or never.
SLOW = [
    ("", ["delayed"], [], ["failed"]),
    ("NEVER", [], [], []),
    ("DELAY", ["delayed"], [], []),
    ("FAILURE", [], [], ["failed"]),
    ("SUCCESS", [], ["relayed"], []),
    ("SUCCESS,FAILURE,DELAY", ["delayed"], ["relayed"], ["failed"]),
]


class SlowTest(unittest.TestCase):
    """A host that is late: the relay's clock is set."""

    def run_rows(self, last_answer: str, hours_at_the_end: float):
        """{ENVID: actions} after 25 hours, and at the end."""
        script = {"rcpt": "450 later"}
        with Sink(script) as sink, Relay({"slow.example": sink.port}) as relay:
            ids = [relay.enqueue({"address": "x@slow.example", "notify": notify}, envid="row%d" % number)
                   for number, (notify, *_) in enumerate(SLOW)]
            relay.start()
            relay.wait_log(" == x@slow.example", len(ids))
            self.let_pass(relay, ids, 25, tries=2)
            late = self.actions(relay)
            sink.script["rcpt"] = last_answer
            relay.advance(hours_at_the_end)
            relay.wait_empty()
            return late, self.actions(relay)

    @staticmethod
    def let_pass(relay, ids, hours, tries):
        relay.advance(hours)
        relay.wait_log(" == x@slow.example", len(ids) * tries)
        support.wait_for(lambda: all(relay.envelope(one)["recipients"][0]["tries"] == tries for one in ids), "the note")
        support.wait_for(lambda: set(relay.ids()) == set(ids), "the notices' delivery")

    @staticmethod
    def actions(relay):
        found: typing.Dict[str, typing.List[str]] = {}
        for message in relay.messages("alice"):
            envid, told = reports(message.content)
            found.setdefault(envid, []).extend(one.action for one in told)
        return found

    def check(self, found, wanted):
        self.assertEqual({envid: actions for envid, actions in found.items()},
                         {"row%d" % number: actions for number, actions in enumerate(wanted) if actions})

    def test_taken_in_the_end(self):
        late, end = self.run_rows("250 OK", 7)
        self.check(late, [delay for _, delay, _, _ in SLOW])
        self.check(end, [delay + success for _, delay, success, _ in SLOW])

    def test_given_up(self):
        late, end = self.run_rows("450 later", 100)
        self.check(late, [delay for _, delay, _, _ in SLOW])
        self.check(end, [delay + failure for _, delay, _, failure in SLOW])


class QueueTest(unittest.TestCase):
    """What lies in the queue, across restarts, and what relay.py tells of it."""

    def test_show(self):
        with Relay() as relay:
            message_id = relay.enqueue({"address": "x@far.example", "notify": "SUCCESS,DELAY", "orcpt": "rfc822;a+2Bb"},
                                       {"address": "bob@" + HERE, "mailbox": "bob", "state": "done",
                                        "report": "delivered", "notify": "SUCCESS"}, ret="HDRS", envid="id+2B1")
            shown = relay.command("show", message_id).stdout
        self.assertIn("\n             demandé : RET=HDRS ENVID=id+2B1\n", shown)
        self.assertIn("\n             demandé : NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb\n", shown)
        self.assertIn(": remis, boîte de bob, l'expéditeur en sera averti\n", shown)

    def test_killed_before_the_report(self):
        """What a host took is noted at once, and reported after the restart: with the host's words."""
        with Sink({"dot": "250 2.6.0 taken"}) as sink, Relay({PLAIN: sink.port}) as relay:
            done = {"address": "x@" + PLAIN, "state": "done", "notify": "SUCCESS", "orcpt": "rfc822;a+2Bb",
                    "reply": "250 2.6.0 taken", "report": "relayed", "host": "127.0.0.1"}
            relay.enqueue(done, ret="HDRS", envid="a+3Db")
            relay.start()
            relay.wait_empty()
            message, = relay.messages("alice")
            self.assertEqual(reports(message.content), ("a=b", [Told(
                "relayed", "rfc822;a+b", "rfc822;x@" + PLAIN, "2.6.0", "dns; 127.0.0.1", "smtp; 250 2.6.0 taken",
                HEADERS)]))
            self.assertEqual(sink.messages, [])

    def test_no_room_for_the_report(self):
        """It stays to be told, and is told at the next attempt; the message goes out once."""
        def block(*_):
            folder.rename(relay.queue / "moved")
            folder.write_text("")
            return "250 taken"

        with Sink({"dot": block}) as sink, Relay({PLAIN: sink.port}) as relay:
            folder = relay.queue / "tmp"
            message_id = relay.enqueue({"address": "x@" + PLAIN, "notify": "SUCCESS"})
            relay.start()
            relay.wait_log("cannot queue a report of success")
            self.assertEqual(relay.ids(), [message_id])
            folder.unlink()
            relay.queue.joinpath("moved").rename(folder)
            relay.wake("retry")
            relay.wait_empty()
            self.assertEqual([one.action for one in reports(relay.messages("alice")[0].content)[1]], ["relayed"])
            self.assertEqual(len(sink.messages), 1)

    def test_many_members_are_one_report(self):
        """However many members a list has, the sender hears of it once, and once of all that failed."""
        members = [{"address": "m%d@%s" % (number, BAD), "envelope_to": ["list@" + HERE], "notify": "FAILURE",
                    "orcpt": "rfc822;list"} for number in range(200)]
        expanded = {"address": "list@" + HERE, "state": "done", "report": "expanded", "notify": "SUCCESS,FAILURE"}
        with Sink({"rcpt": "550 no"}) as sink, Relay({BAD: sink.port}) as relay:
            relay.enqueue(expanded, *members)
            relay.start()
            relay.wait_empty()
            told = [reports(message.content)[1] for message in relay.messages("alice")]
        self.assertEqual(sorted(len(one) for one in told), [1, 200])

    def run_list(self, notify: str, end: str):
        """What is told of a list with a member who is refused at once, and one whose end that is, later: at once, and
        in the end, when the relay has been killed meanwhile."""
        script = {"rcpt": lambda argument, _: "550 no" if "<bad@" in argument else later[0]}
        later = ["450 later"]
        with Sink(script) as sink, Relay({BAD: sink.port}) as relay:
            message_id = relay.enqueue(*[{"address": "%s@%s" % (name, BAD), "envelope_to": ["list@" + HERE],
                                          "notify": notify} for name in ("bad", "late")])
            relay.start()
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][1]["tries"] == 1, "the note")
            support.wait_for(lambda: relay.ids() == [message_id], "the bounce's delivery")
            at_once = len(relay.messages("alice"))
            relay.kill()
            later[0] = end
            relay.advance(1, wake=False)
            relay.start()
            relay.wait_empty()
            return at_once, [reports(message.content)[1] for message in relay.messages("alice")]

    def test_list_whose_members_fail_one_by_one(self):
        """Who asked by NOTIFY hears of it once, when each has come to its end."""
        for end, count in (("550 no", 2), ("250 OK", 1)):
            at_once, (told,) = self.run_list("FAILURE", end)
            self.assertEqual((at_once, len(told)), (0, count))
            for one in told:
                self.assertEqual((one.action, one.status, one.remote, one.diagnostic),
                                 ("failed", "5.0.0", "dns; 127.0.0.1", "smtp; 550 no"))

    def test_list_that_nothing_was_asked_about(self):
        """As Exim: of each as soon as that is known."""
        at_once, told = self.run_list("", "550 no")
        self.assertEqual((at_once, [len(one) for one in told]), (1, [1, 1]))

    def test_list_that_the_relay_expands(self):
        """An address of ours that has become a list meanwhile (RFC 3461 §5.2.7.3 (c))."""
        with Sink(extensions=("DSN",)) as sink, \
                Relay({AWARE: sink.port}, aliases="list: x@%s, bob\n" % AWARE) as relay:
            relay.enqueue({"address": "list@" + HERE, "notify": "SUCCESS,FAILURE", "orcpt": "rfc822;o"})
            relay.start()
            relay.wait_empty()
            told, = (reports(message.content)[1] for message in relay.messages("alice"))
            self.assertEqual([one.action for one in told], ["expanded"])
            self.assertEqual(sink.messages[0].recipients, ["TO:<x@%s> NOTIFY=FAILURE ORCPT=rfc822;o" % AWARE])


if __name__ == "__main__":
    unittest.main()
