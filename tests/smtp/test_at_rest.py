"""Who waits does nothing: a session whose client is silent, and a worker without one, are not even woken."""

import contextlib
import os
import pathlib
import socket
import time
import unittest

from smtp.channel import Channel, Interrupted
from tests.helpers import support
from tests.listener.test_prefork import workers

SECONDS = 2.5                   # in which each was woken twice


def times_woken(pid: int) -> int:
    """How often a process has waited for something so far."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def woken(pids, seconds: float):
    """{pid: how often it was woken within so many seconds from now}."""
    before = {pid: times_woken(pid) for pid in pids}
    time.sleep(seconds)
    return {pid: times_woken(pid) - before[pid] for pid in pids}


@support.both_listeners
class AtRestTest(support.ServerTestCase):

    def test_nobody_is_woken(self):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client()) for _ in range(3)]
            clients[0].expect("EHLO x", 250)
            clients[1].expect("MAIL FROM:<a@b.example>", 503)
            pids = {self.server.process_of(client) for client in clients}
            if self.listener == "prefork":
                support.wait_for(lambda: len(workers(self.server)) >= 7, "idle workers")
                pids.update(workers(self.server))
            support.wait_for(lambda: woken(pids, 0.3) == dict.fromkeys(pids, 0), "the end of their beginning")
            # On a loaded machine one of them may still have something to begin.
            support.wait_for(lambda: woken(pids, SECONDS) == dict.fromkeys(pids, 0), "nobody woken in %g s" % SECONDS)
            for client in clients:
                client.expect("QUIT", 221)


class Poll:
    """A poll object; `then` is called behind its first wait: a signal's handler, when it came just before."""

    def __init__(self, whole, then):
        self.whole, self.then, self.waits = whole, then, 0

    def poll(self, milliseconds):
        self.waits += 1
        ready = self.whole.poll(milliseconds)
        self.then()
        return ready


class SignalTest(unittest.TestCase):
    """One that comes between the last look and the wait ends this wait."""

    def setUp(self):
        ours, self.client = socket.socketpair()
        woken, self.wake = os.pipe2(os.O_NONBLOCK)
        for end in (ours, self.client):
            self.addCleanup(end.close)
        for end in (woken, self.wake):
            self.addCleanup(os.close, end)
        self.channel = Channel(ours.fileno(), ours.fileno(), woken=woken)

    def wait(self, then) -> int:
        """Read a line, after a signal; how many waits it took."""
        os.write(self.wake, b"\x0f")
        poll = self.channel._readable = Poll(self.channel._readable, then)
        with contextlib.suppress(Interrupted):
            self.channel.read_line(time.monotonic() + 3600)
        return poll.waits

    def test_that_ends_the_session(self):
        self.assertEqual(self.wait(self.channel.interrupt), 1)

    def test_that_does_not(self):
        """The next wait is for the client again."""
        self.assertEqual(self.wait(lambda: self.client.send(b"\r\n")), 2)


if __name__ == "__main__":
    unittest.main()
