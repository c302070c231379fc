"""Mailboxes that this process writes itself: one started by an ordinary user, or the delivery agent as their owner.

mailstore/agent_client.py has the same for who may not.
"""
import posix

from common.ownership import open_list, open_regular
from mailstore.files import outcome_of
from mailstore.outcome import Later
from mailstore.usable import check_usable, open_forward


class Direct:
    """The way to mailboxes and to the files that the settings (a Settings) name. clock: a trace.Clock.

    uid: who has the postmaster's mail, if there is no account to choose.
    """

    def __init__(self, settings, clock):
        self._files = named_files(settings)
        self._clock = clock
        self.uid = posix.getuid()

    def begin_session(self):
        """Nothing is remembered here from one session to the next."""

    def check(self, mailbox):
        """Raise Later if mail could not be stored in `mailbox` now, for a reason one can see."""
        check_usable(mailbox)

    def open(self, name):
        """A descriptor to read the file by that the settings name so. Raises OSError."""
        return open_regular(self._files[name])

    def include(self, path):
        """A descriptor to read a file by that the aliases include. Raises OSError."""
        return open_list(path)

    def forward(self, mailbox):
        """A descriptor to read an account's ~/.forward by, None if it has none; others' count for nothing, as their
        mailboxes can't be written either. Raises Later."""
        return open_forward(mailbox) if mailbox.uid == self.uid else None

    def errand(self):
        """An Errand for one message."""
        return Errand(self._clock)

    def check_active(self, mailbox):
        """Raise Later unless a terminal of the account's owner takes messages. Who is not root has his own only."""
        from mailstore import terminals
        terminals.check_active(self._own(mailbox))

    def write(self, mailbox, text):
        """Write `text` (bytes) to each of them. Raises Later if none of them has it whole."""
        from mailstore import terminals
        terminals.write(self._own(mailbox), text)

    def _own(self, mailbox):
        if mailbox.uid != self.uid:
            raise Later("User not active now", doing=f"only root may write to the terminals of {mailbox.user}")
        return mailbox.uid


def named_files(settings):
    """{what the settings call a file: its path}."""
    certificate, key = settings.tls or ("", "")
    return {"aliases": settings.aliases, "accounts": settings.accounts, "certificate": certificate, "key": key}


class Errand:
    """One message's copies (delivery.Copy) on their way into mailboxes.

    deliver() is prepare() and commit() in one. All raise Later and NoRoom, and then nothing is kept of that copy.
    """

    def __init__(self, clock):
        self._clock = clock

    def prepare(self, copy, again=False):
        """Make `copy` ready to be committed. again: a process that is dead has begun it before."""
        try:
            self._prepare(copy, again)
        except OSError as error:
            raise outcome_of(error, copy.mailbox.path) from error

    def _prepare(self, copy, again):
        if copy.mailbox.is_mbox:
            from mailstore import mbox
            copy.prepared = mbox.prepare(copy.mailbox, self._clock)
        else:
            from mailstore import maildir
            copy.prepared = maildir.prepare(copy.mailbox, copy.name, copy.text(), again)

    def commit(self, copy):
        if copy.mailbox.is_mbox:
            copy.prepared.commit(copy.text())
        else:
            copy.prepared.commit()

    def discard(self, copy):
        copy.prepared.discard()

    def deliver(self, copy, again=False):
        self.prepare(copy, again)
        self.commit(copy)

    def close(self):
        """Nothing more is asked."""
