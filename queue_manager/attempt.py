"""One message's turn: what was tried, and what came of it so far."""
from mailstore.envelope import FAILED
from queue_manager.retry import due_time
from smtp_client.result import LATER, NEVER


class Attempt:
    """envelope: the message's. late, failed: pairs of (recipient, Fate). removed_by: who asked for its
    removal meanwhile, or "". is_broken: whether something went wrong with it in the relay itself.

    pending: how many answers are awaited, and calls about it are being made; at 0 the attempt is over.
    """

    def __init__(self, envelope):
        self.envelope = envelope
        self.id = envelope.id
        self.pending = 0
        self.late = []
        self.failed = []
        self.removed_by = ""
        self.is_broken = False

    def due(self, now):
        """The recipients that are to be tried at `now`, seconds since 1970; all that wait if it is None."""
        return [recipient for recipient in self.envelope.waiting()
                if now is None or due_time(recipient.next, now) <= now]

    def awaits_more(self):
        """Whether, in a call about the attempt, answers are awaited still."""
        return self.pending > 1

    def sort(self, fates):
        """Remember `fates`, pairs of (recipient, Fate), until the attempt is over."""
        self.late += [pair for pair in fates if pair[1].outcome == LATER]
        self.failed += [pair for pair in fates if pair[1].outcome == NEVER]

    def failed_without_sender(self):
        """Whether somebody did not get it who cannot be told of to anybody: the message is from <>."""
        states = [recipient.state for recipient in self.envelope.recipients]
        return not self.envelope.sender and FAILED in states
