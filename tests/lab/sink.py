"""A scripted SMTP host on a loopback port: it answers what it is told to, and keeps what it was sent.

    with Sink({"rcpt": "450 mailbox busy"}) as sink:        # every other step gets its usual answer
        ...
        sink.messages[0].data

A step's answer is text, SILENCE, DROP, or a function of (the command's argument, the Visit) that gives one of
these, or SAID.
Steps: connect, ehlo, helo, starttls, auth, mail, rcpt, data, dot, rset, quit.  A text may hold several lines.
"""

import contextlib
import socket
import threading
import typing

from tests.helpers import support

# What the EHLO of hosts like these offers.
MAILHOG = ("AUTH PLAIN",)
MAILPIT = ("SIZE 52428800", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8")
EXIM = ("SIZE 52428800", "8BITMIME", "PIPELINING", "CHUNKING", "PRDR", "HELP")
UTF8_ALONE = ("SIZE 52428800", "SMTPUTF8")

SILENCE = object()              # no answer, and the connection stays open until the client closes it
DROP = object()                 # the connection is closed without an answer
SAID = object()                 # the function has answered itself

USUAL = {"connect": "220 sink.example ESMTP", "helo": "250 sink.example", "starttls": "220 go ahead",
         "auth": "235 welcome", "mail": "250 OK",
         "rcpt": "250 Accepted", "data": "354 go on", "dot": "250 queued as 12345", "rset": "250 OK", "quit": "221 bye"}
VERBS = {b"EHLO": "ehlo", b"HELO": "helo", b"STARTTLS": "starttls", b"AUTH": "auth", b"MAIL": "mail", b"RCPT": "rcpt",
         b"DATA": "data", b"RSET": "rset", b"QUIT": "quit"}


class Received(typing.NamedTuple):
    """One message as it came: the MAIL and RCPT arguments, the data's octets with their dots undoubled, which
    connection brought it, and whether that was encrypted."""
    sender: str
    recipients: typing.List[str]
    data: bytes
    connection: int
    encrypted: bool


class Finished(Exception):
    """The connection is over."""


class Sink:
    """See the module.  extensions: lines of the EHLO reply; tls: an ssl.SSLContext, which offers STARTTLS;
    implicit: TLS from the first octet instead."""

    def __init__(self, script=None, extensions: typing.Sequence[str] = ("SIZE 52428800", "8BITMIME"), tls=None,
                 port: int = 0, address: str = "127.0.0.1", implicit: bool = False):
        self.script = {**USUAL, **(script or {})}
        self.extensions = [*extensions, "STARTTLS"] if tls and not implicit else list(extensions)
        self.tls, self.implicit = tls, implicit
        self.messages: typing.List[Received] = []
        self.commands: typing.List[str] = []
        self.connections = 0
        self.open_connections = 0
        self.most_at_once = 0
        self.changed = threading.Condition()
        self._visits: typing.Set["Visit"] = set()
        self._staying: typing.Set["Visit"] = set()      # those that have not said QUIT
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port or support.free_port()), family=family, backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Stop listening, and end every connection.  Safe to repeat."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.changed:
            visits = list(self._visits)
        for visit in visits:
            visit.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.changed:
                    self.connections += 1
                    visit = self.visit(connection, self.connections)
                    self._visits.add(visit)
                    self.open_connections += 1
                    self._staying.add(visit)
                    self.most_at_once = max(self.most_at_once, len(self._staying))
                    self.changed.notify_all()
                threading.Thread(target=visit.run, daemon=True).start()

    def visit(self, connection: socket.socket, number: int) -> "Visit":
        return Visit(self, connection, number)

    def leaves(self, visit: "Visit") -> None:
        """It has said QUIT: from now on the client may come again, before we have noticed that it is gone."""
        with self.changed:
            self._staying.discard(visit)

    def gone(self, visit: "Visit") -> None:
        with self.changed:
            self._visits.discard(visit)
            self._staying.discard(visit)
            self.open_connections -= 1
            self.changed.notify_all()

    def keep(self, message: Received) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def note(self, command: str) -> None:
        with self.changed:
            self.commands.append(command)
            self.changed.notify_all()

    def wait(self, condition: typing.Callable[["Sink"], typing.Any], what: str, seconds: float = support.PATIENCE):
        """Wait until `condition(sink)` holds; AssertionError naming `what` when it takes too long."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self), seconds):
                raise AssertionError("not seen within %d s: %s (%d messages, commands %s)" % (
                    seconds, what, len(self.messages), self.commands[-10:]))

    def wait_messages(self, count: int, seconds: float = support.PATIENCE) -> typing.List[Received]:
        self.wait(lambda sink: len(sink.messages) >= count, "%d messages at the sink" % count, seconds)
        return self.messages


class Visit:
    """One connection.  transactions: how many MAIL it has seen."""

    def __init__(self, sink: Sink, connection: socket.socket, number: int):
        self.sink, self.connection, self.number = sink, connection, number
        self.file = connection.makefile("rb")
        self.transactions = 0
        self.sender, self.recipients = "", []
        self.encrypted = False

    def run(self) -> None:
        try:
            with contextlib.suppress(OSError, Finished, ValueError):
                if self.sink.implicit:
                    self.encrypt()
                self.answer("connect", "")
                while line := self.file.readline():
                    self.obey(line)
        finally:
            self.close()
            with contextlib.suppress(OSError):
                self.file.close()       # only now is the connection closed, with a reset if something is unread
            self.sink.gone(self)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.connection.close()

    def obey(self, line: bytes) -> None:
        verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
        step, text = VERBS.get(verb.upper()), argument.decode("utf-8", "surrogateescape")
        self.sink.note(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
        if step is None:
            self.say("500 unknown")
            return
        if step == "mail":
            self.transactions += 1
            self.sender, self.recipients = text, []
        if step == "quit":
            self.sink.leaves(self)
        reply = self.answer(step, text)
        if step == "rcpt" and reply.startswith("2"):
            self.recipients.append(text)
        elif step == "data" and reply.startswith("3"):
            self.take_data()
        elif step == "starttls" and reply.startswith("2"):
            self.encrypt()
        elif step == "quit":
            raise Finished

    def encrypt(self) -> None:
        self.connection = self.sink.tls.wrap_socket(self.connection, server_side=True)
        self.file = self.connection.makefile("rb")
        self.encrypted = True

    def challenge(self, text: str) -> str:
        """Ask for more, as AUTH does; the client's answer."""
        self.say("334 " + text)
        line = self.file.readline().decode().rstrip("\r\n")
        self.sink.note(line)
        return line

    def read_text(self) -> bytes:
        """What comes up to the final dot, each doubled dot single again."""
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                raise Finished
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def take_data(self) -> None:
        data = self.read_text()
        # What is kept was answered with 250, even if the client is not there to hear it.
        reply = self.choose("dot", data)
        if isinstance(reply, str) and reply.startswith("2"):
            self.sink.keep(Received(self.sender, self.recipients, data, self.number, self.encrypted))
        self.give(reply)

    def choose(self, step: str, argument):
        if step == "ehlo" and step not in self.sink.script:
            return "\n".join(["250 sink.example", *("250 " + line for line in self.sink.extensions)])
        reply = self.sink.script[step]
        return reply(argument, self) if callable(reply) else reply

    def answer(self, step: str, argument: str) -> str:
        return self.give(self.choose(step, argument))

    def give(self, reply) -> str:
        if reply is DROP:
            raise Finished
        if reply is SAID:
            return ""
        if reply is SILENCE:
            self.connection.recv(1)
            raise Finished
        self.say(reply)
        return reply

    def say(self, reply: str) -> None:
        lines = reply.split("\n")
        text = "".join(line[:3] + "-" + line[4:] + "\r\n" for line in lines[:-1]) + lines[-1] + "\r\n"
        self.connection.sendall(text.encode("utf-8"))
