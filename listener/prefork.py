#!/usr/bin/python3 -ES
"""The warm listener: the sessions of smtp_handler.py without an interpreter's start for each.

`serveur.sh -listen prefork` starts it in netcat's place. One master binds the ports, imports all that a
session needs and forks workers (listener/worker.py), each of which serves many sessions, makes way for a fresh one,
and is replaced if it dies.

A scoreboard in shared memory (listener/scoreboard.py) tells who is busy. A worker that gets busy and finds too few
idle ones left wakes the master through a pipe; so do signals. The master forks so that SPARE are idle beside one for
each client that waits, up to -max and some in all, and workers that have been idle for long end by themselves. It
does not fork while clients are taken so fast that nobody waits for long: one process more would only drive the others
out of the processor's caches (of 16 clients at once, 4 workers serve a third more than 20).

TERM: listen no more, let sessions finish their transaction, end. A second TERM does not let them. HUP: fresh
workers, which read the certificate anew; the old ones finish their sessions. Sockets may come from systemd
(LISTEN_FDS).
"""
import sys
sys.path[0] = __file__.rpartition("/listener/")[0]      # run as a script, it finds only its own room there

import _signal as signal
import gc
import posix
import select
import time

from common import settings as configuration
from common.mainlog import MainLog
from common.privileges import become_service
from listener.preload import rehearse, warm_up
from listener.scoreboard import Scoreboard
from listener.sockets import LOOK_SECONDS, count_waiting, is_wait_long, open_sockets
from listener.worker import SESSION_BEGUN, SIGNALS, SPARE, Worker
from smtp.handler import Endpoint

GRACE_SECONDS = 8           # for running sessions at the end; then they hear 421 in their transaction too,
LAST_SECONDS = 1            # or are killed, a second before serveur.sh does it
REST_SECONDS = 0.1          # after a worker that failed, so that a lasting trouble does not fork for ever


class Master:
    """Keeps enough workers. settings: a Settings."""

    def __init__(self, settings):
        self.settings = settings
        self.sockets = open_sockets(settings)
        self.endpoints = []
        # A few more workers than sessions: a client too many is told so, where it would only wait.
        self.most = settings.max_sessions + settings.max_sessions // 8 + 1
        self.scoreboard = Scoreboard(self.most, settings.max_sessions)
        self.worker = None
        self.workers = {}           # {pid: its slot}
        self.woken, self.wake = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        self.alive_writer = -1
        self.stopping = False
        self.outdated = False       # whether workers are to be replaced by fresh ones
        self.crowded = False        # whether the system has no process more for us
        for listener in self.sockets:
            listener.setblocking(False)

    def run(self):
        """Serve until TERM or INT. Returns when every worker has ended."""
        warm_up(self.settings)
        become_service()
        self.endpoints = [(listener, self._endpoint(listener)) for listener in self.sockets]
        self._share_tls_context()
        self._make_worker()
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, self._outdate)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        gc.freeze()             # so that a collection in a worker does not copy the master's pages
        begun = 0
        while not self.stopping:
            if self.outdated:
                self._renew()
            self._reap()
            if self._fork_enough(begun):
                self._await_news(None)
            time.sleep(LOOK_SECONDS)
            begun = self._await_news(0).count(SESSION_BEGUN)
        self._await_end(GRACE_SECONDS)
        self._tell_workers(signal.SIGTERM)
        self._await_end(LAST_SECONDS)
        self._tell_workers(signal.SIGKILL)

    def _endpoint(self, listener):
        return Endpoint(self.settings.at_port(listener.getsockname()[1]), self.scoreboard)

    def _share_tls_context(self):
        """One for all workers: a session that one began may be resumed with any (RFC 8446 §2.2), for they encrypt their
        tickets alike. Without it each tries for itself, and tells its clients that it can't."""
        if self.settings.tls:
            from smtp.tls import make_context
            try:
                context = make_context(Endpoint(self.settings, self.scoreboard).backend.access)
            except OSError:
                context = None
            for _, endpoint in self.endpoints:
                endpoint.tls_context = context

    def _outdate(self, *_):
        self.outdated = True

    def _renew(self):
        self.outdated = False
        self._share_tls_context()
        self._tell_workers(signal.SIGHUP)

    def _make_worker(self):
        # Made by the workers' user, who will open it anew.
        alive, self.alive_writer = posix.pipe2(posix.O_CLOEXEC)
        self.worker = Worker(self.scoreboard, self.wake, alive)
        if not self.settings.verbose:       # the terminal would show these sessions too
            rehearse(self.worker, Endpoint(self.settings, self.scoreboard))
            self.scoreboard.clear(self.scoreboard.slot)

    def _await_news(self, seconds):
        if select.select([self.woken], [], [], seconds)[0]:
            return posix.read(self.woken, 4096)
        return b""

    def _reap(self):
        while self.workers:
            worker, status = posix.waitpid(-1, posix.WNOHANG)
            if not worker:
                return
            self.scoreboard.clear(self.workers.pop(worker))
            if posix.WIFEXITED(status) and posix.WEXITSTATUS(status):
                time.sleep(REST_SECONDS)

    def _fork_enough(self, begun):
        """Whether there are enough idle workers. begun: sessions, in the last LOOK_SECONDS."""
        # A signal between a fork and the worker's own handlers would find the master's in a worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        enough = self.stopping
        while not enough:
            waiting = count_waiting(self.sockets)
            enough = self.scoreboard.count_idle() >= SPARE + waiting or len(self.workers) >= self.most
            if enough or len(self.workers) >= SPARE and not is_wait_long(waiting, begun) or not self._fork():
                break
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return enough

    def _fork(self):
        """Whether there is a worker more. If the system has no process for it, those that there are have to do."""
        slot = self.scoreboard.reserve()
        try:
            worker = posix.fork()
        except OSError as error:
            self.scoreboard.clear(slot)
            if not self.crowded:
                self._log(f"no further process for sessions: {error.strerror}")
            self.crowded = True
            return False
        if not worker:
            self._be_worker(slot)
        self.workers[worker] = slot
        self.crowded = False
        return True

    def _be_worker(self, slot):
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            posix.close(self.alive_writer)
            self.worker.run(self.endpoints, slot)
            status = 0
        except SystemExit:
            status = 0
        except Exception:
            from traceback import format_exc
            self._log(format_exc().rstrip("\n"))
        finally:
            posix._exit(status)

    def _log(self, text):
        mainlog = MainLog(self.settings.log)
        for line in text.split("\n"):
            mainlog.write(line)
        mainlog.close()

    def _stop(self, *_):
        self.stopping = True
        for listener in self.sockets:
            listener.close()
        self._tell_workers(signal.SIGTERM)

    def _tell_workers(self, number):
        for worker in list(self.workers):
            try:
                posix.kill(worker, number)
            except ProcessLookupError:
                pass            # it has ended this very moment

    def _await_end(self, seconds):
        deadline = time.monotonic() + seconds
        self._reap()            # of those who ended already the news may have been read
        while self.workers and (left := deadline - time.monotonic()) > 0:
            self._await_news(left)
            self._reap()


if __name__ == "__main__":
    Master(configuration.from_environ()).run()
