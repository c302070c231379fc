"""The agent's end of a connection: packets as mailstore/agent_client.py has them."""
import _socket
import posix
from array import array
from signal import alarm

from mailstore import agent_client as protocol

DESCRIPTOR_OCTETS = _socket.CMSG_SPACE(4)
PEER = 12                   # octets of a struct ucred: process, user, group (unix(7))


class Connection:
    """socket: a connected _socket.socket. An answer must follow each question before the next is received."""

    _buffer = bytearray(protocol.PIECE + 1)     # one for all: a process has one connection at a time
    _view = memoryview(_buffer)
    _text_buffer = bytearray(protocol.PIECE)

    def __init__(self, socket):
        self._socket = socket
        self._goes_on = False
        self._file = -1

    def user(self):
        """The uid of who asks."""
        peer = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, PEER)
        return memoryview(peer).cast("i")[1]

    def receive(self):
        """The next question: its words, and its text as text() gives it; None at the end. Whatever takes longer than
        SECONDS from here on to the next call ends the process: the kernel interrupts nearly everything for that, and
        nothing for less."""
        alarm(protocol.SECONDS)
        try:
            size = self._next()
        except ConnectionError:
            return None
        end = self._buffer.find(b"\n", 1, size)
        return (protocol.words_of(self._buffer[1:end]), self._text(end + 1, size)) if end > 0 else None

    def _next(self):
        """The octets of the next packet, 0 at the end. Raises ConnectionError."""
        size, passed, flags, _ = self._socket.recvmsg_into([self._buffer], DESCRIPTOR_OCTETS, _socket.MSG_CMSG_CLOEXEC)
        if passed:
            self._forget_file()
            self._file, *others = memoryview(passed[0][2]).cast("i")
            for file in others:     # there is room for two, and nobody honest passes so many
                posix.close(file)
        if flags & _socket.MSG_CTRUNC:      # what is missing may be the text, and an empty one must not be delivered
            raise ConnectionAbortedError(103, "a descriptor could not be taken in")
        self._goes_on = bool(size) and self._buffer[:1] == protocol.MORE
        return size

    def _text(self, start, size):
        """Yield the text (memoryviews, each good until the next) that belongs to the question, whose first packet has
        it from `start` on. Raises ConnectionResetError if whoever asks has gone."""
        self._check_peer()
        if self._file >= 0:
            yield from self._text_in_file()
        yield self._view[start:size]
        while self._goes_on:
            size = self._next()
            if not size:
                raise ConnectionResetError(104, "who brought the message has gone")
            yield self._view[1:size]

    def _text_in_file(self):
        position = 0
        while size := posix.preadv(self._file, [self._text_buffer], position):
            yield memoryview(self._text_buffer)[:size]
            position += size

    def _check_peer(self):
        """He may have gone while a lock was waited for."""
        try:
            if self._socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT) == b"":
                raise ConnectionResetError(104, "who brought the message has gone")
        except BlockingIOError:
            pass

    def answer(self, words, descriptor=None):
        """Answer, once the rest of the question has been taken in. The descriptor is closed."""
        passed = [] if descriptor is None else [descriptor]
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", passed))] if passed else []
        packet, = protocol.packets(words)
        self._forget_file()
        try:
            while self._goes_on:
                self._next()
            self._socket.sendmsg(packet, rights)
        except ConnectionError:
            pass
        finally:
            for file in passed:
                posix.close(file)

    def _forget_file(self):
        if self._file >= 0:
            posix.close(self._file)
            self._file = -1

    def close(self):
        self._forget_file()
        self._socket.close()
        alarm(0)
