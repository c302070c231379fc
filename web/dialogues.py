"""The dialogues that sessions leave in the state folder (smtp/recorder.py says how), and what the page is told of
them."""
import json
import os
import re

from common.mainlog import readable
from smtp.explanations import COMMANDS, explain, state_text
from smtp.transcript import State

FILE = re.compile(r"\d{9,12}\.\d{6}-\d+")
NAME = re.compile(r"(\d{9,12}\.\d{6}-\d+)@(\d{1,10})")      # of a dialogue: its file, and where it begins there
ARRIVAL = re.compile(rb'^\[[\d.]+,"arrived",', re.M)
READ_OCTETS = 1 << 18       # of a file at a time
WITH_PATH = ("MAIL", "RCPT", "SEND", "SOML", "SAML")
PARAMETERS = {              # of MAIL and RCPT, which only a line that has them explains: (section, French)
    "SIZE": ("RFC 1870 3", "SIZE annonce la taille du texte, pour être refusé tout de suite s'il est trop grand."),
    "BODY": ("RFC 6152 2", "BODY dit si le texte a des octets de 8 bits (8BITMIME) ou de 7 seulement (7BIT)."),
    "SMTPUTF8": ("RFC 6531 3.4", "SMTPUTF8 permet aux adresses et à l'en-tête d'autres lettres que l'ASCII."),
    "AUTH": ("RFC 4954 5", "AUTH dit qui a soumis le message au premier serveur."),
    "RET": ("RFC 3461 4.3", "RET dit ce qu'un avis d'échec renvoie : tout le message (FULL), ou son en-tête (HDRS)."),
    "ENVID": ("RFC 3461 4.4", "ENVID nomme cet envoi ; les avis le répètent."),
    "NOTIFY": ("RFC 3461 4.1", "NOTIFY dit de quoi avertir l'expéditeur : succès (SUCCESS), échec (FAILURE), retard "
                               "(DELAY), ou rien (NEVER)."),
    "ORCPT": ("RFC 3461 4.2", "ORCPT dit quel était le destinataire au départ ; les avis le répètent."),
}


class Unknown(Exception):
    """No such dialogue (any more)."""


def steps_from(path, offset):
    """([(where it begins, a step as it was recorded)], where the next begins) in the file from `offset` on.
    Raises Unknown."""
    data = read_lines(path, offset)
    steps = []
    for line in data.splitlines(keepends=True):
        step = _parsed(line)
        if step:
            steps.append((offset, step))
        offset += len(line)
    return steps, offset


def read_lines(path, offset):
    """The next whole lines (octets) of the file. Raises Unknown."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(READ_OCTETS)
            while data and b"\n" not in data and (more := file.read(READ_OCTETS)):
                data += more
    except OSError:
        raise Unknown(path) from None
    return data[:data.rfind(b"\n") + 1]


def _parsed(line):
    try:
        step = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None             # half of it was written when the disk became full
    return step if isinstance(step, list) and len(step) > 1 else None


class Source:
    """One process's file. dialogues: how many of those in it are kept; is_over: whether no more will come."""

    def __init__(self, folder, name):
        self.name = name
        self.path = f"{folder}/{name}"
        self.dialogues = 0
        self.is_over = False
        self._offset = 0
        self._current = None

    def unread(self):
        """How many octets are new."""
        try:
            return os.stat(self.path).st_size - self._offset
        except OSError:
            self._end()
            return 0

    def read(self):
        """The Dialogues, new ones too, that have news in the next octets; an empty set if there are none."""
        try:
            steps, self._offset = steps_from(self.path, self._offset)
        except Unknown:
            steps = []
            self._end()
        touched = set()
        for offset, step in steps:
            if step[1] == "arrived":
                self._current = Dialogue(f"{self.name}@{offset}", self)
                self.dialogues += 1
            if self._current:
                self._current.take(*step)
                touched.add(self._current)
        return touched

    def skip(self):
        """Pass over all that is new; returns how many dialogues began in it."""
        count = 0
        try:
            while data := read_lines(self.path, self._offset):
                count += len(ARRIVAL.findall(data))
                self._offset += len(data)
        except Unknown:
            self._end()
        if self._current:
            self._current.is_over = True
        self._current = None
        return count

    def check(self):
        """Note it as over once its process has ended: nobody has a lock on the file any more. Returns the Dialogue that
        this has ended, if there is one."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return self._end()
        try:
            os.lockf(file, os.F_TEST, 0)
            return None if self.unread() else self._end()
        except OSError:
            return None
        finally:
            os.close(file)

    def _end(self):
        self.is_over = True
        cut = self._current if self._current and not self._current.is_over else None
        if cut:
            cut.is_over = True
        return cut


class Dialogue:
    """What is known of one session. name: see NAME; source: the Source it is in; number: which one it is since the page
    runs, for whoever counts them to set."""

    def __init__(self, name, source):
        self.name = name
        self.source = source
        self.number = 0
        self.is_over = False
        self._began = 0
        self._address = ""
        self._state = State("connected")
        self._last = ""
        self._refusals = 0
        self._messages = []

    def take(self, when, kind, *rest):
        """Take in one step."""
        if kind == "arrived":
            self._began = when
            self._address = rest[0]
        elif kind == "said":
            self._last = f"{rest[0]} {rest[1]}".rstrip()
            self._refusals += rest[0] >= 400
            self._state = State(*rest[3])
        elif kind == "accepted":
            self._messages = [*self._messages, rest[0]][-100:]
        elif kind == "gone":
            self.is_over = True

    def summary(self):
        """What the list of sessions shows."""
        state = self._state
        return {"name": self.name, "number": self.number, "address": readable(self._address),
                "began": self._began, "over": self.is_over, "client": readable(state.client),
                "login": readable(state.login), "tls": bool(state.cipher), "last": self._last,
                "state": readable(state_text(state)), "refusals": self._refusals, "messages": self._messages}


def shown_from(folder, name, offset):
    """{"steps": [...], "next": offset} for the page: of the dialogue called so, from `offset` in its file on, or from
    its beginning. Raises Unknown."""
    found = NAME.fullmatch(name)
    if not found:
        raise Unknown(name)
    begin = int(found[2])
    steps, following = steps_from(f"{folder}/{found[1]}", max(offset, begin))
    shown = []
    for where, step in steps:
        if step[1] == "arrived" and where != begin:
            following = where       # another session's, and so for ever
            break
        shown.append(_shown(*step))
    return {"steps": shown, "next": following}


def _shown(when, kind, *rest):
    step = {"when": when, "kind": kind}
    describe = DESCRIPTIONS.get(kind)
    if describe:
        step.update(describe(*rest))
    return step


def _heard(line, verb, bare_lf, state):
    return {"line": readable(line), "lf": bare_lf, "parameters": _parameters(verb, line),
            **_meaning(verb, COMMANDS.get(verb)), **_state(state)}


def _parameters(verb, line):
    """What each of a command's parameters means: [(its name, section, French)]."""
    words = line.partition("> ")[2].split() if verb in WITH_PATH else ()
    given = {word.partition("=")[0].upper() for word in words}
    return [(name, *PARAMETERS[name]) for name in PARAMETERS if name in given]


def _said(code, enhanced, lines, state):
    codes = f"{code} {enhanced}".rstrip()
    return {"code": code, "lines": [readable(line) for line in lines], **_meaning(codes, explain(code, enhanced)),
            **_state(state)}


def _meaning(what, entry):
    return {"what": what, "section": entry.section, "meaning": entry.french} if entry else {}


def _state(fields):
    return {"state": readable(state_text(State(*fields)))}


def _text(lines):
    return {"lines": [[readable(text), octets - len(text.encode("utf-8", "surrogateescape")), end]
                      for text, octets, end in lines]}


DESCRIPTIONS = {
    "arrived": lambda address, pid: {"address": readable(address), "pid": pid},
    "heard": _heard,
    "said": _said,
    "text": _text,
    "end": lambda octets: {"octets": octets},
    "chunk": lambda octets, dropped: {"octets": octets, "dropped": dropped},
    "accepted": lambda message_id: {"id": message_id},
    "secured": lambda cipher: {"cipher": readable(cipher)},
}
