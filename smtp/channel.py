"""Bytes between this process and its client: lines in, replies out, time-outs. It knows no command.

Replies are gathered and flushed only before a read that would block, which is all that PIPELINING asks
of a server (RFC 2920 §3.2). Works on a socket as on a pair of pipes.
"""
import posix
from select import POLLIN, POLLOUT, poll
from time import monotonic

from smtp import limits

READ_OCTETS = 65536


def drain(woken):
    """Read what signals have written there."""
    posix.read(woken, READ_OCTETS)


class Disconnected(Exception):
    """The client is gone, or takes no replies any more. Its text, if any, says what that broke off."""


class TimedOut(Exception):
    """Nothing came in time."""


class HandshakeFailed(Exception):
    """TLS could not be set up. `reason`: one line, for the log."""

    def __init__(self, reason):
        super().__init__()
        self.reason = reason


class Interrupted(Exception):
    """Somebody wants to wait for this client no more."""


class LineTooLong(Exception):
    """A line passed the longest that any command may have. It has been read and dropped, to its end unless it is
    `endless`."""

    def __init__(self, endless=False):
        super().__init__()
        self.endless = endless


class Channel:
    """source, sink: descriptors to read from and to write to; one and the same for a socket. woken: of what can be read
    when a signal has come (signal.set_wakeup_fd), also just before a wait; -1: no signal is to be heard.

    crlf_seen: whether the client has ever ended a line with CRLF (see smtp/data_reader.py).
    transcript: a transcript.Transcript, or None.
    """

    crlf_seen = False
    _waiting = _unwanted = False
    _layer = None
    _input = _output = b""
    _dropped = 0            # octets of a line that is too long, and not over yet

    def __init__(self, source=0, sink=1, transcript=None, woken=-1):
        self.source = source
        self.sink = sink
        self._woken = woken
        self.transcript = transcript
        self._readable = poll()
        self._readable.register(source, POLLIN)
        if woken >= 0:
            self._readable.register(woken, POLLIN)
        if not posix.isatty(sink):
            # A client that takes no replies must not hold this process for ever.
            posix.set_blocking(sink, False)

    def read_line(self, deadline):
        """One command line as str, without its line end (CRLF, or LF for a person at netcat).

        deadline: monotonic seconds. Raises TimedOut, Disconnected, LineTooLong.
        """
        line = self._raw_line(deadline)
        if line.endswith(b"\r"):
            self.crlf_seen = True
            line = line[:-1]
        elif self.transcript:
            self.transcript.bare_lf = True
        return line.decode("utf-8", "surrogateescape")

    def _raw_line(self, deadline):
        searched = 0
        while (end := self._input.find(b"\n", searched)) < 0:
            searched = len(self._input)
            if self._dropped or searched > limits.LINE_OCTETS:
                self._drop(searched)
                searched = 0
            self._input += self._receive(deadline)
        line, _, self._input = self._input.partition(b"\n")
        if self._dropped or end >= limits.LINE_OCTETS:
            self._dropped = 0
            raise LineTooLong
        return line

    def _drop(self, octets):
        """Forget these octets, of a line that is too long. Also while its client makes a pause, what comes next is
        no line of its own."""
        self._dropped += octets
        self._input = b""
        if self._dropped > limits.DROPPED_OCTETS:
            raise LineTooLong(endless=True)

    def read_some(self, deadline):
        """Whatever octets come next, at least one. Raises TimedOut, Disconnected."""
        if self._input:
            data, self._input = self._input, b""
            return data
        return self._receive(deadline)

    def read_below_tls(self, most, deadline):
        """At least one octet and at most so many of the connection itself, before any line or TLS.
        Raises TimedOut, Disconnected."""
        return self._receive_raw(deadline, most)

    def unread(self, data):
        """Give back octets that belong to what comes next."""
        self._input = data + self._input

    def send(self, reply):
        """Queue a Reply; it leaves with the next flush. Raises Disconnected when so much waits that it must
        leave at once."""
        self._output += reply.encode()
        if len(self._output) > limits.OUTPUT_OCTETS:
            self.flush()
        if self.transcript:
            self.transcript.said(reply)

    def flush(self):
        """Send what is queued. Raises Disconnected."""
        if self._output:
            data, self._output = self._output, b""
            self._transmit(self._layer.encrypt(data) if self._layer else data)

    def pause(self, seconds):
        """Send what is queued, and do nothing for so long. Raises Disconnected, also when the client goes meanwhile."""
        self.flush()
        gone = poll()
        gone.register(self.sink, 0)
        self._waiting = True
        if self._unwanted:
            self.interrupt()
        has_gone = gone.poll(seconds * 1000)
        self._waiting = False
        if has_gone:
            raise Disconnected

    def finish(self):
        """Send what is queued, and end TLS. Raises Disconnected."""
        self.flush()
        if self._layer:
            self._transmit(self._layer.end())

    def linger(self, seconds):
        """Give the client up to `seconds` to read the last reply and to go.

        Closing a socket whose client has sent more than we read resets the connection, and the reply
        would be lost with it.
        """
        import _socket
        self._unwanted = False
        try:
            connection = _socket.socket(fileno=posix.dup(self.sink))
            connection.shutdown(_socket.SHUT_WR)
            deadline = monotonic() + seconds
            while True:
                self._receive_raw(deadline)
        except (OSError, Disconnected, TimedOut, Interrupted):
            pass

    def start_tls(self, layer, deadline):
        """Go on under `layer`, a tls.Layer. Raises TimedOut, Disconnected, HandshakeFailed.

        What the client sent behind STARTTLS in clear is dropped, unread (CVE-2011-0411).
        """
        from smtp.tls import Broken
        self.flush()
        self._send_at_once()
        self._input = b""
        try:
            while not layer.handshake(self._receive_raw(deadline)):
                self._transmit(layer.due())
        except Broken as error:
            self._transmit(layer.due())
            raise HandshakeFailed(error.reason) from error
        self._transmit(layer.due())
        self._layer = layer

    def _send_at_once(self):
        """No write waits until the client has acknowledged the one before: TLS 1.3's tickets go out with nothing behind
        them, and a client that has nothing to say acknowledges them 40 ms later."""
        import _socket
        try:
            connection = _socket.socket(fileno=posix.dup(self.sink))
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError:
            pass                # a pipe, or no TCP

    def _receive(self, deadline):
        self.flush()
        if not self._layer:
            return self._receive_raw(deadline)
        return self._receive_decrypted(deadline)

    def _receive_decrypted(self, deadline):
        from smtp.tls import Broken
        try:
            # Plaintext may have come in one read with the handshake's end, or the end of TLS with plaintext.
            data = self._layer.decrypt(b"")
            while data == b"":
                data = self._layer.decrypt(self._receive_raw(deadline))
                self._transmit(self._layer.due())
        except Broken:
            self._transmit(self._layer.due())
            raise Disconnected from None
        if data is None:
            self._transmit(self._layer.end())
            raise Disconnected
        return data

    def _receive_raw(self, deadline, most=READ_OCTETS):
        while True:
            self._await_readable(deadline)
            try:
                data = posix.read(self.source, most)
            except BlockingIOError:
                continue
            except OSError:
                raise Disconnected from None
            if not data:
                raise Disconnected
            return data

    def _await_readable(self, deadline):
        ready = False
        while not ready and (wait := deadline - monotonic()) > 0:
            if self.transcript:
                wait = min(wait, self.transcript.patience())
            self._waiting = True
            if self._unwanted:
                self.interrupt()
            ready = self._poll(wait)
            self._waiting = False
        if not ready:
            raise TimedOut

    def _poll(self, seconds):
        """Whether the client has something to say, within so many seconds or until a signal comes."""
        ready = self._readable.poll(seconds * 1000 + 1)
        if len(ready) == 1 and ready[0][0] == self._woken:
            drain(self._woken)
            return False
        return bool(ready)

    def interrupt(self):
        """Wait for the client no more: raises Interrupted, now or as soon as something would. For signal
        handlers: it is raised only while no octet is in anybody's hands, read or still to be sent."""
        self._unwanted = True
        if self._waiting:
            self._waiting = False
            raise Interrupted

    def _transmit(self, data):
        deadline = monotonic() + limits.WRITE_SECONDS
        while data:
            try:
                data = data[posix.write(self.sink, data):]
            except BlockingIOError:
                self._await_writable(deadline)
            except OSError:
                raise Disconnected from None

    def _await_writable(self, deadline):
        writable = poll()
        writable.register(self.sink, POLLOUT)
        wait = deadline - monotonic()
        if wait <= 0 or not writable.poll(wait * 1000 + 1):
            raise Disconnected
