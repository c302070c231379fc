"""A server with a page, and the page asked as a browser would: plain HTTP, and the stream of events."""

import contextlib
import http.client
import json
import re
import socket
import typing
import urllib.parse

from tests.helpers import support
from tests.helpers.client import PATIENCE

LETTER = b"Subject: x\r\n\r\none\r\n..two\r\n.\r\n"


class Answer(typing.NamedTuple):
    status: int
    headers: typing.Dict[str, str]
    body: bytes


class Events:
    """The stream of events: `next(event)` waits for one called so and returns its data."""

    def __init__(self, page: "Page"):
        self.connection = socket.create_connection(("127.0.0.1", page.port), PATIENCE)
        self.connection.sendall(b"GET /events?jeton=%s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" % page.token.encode())
        self.file = self.connection.makefile("rb")
        while self.file.readline() not in (b"\r\n", b""):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.connection.close()

    def next(self, event: str):
        while line := self.file.readline():
            if line == b"event: %s\n" % event.encode():
                return json.loads(self.file.readline().partition(b": ")[2])
        raise EOFError("the stream has ended")


class Page:
    """The page of a running server, found as a person finds it: by the address that the launcher printed."""

    def __init__(self, server: support.Server):
        shown = support.wait_for(lambda: re.search(r"http://\S+", server.output()), "the page's address")
        self.address = shown[0]
        found = urllib.parse.urlsplit(self.address)
        self.port, self.token = found.port, urllib.parse.parse_qs(found.query)["jeton"][0]
        self.server = server
        support.wait_for(lambda: support.listeners(self.port), "the page")

    def get(self, path: str, method: str = "GET", token: bool = True, **headers: str) -> Answer:
        """Ask for `path`; headers: more of them, `_` standing for `-`."""
        if token:
            path += ("&" if "?" in path else "?") + "jeton=" + self.token
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def json(self, path: str):
        answer = self.get(path)
        if answer.status != 200:
            raise AssertionError("%s: %d" % (path, answer.status))
        return json.loads(answer.body)

    def events(self) -> Events:
        return Events(self)

    def snapshot(self):
        """All that a browser is told when it comes."""
        return self.json("/snapshot")

    def session(self, client: str, over: bool = True):
        """Wait for the session whose client called itself so; its summary."""
        def found():
            return next((session for session in self.snapshot()["sessions"]
                         if session["client"] == client and session["over"] >= over), None)
        return support.wait_for(found, "a session of %s" % client)

    def steps(self, name: str) -> typing.List[dict]:
        steps, following = [], 0
        while (answer := self.json("/dialogue?name=%s&from=%d" % (name, following)))["steps"]:
            steps += answer["steps"]
            following = answer["next"]
        return steps

    def process(self) -> int:
        """The pid of what serves it; 0 if there is none."""
        return next((pid for pid, command in self.server.processes().items() if "web/server.py" in command), 0)


class PageTestCase(support.ServerTestCase):
    """One server with a page a class."""

    more: typing.Sequence[str] = ()

    @classmethod
    def setUpClass(cls):
        cls.options = ("-web", str(support.free_port()), *cls.more)
        super().setUpClass()
        cls.page = Page(cls.server)
