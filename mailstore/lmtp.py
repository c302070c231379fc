"""Mail that rests with an LMTP server (RFC 2033; Dovecot, Cyrus): it alone knows who has a mailbox, and is asked.

Aliases come first, and files that the settings name are read as ever. There is no .forward and no tag: these are the
server's to know. It is told user@DOMAIN, the user in lower case, DOMAIN the local one, however a client wrote them.
"""
import posix
from errno import ETIMEDOUT
from time import monotonic, time

from mailstore.delivery import Delivery, arrival, gather, remote_recipients
from mailstore.envelope import Recipient
from mailstore.files import nameless_file, outcome_of
from mailstore.mailboxes import POSTMASTER, Mailbox, Mailboxes, is_looked_up
from mailstore.outcome import UNUSABLE, Later, Never, Unavailable
from smtp_client.lmtp import Line, LmtpServer
from smtp_client.result import DONE, LATER, NEVER, RECIPIENT_DEFERRED, UNKNOWN, confirmation

RESOLVE_SECONDS = 240       # for all whom one address leads to: the client has to hear of it before it gives up
ATOM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~.")     # RFC 5321 §4.1.2, lower case


def later_of(result):
    """The Outcome that a DeliveryResult stands for which is LATER."""
    kind = Later if result.errno == RECIPIENT_DEFERRED else Unavailable
    return kind(UNUSABLE, result.errno or UNKNOWN, _words(result))


def _words(result):
    return ": ".join(filter(None, (result.text, result.reply.replace("\n", " "))))


class LmtpMailbox(Mailbox):
    """What the server has for `user`. path: the address that it is told."""

    __slots__ = ()
    transport = "lmtp"

    def __init__(self, user, domain):
        super().__init__(user, 0, 0, "", f"{_local_part(user)}@{domain}")


def _local_part(user):
    """`user` as the local part of an address."""
    is_plain = all(c in ATOM or c > "~" for c in user) and ".." not in f".{user}."
    if is_plain:
        return user
    return '"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"'


class LmtpMailboxes(Mailboxes):
    """line: a Line to the server, over which it is asked, and has its mail."""

    def __init__(self, settings, access, server=None):
        super().__init__(settings, access)
        self.tag = ""
        self.line = Line(server or LmtpServer(settings.lmtp, settings.domain))
        self._refusal = None
        self._until = 0

    def resolve(self, local):
        self._refusal = None
        self._until = monotonic() + RESOLVE_SECONDS
        return super().resolve(local)

    def account(self, name):
        if not is_looked_up(name):
            return None
        if monotonic() > self._until:
            raise Unavailable(UNUSABLE, ETIMEDOUT, "asking the LMTP server for all of a list")
        mailbox = LmtpMailbox(name, self.domain)
        result = self.line.ask(mailbox.path)
        if result.outcome == LATER:
            raise later_of(result)
        if result.outcome == NEVER:
            self._refusal = result
        return mailbox if result.outcome == DONE else None

    def nobody(self):
        if not self._refusal:
            return super().nobody()
        # What says no more than that there is no such user is ours to say.
        is_unknown = self._refusal.status[:4] in ("", "5.1.")
        words = _words(self._refusal)
        return Never("No such user here" if is_unknown else words, doing=words)

    def shown(self, name):
        return None         # there is nothing to be told of it

    def check(self, mailbox):
        """It was asked when it was found."""

    def forward(self, mailbox):
        return ""

    def named(self, words):
        return []

    def _postmaster(self):
        return LmtpMailbox(POSTMASTER, self.domain)     # RFC 5321 §4.5.1: whatever the server thinks of it

    def named_by_us(self, user):
        return LmtpMailbox(user, self.domain) if is_looked_up(user) else None

    def rest(self):
        self.line.close()


class LmtpDelivery(Delivery):
    """line: a Line to the server. folder: for a text on its way, in a file without a name."""

    def __init__(self, mainlog, clock, domain, access, queue, line, folder):
        super().__init__(mainlog, clock, domain, access, queue)
        self._line = line
        self._folder = folder

    def accept(self, message, message_id):
        """Store `message` in all its places, durably; each recipient's fate is his own. Raises Later, NoRoom or Never,
        and then nothing is kept, but where the queue has no room for who was put off behind others who were taken."""
        copies = gather(message.recipients)
        if not copies:
            super().accept(message, message_id)
            return
        seconds = time()
        received = self._received(message, message_id, [given for given, _ in message.recipients], seconds)
        received = self._received_by_hosts(message, message_id, received, seconds)
        remote = [Recipient(address, given) for address, given in remote_recipients(message.recipients)]
        told = _told(message)
        entry = _Entry(self.queue, message, message_id, received)
        entry.hold(remote + told)
        try:
            results = self._deliver(message, received, copies)
            self._check(message, message_id, copies, results, remote)
            if missing := [copy for copy in copies if results[copy].outcome != DONE]:
                users = {copy.mailbox.user for copy in missing}
                entry.hold(remote + [one for one in told if one.mailbox not in users]
                           + [_waiting(copy, results[copy]) for copy in missing])
        except BaseException:
            entry.discard()
            raise
        self._finish(message, message_id, len(received), results, entry)

    def _deliver(self, message, received, copies):
        """{copy: its DeliveryResult}. Raises Later, NoRoom."""
        file = -1
        try:
            file = nameless_file(self._folder)
            message.content.write(file, received.encode("utf-8", "surrogateescape"))
            results = self._line.deliver(f"/proc/self/fd/{file}", message.sender, message.utf8,
                                         [copy.mailbox.path for copy in copies])
        except OSError as error:
            raise outcome_of(error, f"while writing to {self._folder}") from error
        finally:
            if file >= 0:
                posix.close(file)
        return {copy: results[copy.mailbox.path] for copy in copies}

    def _check(self, message, message_id, copies, results, remote):
        """Raise the outcome if nobody took the message, and nobody else will."""
        if remote or message.shown or any(resolution.dropped for _, resolution in message.recipients):
            return
        if any(result.outcome == DONE for result in results.values()):
            return
        late = [copy for copy in copies if results[copy].outcome == LATER]
        for copy in late:
            self._log_late(copy, later_of(results[copy]), message_id)
        if late:
            raise later_of(results[late[0]])
        words = _words(results[copies[0]])
        raise Never(words, doing=words)

    def _finish(self, message, message_id, received_octets, results, entry):
        """Tell the log, and let count what waits."""
        self.mainlog.write(arrival(message, received_octets), message_id)
        self._log_without_mailbox(message, message_id)
        for copy, result in results.items():
            if result.outcome == DONE:
                self.mainlog.write(f"{copy.delivered()} {confirmation(result.reply)}", message_id)
            elif result.outcome == LATER:
                self._log_late(copy, later_of(result), message_id)
        if entry.recipients:
            try:
                entry.commit()
            except Later:
                self.mainlog.write("Completed", message_id)     # what `<=` began; the session says why
                raise
            self.queue.wake(message_id)
        else:
            self.mainlog.write("Completed", message_id)


def _told(message):
    """The Recipients by whom the sender is to hear of success, as far as he asked to (RFC 3461). To the server nothing
    of that is passed on: the mail rests there, and the report is ours."""
    if not message.dsn:
        return []
    message.dsn.settle(message.sender, message.recipients)
    return message.dsn.told


def _waiting(copy, result):
    """The Recipient for a copy that the server has not taken. One that it refused waits for the bounce alone, which the
    queue manager makes."""
    recipient = Recipient(copy.given, copy.envelope_to, copy.mailbox.user)
    recipient.reply = result.reply or result.text
    recipient.refused = result.outcome == NEVER
    return recipient


class _Entry:
    """What of a message goes into the queue. recipients: who is in it; it is prepared while there are some."""

    def __init__(self, queue, message, message_id, received):
        self.recipients = []
        self._queue = queue
        self._what = message_id, message, received
        self._prepared = None

    def hold(self, recipients):
        """From now on these are in it. Raises Later, NoRoom."""
        if recipients:
            self.discard()
            self.recipients = recipients
            self._prepared = self._queue.prepare_recipients(*self._what, recipients)

    def commit(self):
        self._prepared.commit()

    def discard(self):
        if self._prepared:
            self._prepared.discard()
