"""The dialogues that sessions leave in the state folder (smtp/recorder.py says how), and what the page is told of
them."""
import os
import re
from itertools import islice
from marshal import loads

from common.mainlog import readable
from smtp.explanations import COMMANDS, explain, state_text
from smtp.recorder import LENGTH_OCTETS
from smtp.transcript import ARRIVED, State

FILE = re.compile(r"\d{9,12}\.\d{6}-\d+")
READ_OCTETS = 1 << 18       # of a file at a time
HELD_STEPS = 100            # of a dialogue that are not yet looked at
SHOWN_STEPS = 500           # of a dialogue at a time
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


def pieces_from(path, offset):
    """The next pieces of the file (smtp/recorder.py), without one that is still being written: [(where it begins, where
    it ends, its steps)]. Raises Unknown."""
    data = _read(path, offset)
    pieces = []
    begin = 0
    while (end := _end_of_piece(data, begin)) <= len(data):
        pieces.append((offset + begin, offset + end, loads(data[begin + LENGTH_OCTETS:end])))
        begin = end
    return pieces


def _end_of_piece(data, begin):
    return begin + LENGTH_OCTETS + int.from_bytes(data[begin:begin + LENGTH_OCTETS], "big")


def _read(path, offset):
    """At least one piece, if a whole one is there."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(READ_OCTETS)
            return data + file.read(max(0, _end_of_piece(data, 0) - READ_OCTETS))
    except OSError:
        raise Unknown(path) from None


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
        touched = set()
        for begin, steps in self._next_pieces():
            if steps[0][1] == "arrived":
                self._current = Dialogue(self, begin, steps[0][0])
                self.dialogues += 1
            if self._current:
                self._current.take(steps)
                touched.add(self._current)
        return touched

    def _next_pieces(self):
        try:
            pieces = pieces_from(self.path, self._offset)
        except Unknown:
            self._end()
            return []
        if pieces:
            self._offset = pieces[-1][1]
        return [(begin, steps) for begin, _, steps in pieces]

    def skip(self):
        """Pass over all that is new; returns how many dialogues began in it."""
        count = 0
        while pieces := self._next_pieces():
            count += sum(steps[0][1] == "arrived" for _, steps in pieces)
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
            return None if pieces_from(self.path, self._offset) else self._end()
        except (OSError, Unknown):
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
    """What is known of one session. name: nobody else's; source: the Source it is in; begin: where it begins there;
    began: when, in seconds since 1970; number: which one it is since the page runs, for whoever counts them to set.

    Of what it takes in, nothing is looked at before somebody wants to see it: of thousands that come and go, the page
    shows the last ones."""

    number = 0
    is_over = False
    _address = _last = ""
    _state = ARRIVED
    _refusals = 0
    _messages = ()

    def __init__(self, source, begin, began):
        self.name = f"{source.name}@{begin}"
        self.source = source
        self.began = began
        self._begin = begin
        self._held = []

    def take(self, steps):
        """Take in what was recorded."""
        self._held += steps
        self.is_over = steps[-1][1] == "gone"
        if len(self._held) > HELD_STEPS:
            self._look()

    def _look(self):
        steps, self._held = self._held, []
        for _, kind, *rest in steps:
            self._look_at(kind, *rest)

    def _look_at(self, kind, *rest):
        if kind == "arrived":
            self._address = rest[0]
        elif kind == "said":
            self._last = f"{rest[0]} {rest[1]}".rstrip()
            self._refusals += rest[0] >= 400
            self._state = rest[3]
        elif kind == "secured":
            self._state = rest[1]
        elif kind == "accepted":
            self._messages = [*self._messages, rest[0]][-100:]

    def steps(self):
        """Its steps as they were recorded, one by one. Raises Unknown."""
        offset = self._begin
        while pieces := pieces_from(self.source.path, offset):
            for begin, end, steps in pieces:
                if steps[0][1] == "arrived" and begin != self._begin:
                    return              # another session's
                yield from steps
                offset = end

    def summary(self):
        """What the list of sessions shows."""
        self._look()
        state = State(*self._state)
        return {"name": self.name, "number": self.number, "address": readable(self._address),
                "began": self.began, "over": self.is_over, "client": readable(state.client),
                "login": readable(state.login), "tls": bool(state.cipher), "last": self._last,
                "state": readable(state_text(state)), "refusals": self._refusals, "messages": [*self._messages]}


def shown(dialogue, first):
    """{"steps": [...], "next": number} for the page: those steps of a Dialogue that begin with number `first`. Raises
    Unknown."""
    steps = list(islice(dialogue.steps(), first, first + SHOWN_STEPS))
    return {"steps": [_shown(*step) for step in steps], "next": first + len(steps)}


def _shown(when, kind, *rest):
    step = {"when": when, "kind": kind}
    describe = DESCRIPTIONS.get(kind)
    if describe:
        step.update(describe(*rest))
    return step


def _heard(line, verb, bare_lf):
    return {"line": readable(line), "lf": bare_lf, "parameters": _parameters(verb, line),
            **_meaning(verb, COMMANDS.get(verb))}


def _parameters(verb, line):
    """What each of a command's parameters means: [(its name, section, French)]."""
    words = line.partition("> ")[2].split() if verb in WITH_PATH else ()
    given = {word.partition("=")[0].upper() for word in words}
    return [(name, *PARAMETERS[name]) for name in PARAMETERS if name in given]


def _said(code, enhanced, octets, state):
    codes = f"{code} {enhanced}".rstrip()
    lines = octets.decode().split("\r\n")[:-1]
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
    "arrived": lambda address, _, pid: {"address": readable(address), "pid": pid},
    "heard": _heard,
    "said": _said,
    "text": _text,
    "end": lambda octets: {"octets": octets},
    "chunk": lambda octets, dropped: {"octets": octets, "dropped": dropped},
    "accepted": lambda message_id: {"id": message_id},
    "secured": lambda cipher, state: {"cipher": readable(cipher), **_state(state)},
}
