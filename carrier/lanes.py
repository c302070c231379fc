"""The connections: each destination is a lane, whose few workers carry its messages side by side.

A worker is a thread that does nothing but talk to hosts. All else, the queue's files and the log too, is
the runner's, which hears of everything through Events and decides how many workers a lane has.
"""
import threading
from collections import deque

from carrier.threads import MOST_FOR_A_HOST, Gate, Slots
from carrier.worker import Worker

MOST_WORKERS = 100          # all lanes together
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
    """The jobs of one Route."""

    def __init__(self, route):
        self.route = route
        self.jobs = deque()
        self.workers = 0
        self.is_reached = False     # whether the destination has answered during this run
        self.unreachable = {}       # (address, port): why, of hosts that did not
        self.fruitless = 0          # connections in a row that broke before anything was settled

    def wanted_workers(self):
        """How many workers are worth having. One goes ahead: if it reaches no host, no other need try."""
        if not self.is_reached or not self.jobs:
            return min(1, len(self.jobs))
        return min(MOST_FOR_A_HOST, 1 + len(self.jobs) // JOBS_FOR_A_WORKER)


class Lanes:
    """All of them. The methods are the runner's, in its thread.

    domain: what we call ourselves; own: an OwnAddresses; events: an Events; limits: a Limits; report:
    called by the runner with the traceback of a worker that failed.
    """

    def __init__(self, domain, own, events, limits, report):
        self.domain = domain
        self.own = own
        self.events = events
        self.limits = limits
        self.report = report
        self.gate = Gate()
        self.slots = Slots()
        self._lanes = {}
        self._workers = 0
        self._is_stopping = False

    def add(self, route, job):
        """Have `job` carried along `route`."""
        if not self._is_stopping:
            lane = self._lanes.setdefault(route.key, Lane(route))
            lane.jobs.append(job)
            self._staff(lane)

    def _staff(self, lane):
        while lane.workers < lane.wanted_workers() and self._workers < MOST_WORKERS:
            lane.workers += 1
            self._workers += 1
            threading.Thread(target=Worker(self, lane).run, daemon=True).start()

    def reached(self, lane):
        """A worker of `lane` has a connection."""
        lane.is_reached = True
        self._staff(lane)

    def ended(self, lane):
        """A worker of `lane` has ended."""
        lane.workers -= 1
        self._workers -= 1
        if not lane.workers:
            self._close(lane)
        for other in list(self._lanes.values()):
            self._staff(other)

    def _close(self, lane):
        """This run is over; what came in meanwhile begins another, which knows of no unreachable hosts."""
        del self._lanes[lane.route.key]
        if lane.jobs:
            self._lanes[lane.route.key] = fresh = Lane(lane.route)
            fresh.jobs = lane.jobs

    def stop(self):
        """Begin nothing more."""
        self._is_stopping = True
        self.gate.close()
        for lane in self._lanes.values():
            lane.jobs.clear()
