"""What a client asked to be told of a message's recipients (RFC 3461), on the way from RCPT into the queue.

Nothing is told here. Whoever is not in a mailbox yet takes the requests along; for those that are, and for lists, an
entry of the queue with nobody waiting has the queue manager report. No session without such a parameter loads this.
"""
from functools import reduce

from mailstore.envelope import DELIVERED, DONE, EXPANDED, NOTIFY_NEVER, SUCCESS, WORDS, Recipient, wishes


def both(one, other):
    """The NOTIFY (str) of who is asked for by two RCPTs: nobody hears less than each of them asked."""
    wanted = wishes(one) | wishes(other)
    return one if one == other else ",".join(word for word in WORDS if word in wanted) or NOTIFY_NEVER


def for_members(notify):
    """The NOTIFY of those whom an address with this one stands for, if there are several: that the message reached the
    list is success enough (RFC 3461 §5.2.7.3 (c))."""
    wanted = wishes(notify)
    return notify if SUCCESS not in wanted else ",".join(word for word in WORDS[1:] if word in wanted) or NOTIFY_NEVER


class Asked:
    """What was asked about one address. given: as the client wrote it; resolution: its Resolution, which stands
    for it however often and in whichever case it is given."""

    def __init__(self, given, resolution, notify, orcpt):
        self.given = given
        self.resolution = resolution
        self.notify = notify
        self.orcpt = orcpt

    def add(self, notify, orcpt):
        self.notify = both(self.notify, notify)
        self.orcpt = self.orcpt or orcpt

    @property
    def passed_on(self):
        """The NOTIFY that goes with the message."""
        return self.notify if self.resolution.size() == 1 else for_members(self.notify)

    def told(self):
        """The Recipient by whom the sender is to hear of success here, or None: where a single place is not ours,
        success will show there."""
        single = self.resolution.size() == 1
        if SUCCESS not in wishes(self.notify) or single and (self.resolution.remote or self.resolution.unknown_local):
            return None
        users = [mailbox.user for mailbox, _ in self.resolution.mailboxes.values()] if single else []
        recipient = Recipient(self.given, [self.given], *users)
        recipient.state = DONE
        recipient.notify, recipient.orcpt = self.notify, self.orcpt
        recipient.report = DELIVERED if single else EXPANDED
        return recipient


class Requests:
    """The requests of one transaction. ret, envid: MAIL's parameters, as they came, or "".

    told: once they are settled, the Recipients of whom the sender is to hear as soon as the message is stored.
    """

    def __init__(self, recipients):
        """recipients: pairs as below, accepted before anything was asked."""
        self.ret = self.envid = ""
        self.told = []
        self._of_rcpt = {given: ("", "") for given, _ in recipients}    # {an address as given: (NOTIFY, ORCPT)}
        self._of_given = {}         # {an address as given: its Asked}

    def of_message(self, ret, envid):
        self.ret, self.envid = ret, envid

    def of_recipient(self, given, notify, orcpt):
        """An accepted RCPT."""
        before = self._of_rcpt.get(given, (notify, orcpt))
        self._of_rcpt[given] = both(before[0], notify), before[1] or orcpt

    def settle(self, sender, recipients):
        """All RCPTs are there: `recipients`, pairs of (address as given, Resolution), are those to have mail."""
        found = {}
        for given, resolution in recipients:
            request = self._of_rcpt[given]
            asked = self._of_given[given] = found.setdefault(resolution, Asked(given, resolution, *request))
            asked.add(*request)
        # Nobody is told of a message from <> (RFC 3461 §5.2).
        self.told = [told for asked in found.values() if (told := asked.told())] if sender else []

    def fill(self, envelope):
        """Have `envelope` ask for the same. Those of whom something is told already are as they should be."""
        envelope.ret, envelope.envid = self.ret, self.envid
        for recipient in envelope.recipients:
            if not recipient.report:
                asked = [self._of_given[given] for given in recipient.envelope_to]
                recipient.notify = reduce(both, [one.passed_on for one in asked])
                recipient.orcpt = next((one.orcpt for one in asked if one.orcpt), "")


class Reports:
    """The entry of the queue by which `told` (Recipients) are reported once they have `message`. It lies in tmp/ until
    it is committed, which is when the mailboxes are written."""

    def __init__(self, queue, message_id, message, received):
        self.id = message_id
        self._queue = queue
        self._prepared = queue.prepare_recipients(message_id, message, received, message.dsn.told)

    def commit(self, late):
        """late: the users whose mailboxes did not take the message, of which they hear when they do. Raises Later."""
        if late:
            envelope = self._prepared.envelope
            envelope.recipients = [told for told in envelope.recipients if told.mailbox not in late]
            self._queue.rewrite_new_envelope(envelope)
        self._prepared.commit()
        self._queue.wake(self.id)

    def discard(self):
        self._prepared.discard()
