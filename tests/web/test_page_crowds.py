"""The page of -web against crowds: many sessions, many browsers, slow ones."""

import os
import signal
import socket
import unittest
import unittest.mock

from tests.helpers import support
from tests.web.page import LETTER, PageTestCase
from web.server import MOST_REQUESTS, Server
from web.watcher import NEWS, Subscriber, encoded as event

KEPT = 500                      # dialogues


class CrowdTest(PageTestCase):
    """Many sessions, many browsers, slow ones."""

    listener = "prefork"
    more = ("-max", "128")

    def test_a_hundred_sessions_at_once(self):
        clients = [self.client() for _ in range(100)]
        try:
            for number, client in enumerate(clients):
                client.expect("HELO crowd%d" % number, 250)
            wanted = {"crowd%d" % number for number in range(100)}
            support.wait_for(lambda: wanted <= {session["client"] for session in self.page.snapshot()["sessions"]
                                                if not session["over"]}, "all of them")
        finally:
            for client in clients:
                client.close()

    def test_the_last_are_kept(self):
        """And what goes on, however old it is."""
        with self.client() as staying:
            staying.expect("HELO staying", 250)
            begun = self.page.session("staying", over=False)["number"]
            self.come_and_go(KEPT + 100)
            snapshot = support.wait_for(lambda: self.all_seen(begun + KEPT + 100), "all of them")
            self.assertEqual((len(snapshot["sessions"]), snapshot["leftOut"]), (KEPT, 0))
            self.assertIn("staying", [session["client"] for session in snapshot["sessions"] if not session["over"]])
            self.assert_in_order(snapshot["sessions"])

    def assert_in_order(self, sessions):
        """Also those that one worker served, and that lie behind one another in its file."""
        begun = [session["began"] for session in sorted(sessions, key=lambda session: session["number"])]
        self.assertEqual(begun, sorted(begun))

    def test_a_browser_that_watches_a_crowd_pass(self):
        """It is told of whoever it will have on its page, and of the end of each of them."""
        with self.page.events() as browser:
            told = {session["name"]: session for session in browser.next("snapshot")["sessions"]}
            with self.client() as last:
                self.come_and_go(KEPT + 100)
                last.expect("HELO last", 250)
                while "last" not in [session["client"] for session in told.values()]:
                    told.update((session["name"], session) for session in browser.next("sessions")["sessions"])
        newest = sorted(told.values(), key=lambda session: session["number"])[-KEPT:]
        self.assertEqual(len(newest), KEPT)
        self.assertEqual([session for session in newest if not session["over"] and session["client"] != "last"], [])

    def all_seen(self, number):
        snapshot = self.page.snapshot()
        return max(session["number"] for session in snapshot["sessions"]) + snapshot["leftOut"] >= number and snapshot

    def come_and_go(self, count):
        for _ in range(count):
            with self.client() as client:
                client.expect("QUIT", 221)

    @support.long_test
    def test_what_is_too_much_is_counted(self):
        """A page that is stopped for so long that it could never catch up tells how many sessions it left out."""
        before = self.page.snapshot()
        first = max((session["number"] for session in before["sessions"]), default=0) + before["leftOut"]
        os.kill(self.page.process(), signal.SIGSTOP)
        try:
            for _ in range(300):
                with self.client() as client:
                    client.expect("HELO x", 250)
                    client.write(b"NOOP " + b"x" * 400 + b"\r\n" + b"NOOP\r\n" * 200 + b"QUIT\r\n")
                    client.rest()
        finally:
            os.kill(self.page.process(), signal.SIGCONT)
        snapshot = support.wait_for(lambda: self.all_seen(first + 300), "all of them")
        self.assertGreater(snapshot["leftOut"], 0)

    def test_ten_browsers_and_some_that_do_not_read(self):
        deaf = [self.page.events() for _ in range(10)]
        browsers = [self.page.events() for _ in range(10)]
        try:
            self.server.send(self.address("alice"), LETTER)
            for browser in browsers:
                while not any(session["messages"] for session in browser.next("sessions")["sessions"]):
                    pass
            self.assertEqual(self.page.get("/").status, 200)
        finally:
            for events in deaf + browsers:
                events.__exit__()

    def test_too_many_browsers(self):
        """They are turned away, and those that go make room."""
        many = []
        try:
            for _ in range(70):
                many.append(self.page.events())
        finally:
            for events in many:
                events.__exit__()
        support.wait_for(lambda: self.served(), "room")

    def served(self):
        try:
            return self.page.get("/").status == 200
        except OSError:
            return False


class NoThreadTest(unittest.TestCase):
    """A browser for which the system has no thread is sent away, and takes nobody's place."""

    def test_it(self):
        server = Server("127.0.0.1", 0, "token", None)
        self.addCleanup(server.server_close)
        with unittest.mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
            for _ in range(MOST_REQUESTS + 1):
                ours, theirs = socket.socketpair()
                with ours:
                    server.process_request(theirs, ("127.0.0.1", 1))
                    self.assertEqual(ours.recv(1), b"")
        self.assertEqual([server.take_place() for _ in range(MOST_REQUESTS + 1)], [True] * MOST_REQUESTS + [False])


class SlowBrowserTest(unittest.TestCase):
    """What waits for a browser is bounded, and it is told what it missed."""

    def test_missed(self):
        class Watcher:
            def snapshot(self):
                return {"all": True}
        subscriber = Subscriber(Watcher())
        for number in range(NEWS + 50):
            subscriber.put(event("log", number))
        self.assertEqual([subscriber.next(0) for _ in range(NEWS)], [event("log", number) for number in range(NEWS)])
        self.assertEqual(subscriber.next(0), event("snapshot", {"all": True, "missed": 50}))
        subscriber.put(event("log", "new"))
        self.assertEqual((subscriber.next(0), subscriber.next(0)), (event("log", "new"), None))


if __name__ == "__main__":
    unittest.main()
