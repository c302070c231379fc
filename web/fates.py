"""What the log's lines about a message come to, in French: for whom, where it lies now, or why it does not."""
import errno
import os
import re
from typing import NamedTuple

from common.french import REASONS
from queue_manager.log_lines import GAVE_UP
from smtp.explanations import CODES
from smtp_client import result

LABELS = {"<=": "reçu", "=>": "remis", "->": "remis aussi", "==": "remis à plus tard", "**": "échec définitif"}
COMPLETED = "Completed"
NOTES = {       # how lines begin that are about the whole message
    COMPLETED: "terminé : plus rien n'attend",
    "Frozen": "mis de côté : quelqu'un doit s'en occuper",
    "removed by ": "ôté de la file à la main",
    "cancelled by timeout_frozen_after": "ôté de la file : mis de côté depuis trop longtemps",
}
ADDRESS = r'(?:"(?:[^"\\]|\\.)*"|[^\s"])+'      # a quoted local part may hold blanks
LINE = re.compile(rf"(<=|=>|->|==|\*\*) ({ADDRESS})(.*)")
GIVEN = re.compile(r' <((?:"(?:[^"\\]|\\.)*"|[^\s">])+)>')
WAY = re.compile(r"(?: R=([^\s:]+))?(?: T=([^\s:]+))?(?: defer \((-?\d{1,4})\))?(?: H=(\S+ \[[^\]\s]*\]))?")
OCTETS = re.compile(r" S=(\d+)")
REPLY = re.compile(r": ([45]\d\d)(?=[ -]|$)")
BOXES = {"maildir": "~{}/Maildir/new", "mbox": "/var/mail/{}"}

NO_WAY = "aucun chemin ne mène à cet hôte"
CUT = "l'hôte a coupé la connexion"
WHY = {         # by the system's number of an error, or Exim's
    errno.ECONNREFUSED: "rien n'écoute à cette adresse sur ce port",
    errno.ETIMEDOUT: "l'hôte n'a pas répondu à temps",
    errno.EHOSTUNREACH: NO_WAY,
    errno.ENETUNREACH: NO_WAY,
    errno.ECONNRESET: CUT,
    errno.EPIPE: CUT,
    result.CLOSED: CUT,
    result.MAIL_DEFERRED: "l'hôte ne prend pas cet expéditeur pour l'instant",
    result.RECIPIENT_DEFERRED: "l'hôte ne prend pas ce destinataire pour l'instant",
    result.DATA_DEFERRED: "l'hôte n'a pas pris le texte cette fois",
    result.TLS_MISSING: "le mot de passe ne peut partir que sous TLS, et TLS manque",
    result.AUTH_FAILED: "l'hôte n'accepte pas notre authentification",
    result.MALFORMED: "l'hôte a répondu ce qui n'est pas du SMTP",
}


class Fate(NamedTuple):
    """One line, taken apart. flag: one of LABELS; address: whom it is about, or the sender; given: the same as the
    client wrote it; router, transport, host: Exim's names for the way, and which host; number: of the error, None if
    there is none; rest: behind the address."""

    flag: str
    address: str
    given: str
    router: str
    transport: str
    host: str
    number: int
    rest: str


def read(text):
    """The Fate in a line's text, or None if it holds none."""
    found = LINE.match(text)
    if not found:
        return None
    flag, address, rest = found.groups()
    if flag == "**":
        address = address.removesuffix(":")
    given = GIVEN.match(rest)
    router, transport, number, host = WAY.match(rest, given.end() if given else 0).groups()
    return Fate(flag, address, given[1] if given else address, router or "", transport or "", host or "",
                None if number is None else int(number), rest)


def described(event, store):
    """An event of MainLog's with a "sentence" that says it, and "why", both in French.

    store: where mailboxes are, as Settings has it."""
    fate = read(event["text"])
    if not fate:
        found = next((french for english, french in NOTES.items() if event["text"].startswith(english)), "")
        return {**event, "sentence": found, "why": ""}
    sentence = _received(fate) if fate.flag == "<=" else _went(fate, event["times"], store)
    return {**event, "sentence": sentence, "why": _why(fate) if fate.flag in ("==", "**") else ""}


def _received(fate):
    sender = "sans adresse de retour (<>)" if fate.address == "<>" else f"de <{fate.address}>"
    octets = OCTETS.search(fate.rest)
    size = f", {octets[1]} octets" if octets else ""
    if fate.router:
        return ("écrit par ce serveur" if " U=" in fate.rest else "mis en file à part") + size
    return f"reçu {sender}{size}" + (" avec l'en-tête que le serveur ajoute" if size else "")


def _went(fate, times, store):
    label = LABELS[fate.flag]
    if fate.flag == "==" and times > 1:
        label += f" {times} fois"
    if fate.flag in ("==", "**"):
        return f"{label} : {fate.address}"
    if fate.router == "system_aliases":
        return f"jeté, comme l'alias le demande : {fate.given}"
    return f"{label} : {fate.address}{_place(fate, store)}"


def _place(fate, store):
    if fate.transport == "maildir_home":
        return f", dans {BOXES.get(store, store + '/{}/Maildir/new').format(fate.address)}"
    if fate.transport == "mail_spool":
        return f", à la fin de {BOXES['mbox'].format(fate.address)}"
    if fate.transport == "terminal":
        return ", sur son terminal"
    if fate.transport == "lmtp":
        return ", par LMTP, au serveur qui garde sa boîte"
    return f", à l'hôte {fate.host}, qui en répond désormais" if fate.host else ""


def _why(fate):
    if fate.rest.endswith(GAVE_UP):
        return "essayé jusqu'au bout du délai, sans succès"
    return _meaning(fate.number, fate.rest)


def reason(reply):
    """Why it failed, in French, as far as an envelope's `reply` tells; "" if it does not."""
    return _meaning(next((number for number in WHY if number > 0 and reply.startswith(os.strerror(number))), None),
                    f": {reply}")


def _meaning(number, text):
    reply = REPLY.search(text)
    words = [WHY.get(number) or REASONS.get(number, ""), _said(int(reply[1])) if reply else ""]
    return " ; ".join(filter(None, words))


def _said(code):
    """What another host means by `code`; what to do about it is not for the reader to do."""
    entry = CODES.get(code)
    return f"réponse {code}" + (f" : « {entry.french.partition('. ')[0].rstrip('.')} »" if entry else "")
