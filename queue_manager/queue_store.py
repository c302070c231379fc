"""The queue as its manager and the person at the command see it. mailstore/queue.py tells what lies there.

Further files in the queue's folder: `lock`, held by whoever may change the queue; `wake`, the FIFO, which
takes a line each for the queue manager: `new ID` tells of new mail, an empty one asks it to look (tests write that),
`retry [ID]` and `remove ID USER` are orders; `aside/`, where lie the messages that need a person: mail from <> that
cannot be delivered, and files that cannot be read.
"""
import fcntl
import os
import re
import time
from errno import EIO, EMFILE, ENFILE, ENOMEM, ESTALE

from mailstore.envelope import from_json
from mailstore.files import remove, sync_folder
from mailstore.queue import ENVELOPE, MESSAGE, Queue

ID = re.compile(r"[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}")
ASIDE = "aside"
PASSING = (EIO, EMFILE, ENFILE, ENOMEM, ESTALE)    # what may keep a file from being read that nothing is wrong with
LEFTOVER_SECONDS = 3600     # what was not committed by then never will be
LOCK_SECONDS = 2            # how long a relay that was just ended may still hold the lock
CLOCK_TICK = 2              # seconds: a folder that changed so lately may change again and show the same time


class UnreadableMessage(Exception):
    """A message whose files are not what they should be. The text says what is wrong."""


class Gone(Exception):
    """A message that is not in the queue (any more)."""


class QueueStore(Queue):
    """The queue in `folder`. Methods raise OSError where the file system does."""

    def __init__(self, folder):
        super().__init__(folder)
        self._unwritten = {}        # envelopes that say more than their file, {id: envelope}
        self._last_change = None    # when the folder changed, if has_changed() could be sure of it

    # The folder

    def make_folders(self):
        """Make what is missing."""
        self._make_folders()
        os.makedirs(f"{self.folder}/{ASIDE}", mode=0o700, exist_ok=True)

    def lock(self, seconds=LOCK_SECONDS):
        """Hold the queue's lock until the process ends. False if another process keeps it."""
        file = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(file)
                    return False
            time.sleep(0.02)

    def open_wake(self):
        """The FIFO's reading end, made if need be."""
        path = f"{self.folder}/wake"
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            pass
        # Open for writing too, so that it never is at its end.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def remove_leftovers(self):
        """Remove what a session or a relay that was killed left half done."""
        whole = set(self.ids())
        for folder in (self.folder, f"{self.folder}/tmp"):
            for name in os.listdir(folder):
                message_id, dot, ending = name.partition(".")
                is_part = folder != self.folder or (dot + ending == MESSAGE and message_id not in whole)
                if is_part and ID.fullmatch(message_id) and _age(f"{folder}/{name}") > LEFTOVER_SECONDS:
                    remove(f"{folder}/{name}")

    # Messages

    def ids(self, aside=False):
        """The ids of all messages, oldest first; of those in aside/ if asked for."""
        try:
            with os.scandir(self._place(aside)) as files:
                ids = (file.name[:-len(ENVELOPE)] for file in files if file.name.endswith(ENVELOPE))
                return sorted(filter(ID.fullmatch, ids))
        except FileNotFoundError:
            return []

    def has_changed(self):
        """Whether messages may have come since the last call."""
        before, change = self._last_change, os.stat(self.folder).st_mtime
        self._last_change = change if time.time() - change > CLOCK_TICK else None
        return change != before

    def has(self, message_id, aside=False):
        """Whether there is a message called so, in the queue or in aside/."""
        try:
            os.lstat(f"{self._place(aside)}/{message_id}{ENVELOPE}")
        except FileNotFoundError:
            return False
        return True

    def _place(self, aside):
        return f"{self.folder}/{ASIDE}" if aside else self.folder

    def message_path(self, message_id, aside=False):
        """Where the message's text is."""
        return f"{self._place(aside)}/{message_id}{MESSAGE}"

    def size(self, message_id, aside=False):
        """The octets of a message's text, 0 if there is none."""
        try:
            return os.stat(self.message_path(message_id, aside)).st_size
        except OSError:
            return 0

    def load(self, message_id, aside=False):
        """A message's envelope. Raises Gone, UnreadableMessage, and OSError where it may be readable later."""
        path = f"{self._place(aside)}/{message_id}{ENVELOPE}"
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                envelope = from_json(file.read())
            os.stat(self.message_path(message_id, aside))
        except FileNotFoundError as error:
            if error.filename == path:
                raise Gone(message_id) from None
            raise UnreadableMessage("its text is missing") from None
        except OSError as error:
            if error.errno in PASSING:
                raise
            raise UnreadableMessage(error.strerror) from None
        except ValueError as error:
            raise UnreadableMessage(f"its envelope is malformed: {error}") from None
        if envelope.id != message_id:
            raise UnreadableMessage(f"its envelope is that of {envelope.id}")
        return self._unwritten.get(message_id, envelope)

    def replace(self, envelope):
        """Put `envelope` in the place of the one before, which a power cut may bring back: then it is sent again, and
        not lost. Should that fail, it is what load() gives all the same: a full disk must not have mail sent again that
        is there already. Raises OSError."""
        self._unwritten[envelope.id] = envelope
        self.write_new_envelope(envelope)
        name = envelope.id + ENVELOPE
        os.rename(f"{self.folder}/tmp/{name}", f"{self.folder}/{name}")
        del self._unwritten[envelope.id]

    def forget(self, message_id, aside=False):
        """Remove a message. The envelope goes first: what has none is no message."""
        self._unwritten.pop(message_id, None)
        for ending in (ENVELOPE, MESSAGE):
            remove(f"{self._place(aside)}/{message_id}{ending}")

    def sync(self):
        """Make what was removed or replaced last."""
        sync_folder(self.folder)

    def set_aside(self, message_id):
        """Move a message to aside/."""
        self._move(message_id, self._place(False), self._place(True))

    def set_aside_at(self, message_id):
        """When a message in aside/ was moved there, in seconds since 1970: its files were renamed then."""
        return os.stat(f"{self._place(True)}/{message_id}{ENVELOPE}").st_ctime

    def take_back(self, message_id):
        """Move a message from aside/ back to the queue."""
        self._move(message_id, self._place(True), self._place(False))

    def _move(self, message_id, source, target):
        for ending in (MESSAGE, ENVELOPE):
            try:
                os.rename(f"{source}/{message_id}{ending}", f"{target}/{message_id}{ending}")
            except FileNotFoundError:
                pass    # set aside because it was missing
        sync_folder(target)


def _age(path):
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0
