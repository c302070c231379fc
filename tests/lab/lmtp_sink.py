"""A scripted LMTP server on a loopback port: a Sink (tests/lab/sink.py) that wants LHLO, and answers the end of data
once for each recipient.  Its step "dot" is asked with the recipient's address.

    with LmtpSink({"dot": fates({"bob": "452 full"})}) as sink:
        ...                                         # -store `sink.store`
        sink.messages[0].recipients                 # who took that message
"""

import re
import socket
import typing

from tests.lab.sink import DROP, USUAL, Received, Sink, Visit

DOVECOT = ("8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING")


def fates(answers: typing.Dict[str, typing.Any], otherwise: str = "250 2.0.0 Saved"):
    """A step that answers by the recipient's local part."""
    return lambda argument, visit: answers.get(local_part(argument), otherwise)


def local_part(argument: str) -> str:
    """Of a RCPT's argument, or of an address in it."""
    return re.search(r"<(.*)@", argument)[1]


class LmtpSink(Sink):
    """See the module."""

    def __init__(self, script=None, extensions: typing.Sequence[str] = DOVECOT, **arguments):
        super().__init__({"dot": "250 2.0.0 Saved", **(script or {})}, extensions, **arguments)

    @property
    def store(self) -> str:
        return "lmtp:127.0.0.1:%d" % self.port

    def visit(self, connection: socket.socket, number: int) -> "LmtpVisit":
        return LmtpVisit(self, connection, number)


class LmtpVisit(Visit):

    def obey(self, line: bytes) -> None:
        verb = line.split()[0].upper()
        if verb in (b"EHLO", b"HELO"):
            self.say("500 5.5.1 LHLO, please")
            return
        super().obey(b"EHLO" + line[4:] if verb == b"LHLO" else line)

    def take_data(self) -> None:
        data = self.read_text()
        for recipient in self.recipients:
            reply = self.choose("dot", recipient)
            if isinstance(reply, str) and reply.startswith("2"):
                self.sink.keep(Received(self.sender, [recipient], data, self.number, self.encrypted))
            self.give(reply)


__all__ = ["DOVECOT", "DROP", "USUAL", "LmtpSink", "fates", "local_part"]
