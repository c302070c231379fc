"""Deliveries that go wrong for one user's mailbox only (tests/helpers/patching.py)."""

import time

from mailstore import maildir
from mailstore.outcome import Later, NoRoom

commit, prepare = maildir.Prepared.commit, maildir.prepare


def fail_for(user: str, prepared) -> None:
    """A commit that fails when everything is ready."""
    if prepared.mailbox.user == user:
        prepared.discard()
        raise Later("Mailbox cannot be used now", 5, "while renaming tmp/NAME as new/NAME")
    commit(prepared)


def fail_for_alice(prepared) -> None:
    fail_for("alice", prepared)


def fail_for_bob(prepared) -> None:
    fail_for("bob", prepared)


def hang_for_alice(mailbox, *more):
    """A file system that does not answer."""
    if mailbox.user == "alice":
        time.sleep(3600)
    return prepare(mailbox, *more)


def no_room(*_):
    """Whatever it is: the disk is full."""
    raise NoRoom("No room to store the message", 28, "while queueing")
