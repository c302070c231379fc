"""Copies for mailboxes here. Threads take them there, since a mailbox may keep them waiting: one at a time for each
account, so that a mailbox that hangs delays no other.

They write the mailboxes as sessions do: by the delivery agent where there is one (mailstore/agent_client.py). What a
session imports when it first needs it is imported here from the start, before root is given up: later the checkout may
be closed to who we are.
"""
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from traceback import format_exc
from typing import Callable, List, NamedTuple

import common.domains           # noqa: F401
import common.nss               # noqa: F401
import mailstore.alias_index    # noqa: F401
import mailstore.expansion      # noqa: F401
import mailstore.mbox           # noqa: F401
from mailstore.delivery import Copy, gather, make_up
from mailstore.envelope import Envelope, Recipient
from mailstore.mailboxes import Mailboxes
from mailstore.outcome import Later, Never
from mailstore.targets import unquoted
from mailstore.trace import ALIASES, LOCAL_USER
from queue_manager.attempt import Tried
from queue_manager.log_lines import result_of
from smtp_client.encoding import PIECE
from smtp_client.result import DONE, LATER, UNKNOWN, DeliveryResult

AT_ONCE = 8                 # accounts


class Members(NamedTuple):
    """What an address of ours stands for. recipients: in its place; unknown: addresses that nobody has."""

    recipients: List[Recipient]
    unknown: List[str]


class Order(NamedTuple):
    """Something that a thread is to do. task: does it, and returns the answer; recipient: whom it is about; router:
    whose doing it is, for the log; question: what is answered."""

    task: Callable
    recipient: Recipient
    router: str
    question: object


class LocalDelivery:
    """settings: a Settings. access: to mailboxes (mailstore/direct.py). clock: a trace.Clock. events: an Events,
    through which are called, in the queue manager's thread: answered, with a question and its answer; log_traceback,
    with that of what failed and should not; tell, with a line for the log. The methods are that thread's too.
    """

    def __init__(self, settings, access, clock, events, answered, log_traceback, tell):
        self._settings = settings
        self._access = access
        self._clock = clock
        self._events = events
        self._answered = answered
        self._log_traceback = log_traceback
        self._tell = tell
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

    def expand(self, recipient: Recipient, question):
        """Answer `question` with the Members of a recipient of ours, or with a Tried if there is none."""
        self._give("", Order(partial(self._expand, recipient.address), recipient, ALIASES, question))

    def deliver(self, path, envelope: Envelope, recipient: Recipient, question):
        """Have one copy of the message at `path` delivered, and answer `question` with the recipient's Tried."""
        # The name is made here: threads could make the same one twice.
        task = partial(self._deliver, path, envelope, recipient, self._clock.file_name())
        self._give(recipient.mailbox, Order(task, recipient, LOCAL_USER, question))

    def _give(self, account, order):
        if self._is_stopping:
            return
        orders = self._orders.setdefault(account, deque())
        orders.append(order)
        if len(orders) == 1:
            self._begin(account)

    def _begin(self, account):
        try:
            self._threads.submit(self._obey, account, self._orders[account][0])
        except RuntimeError:
            pass                # no thread can be started: it waits for one that there is, or for the next order's

    def _obey(self, account, order):
        """In a thread."""
        try:
            answer = order.task()
        except Never as outcome:
            answer = Tried(order.recipient, result_of(outcome))
        except Later as outcome:
            answer = Tried(order.recipient, result_of(outcome), order.router)
        except OSError as error:
            result = DeliveryResult(LATER, str(error.filename or ""), error.errno)
            answer = Tried(order.recipient, result, order.router)
        except Exception:
            self._events.put(self._log_traceback, format_exc())
            answer = Tried(order.recipient, DeliveryResult(LATER, "internal error", UNKNOWN), order.router)
        self._events.put(self._obeyed, account, answer)

    def _obeyed(self, account, answer):
        order = self._orders[account].popleft()
        if self._orders[account]:
            self._begin(account)
        else:
            del self._orders[account]
        self._answered(order.question, answer)

    # In a thread

    def _expand(self, address):
        """The aliases may have changed since the last time."""
        mailboxes = self._mailboxes()
        mailboxes.tell = partial(self._events.put, self._tell)
        try:
            resolution = mailboxes.resolve(unquoted(address.rpartition("@")[0]))
        finally:
            mailboxes.rest()
        copies = [Recipient(copy.given, copy.envelope_to, copy.mailbox.user)
                  for copy in gather([(address, resolution)])]
        others = [Recipient(other, [address]) for other in resolution.remote]
        return Members(copies + others, resolution.unknown_local)

    def _mailboxes(self):
        return Mailboxes(self._settings, self._access)

    def _mailbox(self, user):
        """The Mailbox of `user`, who had one when his copy was queued. Raises Never, Later."""
        mailboxes = self._mailboxes()
        mailbox = mailboxes.named_by_us(user)
        if not mailbox:
            raise mailboxes.nobody()
        return mailbox

    def _deliver(self, path, envelope, recipient, name):
        mailbox = self._mailbox(recipient.mailbox)
        copy = Copy(mailbox, recipient.envelope_to[::-1])
        errand = self._access.errand()
        try:
            with StoredContent(path) as content:
                make_up(copy, content, envelope.sender, "", name, time.time())
                errand.deliver(copy)
        except Later as outcome:
            return Tried(recipient, result_of(outcome), LOCAL_USER, mailbox.transport)
        finally:
            errand.close()
        return Tried(recipient, DeliveryResult(DONE), LOCAL_USER, mailbox.transport, mailbox.user)


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
