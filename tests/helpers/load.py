"""Clients that send numbered messages, several at once, while something happens to the server; and the count
afterwards.

    with Load(server.port, ["alice@" + server.domain]) as load:
        ...                                 # kill something, and wait for what came of it
    load.check(contents)                    # contents: what lies in the mailbox, message by message
"""

import collections
import contextlib
import itertools
import re
import threading
import typing

from tests.helpers.client import Client

NUMBER = re.compile(rb"^Subject: number (\d+)$", re.M)
LINES, MANY_LINES = 60, 1200    # of a message, and of every fourth; it ends in a line that says so


def text_of(number: int) -> bytes:
    """Message `number` as it is stored, without what the server adds."""
    lines = MANY_LINES if number % 4 == 3 else LINES
    return b"Subject: number %d\n\n%bend of number %d\n" % (number, b"line of some length, to be written\n" * lines,
                                                            number)


class Load:
    """Messages to `recipients` at TCP port `port`, by `clients` threads, `burst` messages a session, until it is told
    to stop.  Each is tried once: who hears no reply does not know, and does not ask again.

    acknowledged: the numbers of those that were answered by 250.  unanswered: how often a client that was greeted heard
    nothing to a command.
    """

    def __init__(self, port: int, recipients: typing.Sequence[str], clients: int = 6, burst: int = 3):
        self.port, self.recipients, self.burst = port, recipients, burst
        self.acknowledged: typing.Set[int] = set()
        self.unanswered = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            numbers = self._take()
            try:
                with Client(self.port) as client:
                    self._session(client, numbers)
            except OSError:             # nobody listens for a moment
                self._stopping.wait(0.02)

    def _take(self) -> typing.List[int]:
        with self._lock:
            return list(itertools.islice(self._numbers, self.burst))

    def _session(self, client: Client, numbers: typing.List[int]) -> None:
        try:
            if client.reply().code != 220 or client.ask("EHLO load.example").code != 250:
                return
        except (EOFError, OSError):     # not greeted yet, or killed at the beginning
            return
        for number in numbers:
            if not self._send(client, number):
                return
        with contextlib.suppress(EOFError, OSError):
            client.ask("QUIT")

    def _send(self, client: Client, number: int) -> bool:
        """Whether message `number` was accepted."""
        try:
            for command in ("MAIL FROM:<a@load.example>", *("RCPT TO:<%s>" % one for one in self.recipients), "DATA"):
                if client.ask(command).code not in (250, 354):
                    return False
            client.write(text_of(number).replace(b"\n", b"\r\n") + b".\r\n")
            accepted = client.reply().code == 250
        except (EOFError, OSError):
            self.unanswered += 1
            return False
        if accepted:
            self.acknowledged.add(number)
        return accepted

    def check(self, contents: typing.Iterable[bytes], most_twice: int = 0) -> int:
        """AssertionError unless each acknowledged message is among `contents` once, and each other one once or not at
        all, and all are whole; so many may be there more than once.  How many are."""
        found: typing.Counter[int] = collections.Counter()
        for content in contents:
            match = NUMBER.search(content)
            assert match, "no message of ours, or its beginning only: %r" % content[:400]
            assert content.endswith(text_of(int(match[1]))), "not whole: %r" % content[-200:]
            found[int(match[1])] += 1
        lost = self.acknowledged - set(found)
        twice = [number for number, times in found.items() if times > 1]
        assert not lost and len(twice) <= most_twice, "lost: %s; more than once: %s" % (sorted(lost), twice)
        return len(twice)


def split_mbox(data: bytes) -> typing.List[bytes]:
    """The messages of an mbox; AssertionError when it doesn't end as one does."""
    whole = not data or data.startswith(b"From ") and data.endswith(b"\n\n")
    assert whole, "no whole mbox: %r ... %r" % (data[:100], data[-200:])
    return [part.partition(b"\n")[2] + b"\n" for part in re.split(rb"(?:\A|\n\n)(?=From )", data.rstrip(b"\n")) if part]
