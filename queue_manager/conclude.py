"""What an attempt comes to: the log, the note in the queue, and the report to the sender.

The order makes it safe: a report is in the queue before the recipients that it names are noted as failed,
and what is done is noted at once. A relay killed in between sends one of them twice; it loses nothing.
"""
import os

from common.privileges import user_name
from mailstore import envelope as states
from mailstore.outcome import Later, deferral
from mailstore.trace import mail_date
from queue_manager import retry as schedule
from queue_manager.bounce import Original, delay, failure
from smtp_client.result import DONE, NEVER, Fate


class Settler:
    """mainlog: the log; backlog: a Backlog; clock: a trace.Clock, for ids; domain: ours; now: gives the
    seconds since 1970; queued: called with the id of each report."""

    def __init__(self, mainlog, backlog, clock, domain, now, queued):
        self._mainlog = mainlog
        self._backlog = backlog
        self._clock = clock
        self._domain = domain
        self._now = now
        self._queued = queued
        self._user = user_name(os.geteuid())

    def write(self, attempt, lines):
        """Write `lines` about the attempt into the log."""
        for line in lines:
            self._mainlog.write(line, attempt.id)

    def note(self, attempt, fates):
        """Log `fates`, pairs of (recipient, Fate), and keep them. What is done is written down now if the
        rest of the attempt may take long; that somebody failed only counts once it is reported."""
        self._log(attempt, fates)
        for recipient, fate in fates:
            recipient.reply = fate.reply or fate.reason()
            if fate.outcome == DONE:
                recipient.state = states.DONE
        attempt.sort(fates)
        if attempt.awaits_more() and any(fate.outcome == DONE for _, fate in fates):
            self._save(attempt)

    def _log(self, attempt, fates):
        followed = None
        for recipient, fate in fates:
            self._mainlog.write(fate.line(recipient, follows=fate is followed), attempt.id)
            if fate.outcome == DONE and not fate.account:
                followed = fate

    def _save(self, attempt):
        try:
            self._backlog.replace(attempt.envelope)
        except OSError as error:
            self._mainlog.write(f"queue file cannot be written now: {error.strerror}", attempt.id)

    def finish(self, attempt):
        """The attempt is over. Returns when to try again (seconds since 1970), or None."""
        self._give_up_late(attempt)
        if attempt.failed:
            self._report_failed(attempt)
        if attempt.envelope.waiting():
            return self._postpone(attempt)
        self._end(attempt)
        return None

    def _give_up_late(self, attempt):
        """What is late for too long has failed."""
        received, now = attempt.envelope.received, self._now()
        over = [pair for pair in attempt.late if schedule.is_over(received, pair[0].tries, now)]
        for recipient, fate in over:
            text = "retry timeout exceeded"
            self._mainlog.write(Fate(NEVER, text).line(recipient), attempt.id)
            failed = Fate(NEVER, f"{fate.reason()}: {text}", 0, fate.host, fate.address, fate.reply, "5.4.7")
            attempt.failed.append((recipient, failed))
        attempt.late = [pair for pair in attempt.late if pair not in over]

    def _report_failed(self, attempt):
        try:
            if attempt.envelope.sender:
                self._send(attempt, failure, attempt.failed)
        except (OSError, Later) as error:
            # No room, say. They stay as they are, and are tried again.
            self._mainlog.write(f"cannot queue a bounce: {deferral(error) if isinstance(error, Later) else error}", attempt.id)
            attempt.late += attempt.failed
            return
        for recipient, _ in attempt.failed:
            recipient.state = states.FAILED

    def _send(self, attempt, report, told):
        """Queue a report about the attempt's message."""
        envelope = attempt.envelope
        about = Original(envelope, self._backlog.message_path(attempt.id), schedule.age_of(envelope.received, self._now()))
        if report is delay and about.wants_no_notice():
            return
        message_id = self._clock.message_id()
        message = report(message_id, self._domain, about, told)
        sender = envelope.sender
        recipient = f"\n\tfor {sender}" if sender.isascii() else ""     # as mailstore.delivery has it
        received = (f"Received: from {self._user} by {self._domain} with local (serveur)\n"
                    f"\tid {message_id}{recipient};\n\t{mail_date()}\n")
        self._backlog.prepare(message_id, message, received, [(sender, [sender])]).commit()
        size = message.octets + len(received)
        self._mainlog.write(f"<= <> R={attempt.id} U={self._user} P=local S={size}", message_id)
        self._queued(message_id)

    def _postpone(self, attempt):
        envelope = attempt.envelope
        now = self._now()
        again = schedule.next_attempt(envelope.received, now)
        tries = max((recipient.tries for recipient, _ in attempt.late), default=0)
        for recipient, _ in attempt.late:
            recipient.tries += 1
            recipient.next = again
        if schedule.notice_is_due(envelope.received, tries, now) and not envelope.notified:
            self._notify(attempt)
        self._save(attempt)
        return min(recipient.next for recipient in envelope.waiting())

    def _notify(self, attempt):
        try:
            if attempt.envelope.sender:
                self._send(attempt, delay, attempt.late)
            attempt.envelope.notified = True
        except (OSError, Later) as error:
            self._mainlog.write(f"cannot queue a notice of delay: {deferral(error) if isinstance(error, Later) else error}", attempt.id)

    def _end(self, attempt):
        """Nobody waits for the message any more."""
        if attempt.failed_without_sender():
            self._save(attempt)
            self._backlog.set_aside(attempt.id)
            self._mainlog.write("Frozen (delivery error message)", attempt.id)
        else:
            # In this order, so that a relay killed in between leaves no life without its end in the log.
            self._mainlog.write("Completed", attempt.id)
            self._backlog.forget(attempt.id)
