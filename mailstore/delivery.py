"""One message to all its places: everything is prepared, then everything is committed.

If preparing fails anywhere, nothing is kept. Should a commit fail after another one worked, that copy
goes to the queue, whose manager delivers it: no recipient loses the message, none gets it twice. (Should the queue not
take it either, the client must come again, for it alone has the message; who has it gets it twice.)
A client that has heard of a message id may forget the message.
"""
import posix
from errno import ENOSPC
from time import time

from common.settings import canonical
from mailstore import trace
from mailstore.outcome import Later, NoRoom, deferral

IDENTITY_CHARACTERS = 998   # RFC 5322 §2.1.1: a line that any program may rely on is no longer


class MailObject:
    """What was received. content: a Content; sender: the reverse-path, "" for null; recipients: pairs of
    (address as given, Resolution); origin: a trace.Origin; utf8: whether SMTPUTF8 was asked for; chunked:
    whether it came by BDAT; dsn: a dsn_requests.Requests, or None; shown: (user, address as given) of those whose
    terminals have shown it."""

    shown = ()

    def __init__(self, content, sender, recipients, origin, utf8=False, chunked=False, dsn=None):
        self.content = content
        self.sender = sender
        self.recipients = recipients
        self.origin = origin
        self.utf8 = utf8
        self.chunked = chunked
        self.dsn = dsn


class Copy:
    """What goes into one mailbox. recipients: the addresses that led here, as given, the first of them
    the one that the log names. They may be a thousand, for each of a thousand copies, hence shared.

    name: of its file; text: a function that yields it in pieces (bytes); errand: what takes it there, which alone knows
    of prepared, what it has made of the copy, and of trouble, the Later that keeps it from being ready once more.
    """

    name = ""
    text = errand = prepared = trouble = None

    def __init__(self, mailbox, recipients):
        self.mailbox = mailbox
        self._recipients = recipients

    @property
    def given(self):
        return self._recipients[0]

    @property
    def envelope_to(self):
        return self._recipients[::-1]

    def commit(self):
        self.errand.commit(self)

    def discard(self):
        self.errand.discard(self)

    def delivered(self):
        """The log's line for it, once it rests in its mailbox."""
        return trace.delivered_here(self.mailbox.user, self.given, self.mailbox.transport)


def gather(recipients):
    """The Copies for `recipients`, pairs of (address as given, Resolution), in the order of delivery: one for each
    mailbox, whose Envelope-to names all that led there, the last of them first.

    As Exim: what aliases led to comes first, the deepest before all.
    """
    arrivals = [(-depth, number, mailbox, given)
                for number, (resolution, given) in enumerate(by_resolution(recipients))
                for mailbox, depth in resolution.mailboxes.values()]
    arrivals.sort(key=lambda arrival: arrival[:2])
    groups = {}
    for _, _, mailbox, given in arrivals:
        groups.setdefault(mailbox.path, (mailbox, []))[1].append(given)
    return [Copy(mailbox, given[0] if len(given) == 1 else [one for part in given for one in part])
            for mailbox, given in groups.values()]


def by_resolution(recipients):
    """[(Resolution, [addresses as given])]: the same Resolution stands behind an address however often it is given."""
    found = {}
    for given, resolution in recipients:
        found.setdefault(resolution, []).append(given)
    return list(found.items())


def make_up(copy, content, sender, received, name, seconds):
    """Give `copy` the name of its file and its text.

    received: the Received field (str); seconds: the time of delivery since 1970.
    """
    copy.name = name
    if not copy.mailbox.is_mbox:
        copy.text = lambda: content.pieces(_front(copy, sender, received, seconds))
    else:
        from mailstore import mbox
        line = mbox.from_line(sender, seconds).encode("utf-8", "surrogateescape")
        copy.text = lambda: mbox.message(content.pieces(line + _front(copy, sender, received, seconds)))


def _front(copy, sender, received, seconds):
    # Made when it is written: for a thousand copies it names a thousand addresses each.
    front = trace.delivery_header(sender, copy.envelope_to, seconds) + received
    return front.encode("utf-8", "surrogateescape")


def check_room(copies, octets):
    """Raise Later or NoRoom if so many files cannot be open at once, or the disks cannot hold so many octets for each
    of `copies`: found out before the first of a thousand is written, and while nobody else is kept from writing."""
    if copies[0].mailbox.is_mbox:
        from mailstore import mbox
        if len(copies) > mbox.FEW:
            mbox.check_files(len(copies))
    needed = {}
    for copy in copies:
        try:
            disk = posix.statvfs(copy.mailbox.home)
        except OSError:
            continue                # whoever writes there will hear why
        room, total = needed.get(disk.f_fsid, (disk.f_bavail * disk.f_frsize, 0))
        needed[disk.f_fsid] = (room, total + octets)
    for room, total in needed.values():
        if room < total:
            raise NoRoom("No room to store the message", errno=ENOSPC,
                         doing=f"all copies need {total} octets, {room} are free")


class Delivery:
    """The way in for messages. mainlog: the log; clock: a trace.Clock; domain: the local one; access: to the
    mailboxes (mailstore/direct.py); queue: a mailstore.queue.Queue, called only for what must wait."""

    def __init__(self, mainlog, clock, domain, access, queue):
        self.mainlog = mainlog
        self.clock = clock
        self.domain = domain
        self.access = access
        self.queue = queue

    def accept(self, message, message_id):
        """Store `message` in all its places, durably. Raises Later, NoRoom, and then nothing is kept, but where a copy
        that could not be committed behind others finds no room in the queue."""
        seconds = time()
        received = self._received(message, message_id, [given for given, _ in message.recipients], seconds)
        copies = gather(message.recipients)
        if len(copies) > 1:
            check_room(copies, message.content.octets)
        remote = remote_recipients(message.recipients)
        if message.dsn:
            message.dsn.settle(message.sender, message.recipients)
        errand = self.access.errand()
        for copy in copies:
            make_up(copy, message.content, message.sender, received, self.clock.file_name(), seconds)
            copy.errand = errand
        try:
            if len(copies) == 1 and not remote and not (message.dsn and message.dsn.told):
                self._store_one(message, message_id, received, *copies)
            else:
                self._store_all(message, message_id, received, copies, remote, seconds)
        finally:
            errand.close()

    def _store_one(self, message, message_id, received, copy):
        """As _store_all, where one step is enough."""
        try:
            copy.errand.deliver(copy)
        except Later as error:
            self._log_late(copy, error, message_id)
            raise
        self.mainlog.write(arrival(message, len(received)), message_id)
        self._log_without_mailbox(message, message_id)
        self._log_done([copy], [], message_id)
        self.mainlog.write("Completed", message_id)

    def _store_all(self, message, message_id, received, copies, remote, seconds):
        reports = self._prepare_reports(message, message_id, received, remote)
        try:
            ready = self._prepare(message, message_id, received, copies, remote, seconds)
            self.mainlog.write(arrival(message, len(received)), message_id)
            self._log_without_mailbox(message, message_id)
            late = self._commit(ready, message_id)
            self._log_done(copies, late, message_id)
            if late:
                self._keep_for_later(message, message_id, received, late)
        except Later:
            if reports:
                reports.discard()
            raise
        if reports and not self._commit_reports(reports, message, message_id, received, late):
            reports = None
        if remote:
            self.queue.wake(message_id)
        elif not reports:
            self.mainlog.write("Completed", message_id)

    def _prepare_reports(self, message, message_id, received, remote):
        """The Reports of those whose success is to be reported, or None. Where the message itself waits in the
        queue, and may be sent before all mailboxes are written, they have an entry of their own."""
        if not (message.dsn and message.dsn.told):
            return None
        from mailstore.dsn_requests import Reports
        return Reports(self.queue, self.clock.message_id() if remote else message_id, message, received)

    def _commit_reports(self, reports, message, message_id, received, late):
        """False if the queue does not take them: then nobody hears of it, for who has the message must not get it
        again."""
        try:
            reports.commit({copy.mailbox.user for copy, _ in late})
        except Later as error:
            reports.discard()
            self.mainlog.write(f"cannot queue a report of success: {deferral(error)}", message_id)
            return False
        if reports.id != message_id:
            self._log_part(message, message_id, received, reports.id)
        return True

    def _received(self, message, message_id, recipients, seconds):
        return trace.received(message.origin, self.domain, message_id, message.sender, recipients, seconds)

    def _received_by_hosts(self, message, message_id, received, seconds):
        """The Received field that another host is to see: it alone must not make a message need SMTPUTF8
        (RFC 6531 §3.7.3), so a recipient that does is not named."""
        if len(message.recipients) != 1 or message.recipients[0][0].isascii():
            return received
        return self._received(message, message_id, [], seconds)

    def _prepare(self, message, message_id, received, copies, remote, seconds):
        """All that is to be committed, prepared: the queue's entry first, for it is the surest to work."""
        ready = []
        try:
            if remote:
                carried = self._received_by_hosts(message, message_id, received, seconds)
                ready.append(self.queue.prepare(message_id, message, carried, remote))
            for copy in copies:
                copy.errand.prepare(copy)
                ready.append(copy)
        except Later as error:
            if not remote or ready:
                failed_copy = copies[len(ready) - bool(remote)]     # in front of the copies stands the queue's entry
                self._log_late(failed_copy, error, message_id)
            for item in ready:
                item.discard()
            raise
        return ready

    def _commit(self, ready, message_id):
        """Commit `ready` in order. Raises Later if the first fails, and then nothing is kept; later ones that fail are
        returned, as pairs of (copy, error)."""
        late = []
        for position, item in enumerate(ready):
            try:
                item.commit()
            except Later as error:
                if position == 0:
                    for other in ready[1:]:
                        other.discard()
                    self.mainlog.write("Completed", message_id)     # what `<=` began; the session says why
                    raise
                late.append((item, error))
        return late

    def _keep_for_later(self, message, message_id, received, late):
        """Queue the copies that failed, as a message of its own: the first one's entry may be at work already."""
        later_id = self.clock.message_id()
        try:
            self.queue.prepare_local(later_id, message, received, [copy for copy, _ in late]).commit()
        except Later:
            self.mainlog.write("Completed", message_id)
            raise
        self._log_part(message, message_id, received, later_id)
        self.queue.wake(later_id)

    def _log_part(self, message, message_id, received, part_id):
        """The arrival of a part of a message that is an entry of the queue by itself."""
        size = message.content.octets + len(received)
        self.mainlog.write(trace.arrival_here(message.sender, message_id, size), part_id)

    def log_shown(self, message, message_id):
        """What stands on terminals, whatever becomes of the message."""
        for user, given in message.shown:
            self.mainlog.write(trace.delivered_here(user, given, "terminal"), message_id)

    def _log_without_mailbox(self, message, message_id):
        """What stands on terminals, and what aliases throw away, as Exim has that."""
        self.log_shown(message, message_id)
        for resolution, given in by_resolution(message.recipients):
            for word in resolution.dropped:
                transport = "" if word.startswith(":") else "**bypassed**"
                self.mainlog.write(trace.delivered_here(word, given[0], transport, trace.ALIASES), message_id)

    def _log_done(self, copies, late, message_id):
        errors = dict(late)
        for copy in copies:
            if copy in errors:
                self._log_late(copy, errors[copy], message_id)
            else:
                self.mainlog.write(copy.delivered(), message_id)

    def _log_late(self, copy, error, message_id):
        self.mainlog.write(f"== {copy.given} R={trace.LOCAL_USER} T={copy.mailbox.transport} {deferral(error)}",
                           message_id)


def remote_recipients(recipients):
    """Pairs of (address to send to, [the addresses as given that led to it]) for all that is not in a mailbox
    here: who is on two lists gets one copy."""
    found = {}
    for resolution, given in by_resolution(recipients):
        for address in [*resolution.remote, *resolution.unknown_local]:
            found.setdefault(_case_folded(address), (address, {}))[1][given[0]] = None
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
    words.append(f"S={message.content.octets + received_octets}")
    identity = message_identity(message.content)
    if identity:
        words.append(f"id={identity}")
    return " ".join(words)


def message_identity(content):
    """The message's own Message-ID without its brackets, as the log shows it; "" if it is none. Of a message that was
    sent again it is the one that it got then, as for Exim. Of a long one the beginning: the log is no place for a
    megabyte."""
    ids = content.values(b"resent-message-id" if content.is_resent() else b"message-id") or [b""]
    text = _without_comments(ids[0].decode("utf-8", "surrogateescape"))
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    is_one = not set("<>").intersection(text) and (" " not in text or '"' in text)
    return text[:IDENTITY_CHARACTERS] if is_one else ""


def _without_comments(text):
    """`text` behind the comments that it begins with."""
    start = 0
    while text.startswith("(", start):
        start = text.find(")", start) + 1 or len(text)
        while text[start:start + 1] == " ":     # values() leaves no other blank, nor two of them
            start += 1
    return text[start:]
