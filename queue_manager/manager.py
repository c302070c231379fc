"""The relay at work: finds what is due, has it carried, concludes the attempt, and sleeps until there is more.

All of this happens in one thread, which alone of the relay's changes the queue's files and writes the log. Clients,
look-ups and the threads of the local delivery reach it through Events; sessions and the command wake it through a FIFO.
A message's way:

    QueueManager._begin     an Attempt, with the message's envelope
    Dispatcher.send         asks for routes, for what aliases stand for, for copies to be carried and delivered
    QueueManager._answered  each answer, with the question that it belongs to
    Dispatcher.hear         asks further, or tells what came of a recipient
    Concluder.record        the log's line, and the note in the envelope
    QueueManager._end       when no answer is awaited any more
    Concluder.conclude      what has failed is reported (bounce.py), what is late waits, what is done is removed
"""
import os
import select
import signal
import time
from traceback import format_exc

from common.settings import canonical
from mailstore.agent_client import Agent
from mailstore.direct import Direct
from mailstore.mailboxes import Mailboxes
from mailstore.trace import Clock
from queue_manager import retry
from queue_manager.admin import remove_message, unfreeze
from queue_manager.attempt import Attempt
from queue_manager.conclude import Concluder
from queue_manager.dispatch import Dispatcher
from queue_manager.events import Events
from queue_manager.local_delivery import LocalDelivery
from queue_manager.queue_store import ID, Gone, UnreadableMessage
from queue_manager.timers import Timers
from smtp_client.destination import Destinations
from smtp_client.dns import Resolver
from smtp_client.route_cache import RouteFinder
from smtp_client.routing import Router

LOOK_SECONDS = 60           # how long the queue's folder stays unread if nobody wakes us
STOP_SECONDS = 5            # how long the stop waits for answers that are on their way
FULL = 4000                 # octets: no FIFO holds less than a page
ASIDE_LOOK_SECONDS = 3600   # how long those messages stay unread that were set aside
AFTER_TROUBLE = 900         # seconds after which a message is tried again that we could not cope with


def local_delivery(settings):
    """The class of what delivers to the mailboxes of a server with these Settings."""
    if settings.lmtp:
        from queue_manager.lmtp_delivery import LmtpLocalDelivery
        return LmtpLocalDelivery
    return LocalDelivery


class QueueManager:
    """settings: a Settings. logins: {(host, port or 0): (login, password)}. mainlog: the log. store: a QueueStore whose
    lock we hold. limits: a bounds.Limits. now: gives the seconds since 1970."""

    def __init__(self, settings, logins, mainlog, store, limits, now=time.time):
        self._mainlog = mainlog
        self._store = store
        self._now = now
        self._timers = Timers()
        self._attempts = {}
        self._loaded = {}           # {id: its Envelope}, of messages that were found to be due
        self._wake = store.open_wake()
        self._unfinished_order = b""
        self._looked = 0
        self._looked_aside = None
        self._is_stopping = False
        self._has_removed = False
        self._events = Events()
        self._make_parts(settings, logins, limits)

    def _make_parts(self, settings, logins, limits):
        """Who is asked, and who concludes."""
        clock = Clock(settings.domain)
        access = Agent(settings.agent, settings.aliases) if settings.agent else Direct(settings, clock)
        router = Router(settings, Resolver(settings.dns), canonical, logins)
        hearing = (self._events, self._answered)
        self._finder = RouteFinder(router, *hearing)
        self._destinations = Destinations(settings.domain, router.own, limits, *hearing, self._log_traceback)
        self._local_delivery = local_delivery(settings)(settings, access, clock, *hearing, self._log_traceback,
                                                        self._mainlog.write)
        self._concluder = Concluder(self._mainlog, self._store, clock, settings.domain, self._now)
        self._dispatcher = Dispatcher(self._finder, self._destinations, self._local_delivery, self._concluder,
                                      Mailboxes(settings, access).is_local, self._store.message_path)

    # The loop

    def run(self):
        """Work until TERM, or HUP."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._events.put(self._stop))
        self._events.woken_by_signals()
        self._mainlog.write(f"relay started: pid={os.getpid()}, queue {self._store.folder}")
        self._store.remove_leftovers()
        self.look()
        while not self._is_stopping:
            self.step(self._seconds_to_sleep())
        self._wait_for_answers()
        self._mainlog.write(f"relay stopped: pid={os.getpid()}")

    def step(self, seconds):
        """Begin what is due, and handle what happens within `seconds`."""
        for message_id in self._timers.take_due(self._now()):
            self._begin(message_id, self._now())
        if not self._attempts:
            self._rest()
        ready, _, _ = select.select([self._wake, self._events], [], [], seconds)
        if self._wake in ready:
            self._read_orders(os.read(self._wake, 65536))
        if self._events in ready:
            self._events.handle()
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self.look()

    def _seconds_to_sleep(self):
        when = self._timers.next_time()
        return LOOK_SECONDS if when is None else max(0, min(LOOK_SECONDS, when - self._now()))

    def _rest(self):
        """Nothing is under way: time for what need not be done for each message."""
        if self._has_removed:
            self._has_removed = False
            try:
                self._store.sync()
            except OSError as error:        # a power cut may bring back what was sent
                self._mainlog.write(f"queue folder cannot be synced now: {error.strerror}")

    def _stop(self):
        self._is_stopping = True

    def _wait_for_answers(self):
        """What other hosts may have taken over must be noted, or it would be sent twice."""
        deadline = time.monotonic() + STOP_SECONDS
        self._destinations.stop()
        self._local_delivery.stop()
        while time.monotonic() < deadline and not (
                self._destinations.gate.is_empty() and self._local_delivery.is_idle()):
            select.select([self._events], [], [], 0.05)
            self._events.handle()
        self._events.handle()

    # What is in the queue

    def look(self):
        """Find the messages that are new, whether or not they were announced."""
        self._looked = time.monotonic()
        if self._store.has_changed():
            for message_id in self._store.ids():
                self._take_in(message_id)
        self._timers.correct(self._due_time)
        self._look_aside()
        self._destinations.staff_all()

    def _look_aside(self):
        """Remove messages set aside long ago: nobody wants them, and a stranger can have many of them put there."""
        if self._looked_aside is not None and time.monotonic() - self._looked_aside < ASIDE_LOOK_SECONDS:
            return
        self._looked_aside = time.monotonic()
        for message_id in self._store.ids(aside=True):
            if retry.age_of(self._store.set_aside_at(message_id), self._now()) > retry.ASIDE_SECONDS:
                self._store.forget(message_id, aside=True)
                self._mainlog.write("cancelled by timeout_frozen_after", message_id)
                self._mainlog.write("Completed", message_id)

    def _due_time(self, noted):
        return retry.due_time(noted, self._now())

    def _take_in(self, message_id):
        if message_id not in self._timers and message_id not in self._attempts:
            self._schedule(message_id)

    def _schedule(self, message_id):
        """Have a message tried when its first recipient is due."""
        envelope = self._load(message_id)
        if envelope:
            now = self._now()
            due = retry.due_time(min((recipient.next for recipient in envelope.waiting()), default=0), now)
            self._timers.put(message_id, due)
            if due <= now:
                self._loaded[message_id] = envelope

    def _load(self, message_id):
        """A message's envelope, or None; what cannot be read is set aside, or tried again where that may be over by
        then."""
        try:
            return self._load_or_set_aside(message_id)
        except OSError as error:
            self._mainlog.write(f"queue file cannot be read now: {error.strerror}", message_id)
            self._timers.put(message_id, self._now() + AFTER_TROUBLE)
            return None

    def _load_or_set_aside(self, message_id):
        try:
            return self._store.load(message_id)
        except Gone:
            return None
        except UnreadableMessage as error:
            self._store.set_aside(message_id)
            self._mainlog.write(f"Frozen (queue file cannot be read: {error})", message_id)
            return None

    # Orders

    def _read_orders(self, text):
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
        """Try the messages called `ids` now, all that wait if none is named. A person asks: hosts that were silent are
        tried too."""
        self._destinations.forget_silence()
        self._finder.forget()
        if not ids:
            self.look()
        for message_id in filter(ID.fullmatch, ids or self._timers.ids()):
            if self._store.has(message_id, aside=True):
                self._unfreeze(message_id)
            if message_id not in self._attempts:
                self._begin(message_id, None)

    def _unfreeze(self, message_id):
        try:
            unfreeze(self._store, self._mainlog, message_id)
        except OSError as error:
            self._mainlog.write(f"queue file cannot be written now: {error.strerror}", message_id)

    def _remove(self, message_id, user):
        attempt = self._attempts.get(message_id)
        if attempt:
            attempt.removed_by = user
        elif ID.fullmatch(message_id):
            self._timers.drop(message_id)
            self._loaded.pop(message_id, None)
            remove_message(self._store, self._mainlog, message_id, user)

    # Attempts

    def _begin(self, message_id, now):
        """Try the recipients that are due at `now`, all if it is None."""
        self._timers.drop(message_id)
        envelope = self._loaded.pop(message_id, None) or self._load(message_id)
        if envelope:
            attempt = self._attempts[message_id] = Attempt(envelope)
            self._step(attempt, self._dispatcher.send, attempt, attempt.due(now))

    def _answered(self, question, answer):
        """Whoever was asked `question` gives this answer."""
        question.attempt.answered()
        self._step(question.attempt, self._dispatcher.hear, question, answer)

    def _step(self, attempt, take, *arguments):
        """Take a step of one attempt; what goes wrong in it must not stop the others. When no answer is awaited any
        more, the attempt is over."""
        try:
            take(*arguments)
        except Exception:
            attempt.is_broken = True
            self._log_traceback(format_exc())
        if attempt.is_over():
            self._end(attempt)

    def _end(self, attempt):
        del self._attempts[attempt.id]
        again = self._now() + AFTER_TROUBLE
        if not attempt.is_broken:
            try:
                again = self._concluder.conclude(attempt)
            except Exception:
                self._log_traceback(format_exc())
        for message_id in attempt.reports:
            self._schedule(message_id)
        if again is None:
            self._has_removed = True
        elif attempt.removed_by:
            remove_message(self._store, self._mainlog, attempt.id, attempt.removed_by)
        else:
            self._timers.put(attempt.id, again)

    def _log_traceback(self, text):
        """A traceback, into the log."""
        for line in text.rstrip("\n").split("\n"):
            self._mainlog.write(line)
