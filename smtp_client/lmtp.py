"""LMTP (RFC 2033), to a server that keeps mailboxes: SMTP with LHLO, and behind the end of data a reply for each
recipient, which smtplib.LMTP leaves to its users to read.

The server is one of ours: it is asked without TLS, and what ails it is never the mail's fault.
"""
import smtplib
import socket
from errno import ETIMEDOUT
from time import monotonic
from typing import NamedTuple

from smtp_client.bounds import LMTP_REST, LmtpLimits
from smtp_client.connection import Budget, Connection, Reply
from smtp_client.encoding import END, Message
from smtp_client.result import (CLOSED, DATA_DEFERRED, DONE, LATER, MAIL_DEFERRED, NEVER, RECIPIENT_DEFERRED, UNKNOWN,
                                DeliveryResult, Undeliverable)
from smtp_client.transaction import GOING, Transaction


class NoPlace(Exception):
    """What should be HOST:PORT or /SOCKET is neither."""


def split_place(place):
    """(host or socket's path, port) of HOST:PORT, an IPv6 address in brackets, or /SOCKET. Raises NoPlace."""
    if place.startswith("/"):
        return place, 0
    host, _, port = place.rpartition(":")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not (name and name.isprintable() and not {*" []"} & {*name} and is_port and (":" not in host or host != name)):
        raise NoPlace(place)
    return name, int(port)


class LmtpJob(NamedTuple):
    """What a Transaction must know of a message."""

    sender: str
    utf8: bool
    requests: object = None     # of DSN: those for mail that rests there are ours to obey


class _Lmtp(Connection.protocol, smtplib.LMTP):
    ehlo_msg = "LHLO"


class LmtpServer:
    """The one at `place`, HOST:PORT or /SOCKET. domain: what we call ourselves. Several threads may ask it, each over a
    Line of its own. One that was silent is left alone for LMTP_REST seconds. limits: others than LmtpLimits()."""

    login = None

    def __init__(self, place, domain, limits=None):
        self.name, self.port = split_place(place)
        self.domain = domain
        self.limits = limits or LmtpLimits()
        self._silent_until = 0
        self._trouble = None

    def connect(self):
        """An LmtpConnection. Raises Undeliverable, whose result is LATER."""
        if monotonic() < self._silent_until:
            raise Undeliverable(self._trouble)
        try:
            return LmtpConnection(self)
        except Undeliverable as error:
            found = error.result
        self._trouble = DeliveryResult(LATER, found.text, found.errno, found.reply)
        if found.errno == ETIMEDOUT:
            self._silent_until = monotonic() + LMTP_REST
        raise Undeliverable(self._trouble)


class LmtpConnection(Connection):
    """One to `server`, an LmtpServer, which is ready for MAIL. As in Exim's log, nothing that comes of it names a host:
    there is but one."""

    protocol = _Lmtp

    def __init__(self, server):
        super().__init__(server, "", server.domain, Budget(server.limits), with_tls=False)

    def _open(self, server):
        self._smtp.reply_seconds = self._budget.seconds(self.limits.greeting)
        try:
            code, _ = self._smtp.connect(server.name, server.port)
        except smtplib.SMTPServerDisconnected as error:
            raise Undeliverable(self._broken(error, "initial connection")) from None
        except OSError as error:
            number = ETIMEDOUT if isinstance(error, socket.timeout) else error.errno or 0
            raise Undeliverable(self.result(LATER, "connecting to the LMTP server", number or UNKNOWN)) from None
        if server.port:
            self._smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._demand(Reply(code, self._smtp.reply_lines), "initial connection")

    def _introduce(self, domain):
        self._smtp.reply_seconds = self._budget.seconds(self.limits.command)
        command = f"LHLO {domain}"
        self._demand(self._guard(command, self._smtp.ehlo), command)

    def offers(self, extension):
        return extension != "dsn" and super().offers(extension)

    def renew(self):
        """What comes now has as much time as a new connection."""
        self._budget.renew()

    def next_reply(self):
        """The Reply for the next of the recipients that were accepted. Raises Undeliverable."""
        return self._reply("end of data", self.limits.end_of_data)

    def result(self, outcome, text, errno=0, reply="", status=""):
        return DeliveryResult(outcome, text, errno, reply, status)

    def refusal(self, reply, command, errno):
        return self.result(reply.outcome, f"LMTP error after {command}", errno, reply.text)

    def _broken(self, error, command):
        if isinstance(error, socket.timeout):
            return self.result(LATER, f"LMTP timeout after {command}", ETIMEDOUT)
        return self.result(LATER, f"LMTP connection closed after {command}", CLOSED)


class LmtpTransaction(Transaction):
    """As a Transaction, but each recipient's fate is its own (RFC 2033 §4.2)."""

    def _end(self, accepted):
        refused = self._connection.send([END])
        if refused:
            self._refuse(accepted, refused, "end of data", DATA_DEFERRED)
            return
        for address in accepted:
            reply = self._connection.next_reply()
            if reply.is_good:
                self.results[address] = self._connection.result(DONE, "", reply=reply.text)
            else:
                self._refuse([address], reply, "end of data", DATA_DEFERRED)
        self._connection.is_dirty = False


class Line:
    """The way to `server` (an LmtpServer) for one who asks one thing after another: a connection, from the first
    question until close()."""

    def __init__(self, server):
        self._server = server
        self._connection = None

    def ask(self, address):
        """The DeliveryResult of a recipient whom a message would name now; its errno is RECIPIENT_DEFERRED where it is
        he who has to wait."""
        try:
            return _probe(self._ready(), address)
        except Undeliverable as error:
            self.close()
            return error.result

    def deliver(self, path, sender, utf8, addresses):
        """Hand the message in the file at `path` over for `addresses`. {address: its DeliveryResult}. Whoever has had
        no reply when the connection ends is to be tried again, and may then have it twice (RFC 1047)."""
        results, problem = {}, None
        try:
            with Message(path) as message:
                transaction = LmtpTransaction(self._ready(), LmtpJob(sender, utf8), before_end=bool)
                transaction.results = results
                transaction.run(message, addresses)
        except OSError as error:
            problem = DeliveryResult(LATER, "message cannot be read", error.errno)
        except Undeliverable as error:
            problem = error.result
        if problem:
            self.close()
        return {address: results.get(address, problem) for address in addresses}

    def _ready(self):
        """The connection, without a transaction: the one at hand, if the server has not closed it meanwhile."""
        if self._connection:
            self._connection.renew()
            try:
                if self._connection.ask("RSET", self._connection.limits.command).is_good:
                    self._connection.is_dirty = False
                    return self._connection
            except Undeliverable as error:
                if error.result.errno == ETIMEDOUT:
                    raise
            self._connection.close()
        self._connection = None
        self._connection = self._server.connect()
        return self._connection

    def close(self):
        """Let go of the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection:
            connection.quit()


def _probe(connection, address):
    """Ask in a transaction that comes to nothing."""
    if not (address.isascii() or connection.offers("smtputf8")):
        return connection.result(NEVER, "SMTPUTF8 is required, but was not offered by the host", status="5.6.7")
    command = "MAIL FROM:<>" if address.isascii() else "MAIL FROM:<> SMTPUTF8"
    reply = connection.ask(command, connection.limits.command)
    if not reply.is_good:
        found = connection.refusal(reply, command, MAIL_DEFERRED)
        raise Undeliverable(DeliveryResult(LATER, found.text, found.errno, found.reply))
    connection.is_dirty = True
    command = f"RCPT TO:<{address}>"
    reply = connection.ask(command, connection.limits.command)
    if reply.code == GOING:
        raise Undeliverable(connection.refusal(reply, command, MAIL_DEFERRED))
    return connection.result(DONE, "") if reply.is_good else connection.refusal(reply, command, RECIPIENT_DEFERRED)
