"""The person's side of the queue: what `relay.py list`, `show`, `retry` and `remove` do. All in French."""
import heapq
import os
import sys
import time

from common.privileges import user_name
from mailstore.envelope import DONE, FAILED, WAITING
from queue_manager.admin import remove_message, unfreeze
from queue_manager.queue_store import ID, Gone, UnreadableMessage

ANSWER_SECONDS = 10         # how long an order may take that the queue manager is to obey
STATES = {WAITING: "en attente", DONE: "remis", FAILED: "échec"}


class NotDone(Exception):
    """Why an order cannot be obeyed, in French."""


class Command:
    """store: a QueueStore; mainlog: the log; now: gives the seconds since 1970."""

    def __init__(self, store, mainlog, now=time.time):
        self._store = store
        self._mainlog = mainlog
        self._now = now
        self._is_held = False

    # Looking

    def list(self):
        """Print what waits, like Exim's `mailq`."""
        waiting = ((message_id, False) for message_id in self._store.ids())
        set_aside = ((message_id, True) for message_id in self._store.ids(aside=True))
        is_empty = True
        for message_id, aside in heapq.merge(waiting, set_aside):
            is_empty = False
            print(self._entry(message_id, aside))
        if is_empty:
            print("La file d'attente est vide.")

    def _entry(self, message_id, aside):
        size = size_text(self._store.size(message_id, aside))
        try:
            envelope = self._store.load(message_id, aside)
        except Gone:
            return ""
        except (UnreadableMessage, OSError):
            return f" ? {size:>5} {message_id} *** illisible ***\n"
        frozen = " *** frozen *** (mis de côté)" if aside else ""     # its first half is what exiqsumm knows
        age = age_text(self._now() - envelope.received)
        lines = [f"{age:>3} {size:>5} {message_id} <{envelope.sender}>{frozen}"]
        lines += [f"        {'D' if recipient.state == DONE else ' '} {recipient.address}"
                  for recipient in envelope.recipients]
        return for_terminal("\n".join(lines)) + "\n"

    def show(self, message_id):
        """Print all that is known of a message, and its text."""
        aside = self._find(message_id)
        try:
            envelope = self._store.load(message_id, aside)
        except UnreadableMessage:
            raise NotDone(f"{message_id} est illisible : voyez ses fichiers dans {self._store.folder}") from None
        print(for_terminal("\n".join(self._description(envelope, aside))) + "\n")
        with open(self._store.message_path(message_id, aside), encoding="utf-8", errors="replace") as file:
            for line in file:
                sys.stdout.write(for_terminal(line))

    def _description(self, envelope, aside):
        note = " (mis de côté : relancez-le par « retry », ou supprimez-le)" if aside else ""
        yield f"Message      {envelope.id}{note}"
        yield f"Reçu le      {date_text(envelope.received)}"
        yield f"Expéditeur   <{envelope.sender}>"
        if envelope.ret or envelope.envid:
            yield "             " + _asked(RET=envelope.ret, ENVID=envelope.envid)
        for recipient in envelope.recipients:
            yield f"Destinataire {recipient.address} : {self._state(recipient)}"
            if recipient.reply:
                yield "             " + recipient.reply.replace("\n", "\n             ")
            if recipient.notify or recipient.orcpt:
                yield "             " + _asked(NOTIFY=recipient.notify, ORCPT=recipient.orcpt)

    def _state(self, recipient):
        text = STATES[recipient.state]
        if recipient.mailbox:
            text += f", boîte de {recipient.mailbox}"
        if recipient.report:
            text += ", l'expéditeur en sera averti"
        if recipient.state == WAITING:
            text += f", {plural(recipient.tries, 'tentative')} sans succès"
            if recipient.next > self._now():
                text += f", prochaine le {date_text(recipient.next)}"
        return text

    # Acting

    def retry(self, *ids):
        """Have messages tried now, all that wait if none is named."""
        for message_id in ids:
            self._find(message_id)
        for order in ids or [""]:
            if not self._store.tell_manager(f"retry {order}".strip()):
                self._retry_without_manager(ids)
                return
        what = f"{'les messages' if ids[1:] else 'le message'} {' '.join(ids)}" if ids else "toute la file"
        print(f"Nouvelle tentative demandée pour {what}.")

    def _retry_without_manager(self, ids):
        """The queue manager tries what is due as soon as it starts."""
        self._hold()
        for message_id in ids or self._store.ids():
            if self._store.has(message_id, aside=True):
                unfreeze(self._store, self._mainlog, message_id)
            self._make_due(message_id)
        print("Le relais ne tourne pas : la tentative se fera dès qu'il sera lancé (serveur.sh, ou relay.py seul).")

    def _make_due(self, message_id):
        try:
            envelope = self._store.load(message_id)
        except (Gone, UnreadableMessage):
            return
        for recipient in envelope.recipients:
            recipient.next = 0
        self._store.replace(envelope)

    def remove(self, *ids):
        """Remove messages; nobody is told."""
        for message_id in ids:
            self._find(message_id)
        user = user_name(os.getuid())
        ordered = [message_id for message_id in ids if self._store.tell_manager(f"remove {message_id} {user}")]
        for message_id in ids:
            if message_id in ordered:
                self._wait_gone(message_id)
            else:
                self._hold()
                remove_message(self._store, self._mainlog, message_id, user)
            print(f"Message {message_id} supprimé.")

    def _wait_gone(self, message_id):
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._store.has(message_id) or self._store.has(message_id, aside=True):
            if time.monotonic() > deadline:
                raise NotDone(f"{message_id} est en cours d'envoi : il sera supprimé après cette tentative")
            time.sleep(0.02)

    def _hold(self):
        """Be the one who may change the queue, for there is no queue manager. Raises NotDone."""
        self._is_held = self._is_held or self._store.lock()
        if not self._is_held:
            raise NotDone("le relais tient la file d'attente mais ne répond pas ; réessayez, ou arrêtez-le d'abord")

    def _find(self, message_id):
        """Whether the message called so is aside. Raises NotDone when there is none."""
        if not ID.fullmatch(message_id):
            raise NotDone(f"« {message_id} » n'est pas un numéro de message (./relay.py list les montre)")
        for aside in (False, True):
            if self._store.has(message_id, aside):
                return aside
        raise NotDone(f"aucun message {message_id} dans la file d'attente")


def _asked(**parameters):
    """What the sender asked to be told (RFC 3461), as it was written to us."""
    return "demandé : " + " ".join(f"{keyword}={value}" for keyword, value in parameters.items() if value)


def plural(count, noun):
    """`noun` after its number: 0 tentative, 1 tentative, 2 tentatives."""
    return f"{count} {noun}{'s' if count > 1 else ''}"


def for_terminal(text):
    """`text` without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def size_text(octets):
    """A size in five columns at most, as `mailq` shows it: 384, 1.9K, 24K, 3.1M."""
    if octets < 1024:
        return str(octets)
    for unit in ("K", "M", "G"):
        octets /= 1024
        if octets < 10:
            return f"{octets:.1f}{unit}"
        if octets < 1024:
            break
    return f"{octets:.0f}{unit}"


def age_text(seconds):
    """An age as `mailq` shows it: minutes up to 90, hours up to 72, then days."""
    minutes = max(0, int(seconds // 60))
    if minutes <= 90:
        return f"{minutes}m"
    hours = round(minutes / 60)
    return f"{hours}h" if hours <= 72 else f"{round(hours / 24)}d"


def date_text(seconds):
    return time.strftime("%d/%m/%Y à %H:%M:%S", time.localtime(seconds))
