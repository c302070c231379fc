"""A worker of listener/prefork.py: one process that serves one session after another, as smtp_handler.py serves one.

It takes a connection as descriptors 0 and 1, and nothing of the session is left when it takes the next.
TERM: no more connections, the session at hand ends when its transaction does; a second TERM ends that too.
HUP: the session at hand is this worker's last. The master's death is as a TERM.

`posix` and `_signal` are here what `os` and `signal` are elsewhere, and sockets are `_socket`'s: the others bring enums
and abstract classes, of which each worker would soon have a copy of its own (200 KiB).
"""
import _signal as signal
import fcntl
import posix
import select
import sys
from time import monotonic

from common.worker_states import BUSY, IDLE
from smtp import handler
from smtp.channel import drain

SPARE = 4                   # idle workers to have at hand
SESSIONS = 200              # that one worker serves
QUIET_SECONDS = 60          # after which an idle worker too many ends
SESSION_BEGUN = b"\0"       # that a session begins; no signal has this number
ORPHANED = signal.SIGUSR1   # tells that the master has died
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, ORPHANED)


def tell_begun(pipe):
    """Put SESSION_BEGUN into `pipe`; a full one wakes its reader as well."""
    try:
        posix.write(pipe, SESSION_BEGUN)
    except BlockingIOError:
        pass


def _signalling(pipe):
    """The pipe's reading end once more, with a signal for when the writing end is closed: a worker in a
    session has no other way to hear that it holds the port of a dead master."""
    end = posix.open(f"/proc/self/fd/{pipe}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    fcntl.fcntl(end, fcntl.F_SETOWN, posix.getpid())
    fcntl.fcntl(end, fcntl.F_SETSIG, ORPHANED)
    fcntl.fcntl(end, fcntl.F_SETFL, posix.O_NONBLOCK | posix.O_ASYNC)
    return end


class Worker:
    """scoreboard: the Scoreboard; wake_writer: of the pipe that tells the master of a change; parent_pipe: one whose
    writing end only the master has.

    Made once, by the master; what it forks has all of it, and only run() is each worker's own.
    """

    def __init__(self, scoreboard, wake_writer, parent_pipe):
        self.endpoints = {}
        self.scoreboard = scoreboard
        self.wake_writer = wake_writer
        self.parent_pipe = parent_pipe
        self.session = None
        self.ending = False
        self.stopping = False
        self.waiting = False
        self.poll = self.parent_end = None
        self.woken = -1
        self.dev_null = posix.open("/dev/null", posix.O_RDWR)

    def run(self, endpoints, slot):
        """Serve at these endpoints, in this slot on the scoreboard, until it is time to go. Called with SIGNALS
        blocked."""
        self.scoreboard.slot = slot
        self.woken, wake = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        self.listen(endpoints)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(ORPHANED, self._orphaned)
        signal.signal(signal.SIGHUP, self._retire)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for _ in range(SESSIONS):
            accepted = None
            while not accepted:
                accepted = self.accept()
            self.serve(*accepted)

    def listen(self, endpoints):
        """Await connections at these endpoints, pairs of (listening socket, its Endpoint)."""
        self.poll = select.epoll()
        self.parent_end = _signalling(self.parent_pipe)
        self.poll.register(self.parent_end, select.EPOLLIN)
        if self.woken >= 0:
            self.poll.register(self.woken, select.EPOLLIN)
        self.endpoints = {listener.fileno(): (listener, endpoint) for listener, endpoint in endpoints}
        for descriptor in self.endpoints:
            # Exclusive: one connection wakes one worker, not all of them.
            self.poll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def deafen(self):
        """Close what listen() opened."""
        self.poll.close()
        posix.close(self.parent_end)

    def accept(self):
        """What serve() takes, or None when nobody has come."""
        self.scoreboard.mark(IDLE)
        ready = self._await_connection()
        if not ready and self.scoreboard.count_idle() > SPARE:
            sys.exit()
        for descriptor, _ in ready:
            if descriptor not in self.endpoints:
                sys.exit()      # the master was gone before it could be told
            listener, endpoint = self.endpoints[descriptor]
            try:
                return endpoint, *listener._accept()        # accept is a method of socket.socket only
            except OSError:
                pass            # another worker was faster, or the client has left
        return None

    def _await_connection(self):
        ready = []
        deadline = monotonic() + QUIET_SECONDS
        self.waiting = True
        while not ready and (wait := deadline - monotonic()) > 0:
            if self.ending:
                sys.exit()
            ready = self.poll.poll(wait, 2 + len(self.endpoints))
            # A signal that comes just before the call is heard after it, which it ends.
            if (self.woken, select.EPOLLIN) in ready:
                ready.remove((self.woken, select.EPOLLIN))
                drain(self.woken)
        self.waiting = False
        return ready

    def serve(self, endpoint, connection, peer):
        """One session on `connection`, a descriptor, which is closed then. peer: its other end's name."""
        self.scoreboard.mark(BUSY)
        if self.scoreboard.count_idle() < SPARE:
            tell_begun(self.wake_writer)
        self._take_as_ends(connection)
        posix.close(connection)
        handler.serve(endpoint, handler.host_of(peer), self._begin, self.woken)
        self.session = None
        self._take_as_ends(self.dev_null)

    def _take_as_ends(self, descriptor):
        posix.dup2(descriptor, 0)
        posix.dup2(descriptor, 1)

    def _begin(self, new):
        self.session = new
        if self.stopping:
            new.terminate()

    def _terminate(self, *_):
        self.stopping = True
        self._retire()
        for listener, _ in self.endpoints.values():
            listener.close()
        if self.session:
            self.session.terminate()

    def _orphaned(self, *_):
        # The kernel may say it twice, and a second TERM would end a transaction.
        if not self.stopping:
            self._terminate()

    def _retire(self, *_):
        self.ending = True
        if self.waiting:
            sys.exit()
