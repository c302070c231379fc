"""Looks at dialogues, log and queue a few times a second, and tells browsers what is new. One thread does all of this.

A browser has a bounded row of news; when it is too slow for them, it is told how many it missed, and gets everything
anew.
"""
import itertools
import json
import os
import threading
import time
from collections import deque

from common.mainlog import readable
from mailstore.envelope import FAILURE
from queue_manager.queue_store import ID, Gone, QueueStore, UnreadableMessage
from queue_manager.retry import GIVE_UP
from web.dialogues import FILE, READ_OCTETS, Source, Unknown
from web.facts import facts
from web.fates import described, reason
from web.log_reader import LogReader

KEPT_DIALOGUES = 500
TICK_SECONDS = 0.25
CHECK_SECONDS = 5           # between looks at what may have been killed, and at a queue that shows no change
QUEUE_REST = 20             # how many times as long as a look at a queue takes comes none: it may be large
SAMPLE_SECONDS = 10
SAMPLES = 360               # an hour
TICK_OCTETS = 1 << 20       # of dialogues that are read at a time
BEHIND_OCTETS = 1 << 23     # unread ones beyond which all of them are left out
SHOWN_MESSAGES = 100        # of the queue
NEWS = 200                  # that wait for a browser


def encoded(event, data):
    """One server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


class Subscriber:
    """One browser. missed: how many news it was too slow for."""

    def __init__(self, watcher):
        self._watcher = watcher
        self._news = deque()
        self._ready = threading.Condition()
        self.missed = 0

    def put(self, news):
        """Called by the watcher; never waits."""
        with self._ready:
            if len(self._news) < NEWS and not self.missed:
                self._news.append(news)
            else:
                self.missed += 1
            self._ready.notify()

    def next(self, seconds):
        """The next news (octets), or None if there is none for so long."""
        with self._ready:
            if not self._news and not self.missed:
                self._ready.wait(seconds)
            if self._news:
                return self._news.popleft()
            missed, self.missed = self.missed, 0
        return encoded("snapshot", {**self._watcher.snapshot(), "missed": missed}) if missed else None


class Watcher(threading.Thread):
    """settings: a Settings."""

    def __init__(self, settings):
        super().__init__(daemon=True)
        self._folder = f"{settings.spool}/web/dialogues"
        self._facts = facts(settings)
        self._mail_store = settings.store
        self._log = LogReader(settings.log)
        self._store = QueueStore(f"{settings.spool}/queue")
        self._lock = threading.Lock()
        self._subscribers = []
        self._sources = {}
        self._dialogues = {}
        self._number = self._left_out = 0
        self._samples = deque(maxlen=SAMPLES)
        self._sessions = self._arrivals = 0
        self._queue = {"count": 0, "messages": []}
        self._queue_time = None
        self._queue_rest = 0.0
        self._due = {"check": 0.0, "queue": 0.0, "sample": 0.0}

    def run(self):
        while True:
            self.look()
            time.sleep(TICK_SECONDS)

    def subscribe(self):
        """A new Subscriber, which begins with everything."""
        subscriber = Subscriber(self)
        with self._lock:
            subscriber.put(encoded("snapshot", self._everything()))
            self._subscribers.append(subscriber)
        return subscriber

    def unsubscribe(self, subscriber):
        with self._lock:
            self._subscribers.remove(subscriber)

    def snapshot(self):
        """All that the page shows, dialogues themselves aside."""
        with self._lock:
            return self._everything()

    def _everything(self):
        return {"facts": self._facts, "sessions": [dialogue.summary() for dialogue in self._dialogues.values()],
                "leftOut": self._left_out, "samples": [*self._samples], "queue": self._queue, "log": [*self._log.lines],
                "seconds": SAMPLE_SECONDS, "kept": KEPT_DIALOGUES}

    def dialogue(self, name):
        """The Dialogue called so. Raises Unknown."""
        try:
            return self._dialogues[name]
        except KeyError:
            raise Unknown(name) from None

    def message(self, message_id, depth=2):
        """What became of a message: what the log says, what the queue says, and the same of the reports to its sender
        and of its parts, which may have reports of their own."""
        with self._lock:
            told = self._log.message(message_id)
        related = {name: [self.message(other, depth - 1) for other in told[name]] if depth else []
                   for name in ("reports", "parts")}
        return {"id": message_id, "events": [described(event, self._mail_store) for event in told["events"]],
                "queue": self._waiting(message_id), **related}

    def _waiting(self, message_id):
        for aside in (False, True) if ID.fullmatch(message_id) else ():
            try:
                envelope = self._store.load(message_id, aside)
            except (Gone, UnreadableMessage):
                continue
            is_told = any(recipient.wants(FAILURE) for recipient in envelope.waiting())
            return {"aside": aside, "recipients": _recipients(envelope),
                    "warned": readable(envelope.sender) if is_told else "",
                    "until": envelope.received + GIVE_UP, "path": self._store.message_path(message_id, aside)}
        return None

    # Looking

    def look(self):
        """See what is new, and tell."""
        with self._lock:
            self._tell_dialogues(self._look_at_dialogues())
            lines, touched = self._log.read()
            self._tell("log", lines, lines)
            self._tell("messages", sorted(touched), touched)
            if time.monotonic() >= self._queue_rest and (self._is_due("queue", CHECK_SECONDS) or self._queue_changed()):
                self._look_at_queue()
            if self._is_due("sample", SAMPLE_SECONDS):
                self._sample()

    def _tell_dialogues(self, dialogues):
        if self._subscribers:
            sessions = [dialogue.summary() for dialogue in dialogues]
            self._tell("sessions", {"sessions": sessions, "leftOut": self._left_out}, sessions)

    def _tell(self, event, data, is_new):
        if is_new and self._subscribers:
            news = encoded(event, data)
            for subscriber in self._subscribers:
                subscriber.put(news)

    def _is_due(self, what, seconds):
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True

    def _look_at_dialogues(self):
        """Those that have news, in the order in which they began. None of those that are forgotten before anybody has
        heard of them."""
        changed = set()
        for name in self._new_files():
            self._sources[name] = Source(self._folder, name)
        waiting = {source: source.unread() for source in self._sources.values() if not source.is_over}
        if sum(waiting.values()) > BEHIND_OCTETS:
            self._left_out += sum(source.skip() for source, octets in waiting.items() if octets)
            waiting = {}
        room = TICK_OCTETS
        for source, octets in waiting.items():
            if octets and room > 0:
                changed |= source.read()
                room -= min(octets, READ_OCTETS)
        if self._is_due("check", CHECK_SECONDS):
            changed |= {source.check() for source in self._sources.values() if not source.is_over} - {None}
        new = self._number_new(changed)
        self._forget_old()
        unheard_of = {dialogue for dialogue in new if dialogue.name not in self._dialogues}
        return sorted(changed - unheard_of, key=_by_number)

    def _new_files(self):
        try:
            names = os.listdir(self._folder)
            return sorted(name for name in names if name not in self._sources and FILE.fullmatch(name))
        except OSError:
            return []

    def _number_new(self, changed):
        """Number those that have none yet, and return them."""
        new = sorted((dialogue for dialogue in changed if not dialogue.number), key=_by_beginning)
        for dialogue in new:
            self._number += 1
            dialogue.number = self._number
            self._dialogues[dialogue.name] = dialogue
        self._sessions += len(new)
        return new

    def _forget_old(self):
        """Forget the oldest dialogues that are over, when there are too many; remove the files that hold no other."""
        excess = len(self._dialogues) - KEPT_DIALOGUES
        over = (dialogue for dialogue in [*self._dialogues.values()] if dialogue.is_over) if excess > 0 else ()
        for dialogue in itertools.islice(over, max(0, excess)):
            del self._dialogues[dialogue.name]
            dialogue.source.dialogues -= 1
        for source in [source for source in self._sources.values() if source.is_over and source.dialogues <= 0]:
            del self._sources[source.name]
            try:
                os.unlink(source.path)
            except OSError:
                pass

    def _queue_changed(self):
        try:
            changed = os.stat(self._store.folder).st_mtime_ns
        except OSError:
            return False
        before, self._queue_time = self._queue_time, changed
        return changed != before

    def _look_at_queue(self):
        began = time.monotonic()
        ids = [(message_id, aside) for aside in (False, True) for message_id in self._store.ids(aside)]
        shown = [message for message in (self._queued(*entry) for entry in ids[:SHOWN_MESSAGES]) if message]
        queue = {"count": len(ids), "messages": shown}
        self._tell("queue", queue, queue != self._queue)
        self._queue = queue
        now = time.monotonic()
        self._queue_rest = now + QUEUE_REST * (now - began)

    def _queued(self, message_id, aside):
        try:
            envelope = self._store.load(message_id, aside)
        except Gone:
            return None
        except UnreadableMessage:
            return {"id": message_id, "aside": aside, "sender": "?", "received": 0, "octets": 0, "recipients": []}
        return {"id": message_id, "aside": aside, "sender": readable(envelope.sender),
                "received": envelope.received, "octets": self._store.size(message_id, aside),
                "recipients": _recipients(envelope)}

    def _sample(self):
        """Note how many sessions there were since the last sample, how many messages came, and how many wait."""
        arrivals, self._arrivals = self._log.arrivals - self._arrivals, self._log.arrivals
        sample = [round(time.time()), self._sessions, arrivals, self._queue["count"]]
        self._sessions = sum(not dialogue.is_over for dialogue in self._dialogues.values())
        self._samples.append(sample)
        self._tell("sample", sample, True)


def _by_number(dialogue):
    return dialogue.number


def _by_beginning(dialogue):
    return dialogue.began


def _recipients(envelope):
    return [{"address": readable(recipient.address), "mailbox": readable(recipient.mailbox or ""),
             "state": recipient.state, "tries": recipient.tries, "next": recipient.next,
             "reply": readable(recipient.reply), "why": reason(recipient.reply)}
            for recipient in envelope.recipients[:SHOWN_MESSAGES]]
