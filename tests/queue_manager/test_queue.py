"""The queue under the relay: many messages, few connections, slow hosts, kills, files that cannot be read."""

import contextlib
import os
import pathlib
import pwd
import random
import signal
import time
import unittest

from tests.helpers import processes, support
from tests.helpers.tracing import Tracing
from tests.lab.relay import Relay
from tests.lab.sink import DROP, SILENCE, Sink

MESSAGES, KILLS = (1000, 200) if support.LONG else (200, 20)


def recipients_of(sink):
    """{address: how many copies the sink took}."""
    counts = {}
    for message in sink.messages:
        for recipient in message.recipients:
            counts[recipient[4:-1]] = counts.get(recipient[4:-1], 0) + 1
    return counts


class ThroughputTest(unittest.TestCase):

    def test_thousand_messages_over_four_connections(self):
        """All that gathered while a host was down leaves in one run. (The rate is tests/bench/relay_rate.py's.)"""
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            names = ["u%d@s.example" % number for number in range(1000)]
            for name in names:
                relay.enqueue(name)
            relay.start()
            relay.wait_empty(3 * support.PATIENCE)
            self.assertEqual(recipients_of(sink), dict.fromkeys(names, 1))
            # One that finds nothing left for the moment ends, and more may come: hundreds a connection, not one more.
            self.assertLessEqual((sink.most_at_once, sink.connections // 10), (4, 0))
            self.assertEqual(relay.log().count(" Completed"), 1000)

    def test_host_that_takes_few_messages_a_connection(self):
        """One ends the session with 421, another just closes: the message goes over a new connection at once."""
        for farewell in ("421 enough", DROP):
            def few(_, visit):
                return "250 OK" if visit.transactions <= 7 else farewell
            with self.subTest(farewell), Sink({"mail": few}) as sink, Relay({"s.example": sink.port}) as relay:
                for number in range(50):
                    relay.enqueue("u%d@s.example" % number)
                relay.start()
                relay.wait_empty()
                self.assertEqual(set(recipients_of(sink).values()), {1})
                self.assertNotIn(" == ", relay.log())

    def test_one_connection_for_few(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            for number in range(8):
                relay.enqueue("u%d@s.example" % number)
            relay.start()
            relay.wait_empty()
            self.assertEqual((sink.connections, len(sink.messages)), (1, 8))

    def test_two_domains_at_one_host(self):
        """One message, one transaction; and the host's four connections are for both together."""
        with Sink() as sink, Relay({"a.example": sink.port, "b.example": sink.port}) as relay:
            relay.enqueue("x@a.example", "y@b.example")
            for number in range(300):
                relay.enqueue("u%d@%s.example" % (number, "ab"[number % 2]))
            relay.start()
            relay.wait_empty()
            self.assertIn(["TO:<x@a.example>", "TO:<y@b.example>"], [message.recipients for message in sink.messages])
            self.assertLessEqual(sink.most_at_once, 4)

    def test_host_that_is_down_is_tried_once_a_run(self):
        with Sink({"connect": DROP}) as sink, Relay({"s.example": sink.port}) as relay:
            for number in range(100):
                relay.enqueue("u%d@s.example" % number)
            relay.start()
            relay.wait_log(" == ", 100)
            self.assertLessEqual(sink.connections, 2)

    def test_messages_that_break_the_line_do_not_hold_up_others(self):
        def poisoned(argument, _):
            return DROP if b"poison" in argument else "250 OK"
        with Sink({"dot": poisoned}) as sink, Relay({"s.example": sink.port}) as relay:
            bad = [relay.enqueue("bad%d@s.example" % number, text=b"Received: x\n\npoison\n") for number in range(2)]
            good = ["good%d@s.example" % number for number in range(30)]
            for name in good:
                relay.enqueue(name)
            relay.start()
            relay.wait_log(" Completed", 30)
            self.assertEqual(sorted(recipients_of(sink)), sorted(good))
            support.wait_for(lambda: relay.log().count(" == ") == 2, "both deferrals")
            self.assertEqual(relay.ids(), bad)


class SlowHostTest(unittest.TestCase):

    def test_holds_up_nobody(self):
        """Hosts that say nothing, take their time or cannot be reached: mail for another leaves at once."""
        with Sink({"connect": SILENCE}) as mute, Sink({"dot": SILENCE}) as slow, Sink() as quick, \
                Relay({"mute.example": mute.port, "slow.example": slow.port, "quick.example": quick.port},
                      limits={"greeting": 600, "end_of_data": 600}) as relay:
            for number in range(20):
                relay.enqueue("u%d@mute.example" % number)
                relay.enqueue("u%d@slow.example" % number)
            both = relay.enqueue("x@mute.example", "y@quick.example")
            relay.start()
            relay.wait_log("=> y@quick.example")
            # What is done is noted although the rest of the message is not.
            noted = {"x@mute.example": "waiting", "y@quick.example": "done"}
            support.wait_for(lambda: relay.states(both) == noted, "the note")
            self.assertNotIn(" == ", relay.log())
            slow.close()                # the stop would wait for its answer for a while, but not for the other's
            self.assertEqual(relay.stop(), 0)


class StopTest(unittest.TestCase):

    def test_answer_on_its_way_is_noted(self):
        """TERM between the final dot and the 250: the relay waits for it, and the message is not sent again."""
        with Sink() as sink:
            with Relay({"s.example": sink.port}) as relay:
                def term(_, visit):
                    os.kill(relay.process.pid, signal.SIGTERM)
                    support.wait_for(lambda: relay.process.poll() is not None or stopping(relay),
                                     "the stop's beginning")
                    return "250 taken"
                sink.script["dot"] = term
                message_id = relay.enqueue("x@s.example")
                relay.start()
                self.assertEqual(relay.process.wait(support.PATIENCE), 0)
                self.assertEqual(len(sink.messages), 1)
                self.assertEqual(relay.lines(message_id)[-1], "Completed")
                self.assertEqual(relay.ids(), [])

    def test_nothing_is_begun_any_more(self):
        with Sink({"rcpt": SILENCE}) as sink, Relay({"s.example": sink.port}) as relay:
            ids = [relay.enqueue("u%d@s.example" % number) for number in range(5)]
            relay.start()
            sink.wait(lambda sink: any(line.startswith("RCPT") for line in sink.commands), "the RCPT")
            self.assertEqual(relay.stop(), 0)
            self.assertEqual(relay.ids(), ids)
            self.assertEqual(support.processes_marked(relay.mark), {})


def stopping(relay):
    """Whether the relay has taken its TERM in: it is not pending any more (proc(5))."""
    status = pathlib.Path("/proc/%d/status" % relay.process.pid).read_text()
    pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return not any(mask >> (signal.SIGTERM - 1) & 1 for mask in pending)


class KillTest(unittest.TestCase):

    def test_killed_at_random(self):
        """KILL again and again: every message arrives; one arrives twice only if the kill fell between the
        other side's 250 and its note, which is for the four connections of one moment."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            names = ["u%d@s.example" % number for number in range(MESSAGES)]
            for name in names:
                relay.enqueue(name)
            kills = self.kill_until_empty(relay, sink, chance)
            relay.wait_empty(3 * support.PATIENCE)
            counts = recipients_of(sink)
            again = sum(counts.values()) - len(counts)
            print("\nrelay killed %d times over %d messages: %d arrived, %d of them twice or more (seed %d)" % (
                kills, MESSAGES, len(counts), again, seed))
            self.assertEqual(sorted(counts), sorted(names))
            self.assertLessEqual(again, 4 * kills)
            completed = {line[20:36] for line in relay.log().splitlines() if line.endswith(" Completed")}
            self.assertEqual(len(completed), MESSAGES)
            self.assertEqual(list((relay.queue / "tmp").iterdir()), [])

    @staticmethod
    def kill_until_empty(relay, sink, chance):
        """Kill the relay KILLS times, each when so many more messages have come or after a moment; how often it was."""
        step = max(1, MESSAGES // KILLS - 1)
        for kill in range(KILLS):
            relay.start()
            wanted = len(sink.messages) + chance.randrange(step + 1)
            with sink.changed:
                sink.changed.wait_for(lambda: len(sink.messages) >= min(wanted, MESSAGES), 5)
            time.sleep(chance.random() / 100)       # a moment that nothing announces is what this is about
            if not relay.ids():
                return kill
            relay.kill()
        relay.start()
        return KILLS


class FilesTest(unittest.TestCase):

    def test_what_cannot_be_read_is_set_aside(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            broken = {text: relay.enqueue("x@s.example") for text in (
                "", "{", "[1]", "null", "[" * 100000, '{"id": "1"}')}
            for text, message_id in broken.items():
                (relay.queue / (message_id + ".envelope")).write_text(text)
            without_text = relay.enqueue("x@s.example")
            (relay.queue / (without_text + ".message")).unlink()
            renamed = relay.enqueue("x@s.example", id="1xVmS1-zzzzzz-aa")
            wrong = relay.enqueue({"address": 5})
            lost = relay.enqueue({"address": "x@s.example", "state": "lost"})
            good = relay.enqueue("good@s.example")
            relay.start()
            relay.wait_log(good + " Completed")
            aside = [*broken.values(), without_text, renamed, wrong, lost]
            self.assertEqual(relay.ids(aside=True), sorted(aside))
            self.assertEqual(relay.ids(), [])
            for message_id in aside:
                self.assertRegex(relay.lines(message_id)[0], r"^Frozen \(queue file cannot be read: its .*\)$")
            self.assertEqual(list(recipients_of(sink)), ["good@s.example"])

    def test_other_files_are_left_alone(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            for name in ("notes.txt", ".envelope", "x.envelope", "1xVmS1-000009-aa.envelope.bak"):
                (relay.queue / name).write_text("mine")
            relay.enqueue("x@s.example")
            relay.start()
            sink.wait_messages(1)
            relay.wait_log("Completed")
            self.assertEqual((relay.queue / "notes.txt").read_text(), "mine")
            self.assertEqual((relay.queue / "x.envelope").read_text(), "mine")

    def test_leftovers_of_a_crash(self):
        """What a session had not committed is removed, once it cannot be at work any more."""
        with Relay() as relay:
            old, young = "1xVmS1-000001-zz", "1xVmS1-000002-zz"
            for message_id in (old, young):
                for path in (relay.queue / (message_id + ".message"), relay.queue / "tmp" / (message_id + ".envelope")):
                    path.write_text("half")
                    if message_id == old:
                        os.utime(path, (0, 0))
            relay.start()
            self.assertEqual(relay.stop(), 0)
            left = sorted(path.name for path in relay.queue.rglob("1xVm*"))
            self.assertEqual(left, [young + ".envelope", young + ".message"])

    def test_full_disk_sends_nothing_twice(self):
        """The note that a recipient has it cannot be written: the relay knows it all the same."""
        def answer(argument, _):
            return "450 later" if "later" in argument else "250 OK"
        with Sink({"rcpt": answer}) as sink, Relay({"s.example": sink.port}) as relay:
            first = relay.enqueue("first@s.example")
            relay.start()
            relay.wait_log(first + " Completed")        # what it does as it starts is over
            message_id = relay.enqueue("x@s.example", "later@s.example")
            folder = relay.queue / "tmp"
            moved = folder.rename(relay.queue / "tmp.away")
            folder.write_text("not a folder")
            relay.wake()
            relay.wait_log("queue file cannot be written now")
            relay.wake("retry")
            relay.wait_log("== later@s.example", 2)
            folder.unlink()
            moved.rename(folder)
            sink.script["rcpt"] = "250 OK"
            relay.wake("retry")
            relay.wait_log(message_id + " Completed")
            self.assertEqual(recipients_of(sink), {"first@s.example": 1, "x@s.example": 1, "later@s.example": 1})

    def test_full_disk_when_a_person_asks(self):
        """An order that cannot be noted is obeyed as far as may be, and does not end the relay."""
        with Sink({"rcpt": "550 no"}) as sink, Relay({"s.example": sink.port}) as relay:
            relay.start()
            message_id = relay.enqueue("x@s.example", sender="")
            relay.wake()
            relay.wait_log(message_id + " Frozen")
            (relay.queue / "tmp").rename(relay.queue / "tmp.away")
            (relay.queue / "tmp").write_text("not a folder")
            sink.script["rcpt"] = "250 OK"
            relay.wake("retry " + message_id)
            relay.wait_log(message_id + " queue file cannot be written now")
            relay.wait_log(message_id + " Completed")

    def test_log_that_is_rotated(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            relay.enqueue("x@s.example")
            relay.start()
            relay.wait_log("Completed")
            relay.log_path.rename(relay.folder / "log.1")
            relay.log_path.touch()
            if support.IS_ROOT:
                support.shutil.chown(relay.log_path, "mail")
            message_id = relay.enqueue("y@s.example")
            relay.wake()
            relay.wait_log(message_id + " Completed")


class DescriptorsTest(unittest.TestCase):

    def test_none_stays_open(self):
        """However many addresses of ours were looked up among the aliases, as each bounce's is."""
        with Relay(aliases="list: alice, bob\n") as relay:
            def open_files_after(count):
                for _ in range(count):
                    relay.enqueue("list@" + support.DOMAIN)
                relay.wake()
                relay.wait_empty()
                return len(os.listdir("/proc/%d/fd" % relay.process.pid))
            relay.start()
            before = open_files_after(10)
            self.assertLess(open_files_after(30), before + 15)

    @support.needs_root
    @support.needs_program("strace")
    def test_too_many(self):
        """A message that cannot be opened for want of descriptors stays in the queue: nothing is wrong with it."""
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            first = relay.enqueue("first@s.example")
            relay.start()
            relay.wait_log(first + " Completed")        # its look as it starts is over
            message_id = relay.enqueue("x@s.example")
            with Tracing([relay.process.pid], "inject=openat:error=EMFILE:when=1"):
                relay.wake("new " + message_id)
                relay.wait_log(message_id + " queue file cannot be read now: Too many open files")
            self.assertEqual((relay.ids(), relay.ids(aside=True)), ([message_id], []))
            relay.wake("retry " + message_id)
            relay.wait_log(message_id + " Completed")


class NewsTest(unittest.TestCase):
    """What a session writes into the FIFO, and what the relay looks at then."""

    def test_only_what_is_named(self):
        """A new message costs no look at all the others; one that nobody announced is found by a look."""
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            first = relay.enqueue("first@s.example")
            relay.start()
            relay.wait_log(first + " Completed")        # its look as it starts is over
            silent, named = relay.enqueue("silent@s.example"), relay.enqueue("named@s.example")
            relay.wake("new " + named)
            relay.wait_log(named + " Completed")
            self.assertEqual(relay.lines(silent), [])
            relay.wake()
            relay.wait_log(silent + " Completed")

    def test_nonsense(self):
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            relay.start()
            for line in ("new", "new ../../etc/passwd", "new 1xVmS1-zzzzzz-zz", "news", "retry \xff", "remove", "\x00",
                         "  "):
                relay.wake(line)
            message_id = relay.enqueue("x@s.example")
            relay.wake("new %s" % message_id)
            relay.wait_log(message_id + " Completed")
            self.assertNotIn("Traceback", relay.log())

    def test_full_fifo(self):
        """A session that found no room in it could not name its message: it leaves all the same."""
        with Sink() as sink, Relay({"s.example": sink.port}) as relay:
            relay.start()
            os.kill(relay.process.pid, signal.SIGSTOP)
            try:
                fifo = os.open(relay.queue / "wake", os.O_WRONLY | os.O_NONBLOCK)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.write(fifo, b"new 1xVmS1-zzzzzz-zz\n")
                os.close(fifo)
                message_id = relay.enqueue("x@s.example")
            finally:
                os.kill(relay.process.pid, signal.SIGCONT)
            relay.wait_log(message_id + " Completed")


class PrivilegesTest(unittest.TestCase):

    @support.needs_root
    def test_who_talks_to_strangers_is_nobody_special(self):
        """No process of the relay has a way back to root."""
        with Sink({"connect": SILENCE}) as sink, Relay({"s.example": sink.port}) as relay:
            relay.enqueue("x@s.example")
            relay.start()
            sink.wait(lambda sink: sink.connections, "a connection")
            mail = processes.Identity({pwd.getpwnam("mail").pw_uid}, {pwd.getpwnam("mail").pw_gid})
            identities = {pid: processes.identity_of(pid) for pid in support.processes_marked(relay.mark)}
            self.assertEqual(identities, {relay.process.pid: mail})
