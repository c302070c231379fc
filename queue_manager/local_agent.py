"""Copies for mailboxes here, which threads take there, since a mailbox may keep them waiting: one at a time for each
account, so that who hangs delays nobody else.

They write the mailboxes as sessions do: by the delivery agent where there is one (mailstore/agent.py).
"""
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from traceback import format_exc

from mailstore.delivery import Copy, gather, make_up
from mailstore.mailboxes import Mailboxes
from mailstore.outcome import Later, Never
from smtp_client.encoding import PIECE
from smtp_client.result import DONE, LATER, NEVER, UNKNOWN, Fate

AT_ONCE = 8                 # accounts


class Postman:
    """settings: a Settings; access: to mailboxes (mailstore/direct.py); path: gives where a message's text is; clock: a
    trace.Clock; events: an Events, through which answers come; report: called with the traceback of what failed that
    should not. The methods are the runner's, in its thread.
    """

    def __init__(self, settings, access, path, clock, events, report):
        self._settings = settings
        self._access = access
        self._path = path
        self._clock = clock
        self._events = events
        self._report = report
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._orders = {}       # {account: its orders, the first of them under way}
        self._is_stopping = False

    def is_idle(self):
        return not self._orders

    def stop(self):
        """Take no more orders: those at work are done, the others are forgotten."""
        self._is_stopping = True
        for orders in self._orders.values():
            while len(orders) > 1:
                orders.pop()

    def expand(self, address, done):
        """Have `done` called with where mail for `address`, one of ours, goes: a pair of [(address, envelope_to,
        mailbox) of each] and [addresses that nobody has]; or with the Fate that it has no such place."""
        self._give("", partial(self._expand, address), done)

    def deliver(self, message_id, sender, recipient, done):
        """Have one copy delivered, and `done` called with its Fate."""
        # The name is made here: threads could make the same one twice.
        order = partial(self._deliver, self._path(message_id), sender, recipient, self._clock.file_name())
        self._give(recipient.mailbox, order, done)

    def _give(self, account, order, done):
        if self._is_stopping:
            return
        orders = self._orders.setdefault(account, deque())
        orders.append((order, done))
        if len(orders) == 1:
            self._begin(account)

    def _begin(self, account):
        order, _ = self._orders[account][0]
        self._threads.submit(self._obey, account, order)

    def _obey(self, account, order):
        """In a thread."""
        try:
            answer = order()
        except Never as error:
            answer = Fate(NEVER, error.cause, status="5.1.1")
        except Later as error:
            answer = Fate(LATER, error.cause, error.errno or UNKNOWN)
        except OSError as error:
            answer = Fate(LATER, str(error.filename), error.errno)
        except Exception:
            self._events.put(self._report, format_exc())
            answer = Fate(LATER, "internal error", UNKNOWN)
        self._events.put(self._answered, account, answer)

    def _answered(self, account, answer):
        _, done = self._orders[account].popleft()
        if self._orders[account]:
            self._begin(account)
        else:
            del self._orders[account]
        done(answer)

    # In a thread

    def _expand(self, address):
        """The aliases may have changed since the last time."""
        resolution = Mailboxes(self._settings, self._access).resolve(address.rpartition("@")[0])
        copies = [(copy.given, copy.envelope_to, copy.mailbox.user) for copy in gather([(address, resolution)])]
        others = [(other, [address], None) for other in resolution.remote]
        return copies + others, resolution.unknown_local

    def _deliver(self, path, sender, recipient, name):
        mailbox = Mailboxes(self._settings, self._access).named_by_us(recipient.mailbox)
        if not mailbox:
            raise Never("No such user here", doing="Unrouteable address")
        copy = Copy(mailbox, recipient.envelope_to[::-1])
        errand = self._access.errand()
        try:
            with StoredContent(path) as content:
                make_up(copy, content, sender, "", name, time.time())
                errand.deliver(copy)
        except Later as error:
            return Fate(LATER, error.cause, error.errno or UNKNOWN, router="local_user", transport=mailbox.transport)
        finally:
            errand.close()
        return Fate(DONE, router="local_user", transport=mailbox.transport, account=mailbox.user)


class StoredContent:
    """A message in the queue, as a mailbox takes it. Its Received field is there already."""

    def __init__(self, path):
        self._file = open(path, "rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def pieces(self, front):
        """Yield the message in pieces, `front` (bytes) before it."""
        self._file.seek(0)
        yield front + self._file.read(PIECE)
        while piece := self._file.read(PIECE):
            yield piece
