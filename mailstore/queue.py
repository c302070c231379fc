"""Accepted mail that waits: for another host, or for a mailbox here that could not be written.

Two files a message in the queue's folder, as simple to read as a letter:

    ID.message    the message as it will be sent, Received on top, lines ended by LF
    ID.envelope   who is to have it, and what was tried: mailstore/envelope.py has its form

Both are written in tmp/, synced, renamed, and their folder is synced; the envelope comes last, so a
message is in the queue exactly when its envelope is. After an attempt the envelope is replaced whole.
Text is UTF-8 with surrogateescape. `wake` is a FIFO: a line in it, `new ID`, tells the queue manager of new mail.
"""
import posix
from errno import ENOENT, ENXIO

from mailstore.files import WRITE_NEW, outcome_of, remove, sync_folder, write_all

ENVELOPE = ".envelope"
MESSAGE = ".message"


class Prepared:
    """A queued message that lies in tmp/. `commit` makes it count; `discard` forgets it. envelope: its Envelope."""

    def __init__(self, folder, envelope):
        self._folder = folder
        self._id = envelope.id
        self.envelope = envelope

    def commit(self):
        """Rename both files, the envelope last, and make that durable. Raises Later."""
        try:
            for ending in (MESSAGE, ENVELOPE):
                name = self._id + ending
                posix.rename(f"{self._folder}/tmp/{name}", f"{self._folder}/{name}")
            sync_folder(self._folder)
        except OSError as error:
            self.discard()
            raise outcome_of(error, f"while queueing {self._id}") from error

    def discard(self):
        """Leave nothing behind."""
        for ending in (ENVELOPE, MESSAGE):
            remove(f"{self._folder}/{self._id}{ending}")
            remove(f"{self._folder}/tmp/{self._id}{ending}")


class Queue:
    """The queue in `folder`, which is made when the first message comes for it."""

    def __init__(self, folder):
        self.folder = folder

    def prepare(self, message_id, message, received, remote):
        """A Prepared for `message` (a delivery.MailObject, or a bounce) to `remote`, pairs of (address, [as given]).

        received: the Received field (str). Raises Later, NoRoom.
        """
        from mailstore.envelope import Recipient
        recipients = [Recipient(address, given) for address, given in remote]
        return self.prepare_recipients(message_id, message, received, recipients)

    def prepare_local(self, message_id, message, received, copies):
        """A Prepared for `copies` (delivery.Copy) of `message` that their mailboxes did not take."""
        from mailstore.envelope import Recipient
        recipients = [Recipient(copy.given, copy.envelope_to, copy.mailbox.user) for copy in copies]
        return self.prepare_recipients(message_id, message, received, recipients)

    def prepare_recipients(self, message_id, message, received, recipients):
        """A Prepared for `recipients`, a list of Recipient."""
        from time import time

        from mailstore.envelope import Envelope
        envelope = Envelope(message_id, time(), message.sender, recipients, message.utf8)
        if message.dsn:
            message.dsn.fill(envelope)
        try:
            self._make_folders()
            self._write_message(message_id, message.content, received.encode("utf-8", "surrogateescape"))
            self.write_new_envelope(envelope)
        except OSError as error:
            Prepared(self.folder, envelope).discard()
            raise outcome_of(error, f"while queueing {message_id}") from error
        return Prepared(self.folder, envelope)

    def _make_folders(self):
        for folder in (self.folder, f"{self.folder}/tmp"):
            try:
                posix.mkdir(folder, 0o700)
            except FileExistsError:
                pass

    def _write_message(self, message_id, content, front):
        file = posix.open(f"{self.folder}/tmp/{message_id}{MESSAGE}", WRITE_NEW, 0o600)
        try:
            content.write(file, front)
            posix.fsync(file)
        finally:
            posix.close(file)

    def write_new_envelope(self, envelope):
        """Write and sync tmp/ID.envelope; renaming it is the caller's. Raises OSError."""
        path = f"{self.folder}/tmp/{envelope.id}{ENVELOPE}"
        remove(path)
        file = posix.open(path, WRITE_NEW, 0o600)
        try:
            write_all(file, envelope.to_json().encode())
            posix.fsync(file)
        finally:
            posix.close(file)

    def rewrite_new_envelope(self, envelope):
        """The same, for an envelope that lies there already. Raises Later, NoRoom."""
        try:
            self.write_new_envelope(envelope)
        except OSError as error:
            raise outcome_of(error, f"while queueing {envelope.id}") from error

    def wake(self, message_id):
        """Tell the queue manager that a message has come. Does nothing if none runs."""
        try:
            self.tell_manager(f"new {message_id}")
        except OSError:
            pass    # it looks for itself now and then

    def tell_manager(self, line):
        """Write `line` into the FIFO. False if no queue manager reads it, or it is full, and is looked through anyway.
        Raises OSError."""
        try:
            fifo = posix.open(f"{self.folder}/wake", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
        except OSError as error:
            if error.errno in (ENXIO, ENOENT):
                return False
            raise
        try:
            posix.write(fifo, f"{line}\n".encode())
        except BlockingIOError:
            return False
        finally:
            posix.close(fifo)
        return True
