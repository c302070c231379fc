"""One connection at a time to one destination, for as many messages as wait there."""
import socket
import threading
from errno import ETIMEDOUT
from time import monotonic
from traceback import format_exc

from smtp_client.bounds import ADDRESSES, TURN
from smtp_client.concurrency import Stopping
from smtp_client.connection import Budget, connect
from smtp_client.encoding import Message
from smtp_client.idna import NoName, to_ascii
from smtp_client.result import LATER, NEVER, RECIPIENT_DEFERRED, UNKNOWN, Fate, Undeliverable
from smtp_client.transaction import Transaction

FRUITLESS = 3               # so many connections in a row that break before anything is settled are enough
RECIPIENTS = 100            # in one transaction, which every host takes (RFC 5321 §4.5.3.1.8)


class Busy(Exception):
    """All slots are taken at `place`, (address, port), which is to have the mail."""

    def __init__(self, place):
        super().__init__(place)
        self.place = place


class Worker:
    """Carries the jobs of `lane`; its thread runs `run`, until none is left or it has to give way. lanes: the
    Lanes it is one of; limits: a bounds.Limits."""

    def __init__(self, lanes, lane, limits):
        self._lanes = lanes
        self._lane = lane
        self._pool = lane.pool
        self._limits = limits
        self._budget = None         # of the visit
        self._turn_ends = monotonic() + TURN
        self._lines, lane.notes = lane.notes, []
        self._noted = threading.Event()
        self._noted.set()

    def run(self):
        is_over, busy = True, None
        try:
            is_over = self._work()
        except Busy as error:
            is_over, busy = False, error.place
            self._lane.notes += self._lines
        except Stopping:
            pass
        except Exception:
            self._lanes.events.put(self._lanes.report, format_exc())
            self._give_up(Fate(LATER, "internal error", UNKNOWN))
        finally:
            self._lanes.gate.leave()
            self._lanes.events.put(self._lanes.ended, self._lane, is_over, busy)

    def _work(self):
        """Whether all is done that there was; else others are to have their turn. Raises Busy, Stopping."""
        while self._lane.jobs:
            place = self._visit()
            if place and self._lane.jobs and self._must_give_way(place):
                return False
        return True

    def _must_give_way(self, place):
        return monotonic() > self._turn_ends and self._pool.is_wanted(place)

    # Connecting

    def _visit(self):
        """Connect, and carry what there is over this connection, which was to the place returned, if any."""
        self._budget = Budget(self._limits)
        try:
            connection, place = self._connect()
        except Undeliverable as error:
            self._give_up(error.fate)
            return None
        self._pool.slots.reached(place)
        self._pool.silence.end(place)
        self._lanes.events.put(self._lanes.reached, self._lane, place)
        try:
            self._use(connection, place)
        finally:
            connection.close()
            self._give_back(place)
        return place

    def _give_back(self, place):
        self._pool.slots.give_back(place)
        self._lanes.events.put(self._lanes.freed, self._pool, place)

    def _connect(self):
        """(Connection, its place among the slots): to the first host that takes us. Raises Undeliverable, and Busy
        when a host that is no worse than those that could be had has no slot for us."""
        busy, problems = None, {}
        for host, place in self._places():
            if busy and host.preference > busy[0].preference:
                break
            problem = self._known_problem(place)
            if not problem:
                if not self._pool.slots.take(place):
                    busy = busy or (host, place)
                    continue
                connection, problem = self._try(host, place)
                if connection:
                    return connection, place
            problems[host] = problem        # a host's last address speaks for it
        if busy:
            raise Busy(busy[1])
        raise _verdict(list(problems.values()))

    def _places(self):
        """Yield (host, (address, port)) in the order in which they are to be tried, until the time is over."""
        for host in self._lane.route.in_order():
            for address in addresses_of(host):
                yield host, (address, host.port)
                if self._budget.is_over():
                    return

    def _known_problem(self, place):
        """An Undeliverable with what this run knows of `place`, or has been heard of it lately; or None."""
        fate = self._pool.silence.recent(place, self._pool.share.memory)
        return self._lane.unreachable.get(place) or (fate and Undeliverable(fate))

    def _try(self, host, place):
        """(the Connection, None), or (None, the Undeliverable)."""
        try:
            if self._lanes.own.is_ours(*place):
                raise Undeliverable(Fate(NEVER, "remote host address is the local host", status="5.4.6"))
            connection = connect(host, place[0], self._lanes.domain, self._budget)
        except Undeliverable as error:
            self._note_unreachable(host, place, error)
            self._give_back(place)
            return None, error
        except BaseException:
            self._give_back(place)
            raise
        self._lines += connection.notes
        return connection, None

    def _note_unreachable(self, host, place, error):
        """It will not be tried again in this run, and if it was silent, not for a while in others either."""
        fate = error.fate
        if fate.host or fate.error:
            self._lines.append(host_line(host.name, place[0], fate))
        if fate.error == ETIMEDOUT:
            self._pool.silence.note(place, fate)
        self._lane.unreachable[place] = error

    # Carrying

    def _use(self, connection, place):
        settled = 0
        while True:
            try:
                job = self._lane.jobs.popleft()
            except IndexError:
                connection.quit()
                return
            problem = self._carry(connection, job, is_first=not settled)
            if problem:
                self._break_off(problem, settled)
                return
            settled += 1
            self._lane.fruitless = 0
            self._budget.renew()
            if self._must_give_way(place):
                connection.quit()
                return

    def _break_off(self, fate, settled):
        self._lane.fruitless = 0 if settled else self._lane.fruitless + 1
        if self._lane.fruitless >= FRUITLESS:
            self._give_up(fate)

    def _carry(self, connection, job, is_first):
        """Send one job. The Fate that broke the connection, or None."""
        try:
            message = Message(job.path)
        except OSError as error:
            self._finish(job, {}, Fate(LATER, "message cannot be read", error.errno))
            return None
        with message:
            return self._converse(Transaction(connection, job, self._before_end), job, message, is_first)

    def _converse(self, transaction, job, message, is_first):
        problem = None
        try:
            self._send(transaction, job, message)
        except OSError as error:
            problem = Fate(LATER, "message cannot be read", error.errno)
        except Stopping:
            raise
        except Undeliverable as error:
            problem = error.fate
            # Hosts end a connection after so many messages, or when it was idle: that says nothing of this one.
            if not is_first and not transaction.is_begun:
                self._lane.jobs.appendleft(job)
                return problem
        except Exception:
            self._lanes.events.put(self._lanes.report, format_exc())
            problem = Fate(LATER, "internal error", UNKNOWN)
        self._finish(job, transaction.fates, problem)
        return problem

    @staticmethod
    def _send(transaction, job, message):
        left = list(dict.fromkeys(job.addresses))
        while left:
            transaction.run(message, left[:RECIPIENTS])
            left = [address for address in left if address not in transaction.fates]

    def _finish(self, job, fates, problem):
        """Report a job; `problem` is the Fate of those who have none in `fates`."""
        route = self._lane.route
        fates = {address: fates.get(address, problem) for address in job.addresses}
        causes = dict.fromkeys(fates.values())
        for fate in causes:
            fate.router, fate.transport = route.router, route.transport
        lines = self._lines + [host_line(fate.host, fate.address, fate) for fate in causes if _is_the_hosts(fate)]
        self._lines = []
        self._noted.clear()
        self._lanes.events.put(self._note, job, fates, lines)
        self._lanes.gate.leave()

    def _note(self, job, fates, lines):
        """In the runner's thread."""
        job.done(fates, lines)
        self._noted.set()

    def _before_end(self):
        """However busy the runner is, no more than one message a connection is the other side's and not noted:
        what would be sent twice if the relay were killed."""
        self._noted.wait()
        self._lanes.gate.enter()

    def _give_up(self, fate):
        """Nothing can be carried there now: so says every job, with the same lines."""
        lines = self._lines
        while self._lane.jobs:
            self._lines = lines
            job = self._lane.jobs.popleft()
            fate.router, fate.transport = self._lane.route.router, self._lane.route.transport
            self._lanes.events.put(job.done, dict.fromkeys(job.addresses, fate), lines)
        self._lines = []


def _verdict(problems):
    """Of the Undeliverables that a route's hosts came to, the one that decides: the message is refused for good
    only when each of them does that (RFC 5321 §5.1)."""
    return next((problem for problem in problems[::-1] if problem.fate.outcome == LATER), problems[-1])


def _is_the_hosts(fate):
    return fate.outcome == LATER and fate.host and fate.error != RECIPIENT_DEFERRED


def host_line(name, address, fate):
    """The log's line that tells of a host what `fate` says."""
    where = f"H={name} [{address}]"
    return f"{where}: {fate.explanation()}" if fate.text else f"{where} {fate.reason()}"


def addresses_of(host):
    """The IP addresses (str) of a routes.Host, ten at most. Raises Undeliverable."""
    if host.addresses is not None:
        return host.addresses
    try:
        found = socket.getaddrinfo(to_ascii(host.name), host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, NoName):
        raise Undeliverable(Fate(LATER, f'lookup of host "{host.name}" failed', UNKNOWN)) from None
    # In the system's order, but IPv6 first, as where the DNS was asked.
    found = dict.fromkeys(place[0] for *_, place in found)
    return sorted(found, key=lambda address: ":" not in address)[:ADDRESSES]
