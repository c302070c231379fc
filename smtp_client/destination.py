"""The connections: each destination is a lane, whose few workers carry its messages side by side.

A worker is a thread that does nothing but talk to hosts. All else, the queue's files and the log too, is
the runner's, which hears of everything through Events and decides when a lane has a worker. A lane that has
to wait, for a worker of its share or for a slot at its host, is an entry in a queue here and holds no thread.
"""
import threading
from collections import deque

from smtp_client.bounds import SHARES
from smtp_client.client import Worker
from smtp_client.concurrency import Gate, Silence, Slots

JOBS_FOR_A_WORKER = 10      # so many must wait before a further connection is worth opening


class Job:
    """One message for one lane. path: of its text; sender; utf8: whether SMTPUTF8 was asked for; addresses:
    of the recipients there; done: called by the runner with ({address: Fate}, lines for the log)."""

    def __init__(self, path, sender, utf8, addresses, done):
        self.path = path
        self.sender = sender
        self.utf8 = utf8
        self.addresses = addresses
        self.done = done


class Lane:
    """The jobs of one Route in one Pool."""

    def __init__(self, key, route, pool):
        self.key = key
        self.route = route
        self.pool = pool
        self.jobs = deque()
        self.workers = 0
        self.is_waiting = False     # for a worker, or for a slot
        self.woken_for = None       # the place, (address, port), at which a slot was free for it
        self.is_reached = False     # whether the destination has answered during this run
        self.unreachable = {}       # (address, port): why, of hosts that did not
        self.notes = []             # lines for the log, of a worker that gave way before it could tell them
        self.fruitless = 0          # connections in a row that broke before anything was settled

    def wants_worker(self):
        """Whether one more is worth having. One goes ahead: if it reaches no host, no other need try."""
        if not self.is_reached or self.pool.is_scarce():
            return bool(self.jobs) and not self.workers
        most = min(self.pool.share.slots, 1 + len(self.jobs) // JOBS_FOR_A_WORKER)
        return bool(self.jobs) and self.workers < most


class Pool:
    """The workers and slots of one bounds.Share, the lanes that wait for them, and what its workers found silent:
    another share's may have had less patience."""

    def __init__(self, share):
        self.share = share
        self.slots = Slots(share.slots)
        self.silence = Silence()
        self.workers = 0
        self.waiting = deque()      # Lanes, for a worker
        self.parked = {}            # place: Lanes, for a slot there

    def is_scarce(self):
        """Whether half of the workers are busy: the others must have their turns soon."""
        return self.workers >= self.share.workers // 2

    def is_wanted(self, place):
        """Whether a lane waits for what a worker at `place` has. From any thread."""
        return bool(self.waiting) or place in self.parked

    def park(self, lane, place):
        lane.is_waiting = True
        self.parked.setdefault(place, deque()).append(lane)

    def unpark(self, place):
        """Take out as many Lanes as there are slots free for at `place`; they are in a list."""
        lanes = self.parked.get(place, deque())
        found = [lanes.popleft() for _ in range(min(len(lanes), self.slots.free(place)))]
        if not lanes:
            self.parked.pop(place, None)
        return found


class Lanes:
    """All of them. The methods are the runner's, in its thread.

    domain: what we call ourselves; own: an OwnAddresses; events: an Events; limits: a bounds.Limits; report:
    called by the runner with the traceback of a worker that failed.
    """

    def __init__(self, domain, own, events, limits, report):
        self.domain = domain
        self.own = own
        self.events = events
        self.report = report
        self.gate = Gate()
        self._limits = limits
        self._short_limits = limits.short()
        self._pools = {name: Pool(share) for name, share in SHARES.items()}
        self._lanes = {}
        self._is_stopping = False

    def add(self, share, route, job):
        """Have `job` carried along `route` by the workers of `share`, a name in bounds.SHARES."""
        if not self._is_stopping:
            key = (share, route.key)
            lane = self._lanes.setdefault(key, Lane(key, route, self._pools[share]))
            lane.jobs.append(job)
            self._line_up(lane)

    # Who has a worker, and who waits

    def _line_up(self, lane):
        if not lane.is_waiting and lane.wants_worker():
            lane.is_waiting = True
            lane.pool.waiting.append(lane)
        self._staff(lane.pool)

    def forget_silence(self):
        """Whatever was silent is to be tried again."""
        for pool in self._pools.values():
            pool.silence.forget()

    def staff_all(self):
        """Where the system had no thread for a worker, it may have one now."""
        for pool in self._pools.values():
            self._staff(pool)

    def _staff(self, pool):
        while pool.waiting and pool.workers < pool.share.workers and not self._is_stopping:
            lane = pool.waiting.popleft()
            lane.is_waiting = False
            if lane.jobs and not self._start(lane):
                lane.is_waiting = True
                pool.waiting.appendleft(lane)
                return
            if lane.wants_worker():
                lane.is_waiting = True
                pool.waiting.append(lane)
            elif not lane.jobs:
                self._pass_on(lane)

    def _start(self, lane):
        """Give `lane` a worker. False if the system has no thread for it."""
        limits = self._short_limits if lane.pool.is_scarce() else self._limits
        try:
            threading.Thread(target=Worker(self, lane, limits).run, daemon=True).start()
        except RuntimeError:
            return False
        lane.workers += 1
        lane.pool.workers += 1
        return True

    def _pass_on(self, lane):
        """What `lane` was woken for may be free still."""
        place, lane.woken_for = lane.woken_for, None
        if place:
            self.freed(lane.pool, place)

    def freed(self, pool, place):
        """There may be a slot at `place`, for those who have waited longest."""
        for lane in pool.unpark(place):
            lane.woken_for = place
            pool.waiting.append(lane)
        self._staff(pool)

    # What workers tell

    def reached(self, lane, place):
        """A worker of `lane` has a connection to `place`, (address, port): more may follow it."""
        lane.is_reached = True
        self._line_up(lane)
        self.freed(lane.pool, place)

    def ended(self, lane, is_over, busy):
        """A worker of `lane` has ended. is_over: whether it was done, and does not only give way; busy: the place,
        (address, port), where it found no slot, or None."""
        lane.workers -= 1
        lane.pool.workers -= 1
        if not lane.workers and (is_over or not lane.jobs):
            lane = self._close(lane)
        elif busy and not lane.is_waiting and lane.pool.slots.free(busy) <= 0:
            lane.pool.park(lane, busy)
        self._pass_on(lane)
        self._line_up(lane)

    def _close(self, lane):
        """This run is over; what came in meanwhile begins another, which knows of no unreachable hosts."""
        fresh = Lane(lane.key, lane.route, lane.pool)
        fresh.woken_for = lane.woken_for
        fresh.jobs, lane.jobs = lane.jobs, deque()
        if fresh.jobs:
            self._lanes[lane.key] = fresh
        else:
            del self._lanes[lane.key]
        return fresh

    def stop(self):
        """Begin nothing more."""
        self._is_stopping = True
        self.gate.close()
        for lane in self._lanes.values():
            lane.jobs.clear()
