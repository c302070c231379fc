"""One message's turn: who is tried, what is awaited, and what came of it so far."""
from typing import List, NamedTuple

from mailstore.envelope import FAILED, Envelope, Recipient
from queue_manager.retry import due_time
from smtp_client.result import LATER, NEVER, DeliveryResult, Peer

NO_TIME_LEFT = "5.4.7"      # delivery time expired (RFC 3463 §3.5)


class Tried(NamedTuple):
    """One recipient, tried once. result: what came of it. router, transport: Exim's names for the way that the mail
    took. account: of the mailbox here that has it, or "". gave_up: whether the message was tried for long enough."""

    recipient: Recipient
    result: DeliveryResult
    router: str = ""
    transport: str = ""
    account: str = ""
    gave_up: bool = False

    @property
    def status(self) -> str:
        """The enhanced code, "" if unknown."""
        return NO_TIME_LEFT if self.gave_up else self.result.status

    def note(self, report: str):
        """Keep with the recipient what it takes to tell the sender later."""
        peer = self.result.peer
        self.recipient.report = report
        self.recipient.status = self.status
        self.recipient.host = peer.name if peer else ""


def recalled(recipient: Recipient, outcome: str) -> Tried:
    """The Tried that a recipient was noted by, whose reply holds what a host said, or else why it was not done."""
    said = recipient.reply if recipient.reply[:3].isdigit() else ""
    peer = Peer(recipient.host, "") if recipient.host else None
    result = DeliveryResult(outcome, "" if said else recipient.reply, 0, said, recipient.status, peer)
    return Tried(recipient, result, gave_up=recipient.status == NO_TIME_LEFT)


class Attempt:
    """envelope: the message's. late, failed: of those tried, who is to be tried again, and who will not have it.
    reports: the ids of the messages that tell the sender. removed_by: the user who asked for the message's removal
    meanwhile, or "". is_broken: whether something went wrong with it in the queue manager itself.

    The queue manager owns it. Whoever asks something about it says so here, once for each answer that is to come.
    """

    def __init__(self, envelope: Envelope):
        self.envelope = envelope
        self.id = envelope.id
        self.late: List[Tried] = []
        self.failed: List[Tried] = []
        self.reports: List[str] = []
        self.removed_by = ""
        self.is_broken = False
        self._awaited = 0

    def due(self, now) -> List[Recipient]:
        """The recipients that are to be tried at `now`, seconds since 1970; all that wait if it is None."""
        return [recipient for recipient in self.envelope.waiting()
                if now is None or due_time(recipient.next, now) <= now]

    # What is awaited

    def asked(self):
        """One more answer is awaited."""
        self._awaited += 1

    def answered(self):
        """One of the answers has come."""
        self._awaited -= 1

    def is_over(self) -> bool:
        """Whether no answer is awaited any more."""
        return not self._awaited

    # What came of it

    def sort(self, tried: List[Tried]):
        """Remember `tried` until the attempt is over."""
        self.late += [one for one in tried if one.result.outcome == LATER]
        self.failed += [one for one in tried if one.result.outcome == NEVER]

    def failed_without_sender(self) -> bool:
        """Whether a recipient will not have the message, and there is no sender to tell: the message is from <>."""
        states = [recipient.state for recipient in self.envelope.recipients]
        return not self.envelope.sender and FAILED in states
