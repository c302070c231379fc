"""One message over one connection: MAIL, RCPT, DATA, and what that makes of each recipient (RFC 5321 §3.3), as often as
its recipients take."""
from smtp_client.encoding import END
from smtp_client.result import DATA_DEFERRED, DONE, MAIL_DEFERRED, NEVER, RECIPIENT_DEFERRED, Undeliverable

GO_AHEAD = 354
GOING = 421
TOO_MANY = 452              # RFC 5321 §4.5.3.1.10: the others may follow in a transaction of their own
RECIPIENTS = 100            # in one transaction, which every host takes (RFC 5321 §4.5.3.1.8)


class Transaction:
    """connection: a Connection; job: a Job (smtp_client/destination.py); before_end: called before the message can
    become the other side's.

    results: {address: DeliveryResult} so far. is_begun: whether the host has said anything about this message.
    """

    def __init__(self, connection, job, before_end):
        self._connection = connection
        self._message = None
        self._sender = job.sender
        self._utf8 = job.utf8
        self._requests = job.requests
        self._before_end = before_end
        self.results = {}
        self.is_begun = False

    def run(self, message, addresses):
        """Send `message` (an encoding.Message) to `addresses`. Raises Undeliverable when the connection is of no use
        any more: then some have no result."""
        self._message = message
        left = list(dict.fromkeys(addresses))
        while left:
            self._take(left[:RECIPIENTS])
            left = [address for address in left if address not in self.results]

    def _take(self, addresses):
        """One transaction. Whoever has no result then is to have another one."""
        accepted = self._introduce(self._speakable(addresses))
        if accepted:
            self._send(accepted)

    def _speakable(self, addresses):
        """The addresses that this host can be told, which is all unless SMTPUTF8 is needed and not there."""
        if self._connection.offers("smtputf8"):
            return addresses
        whole = self._utf8 and (not self._sender.isascii() or self._message.header_is_8bit())
        refused = [address for address in addresses if whole or not address.isascii()]
        for address in refused:
            self.results[address] = self._connection.result(
                NEVER, "SMTPUTF8 is required, but was not offered by the host", status="5.6.7")
        return [address for address in addresses if address not in refused]

    def _introduce(self, addresses):
        """MAIL and the RCPTs. The addresses that were accepted."""
        if not addresses:
            return []
        self._clear()
        command = f"MAIL FROM:<{self._sender}>{self._parameters(addresses)}"
        reply = self._ask(command, MAIL_DEFERRED)
        self.is_begun = True
        if not reply.is_good:
            self._refuse(addresses, reply, command, MAIL_DEFERRED)
            return []
        self._connection.is_dirty = True
        accepted = []
        for address in addresses:
            if self._recipient(address, bool(accepted)):
                accepted.append(address)
        return accepted

    def _clear(self):
        """What was left of a transaction before this one."""
        if self._connection.is_dirty:
            self._ask("RSET", MAIL_DEFERRED)
            self._connection.is_dirty = False

    def _ask(self, command, errno, seconds=None):
        """The Reply to `command`; a 421 is the host's farewell (RFC 5321 §3.8), whatever the command."""
        reply = self._connection.ask(command, seconds or self._connection.limits.command)
        if reply.code == GOING:
            raise Undeliverable(self._connection.refusal(reply, command, errno))
        return reply

    def _parameters(self, addresses):
        offers = self._connection.offers
        words = []
        if not offers("8bitmime"):
            self._message.encode()
        if offers("size"):
            words.append(f" SIZE={self._message.size}")
        if offers("8bitmime") and self._message.is_8bit:
            words.append(" BODY=8BITMIME")
        if offers("smtputf8") and (self._utf8 or not "".join(addresses).isascii()):
            words.append(" SMTPUTF8")
        if offers("dsn"):
            words.append(self._requests.mail)
        return "".join(words)

    def _recipient(self, address, others_accepted):
        parameters = self._requests.rcpt.get(address, "") if self._connection.offers("dsn") else ""
        command = f"RCPT TO:<{address}>{parameters}"
        reply = self._ask(command, RECIPIENT_DEFERRED)
        if not reply.is_good and not (reply.code == TOO_MANY and others_accepted):
            self._refuse([address], reply, command, RECIPIENT_DEFERRED)
        return reply.is_good

    def _refuse(self, addresses, reply, command, errno):
        self.results.update(dict.fromkeys(addresses, self._connection.refusal(reply, command, errno)))

    def _send(self, accepted):
        connection = self._connection
        reply = self._ask("DATA", DATA_DEFERRED, connection.limits.data)
        if reply.code != GO_AHEAD:
            self._refuse(accepted, reply, "DATA", DATA_DEFERRED)
            return
        reply = connection.send(self._message.on_the_wire())
        if reply:
            self._refuse(accepted, reply, "sending data block", DATA_DEFERRED)
            return
        self._before_end()
        self._end(accepted)

    def _end(self, accepted):
        """End the data, and take what comes of it."""
        connection = self._connection
        reply = connection.end_of_data(END)
        connection.is_dirty = False
        if reply.is_good:
            done = connection.result(DONE, "", reply=reply.text, reports=connection.offers("dsn"))
            self.results.update(dict.fromkeys(accepted, done))
        else:
            self._refuse(accepted, reply, "end of data", DATA_DEFERRED)
