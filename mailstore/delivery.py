"""One message to all its places: everything is prepared, then everything is committed.

If preparing fails anywhere, nothing is kept. Should a commit fail after another one worked, that copy
goes to the queue, whose runner delivers it: no recipient loses the message, none gets it twice.
Whoever hears of a message id may forget the message.
"""
from time import time

from mailstore import maildir, trace
from mailstore.outcome import Later
from settings import canonical


class Message:
    """What was received. letter: a Letter; sender: the reverse-path, "" for null; recipients: pairs of
    (address as given, Place); origin: a trace.Origin; utf8: whether SMTPUTF8 was asked for; chunked:
    whether it came by BDAT."""

    def __init__(self, letter, sender, recipients, origin, utf8=False, chunked=False):
        self.letter = letter
        self.sender = sender
        self.recipients = recipients
        self.origin = origin
        self.utf8 = utf8
        self.chunked = chunked


class Copy:
    """What goes into one mailbox. recipients: the addresses that led here, as given, the first of them
    the one that the log names."""

    def __init__(self, mailbox, recipients):
        self.mailbox = mailbox
        self.given = recipients[0]
        self.envelope_to = recipients[::-1]
        self.prepared = None

    def commit(self):
        with self.mailbox.owner():
            self.prepared.commit()

    def discard(self):
        with self.mailbox.owner():
            self.prepared.discard()

    def log_name(self):
        return f"{self.mailbox.user} <{self.given}> R=local_user T={self.mailbox.transport}"


def gather(recipients):
    """The Copies for `recipients`, pairs of (address as given, Place), in the order of delivery.

    As Exim: what aliases led to comes first, the deepest before all; addresses that end in the same
    spelling of the same local part share one copy, whose Envelope-to names the last of them first.
    """
    arrivals = [(depth, mailbox, address if place.is_alias else given, number)
                for number, (given, place) in enumerate(recipients)
                for mailbox, address, depth in place.mailboxes]
    arrivals.sort(key=lambda arrival: -arrival[0])
    groups = {}
    for _, mailbox, address, number in arrivals:
        key = (mailbox.path, address.rpartition("@")[0])
        groups.setdefault(key, (mailbox, {}))[1][number] = recipients[number][0]
    return [Copy(mailbox, list(given.values())) for mailbox, given in groups.values()]


def prepare_copy(copy, letter, sender, received, clock, seconds, beside=None):
    """Make `copy` ready to be committed. Raises Later, NoRoom.

    received: the Received field (str); clock: a trace.Clock; seconds: the time of delivery since 1970;
    beside: what is already prepared for the same mailbox, to be committed too.
    """
    front = trace.delivery_header(sender, copy.envelope_to, seconds) + received
    if not copy.mailbox.is_mbox:
        prepare = maildir.prepare
        options = {}
    else:
        from mailstore import mbox
        prepare = mbox.prepare
        options = {"beside": beside}
        front = mbox.from_line(sender, seconds) + front
    try:
        with copy.mailbox.owner():
            copy.prepared = prepare(copy.mailbox, letter, front.encode("utf-8", "surrogateescape"), clock, **options)
    except OSError as error:
        raise Later("Mailbox cannot be used now", f"{error.strerror}: {copy.mailbox.path}") from error


class Delivery:
    """The way in for messages. journal: the log; clock: a trace.Clock; domain: the local one;
    queue: a mailstore.queue.Queue, called only for what must wait."""

    def __init__(self, journal, clock, domain, queue):
        self.journal = journal
        self.clock = clock
        self.domain = domain
        self.queue = queue

    def accept(self, message, message_id):
        """Store `message` in all its places, durably. Raises Later, NoRoom, and then nothing is kept."""
        seconds = time()
        received = self._received(message, message_id, [given for given, _ in message.recipients], seconds)
        copies = gather(message.recipients)
        ready = self._prepare(message, message_id, received, copies, seconds)
        self.journal.write(arrival(message, len(received)), message_id)
        late = self._commit(ready)
        if late:
            self._keep_for_later(message, message_id, received, late)
        self._log_done(copies, late, message_id)
        if len(ready) > len(copies):
            self.queue.wake(message_id)
        else:
            self.journal.write("Completed", message_id)

    def _received(self, message, message_id, recipients, seconds):
        return trace.received(message.origin, self.domain, message_id, message.sender, recipients, seconds)

    def _received_by_hosts(self, message, message_id, received, seconds):
        """The Received field that another host is to see: it alone must not make a message need SMTPUTF8
        (RFC 6531 §3.7.3), so a recipient that does is not named."""
        if len(message.recipients) != 1 or message.recipients[0][0].isascii():
            return received
        return self._received(message, message_id, [], seconds)

    def _prepare(self, message, message_id, received, copies, seconds):
        """All that is to be committed, prepared: the queue's entry first, for it is the surest to work."""
        ready = []
        first = {}
        try:
            distant = distant_recipients(message.recipients)
            if distant:
                carried = self._received_by_hosts(message, message_id, received, seconds)
                ready.append(self.queue.prepare(message_id, message, carried, distant))
            for copy in copies:
                path = copy.mailbox.path
                prepare_copy(copy, message.letter, message.sender, received, self.clock, seconds, first.get(path))
                first.setdefault(path, copy.prepared)
                ready.append(copy)
        except Later as error:
            if not distant or ready:
                self._log_late(copies[len(ready) - bool(distant)], error, message_id)
            for item in ready:
                item.discard()
            raise
        return ready

    def _commit(self, ready):
        """Commit `ready` in order. Raises Later if the first fails; later ones that fail are returned, as
        pairs of (copy, error)."""
        late = []
        for position, item in enumerate(ready):
            try:
                item.commit()
            except Later as error:
                if position == 0:
                    for other in ready[1:]:
                        other.discard()
                    raise
                late.append((item, error))
        return late

    def _keep_for_later(self, message, message_id, received, late):
        """Queue the copies that failed, as a message of its own: the first one's entry may be at work already."""
        later_id = self.clock.message_id()
        self.queue.prepare_local(later_id, message, received, [copy for copy, _ in late]).commit()
        size = message.letter.octets + len(received)
        self.journal.write(f"<= {message.sender or '<>'} R={message_id} P=local S={size}", later_id)
        self.queue.wake(later_id)

    def _log_done(self, copies, late, message_id):
        errors = dict(late)
        for copy in copies:
            if copy in errors:
                self._log_late(copy, errors[copy], message_id)
            else:
                self.journal.write(f"=> {copy.log_name()}", message_id)

    def _log_late(self, copy, error, message_id):
        self.journal.write(f"== {copy.given} R=local_user T={copy.mailbox.transport} {error.detail}", message_id)


def distant_recipients(recipients):
    """Pairs of (address to send to, [the addresses as given that led to it]) for all that is not in a mailbox
    here: who is on two lists gets one copy."""
    found = {}
    for given, place in recipients:
        for address in [*place.elsewhere, *place.unknown]:
            found.setdefault(_case_folded(address), (address, {}))[1][given] = None
    return [(address, list(given)) for address, given in found.values()]


def _case_folded(address):
    """`address` as two spellings of one are compared: only another host may know its local parts' case."""
    local, _, domain = address.rpartition("@")
    return local, canonical(domain)


def arrival(message, received_octets):
    """The `<=` line's text for `message`, whose Received field has so many octets."""
    origin = message.origin
    words = [f"<= {message.sender or '<>'} H={origin.log_host()} P={origin.protocol}"]
    if message.chunked:
        words.append("K")
    if origin.cipher:
        words.append(f"X={origin.cipher} CV=no")
    if origin.login:
        words.append(f"A={origin.mechanism}:{origin.login}")
    words.append(f"S={message.letter.octets + received_octets}")
    identity = message_identity(message.letter)
    if identity:
        words.append(f"id={identity}")
    return " ".join(words)


def message_identity(letter):
    """The message's own Message-ID without its brackets, as the log shows it; "" if it is none."""
    ids = letter.values(b"resent-message-id") or letter.values(b"message-id") or [b""]
    text = ids[0].decode("utf-8", "surrogateescape")
    while text.startswith("("):
        text = text.partition(")")[2].lstrip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    is_one = not set("<>").intersection(text) and (" " not in text or '"' in text)
    return text if is_one else ""
