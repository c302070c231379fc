"""The destinations: each has few clients, which carry its messages side by side.

A client is a thread that does nothing but talk to hosts. All else, the queue's files and the log too, is the queue
manager's; in its thread the clients' news are heard here, and decide which destination has a client next. A
destination that has to wait, for a client of its share or for a slot at its host, is an entry in a queue here and
holds no thread.
"""
import threading
from collections import deque
from functools import partial
from typing import NamedTuple

from smtp_client.bounds import SHARES
from smtp_client.client import Broken, Client, Ended, Freed, Reached, Settled, Surroundings
from smtp_client.concurrency import Gate, Silence, Slots

JOBS_FOR_A_CLIENT = 10      # so many must wait before a further connection is worth opening


class Requests(NamedTuple):
    """What is said only to hosts that offer DSN (RFC 3461), and so takes its reports over: parameters, each behind a
    blank. mail: of MAIL; rcpt: {address: those of its RCPT}."""

    mail: str
    rcpt: dict


class Job:
    """One message for one destination. path: of its text; sender; utf8: whether SMTPUTF8 was asked for; addresses: of
    the recipients there; requests: the Requests about them; question: what the job answers."""

    def __init__(self, path: str, sender: str, utf8: bool, addresses: list, requests: Requests, question):
        self.path = path
        self.sender = sender
        self.utf8 = utf8
        self.addresses = addresses
        self.requests = requests
        self.question = question


class Destination:
    """The jobs of one Route in one Pool."""

    def __init__(self, key, route, pool):
        self.key = key
        self.route = route
        self.pool = pool
        self.jobs = deque()
        self.clients = 0
        self.is_waiting = False     # for a client, or for a slot
        self.woken_for = None       # the place, (address, port), at which a slot was free for it
        self.is_reached = False     # whether the destination has answered during this run
        self.unreachable = {}       # {(address, port): the DeliveryResult} of hosts that did not
        self.notes = []             # Notes, of a client that gave way before it could tell them
        self.fruitless = 0          # connections in a row that broke before anything was settled

    def wants_client(self) -> bool:
        """Whether one more is worth having. One goes ahead: if it reaches no host, no other need try."""
        if not self.is_reached or self.pool.is_scarce():
            return bool(self.jobs) and not self.clients
        most = min(self.pool.share.slots, 1 + len(self.jobs) // JOBS_FOR_A_CLIENT)
        return bool(self.jobs) and self.clients < most


class Pool:
    """The clients and slots of one bounds.Share, the destinations that wait for them, and what its clients found
    silent: another share's may have had less patience."""

    def __init__(self, share):
        self.share = share
        self.slots = Slots(share.slots)
        self.silence = Silence()
        self.clients = 0
        self.waiting = deque()      # Destinations, for a client
        self.parked = {}            # place: Destinations, for a slot there

    def is_scarce(self) -> bool:
        """Whether half of the clients are busy: the others must have their turns soon."""
        return self.clients >= self.share.clients // 2

    def is_wanted(self, place) -> bool:
        """Whether a destination waits for what a client at `place` has. From any thread."""
        return bool(self.waiting) or place in self.parked

    def park(self, destination, place):
        destination.is_waiting = True
        self.parked.setdefault(place, deque()).append(destination)

    def unpark(self, place):
        """Take out as many Destinations as there are slots free for at `place`; they are in a list."""
        destinations = self.parked.get(place, deque())
        found = [destinations.popleft() for _ in range(min(len(destinations), self.slots.free(place)))]
        if not destinations:
            self.parked.pop(place, None)
        return found


class Destinations:
    """All of them. The methods are the queue manager's, in its thread.

    domain: what we call ourselves. own: an OwnAddresses. limits: a bounds.Limits. events: what threads put calls into,
    for the queue manager's thread. There are called: answered, with a job's question and its Answer; log_traceback,
    with that of a client that failed.
    """

    def __init__(self, domain, own, limits, events, answered, log_traceback):
        self.gate = Gate()
        self._surroundings = Surroundings(domain, own, self.gate, partial(events.put, self._hear))
        self._answered = answered
        self._log_traceback = log_traceback
        self._limits = limits
        self._short_limits = limits.short()
        self._pools = {name: Pool(share) for name, share in SHARES.items()}
        self._destinations = {}
        self._is_stopping = False

    def add(self, share: str, route, job: Job):
        """Have `job` carried along `route` by the clients of `share`, a name in bounds.SHARES."""
        if not self._is_stopping:
            key = (share, route.key)
            destination = self._destinations.setdefault(key, Destination(key, route, self._pools[share]))
            destination.jobs.append(job)
            self._line_up(destination)

    # Who has a client, and who waits

    def _line_up(self, destination):
        if not destination.is_waiting and destination.wants_client():
            destination.is_waiting = True
            destination.pool.waiting.append(destination)
        self._staff(destination.pool)

    def forget_silence(self):
        """Whatever was silent is to be tried again."""
        for pool in self._pools.values():
            pool.silence.forget()

    def staff_all(self):
        """Where the system had no thread for a client, it may have one now."""
        for pool in self._pools.values():
            self._staff(pool)

    def _staff(self, pool):
        while pool.waiting and pool.clients < pool.share.clients and not self._is_stopping:
            destination = pool.waiting.popleft()
            destination.is_waiting = False
            if destination.jobs and not self._start(destination):
                destination.is_waiting = True
                pool.waiting.appendleft(destination)
                return
            if destination.wants_client():
                destination.is_waiting = True
                pool.waiting.append(destination)
            elif not destination.jobs:
                self._pass_on(destination)

    def _start(self, destination):
        """Give `destination` a client. False if the system has no thread for it."""
        limits = self._short_limits if destination.pool.is_scarce() else self._limits
        try:
            threading.Thread(target=Client(destination, limits, self._surroundings).run, daemon=True).start()
        except RuntimeError:
            return False
        destination.clients += 1
        destination.pool.clients += 1
        return True

    def _pass_on(self, destination):
        """What `destination` was woken for may be free still."""
        place, destination.woken_for = destination.woken_for, None
        if place:
            self._freed(destination.pool, place)

    def _freed(self, pool, place):
        """There may be a slot at `place`, for those who have waited longest."""
        for destination in pool.unpark(place):
            destination.woken_for = place
            pool.waiting.append(destination)
        self._staff(pool)

    # What clients tell

    def _hear(self, news):
        if isinstance(news, Settled):
            self._answered(news.job.question, news.answer)
            news.noted.set()
        elif isinstance(news, Reached):
            self._reached(news.destination, news.place)
        elif isinstance(news, Freed):
            self._freed(news.pool, news.place)
        elif isinstance(news, Ended):
            self._ended(news.destination, news.is_over, news.busy)
        elif isinstance(news, Broken):
            self._log_traceback(news.text)

    def _reached(self, destination, place):
        destination.is_reached = True
        self._line_up(destination)
        self._freed(destination.pool, place)

    def _ended(self, destination, is_over, busy):
        destination.clients -= 1
        destination.pool.clients -= 1
        if not destination.clients and (is_over or not destination.jobs):
            destination = self._close(destination)
        elif busy and not destination.is_waiting and destination.pool.slots.free(busy) <= 0:
            destination.pool.park(destination, busy)
        self._pass_on(destination)
        self._line_up(destination)

    def _close(self, destination):
        """This run is over; what came in meanwhile begins another, which knows of no unreachable hosts."""
        fresh = Destination(destination.key, destination.route, destination.pool)
        fresh.woken_for = destination.woken_for
        fresh.jobs, destination.jobs = destination.jobs, deque()
        if fresh.jobs:
            self._destinations[destination.key] = fresh
        else:
            del self._destinations[destination.key]
        return fresh

    def stop(self):
        """Begin nothing more."""
        self._is_stopping = True
        self.gate.close()
        for destination in self._destinations.values():
            destination.jobs.clear()
