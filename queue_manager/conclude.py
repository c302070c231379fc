"""What an attempt comes to: the log, the note in the queue, and the report to the sender.

The order makes it safe: a report is in the queue before the recipients that it names are noted as failed,
and what is done is noted at once. A relay killed in between sends one of them twice; it loses nothing.
"""
import os
from typing import List

from common.privileges import user_name
from mailstore import envelope as states
from mailstore.envelope import DELAY, DELIVERED, FAILURE, RELAYED, SUCCESS
from mailstore.outcome import Later, deferral
from mailstore.trace import arrival_here, received_here
from queue_manager import bounce, retry
from queue_manager.attempt import Attempt, Tried, recalled
from queue_manager.log_lines import ignored_line, note_line, reason, tried_line
from smtp_client.result import DONE, NEVER


class Concluder:
    """mainlog: the log; store: a QueueStore; clock: a trace.Clock, for ids; domain: ours; now: gives the seconds since
    1970."""

    def __init__(self, mainlog, store, clock, domain, now):
        self._mainlog = mainlog
        self._store = store
        self._clock = clock
        self._domain = domain
        self._now = now
        self._user = user_name(os.geteuid())

    def log_notes(self, attempt: Attempt, notes):
        """Log what a client noted of hosts (result.Notes) on the way."""
        for note in notes:
            self._mainlog.write(note_line(note), attempt.id)

    def record(self, attempt: Attempt, tried: List[Tried]):
        """Log what came of some recipients, and keep it. That somebody has the message is written down now if the
        rest of the attempt may take long; that somebody will not have it only counts once it is reported."""
        self._log(attempt, tried)
        for one in tried:
            recipient, result = one.recipient, one.result
            recipient.reply = result.reply or reason(result)
            if result.outcome == DONE:
                recipient.state = states.DONE
                if attempt.envelope.sender and recipient.wants(SUCCESS) and not result.reports:
                    one.note(DELIVERED if one.account else RELAYED)
        attempt.sort(tried)
        if not attempt.is_over() and any(one.result.outcome == DONE for one in tried):
            self._save(attempt)

    def _log(self, attempt, tried):
        followed = None
        for one in tried:
            self._mainlog.write(tried_line(one, follows=one.result is followed), attempt.id)
            if one.result.outcome == DONE and not one.account:
                followed = one.result

    def _save(self, attempt):
        try:
            self._store.replace(attempt.envelope)
        except OSError as error:
            self._mainlog.write(f"queue file cannot be written now: {error.strerror}", attempt.id)

    def conclude(self, attempt: Attempt):
        """The attempt is over. Returns when to try again (seconds since 1970), or None if the message is gone."""
        self._give_up_late(attempt)
        self._report_failed(attempt)
        self._report_done(attempt)
        if attempt.envelope.waiting() or attempt.envelope.untold():
            return self._postpone(attempt)
        self._end(attempt)
        return None

    def _give_up_late(self, attempt):
        """Who is late for too long will not have the message."""
        received, now = attempt.envelope.received, self._now()
        over = [one for one in attempt.late if retry.is_over(received, one.recipient.tries, now)]
        attempt.late = [one for one in attempt.late if one not in over]
        for one in over:
            given_up = one._replace(gave_up=True)
            self._mainlog.write(tried_line(given_up), attempt.id)
            attempt.failed.append(given_up)

    def _report_failed(self, attempt):
        told, held = _to_be_told(attempt)
        try:
            if attempt.envelope.sender and told:
                self._report(attempt, bounce.failure, self._original(attempt), told)
        except (OSError, Later) as error:
            # No room, say. They stay as they are, and are tried again.
            self._mainlog.write(f"cannot queue a bounce: {_words(error)}", attempt.id)
            attempt.late += attempt.failed
            return
        for one in attempt.failed:
            one.recipient.state = states.FAILED
            if not one.recipient.wants(FAILURE):
                self._mainlog.write(ignored_line(one), attempt.id)
        for one in told:
            one.recipient.report = ""
        for one in held:
            one.note(states.FAILED)

    def _report_done(self, attempt):
        """Tell of successes, those too that an attempt before this one, or the session, has left to be told."""
        told = [recalled(recipient, DONE) for recipient in attempt.envelope.untold()
                if recipient.report != states.FAILED]
        try:
            if told:
                self._report(attempt, bounce.success, self._original(attempt), told)
        except (OSError, Later) as error:
            self._mainlog.write(f"cannot queue a report of success: {_words(error)}", attempt.id)
            return
        for one in told:
            one.recipient.report = ""

    def _original(self, attempt):
        """The bounce.Original that a report is about."""
        envelope = attempt.envelope
        age = retry.age_of(envelope.received, self._now())
        return bounce.Original(envelope, self._store.message_path(attempt.id), age)

    def _report(self, attempt, make, original, told):
        """Queue a report about the attempt's message. make: bounce.failure, bounce.delay or bounce.success; told: of
        whom."""
        message_id = self._clock.message_id()
        message = make(message_id, self._domain, original, told)
        sender = attempt.envelope.sender
        received = received_here(self._user, self._domain, message_id, sender)
        self._store.prepare(message_id, message, received, [(sender, [sender])]).commit()
        size = message.octets + len(received)
        self._mainlog.write(arrival_here("", attempt.id, size, self._user), message_id)
        attempt.reports.append(message_id)

    def _postpone(self, attempt):
        envelope = attempt.envelope
        now = self._now()
        again = retry.next_attempt(envelope.received, now)
        tries = max((one.recipient.tries for one in attempt.late), default=0)
        for one in attempt.late:
            one.recipient.tries += 1
            one.recipient.next = again
        if retry.notice_is_due(envelope.received, tries, now) and not envelope.notified:
            self._notify(attempt)
        self._save(attempt)
        return min((recipient.next for recipient in envelope.waiting()), default=again)

    def _notify(self, attempt):
        told = [one for one in attempt.late if one.recipient.wants(DELAY)]
        try:
            if attempt.envelope.sender and told:
                original = self._original(attempt)
                if not original.wants_no_notice():
                    self._report(attempt, bounce.delay, original, told)
            attempt.envelope.notified = True
        except (OSError, Later) as error:
            self._mainlog.write(f"cannot queue a notice of delay: {_words(error)}", attempt.id)

    def _end(self, attempt):
        """No recipient waits for the message any more."""
        if attempt.failed_without_sender():
            self._save(attempt)
            self._store.set_aside(attempt.id)
            self._mainlog.write("Frozen (delivery error message)", attempt.id)
        else:
            # In this order, so that the log has the end of every message, even if the relay is killed in between.
            self._mainlog.write("Completed", attempt.id)
            self._store.forget(attempt.id)


def _to_be_told(attempt):
    """(Those of whose failure the sender is to hear now, those of whom later): who asked by NOTIFY hears of a list
    once, when none of its members waits any more. Others hear at once, as from Exim."""
    envelope = attempt.envelope
    failed = {one.recipient for one in attempt.failed}
    still_open = {recipient.given for recipient in envelope.waiting() if recipient not in failed}
    told = [recalled(recipient, NEVER) for recipient in envelope.untold()
            if recipient.report == states.FAILED and recipient.given not in still_open]
    held = []
    for one in attempt.failed:
        if one.recipient.wants(FAILURE):
            waits = envelope.sender and one.recipient.notify and one.recipient.given in still_open
            (held if waits else told).append(one)
    return told, held


def _words(error):
    return deferral(error) if isinstance(error, Later) else str(error)
