"""One connection at a time to one destination, for as many messages as wait there."""
import socket
import threading
from traceback import format_exc

from carrier.connection import connect
from carrier.fate import LATER, NEVER, RECIPIENT_DEFERRED, UNKNOWN, Fate, Undeliverable
from carrier.idna import NoName, to_ascii
from carrier.threads import Stopping
from carrier.transaction import Transaction
from carrier.wire import Message

FRUITLESS = 3               # so many connections in a row that break before anything is settled are enough
RECIPIENTS = 100            # in one transaction, which every host takes (RFC 5321 §4.5.3.1.8)


class Worker:
    """Carries the jobs of `lane` until none is left; its thread runs `run`. lanes: the Lanes it is one of."""

    def __init__(self, lanes, lane):
        self._lanes = lanes
        self._lane = lane
        self._lines = []
        self._noted = threading.Event()
        self._noted.set()

    def run(self):
        try:
            while self._lane.jobs:
                self._visit()
        except Stopping:
            pass
        except Exception:
            self._lanes.events.put(self._lanes.report, format_exc())
            self._give_up(Fate(LATER, "internal error", UNKNOWN))
        finally:
            self._lanes.gate.leave()
            self._lanes.events.put(self._lanes.ended, self._lane)

    # Connecting

    def _visit(self):
        """Connect, and carry what there is over this connection."""
        try:
            connection, place = self._connect()
        except Undeliverable as error:
            self._give_up(error.fate)
            return
        self._lanes.events.put(self._lanes.reached, self._lane)
        try:
            self._use(connection)
        finally:
            connection.close()
            self._lanes.slots.give_back(place)

    def _connect(self):
        """(Connection, its place among the slots): to the first host that takes us. Raises Undeliverable."""
        problems = []
        for host in self._lane.route.in_order():
            try:
                return self._reach(host)
            except Undeliverable as error:
                problems.append(error)
        raise _verdict(problems)

    def _reach(self, host):
        """(Connection, its place): to the first of the host's addresses that takes us. Raises the last one's
        Undeliverable."""
        for address in addresses_of(host):
            place = (address, host.port)
            problem = self._lane.unreachable.get(place)
            if not problem:
                try:
                    return self._try(host, address), place
                except Undeliverable as error:
                    problem = error
                    self._note_unreachable(host, place, error)
        raise problem

    def _try(self, host, address):
        if self._lanes.own.is_ours(address, host.port):
            raise Undeliverable(Fate(NEVER, "remote host address is the local host", status="5.4.6"))
        self._lanes.slots.take((address, host.port))
        try:
            connection = connect(host.name, address, host.port, self._lanes.domain, self._lanes.limits)
        except BaseException:
            self._lanes.slots.give_back((address, host.port))
            raise
        self._lines += connection.notes
        return connection

    def _note_unreachable(self, host, place, error):
        """It will not be tried again in this run."""
        fate = error.fate
        if fate.host or fate.error:
            self._lines.append(host_line(host.name, place[0], fate))
        self._lane.unreachable[place] = error

    # Carrying

    def _use(self, connection):
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
    """The IP addresses (str) of a routes.Host. Raises Undeliverable."""
    if host.addresses is not None:
        return host.addresses
    try:
        found = socket.getaddrinfo(to_ascii(host.name), host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, NoName):
        raise Undeliverable(Fate(LATER, f'lookup of host "{host.name}" failed', UNKNOWN)) from None
    # In the system's order, but IPv6 first, as where the DNS was asked.
    return sorted(dict.fromkeys(place[0] for *_, place in found), key=lambda address: ":" not in address)
