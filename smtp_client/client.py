"""One connection at a time to one destination, for as many messages as wait there."""
import socket
import threading
from errno import ETIMEDOUT
from time import monotonic
from traceback import format_exc
from typing import NamedTuple

from smtp_client.bounds import ADDRESSES, TURN
from smtp_client.concurrency import Stopping
from smtp_client.connection import Budget, connect
from smtp_client.encoding import Message
from smtp_client.idna import NoName, to_ascii
from smtp_client.result import (LATER, NEVER, RECIPIENT_DEFERRED, UNKNOWN, Answer, DeliveryResult, Note, Peer,
                                Undeliverable)
from smtp_client.transaction import Transaction

FRUITLESS = 3               # so many connections in a row that break before anything is settled are enough


class Busy(Exception):
    """All slots are taken at `place`, (address, port), which is to have the mail."""

    def __init__(self, place):
        super().__init__(place)
        self.place = place


# News, from a client to the Destinations

class Reached(NamedTuple):
    """A client of `destination` has a connection to `place`, (address, port): more may follow it."""

    destination: object
    place: tuple


class Freed(NamedTuple):
    """There may be a slot at `place`, (address, port), in `pool`."""

    pool: object
    place: tuple


class Settled(NamedTuple):
    """What came of `job` is `answer`, an Answer. noted: an Event to be set when it has been noted."""

    job: object
    answer: Answer
    noted: threading.Event


class Broken(NamedTuple):
    """A client failed in a way that it should not. text: the traceback."""

    text: str


class Ended(NamedTuple):
    """A client of `destination` has ended. is_over: whether it was done, and does not only give way; busy: the place,
    (address, port), where it found no slot, or None."""

    destination: object
    is_over: bool
    busy: object


class Surroundings(NamedTuple):
    """What all clients share. domain: what we call ourselves; own: an OwnAddresses; gate: a Gate; tell: takes their
    news."""

    domain: str
    own: object
    gate: object
    tell: object


class Client:
    """Carries the jobs of `destination`; its thread runs `run`, until none is left or it has to give way. limits: a
    bounds.Limits."""

    def __init__(self, destination, limits, surroundings: Surroundings):
        self._destination = destination
        self._pool = destination.pool
        self._limits = limits
        self._surroundings = surroundings
        self._tell = surroundings.tell
        self._budget = None         # of the visit
        self._turn_ends = monotonic() + TURN
        self._notes, destination.notes = destination.notes, []
        self._noted = threading.Event()
        self._noted.set()

    def run(self):
        is_over, busy = True, None
        try:
            is_over = self._work()
        except Busy as error:
            is_over, busy = False, error.place
            self._destination.notes += self._notes
        except Stopping:
            pass
        except Exception:
            self._tell(Broken(format_exc()))
            self._give_up(DeliveryResult(LATER, "internal error", UNKNOWN))
        finally:
            self._surroundings.gate.leave()
            self._tell(Ended(self._destination, is_over, busy))

    def _work(self):
        """Whether all is done that there was; else others are to have their turn. Raises Busy, Stopping."""
        while self._destination.jobs:
            place = self._visit()
            if place and self._destination.jobs and self._must_give_way(place):
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
            self._give_up(error.result)
            return None
        self._pool.slots.reached(place)
        self._pool.silence.end(place)
        self._tell(Reached(self._destination, place))
        try:
            self._use(connection, place)
        finally:
            connection.close()
            self._give_back(place)
        return place

    def _give_back(self, place):
        self._pool.slots.give_back(place)
        self._tell(Freed(self._pool, place))

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
        raise Undeliverable(_verdict(list(problems.values())))

    def _places(self):
        """Yield (host, (address, port)) in the order in which they are to be tried, until the time is over."""
        for host in self._destination.route.in_order():
            for address in addresses_of(host):
                yield host, (address, host.port)
                if self._budget.is_over():
                    return

    def _known_problem(self, place):
        """The DeliveryResult that this run, or another one lately, has had of `place`; or None."""
        return self._destination.unreachable.get(place) or self._pool.silence.recent(place, self._pool.share.memory)

    def _try(self, host, place):
        """(the Connection, None), or (None, the DeliveryResult of having none)."""
        try:
            if self._surroundings.own.is_ours(*place):
                looping = DeliveryResult(NEVER, "remote host address is the local host", status="5.4.6")
                raise Undeliverable(looping)
            connection = connect(host, place[0], self._surroundings.domain, self._budget)
        except Undeliverable as error:
            self._note_unreachable(host, place, error.result)
            self._give_back(place)
            return None, error.result
        except BaseException:
            self._give_back(place)
            raise
        self._notes += connection.notes
        return connection, None

    def _note_unreachable(self, host, place, result):
        """The place will not be tried again in this run, and if it was silent, not for a while in others either."""
        if result.peer or result.errno:
            self._notes.append(Note(Peer(host.name, place[0]), result))
        if result.errno == ETIMEDOUT:
            self._pool.silence.note(place, result)
        self._destination.unreachable[place] = result

    # Carrying

    def _use(self, connection, place):
        settled = 0
        while True:
            try:
                job = self._destination.jobs.popleft()
            except IndexError:
                connection.quit()
                return
            problem = self._carry(connection, job, is_first=not settled)
            if problem:
                self._break_off(problem, settled)
                return
            settled += 1
            self._destination.fruitless = 0
            self._budget.renew()
            if self._must_give_way(place):
                connection.quit()
                return

    def _break_off(self, result, settled):
        self._destination.fruitless = 0 if settled else self._destination.fruitless + 1
        if self._destination.fruitless >= FRUITLESS:
            self._give_up(result)

    def _carry(self, connection, job, is_first):
        """Send one job. The DeliveryResult that broke the connection, or None."""
        try:
            message = Message(job.path)
        except OSError as error:
            self._finish(job, {}, DeliveryResult(LATER, "message cannot be read", error.errno))
            return None
        with message:
            return self._converse(Transaction(connection, job, self._before_end), job, message, is_first)

    def _converse(self, transaction, job, message, is_first):
        problem = None
        try:
            transaction.run(message, job.addresses)
        except OSError as error:
            problem = DeliveryResult(LATER, "message cannot be read", error.errno)
        except Stopping:
            raise
        except Undeliverable as error:
            problem = error.result
            # Hosts end a connection after so many messages, or when it was idle: that says nothing of this one.
            if not is_first and not transaction.is_begun:
                self._destination.jobs.appendleft(job)
                return problem
        except Exception:
            self._tell(Broken(format_exc()))
            problem = DeliveryResult(LATER, "internal error", UNKNOWN)
        self._finish(job, transaction.results, problem)
        return problem

    def _finish(self, job, results, problem):
        """Tell what came of a job; `problem` is the DeliveryResult of those who have none in `results`."""
        results = {address: results.get(address, problem) for address in job.addresses}
        causes = dict.fromkeys(results.values())
        notes = self._notes + [Note(result.peer, result) for result in causes if _is_the_hosts(result)]
        self._notes = []
        self._noted.clear()
        self._tell(Settled(job, Answer(results, notes), self._noted))
        self._surroundings.gate.leave()

    def _before_end(self):
        """However busy the queue manager is, no more than one message a connection is the other side's and not noted:
        what would be sent twice if the relay were killed."""
        self._noted.wait()
        self._surroundings.gate.enter()

    def _give_up(self, result):
        """Nothing can be carried there now: so says every job, with the same notes."""
        while self._destination.jobs:
            job = self._destination.jobs.popleft()
            self._tell(Settled(job, Answer(dict.fromkeys(job.addresses, result), self._notes), self._noted))
        self._notes = []


def _verdict(problems):
    """Of the DeliveryResults that a route's hosts came to, the one that decides: the message is refused for good only
    when each of them does that (RFC 5321 §5.1)."""
    return next((problem for problem in problems[::-1] if problem.outcome == LATER), problems[-1])


def _is_the_hosts(result):
    return result.outcome == LATER and result.peer and result.errno != RECIPIENT_DEFERRED


def addresses_of(host):
    """The IP addresses (str) of a routing.Host, ten at most. Raises Undeliverable."""
    if host.addresses is not None:
        return host.addresses
    try:
        found = socket.getaddrinfo(to_ascii(host.name), host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, NoName):
        raise Undeliverable(DeliveryResult(LATER, f'lookup of host "{host.name}" failed', UNKNOWN)) from None
    # In the system's order, but IPv6 first, as where the DNS was asked.
    found = dict.fromkeys(place[0] for *_, place in found)
    return sorted(found, key=lambda address: ":" not in address)[:ADDRESSES]
