"""Copies for mailboxes here: the one process of the relay that can be root again, and it talks to nobody but us.

The runner's process speaks with strangers and gives root up for good; this one, its child, keeps the way
back to it, as a session does. It takes orders from the runner over a socket, a line of JSON each, and does
them one after another: `expand` an address of ours into its places, `deliver` one copy. It ends when the
runner does.
"""
import json
import os
import re
import signal
import socket
import time
from traceback import format_exc

from mailstore import mbox
from mailstore.delivery import Copy, gather, prepare_copy
from mailstore.files import write_all
from mailstore.mailboxes import Mailboxes
from mailstore.outcome import Later, Never
from mailstore.trace import Clock
from smtp_client.encoding import PIECE

DETAIL = re.compile(r"(?:defer )?\((-?\d+)\):? (.*)", re.DOTALL)


class Ended(Exception):
    """The postman's process has ended."""


class Postman:
    """The runner's end. settings: a Settings; backlog: where the messages are. Forks."""

    def __init__(self, settings, backlog):
        ours, theirs = socket.socketpair()
        self._orders = []
        self._is_stopping = False
        self._socket = ours
        self.pid = os.fork()
        if not self.pid:
            # It ends when nobody holds our end any more, so it must not hold it itself.
            ours.close()
            _serve(settings, backlog, theirs)
        theirs.close()
        self._answers = ours.makefile("r", encoding="utf-8", errors="surrogateescape")

    def fileno(self):
        """A descriptor that is readable when an answer has come."""
        return self._socket.fileno()

    def is_idle(self):
        return not self._orders

    def expand(self, address, done):
        """Have `done` called with the answer to where mail for `address`, one of ours, goes: a dictionary
        with "outcome" and "text", or "places": (address, envelope_to, mailbox) of each, and "unknown": addresses
        that nobody has. As every answer, it has a "trace" if something failed that should not."""
        self._give({"do": "expand", "address": address}, done)

    def deliver(self, message_id, sender, recipient, done):
        """Have one copy delivered, and `done` called with a dictionary: "outcome", "text", "transport", "account"."""
        self._give({"do": "deliver", "id": message_id, "sender": sender, "mailbox": recipient["mailbox"],
                    "address": recipient["address"], "envelope_to": recipient["envelope_to"]}, done)

    def _give(self, order, done):
        if self._is_stopping:
            return
        self._orders.append((order, done))
        if len(self._orders) == 1:
            self._send()

    def _send(self):
        try:
            self._socket.sendall(_line(self._orders[0][0]))
        except OSError:
            raise Ended from None

    def handle(self):
        """Read one answer and pass it on. Raises Ended."""
        line = self._answers.readline()
        if not line:
            raise Ended
        _, done = self._orders.pop(0)
        if self._orders:
            self._send()
        done(json.loads(line))

    def stop(self):
        """Take no more orders: the one at work is done, the others are forgotten."""
        self._is_stopping = True
        del self._orders[1:]

    def close(self):
        """Let the process end, and wait for it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        os.waitpid(self.pid, 0)


def _line(value):
    return json.dumps(value).encode() + b"\n"


def _serve(settings, backlog, connection):
    """The child's whole life."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 1
    try:
        # A mailbox that stays locked is tried again from the queue; the relay must not have to wait long for us.
        mbox.LOCK_TRIES, mbox.LOCK_PAUSE = 3, 1
        round_ = Round(settings, backlog)
        for line in connection.makefile("r", encoding="utf-8", errors="surrogateescape"):
            connection.sendall(_line(round_.obey(json.loads(line))))
        code = 0
    except OSError:
        pass    # the runner is gone
    finally:
        os._exit(code)


class Round:
    """What the process does with an order."""

    def __init__(self, settings, backlog):
        self._backlog = backlog
        self._mailboxes = Mailboxes(settings.store, settings.domain, settings.aliases)
        self._settings = settings
        self._clock = Clock(settings.domain)

    def obey(self, order):
        try:
            return getattr(self, order["do"])(order)
        except Never as error:
            return {"outcome": "never", "text": error.detail}
        except Later as error:
            return _later(error.detail)
        except OSError as error:
            return {"outcome": "later", "text": str(error.filename), "error": error.errno}
        except Exception:
            return {"outcome": "later", "text": "internal error", "trace": format_exc()}

    def expand(self, order):
        """Where an address of ours leads now: the aliases may have changed since the last time."""
        settings = self._settings
        address = order["address"]
        mailboxes = Mailboxes(settings.store, settings.domain, settings.aliases)
        place = mailboxes.resolve(address.rpartition("@")[0])
        copies = [(copy.given, copy.envelope_to, copy.mailbox.user) for copy in gather([(address, place)])]
        others = [(other, [address], None) for other in place.elsewhere]
        return {"places": copies + others, "unknown": place.unknown}

    def deliver(self, order):
        mailbox = self._mailboxes.account(order["mailbox"])
        if not mailbox:
            raise Never("no such user here", "Unrouteable address")
        copy = Copy(mailbox, order["envelope_to"][::-1])
        with StoredLetter(self._backlog.message_path(order["id"])) as letter:
            try:
                prepare_copy(copy, letter, order["sender"], "", self._clock, time.time())
                copy.commit()
            except Later as error:
                return {**_later(error.detail), "transport": mailbox.transport}
        return {"outcome": "done", "text": "", "transport": mailbox.transport, "account": mailbox.user}


def _later(detail):
    """The answer that a Later's detail comes to: the mail store words it as the log has it behind `==`."""
    found = DETAIL.match(detail)
    if not found:
        return {"outcome": "later", "text": detail}
    error = int(found[1])
    meaning = f"{os.strerror(error)}: " if error > 0 else ""
    return {"outcome": "later", "text": found[2].removeprefix(meaning), "error": error}


class StoredLetter:
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

    def write(self, file, front):
        """Write the message to descriptor `file` behind `front`. Raises OSError."""
        for piece in self.pieces(front):
            write_all(file, piece)
