"""The dialogue as it happens, told to whoever watches: the launcher's terminal (`serveur.sh -v`), the page (`-web`).

A session tells a Transcript, and that tells each of its watchers, smtp/console.py's Console or smtp/recorder.py's
Recorder, step by step. A step is a tuple that begins with the seconds since 1970 and its kind:

    (seconds, "arrived", address, number, pid)  number: short, and no other session's as long as this one lasts
    (seconds, "heard", line, verb, whether it ended in LF alone)    verb: its name, "" if it is no command
    (seconds, "said", code, enhanced, the reply's octets, state)
    (seconds, "text", lines)                    of a message; a line: (text, its octets, "CRLF", "LF" or "")
    (seconds, "end", octets)                    of a message
    (seconds, "chunk", octets, whether it was dropped)              the end of one (BDAT)
    (seconds, "accepted", message id)
    (seconds, "secured", cipher, state)
    (seconds, "full")                           a Recorder keeps no more, but the end
    (seconds, "gone")

A state is a State's fields, after the step. None of them ever gets a secret: a session masks those first. Octets that
are no UTF-8 are surrogates. How messages' octets become lines, and how many, is each watcher's own.
"""
import posix
from time import time

LINE_END = b"\n"
FOREVER = float("inf")      # seconds
ARRIVED = ("connected", "", "", "", None, 0)    # a State's fields
OPENING = ("MAIL", "SEND", "SOML", "SAML")  # what begins a transaction, and hence a text


def watch(endpoint):
    """The Transcript of one session at `endpoint` (a handler.Endpoint), whose settings say who watches."""
    settings = endpoint.settings
    watchers = []
    if settings.verbose:
        from smtp.console import Console
        watchers.append(Console(coloured=settings.coloured, explains=settings.verbose > 1))
    if settings.web:
        if not endpoint.recording:
            from smtp.recorder import Recording
            endpoint.recording = Recording(f"{settings.spool}/web/dialogues")
        watchers.append(endpoint.recording.begin_session())
    return Transcript(watchers)


class State:
    """Where a session stands. name: a key of explanations.STATES. The rest as of Session; recipients: how many."""

    __slots__ = ("name", "client", "cipher", "login", "sender", "recipients")

    def __init__(self, name, client, cipher, login, sender, recipients):
        self.name = name
        self.client = client
        self.cipher = cipher
        self.login = login
        self.sender = sender
        self.recipients = recipients


class Transcript:
    """bare_lf: whether the command line that comes next ended in LF alone; a Channel says so.

    patience(): called when the client is waited for: how many seconds at most before it is to be called again.
    """

    bare_lf = False
    _session = None

    def __init__(self, watchers):
        self._watchers = watchers
        first, *others = watchers
        self._tell = self._tell_all if others else first.take
        self.patience = self._least_patience if others else first.patience

    def _tell_all(self, step):
        for watcher in self._watchers:
            watcher.take(step)

    def _least_patience(self):
        return min([watcher.patience() for watcher in self._watchers])

    def arrived(self, number, address):
        """A client has come."""
        self._tell((time(), "arrived", address, number, posix.getpid()))

    def follow(self, session):
        """What is told from now on happens in `session`."""
        self._session = session

    def heard(self, line, verb=""):
        """A command line (str) that the client sent, without its secrets."""
        if verb in OPENING:
            for watcher in self._watchers:
                watcher.begin_text()
        self._tell((time(), "heard", line, verb, self.bare_lf))
        self.bare_lf = False

    def said(self, reply):
        """A Reply."""
        session = self._session
        if not session:
            state = ARRIVED
        elif session.transaction:
            state = _in_transaction(session, session.transaction, reply.code == 354)
        else:
            state = ("greeted" if session.name else "connected", session.name, session.cipher, session.login, None, 0)
        self._tell((time(), "said", reply.code, reply.enhanced, reply.encode(), state))

    def text(self, piece):
        """A piece of a message (octets as they came, cut anywhere)."""
        for watcher in self._watchers:
            watcher.text(piece)

    def end_of_text(self, octets):
        """The message that text() was given is complete."""
        for watcher in self._watchers:
            watcher.end_line()
        self._tell((time(), "end", octets))
        for watcher in self._watchers:
            watcher.begin_text()

    def end_of_chunk(self, octets, dropped=False):
        """A chunk (BDAT) that text() was given is complete, or was read and not kept."""
        for watcher in self._watchers:
            watcher.end_line()
        self._tell((time(), "chunk", octets, dropped))

    def accepted(self, message_id):
        """The message is kept, and is called so."""
        self._tell((time(), "accepted", message_id))

    def secured(self, cipher):
        """TLS has come about."""
        self._tell((time(), "secured", cipher, ("connected", "", cipher, "", None, 0)))

    def gone(self):
        """The session is over."""
        for watcher in self._watchers:
            watcher.finish((time(), "gone"))


def _in_transaction(session, transaction, is_text):
    name = ("text" if is_text else "chunks" if transaction.chunks else
            "recipients" if transaction.recipients else "transaction")
    return (name, session.name, session.cipher, session.login, transaction.sender.text, len(transaction.recipients))


class Lines:
    """Lines out of pieces cut anywhere. longest: how many octets of each are kept.

    A line is (its text (str), its octets, how it ended: "CRLF", "LF" or "" where the text just stops).
    """

    _kept = b""
    _octets = 0
    _cr = False             # whether the last octet was one

    def __init__(self, longest):
        self._longest = longest

    def feed(self, piece):
        """The lines that end in `piece`."""
        *ended, begun = piece.split(LINE_END)
        lines = [self._end(part) for part in ended]
        self._add(begun)
        return lines

    def rest(self):
        """The line that was begun, in a list; [] if there is none."""
        return [self._line("")] if self._octets else []

    def _add(self, part):
        if part:
            self._kept += part[:max(0, self._longest - len(self._kept))]
            self._octets += len(part)
            self._cr = part.endswith(b"\r")

    def _end(self, part):
        self._add(part)
        return self._line("CRLF" if self._cr else "LF")

    def _line(self, end):
        octets = self._octets - (end == "CRLF")
        line = self._kept[:octets].decode("utf-8", "surrogateescape"), octets, end
        self._kept = b""
        self._octets = 0
        self._cr = False
        return line
