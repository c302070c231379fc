"""HUP, and what a warm listener's workers share until then."""

import ssl
import threading
import typing
import unittest

from tests.helpers import secure
from tests.helpers.client import Client
from tests.listener.test_prefork import PreforkTestCase


class ReloadTest(PreforkTestCase):
    """HUP: the certificate is read anew, as aliases are in any case; nobody is refused meanwhile, who is here stays."""

    options = ("-max", "20")
    aliases = "old: alice\n"

    def test_aliases(self):
        with self.client() as staying:
            staying.expect("EHLO x", 250)
            staying.expect("MAIL FROM:<a@b.example>", 250)
            staying.expect("RCPT TO:<%s>" % self.address("old"), 250)
            (self.server.folder / "aliases").write_text("new: alice\n")
            self.assertTrue(self.knows("new"))
            self.reload(but=self.server.process_of(staying))
            self.assertTrue(self.knows("new"))
            staying.expect("RCPT TO:<%s>" % self.address("old"), 250)
            staying.expect("QUIT", 221)
        self.assertFalse(self.knows("old"))

    def knows(self, name: str) -> bool:
        with self.client() as client:
            return client.ask("VRFY " + name).code == 250

    def test_nobody_is_refused(self):
        failures, done = [], threading.Event()

        def call():
            while not done.is_set():
                try:
                    with self.client() as client:
                        client.expect("QUIT", 221)
                except (OSError, EOFError, AssertionError) as error:
                    failures.append(repr(error))
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(20):
                self.reload()
        finally:
            done.set()
            for caller in callers:
                caller.join()
        self.assertEqual(failures, [])


class ResumptionTest(PreforkTestCase):
    """A TLS session that one worker began goes on with any other, and once more after HUP a new one."""

    options = ("-max", "20", "-tls", "auto")

    def begin(self, session: typing.Optional[ssl.SSLSession]) -> Client:
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO x", 250)
        client.expect("STARTTLS", 220)
        client.file.close()
        client.socket = self.context.wrap_socket(client.socket, session=session)
        client.file = client.socket.makefile("rb")
        client.expect("EHLO x", 250)        # with it have come the tickets of TLS 1.3
        return client

    def test_with_any_worker(self):
        self.context = secure.context()
        first = self.begin(None)
        self.assertFalse(first.socket.session_reused)
        others = [self.begin(first.socket.session) for _ in range(4)]       # all at once: each has a worker of its own
        pids = {self.server.process_of(client) for client in [first, *others]}
        self.assertEqual((len(pids), [client.socket.session_reused for client in others]), (5, [True] * 4))
        for client in [first, *others]:
            client.expect("QUIT", 221)
        self.reload()
        self.assertFalse(self.begin(first.socket.session).socket.session_reused)


if __name__ == "__main__":
    unittest.main()
