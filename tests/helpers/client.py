"""An SMTP client that holds the conversation in lock step, and sends exactly the bytes it is given."""

import socket
import typing

PATIENCE = 60                   # seconds before something that should happen counts as failed, on a loaded machine too


class Reply(typing.NamedTuple):
    """One SMTP reply: its code, the text of each of its lines without code, and the bytes that came."""
    code: int
    lines: typing.List[str]
    raw: bytes

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Client:
    """A connection held in lock step.  Commands are str or bytes without their CRLF; bytes go out as they are."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "", timeout: float = PATIENCE):
        self.socket = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> Reply:
        """Read one whole reply; EOFError if the connection ends first, AssertionError if it isn't a reply."""
        raw, lines = b"", []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError("connection closed inside a reply: %r" % (raw + line))
            if not line[:3].isdigit() or line[3:4] not in (b" ", b"-"):
                raise AssertionError("not a reply line: %r" % line)
            raw += line
            lines.append(line[4:-2].decode("ascii"))
            if line[3:4] == b" ":
                return Reply(int(line[:3]), lines, raw)

    def ask(self, command: typing.Union[str, bytes]) -> Reply:
        """Send one command and read its reply."""
        self.write((command if isinstance(command, bytes) else command.encode("latin-1")) + b"\r\n")
        return self.reply()

    def expect(self, command: typing.Union[str, bytes], code: int) -> Reply:
        """`ask`, and AssertionError with the whole reply if its code is another."""
        reply = self.ask(command)
        if reply.code != code:
            raise AssertionError("%r: %d expected, got %r" % (command, code, reply.raw))
        return reply

    def letter(self, sender: str, recipients, wire: bytes) -> Reply:
        """One whole transaction after EHLO; `wire` are the bytes after the 354, final dot included."""
        recipients = [recipients] if isinstance(recipients, str) else recipients
        self.expect("MAIL FROM:<%s>" % sender, 250)
        for recipient in recipients:
            self.expect("RCPT TO:<%s>" % recipient, 250)
        self.expect("DATA", 354)
        self.write(wire)
        return self.reply()

    def rest(self) -> bytes:
        """Everything that still comes until the server closes."""
        return self.file.read()


def greeted_client(port: int, **arguments) -> Client:
    """A new connection whose greeting has been read; AssertionError if that isn't a 220."""
    client = Client(port, **arguments)
    greeting = client.reply()
    if greeting.code != 220:
        client.close()
        raise AssertionError("greeted with %r" % greeting.raw)
    return client
