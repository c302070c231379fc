#!/usr/bin/python3 -ES
"""The warm listener: the sessions of smtp_handler.py without an interpreter's start for each.

`serveur.sh -listen prefork` starts it in netcat's place. One master binds the ports, imports all that a
session needs and forks workers. A worker takes a connection as descriptors 0 and 1, runs the very same
session, and takes the next; after SESSIONS of them it makes way for a fresh one.

A board of one octet a worker, in shared memory, tells who is busy. A worker that gets busy and finds too
few idle ones left wakes the master through a pipe; so do signals. The master forks so that SPARE are idle,
up to -max in all, and workers that have been idle for long end by themselves.

TERM: listen no more, let sessions finish their transaction, end. HUP: fresh workers, which read aliases and
certificate anew; the old ones finish their sessions. Sockets may come from systemd (LISTEN_FDS).
"""
import gc
import mmap
import os
import select
import signal
import socket
import sys
import time

import entry
import settings as configuration
from mailstore.identity import become_service
from warmth import warm_up
SPARE = 4                   # idle workers to have at hand
SESSIONS = 200              # that one worker serves
BACKLOG = 1024
QUIET_SECONDS = 10          # after which an idle worker too many ends
GRACE_SECONDS = 9           # for running sessions at the end; serveur.sh waits a second longer
FREE, IDLE, BUSY = 0, 1, 2
FIRST_PASSED = 3            # systemd's first descriptor, sd_listen_fds(3)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def open_sockets(settings):
    """The listening sockets: systemd's if it passed some, else one for each address and port."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        count = int(os.environ.get("LISTEN_FDS", 0))
        return [socket.socket(fileno=FIRST_PASSED + i) for i in range(count)]
    addresses = settings.bind.split() or ["::" if socket.has_dualstack_ipv6() else "0.0.0.0"]
    return [_bind(address, port, not settings.bind) for address in addresses
            for port in settings.ports + settings.smtps]


def _bind(address, port, both_families):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=BACKLOG,
                                dualstack_ipv6=both_families and family == socket.AF_INET6)


def wake(pipe):
    """Put an octet into `pipe`; a full one wakes its reader as well."""
    try:
        os.write(pipe, b"\n")
    except BlockingIOError:
        pass


class Worker:
    """A forked process that serves one session after another. place: its octet on the board."""

    def __init__(self, sockets, board, place, wake, alive):
        self.doors = {}
        self.board = board
        self.place = place
        self.wake = wake
        self.session = None
        self.ending = False
        self.waiting = False
        self.poll = select.epoll()
        self.poll.register(alive, select.EPOLLIN)
        for listener, settings in sockets:
            # Exclusive: one connection wakes one worker, not all of them.
            self.poll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            self.doors[listener.fileno()] = (listener, entry.Door(settings))

    def run(self):
        """Serve until it is time to go."""
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGHUP, self._retire)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for _ in range(SESSIONS):
            accepted = None
            while not accepted:
                accepted = self._accept()
            self._serve(*accepted)

    def _accept(self):
        self.board[self.place] = IDLE
        ready = self._await_connection()
        if not ready and self.board[:].count(IDLE) > SPARE:
            sys.exit()
        for descriptor, _ in ready:
            if descriptor not in self.doors:
                sys.exit()      # the master is gone
            listener, door = self.doors[descriptor]
            try:
                return door, *listener.accept()
            except OSError:
                pass            # another worker was faster, or the client has left
        return None

    def _await_connection(self):
        self.waiting = True
        if self.ending:
            sys.exit()
        ready = self.poll.poll(QUIET_SECONDS)
        self.waiting = False
        return ready

    def _serve(self, door, connection, peer):
        self.board[self.place] = BUSY
        if self.board[:].count(IDLE) < SPARE:
            wake(self.wake)
        own = connection.getsockname()
        connection.setblocking(True)
        for descriptor in (0, 1):
            os.dup2(connection.fileno(), descriptor)
        connection.close()
        entry.serve(door, entry.host_of(peer), entry.host_of(own), self._begin)
        self.session = None
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nothing, descriptor)
        os.close(nothing)

    def _begin(self, new):
        self.session = new
        if self.ending:
            new.stopping = True

    def _terminate(self, *_):
        """TERM: no more connections; the session at hand ends when its transaction does."""
        self._retire()
        for listener, _ in self.doors.values():
            listener.close()
        if self.session:
            self.session.terminate()

    def _retire(self, *_):
        """HUP: this worker's last session is the one at hand."""
        self.ending = True
        if self.waiting:
            sys.exit()


class Master:
    """Keeps enough workers. settings: a Settings."""

    def __init__(self, settings):
        self.settings = settings
        self.sockets = [(s, settings.at_port(s.getsockname()[1])) for s in open_sockets(settings)]
        self.board = mmap.mmap(-1, settings.max_sessions)
        self.places = {}
        self.woken, self.wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.alive, self.alive_writer = os.pipe2(os.O_CLOEXEC)
        self.stopping = False
        for listener, _ in self.sockets:
            listener.setblocking(False)

    def run(self):
        """Serve until TERM or INT. Returns when every worker has ended."""
        warm_up(self.settings)
        become_service()
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, lambda *_: self._tell_workers(signal.SIGHUP))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        gc.freeze()             # so that a collection in a worker does not copy the master's pages
        while not self.stopping:
            self._reap()
            self._fork_enough()
            self._await_news(None)
        self._await_end(time.monotonic() + GRACE_SECONDS)

    def _await_news(self, seconds):
        if select.select([self.woken], [], [], seconds)[0]:
            os.read(self.woken, 4096)

    def _reap(self):
        while self.places:
            worker, _ = os.waitpid(-1, os.WNOHANG)
            if not worker:
                return
            self.board[self.places.pop(worker)] = FREE

    def _fork_enough(self):
        while self.board[:].count(IDLE) < SPARE and len(self.places) < self.settings.max_sessions:
            place = self.board.find(bytes([FREE]))
            # Idle from now on: the next turn must not fork another in its place.
            self.board[place] = IDLE
            # A signal between the fork and the worker's own handlers would find the master's in a worker.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            worker = os.fork()
            if not worker:
                self._be_worker(place)
            self.places[worker] = place
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _be_worker(self, place):
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.close(self.alive_writer)
            Worker(self.sockets, self.board, place, self.wake, self.alive).run()
            status = 0
        except SystemExit:
            status = 0
        finally:
            os._exit(status)

    def _stop(self, *_):
        self.stopping = True
        for listener, _ in self.sockets:
            listener.close()
        self._tell_workers(signal.SIGTERM)

    def _tell_workers(self, number):
        for worker in self.places:
            os.kill(worker, number)

    def _await_end(self, deadline):
        while self.places and time.monotonic() < deadline:
            self._await_news(max(0, deadline - time.monotonic()))
            self._reap()
        self._tell_workers(signal.SIGKILL)


if __name__ == "__main__":
    Master(configuration.from_environ()).run()
