"""The relay at work: finds what is due, has it carried, settles what comes of it, and sleeps until there is more.

All of this happens in one thread, which alone touches the queue's files and the log. Workers, lookups and
the postman report to it through Events; sessions and the command wake it through a FIFO.
"""
import os
import select
import signal
import time
from traceback import format_exc

from queue_manager import retry as schedule
from queue_manager.admin import remove, thaw
from queue_manager.attempt import Attempt
from queue_manager.conclude import Settler
from queue_manager.dispatch import Dispatcher
from queue_manager.queue_store import ID, Gone, Unreadable
from queue_manager.timers import Timetable
from smtp_client.concurrency import Events
from smtp_client.destination import Lanes
from smtp_client.route_cache import RouteFinder

LOOK_SECONDS = 60           # how long the queue's folder stays unread if nobody wakes us
STOP_SECONDS = 5            # how long the stop waits for answers that are on their way
FULL = 4000                 # octets: no FIFO holds less than a page
ASIDE_LOOK_SECONDS = 3600   # how long those messages stay unread that were set aside
AFTER_TROUBLE = 900         # seconds after which a message is tried again that we could not cope with


class Runner:
    """domain: ours. mainlog: the log. backlog: a Backlog whose lock we hold. make_postman: makes a Postman of an
    Events and a function that takes tracebacks. router: a Router. is_local: tells whether a domain is ours. clock: a
    trace.Clock for ids. limits: a Limits. now: gives the seconds since 1970."""

    def __init__(self, domain, mainlog, backlog, make_postman, router, is_local, clock, limits, now=time.time):
        self._mainlog = mainlog
        self._backlog = backlog
        self._now = now
        self._events = Events()
        self._postman = make_postman(self._events, self._report)
        self._lanes = Lanes(domain, router.own, self._events, limits, self._report)
        self._finder = RouteFinder(router, self._events)
        self._settler = Settler(mainlog, backlog, clock, domain, now, self._schedule)
        self._dispatcher = Dispatcher(self._finder, router.share, self._lanes, self._postman, self._settler,
                                      is_local, backlog.message_path, self._guard)
        self._timetable = Timetable()
        self._attempts = {}
        self._wake = backlog.open_wake()
        self._unfinished_order = b""
        self._looked = 0
        self._looked_aside = None
        self._is_stopping = False
        self._has_removed = False

    # The loop

    def run(self):
        """Work until TERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._events.put(self._stop))
        self._events.woken_by_signals()
        self._mainlog.write(f"relay started: pid={os.getpid()}, queue {self._backlog.folder}")
        self._backlog.remove_leftovers()
        self.look()
        while not self._is_stopping:
            self.step(self._seconds_to_sleep())
        self._wait_for_answers()
        self._mainlog.write(f"relay stopped: pid={os.getpid()}")

    def step(self, seconds):
        """Begin what is due, and handle what happens within `seconds`."""
        for message_id in self._timetable.take_due(self._now()):
            self._begin(message_id, self._now())
        if not self._attempts:
            self._rest()
        ready, _, _ = select.select([self._wake, self._events], [], [], seconds)
        if self._wake in ready:
            self._hear(os.read(self._wake, 65536))
        if self._events in ready:
            self._events.handle()
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self.look()

    def _seconds_to_sleep(self):
        when = self._timetable.next_time()
        return LOOK_SECONDS if when is None else max(0, min(LOOK_SECONDS, when - self._now()))

    def _rest(self):
        """Nothing is under way: time for what need not be done for each message."""
        if self._has_removed:
            self._backlog.sync()
            self._has_removed = False

    def _stop(self):
        self._is_stopping = True

    def _wait_for_answers(self):
        """What others may have taken over must be noted, or it would be sent twice."""
        deadline = time.monotonic() + STOP_SECONDS
        self._lanes.stop()
        self._postman.stop()
        while not (self._lanes.gate.is_empty() and self._postman.is_idle()) and time.monotonic() < deadline:
            select.select([self._events], [], [], 0.05)
            self._events.handle()
        self._events.handle()

    # What is in the queue

    def look(self):
        """Find the messages that are new, whether or not they were announced."""
        self._looked = time.monotonic()
        if self._backlog.has_changed():
            for message_id in self._backlog.ids():
                self._take_in(message_id)
        self._timetable.correct(self._due_time)
        self._look_aside()
        self._lanes.staff_all()

    def _look_aside(self):
        """Remove what was set aside long ago: nobody wants it, and anybody can have much of it there."""
        if self._looked_aside is not None and time.monotonic() - self._looked_aside < ASIDE_LOOK_SECONDS:
            return
        self._looked_aside = time.monotonic()
        for message_id in self._backlog.ids(aside=True):
            if schedule.age_of(self._backlog.set_aside_at(message_id), self._now()) > schedule.ASIDE_SECONDS:
                self._backlog.forget(message_id, aside=True)
                self._mainlog.write("cancelled by timeout_frozen_after", message_id)
                self._mainlog.write("Completed", message_id)

    def _due_time(self, noted):
        return schedule.due_time(noted, self._now())

    def _take_in(self, message_id):
        if message_id not in self._timetable and message_id not in self._attempts:
            self._schedule(message_id)

    def _schedule(self, message_id):
        envelope = self._load(message_id)
        if envelope:
            times = [recipient.next for recipient in envelope.waiting()]
            self._timetable.put(message_id, self._due_time(min(times, default=0)))

    def _load(self, message_id):
        """A message's envelope, or None; what cannot be read is set aside."""
        try:
            return self._backlog.load(message_id)
        except Gone:
            return None
        except Unreadable as error:
            self._mainlog.write(f"Frozen (queue file cannot be read: {error})", message_id)
            self._backlog.set_aside(message_id)
            return None

    # Orders

    def _hear(self, text):
        """Obey the lines of `text` (bytes). If it is much, others may have found no room for theirs."""
        *lines, self._unfinished_order = (self._unfinished_order + text).split(b"\n")
        if len(text) > FULL or not all(lines):
            self.look()
        for line in filter(None, lines):
            self._obey(*line.decode("ascii", "replace").split())

    def _obey(self, word="", *arguments):
        """Do what a line in the FIFO asks for: see queue_manager/queue_store.py."""
        if word == "new":
            for message_id in filter(ID.fullmatch, arguments):
                self._take_in(message_id)
        elif word == "retry":
            self._retry(arguments)
        elif word == "remove" and len(arguments) == 2:
            self._remove(*arguments)

    def _retry(self, ids):
        """Try `ids` now, all that wait if none is named. A person asks: whatever was silent is tried too."""
        self._lanes.forget_silence()
        self._finder.forget()
        if not ids:
            self.look()
        for message_id in filter(ID.fullmatch, ids or self._timetable.ids()):
            if self._backlog.has(message_id, aside=True):
                thaw(self._backlog, self._mainlog, message_id)
            if message_id not in self._attempts:
                self._begin(message_id, None)

    def _remove(self, message_id, user):
        attempt = self._attempts.get(message_id)
        if attempt:
            attempt.removed_by = user
        elif ID.fullmatch(message_id):
            self._timetable.drop(message_id)
            remove(self._backlog, self._mainlog, message_id, user)

    # Attempts

    def _begin(self, message_id, now):
        """Try the recipients that are due at `now`, all if it is None."""
        self._timetable.drop(message_id)
        envelope = self._load(message_id)
        if envelope:
            attempt = self._attempts[message_id] = Attempt(envelope)
            self._guard(attempt, self._dispatcher.send, attempt, attempt.due(now))

    def _guard(self, attempt, call, *arguments):
        """Make a call that is about one attempt; what goes wrong in it must not stop the others. When
        nothing more is awaited, the attempt is over."""
        attempt.pending += 1
        try:
            call(*arguments)
        except Exception:
            attempt.is_broken = True
            self._report(format_exc())
        attempt.pending -= 1
        if not attempt.pending:
            self._end(attempt)

    def _end(self, attempt):
        del self._attempts[attempt.id]
        again = self._now() + AFTER_TROUBLE
        if not attempt.is_broken:
            try:
                again = self._settler.finish(attempt)
            except Exception:
                self._report(format_exc())
        if again is None:
            self._has_removed = True
        elif attempt.removed_by:
            remove(self._backlog, self._mainlog, attempt.id, attempt.removed_by)
        else:
            self._timetable.put(attempt.id, again)

    def _report(self, text):
        """A traceback, into the log."""
        for line in text.rstrip("\n").split("\n"):
            self._mainlog.write(line)
