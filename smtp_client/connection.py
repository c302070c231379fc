"""One SMTP connection to another host: smtplib's, with deadlines, bounded replies and TLS when it is offered."""
import io
import re
import smtplib
import socket
import ssl
from errno import ETIMEDOUT
from itertools import accumulate
from time import monotonic

from smtp_client.bounds import REPLY_LENGTH, REPLY_LINES, REPLY_OCTETS
from smtp_client.login import log_in
from smtp_client.result import (CLOSED, LATER, MALFORMED, NEVER, TLS_MISSING, UNKNOWN, DeliveryResult, Note, Peer,
                                Undeliverable)

REPLY_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\s*$)")
NO_CODE = -1
LIFE_SIGN = 0.01            # seconds that a step has even if the visit's are over: 0 would mean not to wait at all
PIECE = 1 << 14             # octets sent under one deadline: a TLS record (RFC 8446 §5.1)


class Budget:
    """The seconds of one visit to a destination, at whichever of its addresses they go. limits: a bounds.Limits."""

    def __init__(self, limits):
        self.limits = limits
        self.renew()

    def renew(self):
        """A message is settled: the next one has as much time."""
        self._until = monotonic() + self.limits.visit

    def extend(self, seconds):
        """So much went by that does not count."""
        self._until += seconds

    def is_over(self):
        return monotonic() >= self._until

    def seconds(self, most):
        """How long a step may take whose own limit is `most`."""
        return max(LIFE_SIGN, min(most, self._until - monotonic()))


class Reply:
    """What the other side answered. code; text: its lines (bytes) as they came, joined by line feeds, and
    cut where they are too long for the log and the queue."""

    def __init__(self, code, lines):
        self.code = code
        self.text = _cut(b"\n".join(lines)).decode("utf-8", "surrogateescape")

    @property
    def is_good(self):
        return 200 <= self.code < 300

    @property
    def outcome(self):
        return NEVER if self.code >= 500 else LATER


def _cut(message):
    """The beginning of `message` (bytes) that takes REPLY_OCTETS in the log, where four tell one that is not ASCII."""
    if 4 * len(message) <= REPLY_OCTETS:
        return message
    costs = accumulate(1 if 32 <= octet < 127 else 4 for octet in message[:REPLY_OCTETS])
    return message[:sum(cost <= REPLY_OCTETS for cost in costs)]


class _ReplyStream(io.RawIOBase):
    """A socket's octets until `deadline` (of the monotonic clock), and at most `room` of them."""

    deadline = 0
    room = REPLY_LENGTH

    def __init__(self, connection):
        super().__init__()
        self._socket = connection

    def readable(self):
        return True

    def readinto(self, buffer):
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise socket.timeout("timed out")
        if self.room <= 0:
            raise OSError("the reply has no end")
        self._socket.settimeout(seconds)
        octets = self._socket.recv_into(buffer)
        self.room -= octets
        return octets


class _ReplyLines(io.BufferedReader):
    """The lines of one reply: no more than REPLY_LINES, within `seconds` of begin()."""

    def begin(self, seconds):
        self.raw.deadline = monotonic() + seconds
        self.raw.room = REPLY_LENGTH
        self._lines = 0

    def readline(self, size=-1):
        self._lines += 1
        if self._lines > REPLY_LINES:
            raise OSError("the reply has no end")
        return super().readline(size)


class _Smtp(smtplib.SMTP):
    """smtplib's, but a reply must come whole within `reply_seconds`, however slowly it drips, and its lines
    are kept as `reply_lines`. Raises OSError where smtplib hides it."""

    reply_seconds = 0
    ehlo_msg = "EHLO"

    def getreply(self):
        """(code, text) of a reply. All lines should have one code (RFC 5321 §4.2.1); if not, the worst of them
        counts: Exim takes `550-no`, `250 ok` for a refusal too."""
        if self.file is None:
            self.file = _ReplyLines(_ReplyStream(self.sock))
        self.file.begin(self.reply_seconds)
        self.reply_lines = lines = [self._reply_line()]
        while lines[-1][3:4] == b"-" and REPLY_LINE.match(lines[-1]):
            lines.append(self._reply_line())
        if not all(map(REPLY_LINE.match, lines)):
            return NO_CODE, b"\n".join(lines)
        return max(int(line[:3]) for line in lines), b"\n".join(line[4:] for line in lines)

    def _reply_line(self):
        line = self.file.readline()
        if not line:
            self.close()
            raise smtplib.SMTPServerDisconnected("connection closed")
        return line.rstrip(b" \t\r\n")


class TlsFailed(Exception):
    """The host offers TLS and cannot do it. The text says what went wrong."""


def connect(host, address, domain, budget):
    """A Connection that is ready for MAIL; without TLS if the host offers it but cannot do it, and is not to have a
    password.

    host: a routing.Host; address: its IP address; domain: what we call ourselves; budget: a Budget.
    Raises Undeliverable.
    """
    try:
        return Connection(host, address, domain, budget)
    except TlsFailed as error:
        text = f"TLS session failed ({error})"
        peer = Peer(host.name, address)
        if host.login:
            failed = DeliveryResult(LATER, f"no password sent: {text}", TLS_MISSING, peer=peer)
            raise Undeliverable(failed) from None
        if host.implicit_tls:
            raise Undeliverable(DeliveryResult(LATER, text, UNKNOWN, peer=peer)) from None
        connection = Connection(host, address, domain, budget, with_tls=False)
        connection.notes.append(Note(connection.peer, DeliveryResult(LATER, f"{text}, going on without")))
        return connection


class Connection:
    """See connect(). peer: the host's Peer. notes: Notes for the log. is_dirty: whether the host is in the middle of a
    transaction. protocol: who speaks it, of smtplib's kind."""

    protocol = _Smtp

    def __init__(self, host, address, domain, budget, with_tls=True):
        self.peer = Peer(host.name, address)
        self.limits = budget.limits
        self._budget = budget
        self._login = host.login
        self.notes = []
        self.is_dirty = False
        self._smtp = self.protocol(local_hostname=domain, timeout=budget.limits.connect)
        try:
            self._open(host)
            self._introduce(domain)
            if with_tls and self.offers("starttls") and not self.peer.cipher:
                self._start_tls(domain)
            if self._login:
                self._authenticate()
        except BaseException:
            self._smtp.close()
            raise

    # Opening

    def _open(self, host):
        try:
            self._smtp.sock = socket.create_connection((self.peer.address, host.port),
                                                       self._budget.seconds(self.limits.connect))
        except OSError as error:
            number = ETIMEDOUT if isinstance(error, socket.timeout) else error.errno or 0
            raise Undeliverable(DeliveryResult(LATER, errno=number)) from None
        self._smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if host.implicit_tls:
            self._encrypt()
        self._demand(self._reply("initial connection", self.limits.greeting), "initial connection")

    def _introduce(self, domain):
        """EHLO, or HELO when that is refused (RFC 5321 §4.1.4)."""
        command = f"EHLO {domain}"
        self._smtp.reply_seconds = self._budget.seconds(self.limits.command)
        reply = self._guard(command, self._smtp.ehlo)
        if reply.code >= 500:
            command = f"HELO {domain}"
            reply = self.ask(command, self.limits.command)
        self._demand(reply, command)

    def _start_tls(self, domain):
        """Encrypt, if the host does it when asked."""
        if self.ask("STARTTLS", self.limits.command).code != 220:
            return
        self._encrypt()
        # RFC 3207 §4.2: whatever was learnt or has come in before the handshake is forgotten.
        self._smtp.file = None
        try:
            self._introduce(domain)
        except Undeliverable as error:
            # With TLS 1.3 a host that misses our certificate says so only now (RFC 8446 §4.4.2.4).
            if error.result.errno == CLOSED:
                raise TlsFailed(error.__context__) from None
            raise

    def _encrypt(self):
        context = self._context()
        self._smtp.sock.settimeout(self._budget.seconds(self.limits.command))
        try:
            self._smtp.sock = context.wrap_socket(self._smtp.sock, server_hostname=self.peer.name)
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(f"certificate not trusted: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            raise TlsFailed(error) from None
        name, _, bits = self._smtp.sock.cipher()
        version = self._smtp.sock.version().replace("TLSv", "TLS")
        self.peer = self.peer._replace(cipher=f"{version}:{name}:{bits}")

    def _context(self):
        """Whoever is to have a password must be who it is called, by a certificate that the system trusts. Others may
        be anybody: an unverified session is still better than none (RFC 7435)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._login:
            context.load_default_certs()
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _authenticate(self):
        if not self.peer.cipher:
            raise Undeliverable(self.result(LATER, "no password sent: the host offers no TLS", TLS_MISSING))
        self.peer = self.peer._replace(mechanism=log_in(self, *self._login))

    def _demand(self, reply, command):
        if not reply.is_good:
            raise Undeliverable(self.refusal(reply, command, 0))

    # Talking

    def offers(self, extension):
        """Whether the host's EHLO named `extension` (lower case)."""
        return self._smtp.has_extn(extension)

    def mechanisms(self):
        """Those that the host's EHLO named behind AUTH, in capitals."""
        return self._smtp.esmtp_features.get("auth", "").upper().split()

    def ask(self, command, seconds, shown=""):
        """Send `command` (str) and return the Reply that comes within `seconds`. shown: what others may read in its
        place, if it is a secret. Raises Undeliverable."""
        try:
            self._smtp.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        except smtplib.SMTPServerDisconnected as error:
            raise Undeliverable(self._broken(error.__context__, shown or command)) from None
        return self._reply(shown or command, seconds)

    def send(self, pieces):
        """Send octets, each of `pieces` (bytes) within the time for a block. Returns the Reply with which the
        host stopped listening, 4xx or 5xx, or None. Raises Undeliverable, and what `pieces` does."""
        started = monotonic()
        for piece in pieces:
            try:
                self._send_block(memoryview(piece))
            except OSError as error:
                return self._last_reply() or self._fail(error, "sending data block")
        self._budget.extend(monotonic() - started)
        return None

    def _send_block(self, piece):
        deadline = monotonic() + self.limits.block
        for start in range(0, len(piece), PIECE):
            self._smtp.sock.settimeout(max(LIFE_SIGN, deadline - monotonic()))
            self._smtp.sock.sendall(piece[start:start + PIECE])

    def end_of_data(self, mark):
        """Send `mark` (bytes), which ends the data, and return the Reply. Raises Undeliverable."""
        return self.send([mark]) or self._reply("end of data", self.limits.end_of_data)

    def _last_reply(self):
        """What a host that takes no more data has said before, or None. Nothing can be asked after that."""
        try:
            reply = self._reply("sending data block", self.limits.quit)
        except Undeliverable:
            return None
        finally:
            self._smtp.close()
        return reply if reply.code >= 400 else None

    def _fail(self, error, command):
        raise Undeliverable(self._broken(error, command)) from None

    def quit(self):
        """Take leave, but do not wait for long."""
        try:
            self.ask("QUIT", self.limits.quit)
        except Undeliverable:
            pass
        self._smtp.close()

    def close(self):
        """End it at once."""
        self._smtp.close()

    def _reply(self, command, seconds):
        self._smtp.reply_seconds = self._budget.seconds(seconds)
        return self._guard(command, self._smtp.getreply)

    def _guard(self, command, talk):
        """The Reply that `talk` brings. Raises Undeliverable when there is none, or none that is one."""
        try:
            code, _ = talk()
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise Undeliverable(self._broken(error.__context__ or error, command)) from None
        reply = Reply(code, self._smtp.reply_lines)
        if code == NO_CODE:
            text = f"Malformed SMTP reply in response to {command}: {reply.text}"
            raise Undeliverable(self.result(LATER, text, MALFORMED))
        return reply

    def _broken(self, error, command):
        if isinstance(error, socket.timeout):
            return self.result(LATER, f"SMTP timeout after {command}", ETIMEDOUT)
        return self.result(LATER, f"Remote host closed connection in response to {command}", CLOSED)

    # What it comes to

    def result(self, outcome, text, errno=0, reply="", status="", reports=False) -> DeliveryResult:
        """A DeliveryResult that this host is the cause of."""
        return DeliveryResult(outcome, text, errno, reply, status, self.peer, reports)

    def refusal(self, reply: Reply, command: str, errno: int) -> DeliveryResult:
        """The DeliveryResult that a Reply to `command`, 4xx or 5xx, stands for. errno: Exim's number, if 4xx."""
        text = f"SMTP error from remote mail server after {command}"
        return self.result(reply.outcome, text, errno, reply.text)
