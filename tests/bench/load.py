"""The load generator: one process, epoll, every byte it sends made beforehand.

It shares the processors with the server it measures, so it does as little as it can, and says how much of a
processor it took (Rate.generator).  A session is what a client does that has nothing to send: connect, greeting,
EHLO, QUIT, its 221, close.  It half-closes behind QUIT, for Exim keeps its 221 back for up to 200 ms while it hopes
for the client's FIN, and what is to be measured is work, not that pause.  Messages go as good clients send them:
MAIL, RCPT and DATA in one write (RFC 2920).
"""

import _socket
import base64
import errno
import select
import socket
import ssl
import time
import typing

EHLO, QUIT = b"EHLO client.example.org\r\n", b"QUIT\r\n"
SESSION = ((b"220", EHLO), (b"250", QUIT), (b"221", None))
BODY_LINE = b"The quick brown fox jumps over the lazy dog, again and again, all day.\r\n"
PATIENCE = 30               # seconds


class Rate(typing.NamedTuple):
    """a_second: sessions that came to a good end in the time given, by second; failed: sessions that did not, then or
    later; generator: the share of one processor that the generator itself took."""
    a_second: float
    failed: int
    generator: float


def last_reply(data: bytes) -> bytes:
    """The code of the reply that `data` ends with, b"" while it isn't whole."""
    if not data.endswith(b"\n"):
        return b""
    start = data.rfind(b"\n", 0, -1) + 1
    return data[start:start + 3] if data[start + 3:start + 4] == b" " else b""


class Crowd:
    """`size` clients of the server at `port` on loopback, each of them one session after another."""

    def __init__(self, port: int, size: int):
        self.address = ("127.0.0.1", port)
        self.size = size
        self.done = self.failed = 0
        self._open: typing.Dict[int, list] = {}         # [socket, step of SESSION, what has come of its reply]
        self._poll = select.epoll()

    def run_for(self, seconds: float) -> Rate:
        """New sessions for so many seconds; those that are open then come to their end, uncounted."""
        started, worked = time.monotonic(), time.process_time()
        self._keep_open(self.size)
        while (left := started + seconds - time.monotonic()) > 0:
            self._take_turn(left)
            self._keep_open(self.size)
        elapsed = time.monotonic() - started
        done, generator = self.done, (time.process_time() - worked) / elapsed
        self._finish()
        return Rate(done / elapsed, self.failed, generator)

    def run_sessions(self, count: int) -> int:
        """So many sessions in all; returns how many failed."""
        while self.done + self.failed < count:
            self._keep_open(min(self.size, count - self.done - self.failed))
            if not self._take_turn(PATIENCE):
                self._give_up()
        return self.failed

    def _keep_open(self, count: int) -> None:
        while len(self._open) < count:
            self._connect()

    def _take_turn(self, seconds: float) -> bool:
        """Serve those from whom something comes within so many seconds; whether there were any."""
        events = self._poll.poll(seconds)
        for descriptor, _ in events:
            self._advance(descriptor)
        return bool(events)

    def _finish(self) -> None:
        while self._open:
            if not self._take_turn(PATIENCE):
                self._give_up()

    def _connect(self) -> None:
        client = _socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = client.connect_ex(self.address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "connect")
        self._open[client.fileno()] = [client, 0, b""]
        self._poll.register(client, select.EPOLLIN)

    def _advance(self, descriptor: int) -> None:
        """Take what has come of a session's next reply, and answer it when it is whole."""
        state = self._open[descriptor]
        client, step, data = state
        try:
            piece = client.recv(4096)
            code = last_reply(data + piece)
            expected, answer = SESSION[step]
            if piece and not code:
                state[2] = data + piece
            elif code != expected or not answer:
                self._close(descriptor, code == expected)
            else:
                # QUIT and the end behind it go in one segment.
                client.send(answer, socket.MSG_MORE if answer is QUIT else 0)
                if answer is QUIT:
                    client.shutdown(socket.SHUT_WR)
                state[1:] = step + 1, b""
        except OSError:
            self._close(descriptor, False)

    def _close(self, descriptor: int, well: bool) -> None:
        self._open.pop(descriptor)[0].close()
        if well:
            self.done += 1
        else:
            self.failed += 1

    def _give_up(self) -> None:
        for descriptor in list(self._open):
            self._close(descriptor, False)


def expect(client: socket.socket, code: bytes) -> None:
    """Read until a whole reply has come, with this code; before a 354, 250s are passed over. AssertionError."""
    data = b""
    while not last_reply(data) or (code == b"354" and last_reply(data) == b"250"):
        piece = client.recv(4096)
        if not piece:
            raise EOFError("closed after %r" % data)
        data += piece
    if last_reply(data) != code:
        raise AssertionError("%s expected, got %r" % (code.decode(), data))


def text_of(octets: int) -> bytes:
    """A message of so many octets on the wire, its final dot not counted."""
    head = b"From: a@client.example.org\r\nSubject: banc\r\nMessage-ID: <banc@client.example.org>\r\n\r\n"
    lines, rest = divmod(octets - len(head), len(BODY_LINE))
    return head + lines * BODY_LINE + (b"x" * (rest - 2) + b"\r\n" if rest >= 2 else b"")


class Sender:
    """One session that sends messages to one recipient.  The greeting and EHLO are over once it is made.

    delay: seconds from connect to the whole greeting.
    """

    def __init__(self, port: int, recipient: str):
        self.started = time.monotonic()
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        expect(self._socket, b"220")
        self.delay = time.monotonic() - self.started
        self._socket.sendall(EHLO)
        expect(self._socket, b"250")
        self._envelope = b"MAIL FROM:<a@client.example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient.encode()

    def send(self, text: bytes) -> None:
        """One message, until its 250; `text` as text_of makes it."""
        self.begin(text)
        expect(self._socket, b"250")

    def begin(self, text: bytes) -> None:
        """One message, without waiting for the reply to its end."""
        self._socket.sendall(self._envelope)
        expect(self._socket, b"354")
        self._socket.sendall(text + b".\r\n")

    def quit(self) -> None:
        """QUIT, and wait until the server has closed; replies that nobody has read yet are passed over."""
        self._socket.sendall(QUIT)
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(4096):
            pass
        self._socket.close()

    def local_port(self) -> int:
        return self._socket.getsockname()[1]


class Submitter:
    """Sends one message a session to `recipient` at `port`: connect, EHLO, STARTTLS, EHLO, AUTH PLAIN, the message,
    QUIT. login, password: text."""

    def __init__(self, port: int, recipient: str, login: str, password: str):
        self._address = ("127.0.0.1", port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._auth = b"AUTH PLAIN %b\r\n" % base64.b64encode(("\0%s\0%s" % (login, password)).encode())
        self._envelope = b"MAIL FROM:<a@client.example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient.encode()

    def send(self, text: bytes) -> None:
        """One session; AssertionError if it goes otherwise."""
        with socket.create_connection(self._address, PATIENCE) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            expect(client, b"220")
            for line, code in ((EHLO, b"250"), (b"STARTTLS\r\n", b"220")):
                client.sendall(line)
                expect(client, code)
            with self._context.wrap_socket(client) as secure:
                for line, code in ((EHLO, b"250"), (self._auth, b"235"), (self._envelope, b"354"),
                                   (text + b".\r\n", b"250"), (QUIT, b"221")):
                    secure.sendall(line)
                    expect(secure, code)


def greeting_delay(port: int) -> float:
    """Seconds from connect to the whole greeting, in a session that then ends as it should."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        if not client.recv(4096).startswith(b"220"):
            raise AssertionError("no greeting")
        delay = time.monotonic() - started
        client.sendall(QUIT)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    return delay
