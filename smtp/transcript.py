"""The dialogue as it happens, told to whoever watches: the launcher's terminal (`serveur.sh -v`), the page (`-web`).

A session tells a Transcript, and that tells each of its watchers: smtp/console.py's Console, smtp/recorder.py's
Recorder. None of them ever gets a secret: a session masks those first.
"""
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
    """Where a session stands. name: a key of explanations.STATES. The rest as of Session; recipients: how many.
    Watchers are told its fields alone, in this order: most want no more."""

    __slots__ = ("name", "client", "cipher", "login", "sender", "recipients")

    def __init__(self, name, client="", cipher="", login="", sender=None, recipients=0):
        self.name = name
        self.client = client
        self.cipher = cipher
        self.login = login
        self.sender = sender
        self.recipients = recipients


class Transcript:
    """bare_lf: whether the command line that comes next ended in LF alone; a Channel says so."""

    bare_lf = False
    _session = None

    def __init__(self, watchers):
        self._watchers = watchers

    def arrived(self, number, address):
        """A client has come. number: short, and no other session's as long as this one lasts."""
        for watcher in self._watchers:
            watcher.arrived(number, address)

    def follow(self, session):
        """What is told from now on happens in `session`."""
        self._session = session

    def _state(self):
        """The fields of the State at this moment, in their order."""
        session = self._session
        if not session:
            return ARRIVED
        transaction = session.transaction
        if not transaction:
            return ("greeted" if session.name else "connected", session.name, session.cipher, session.login, None, 0)
        name = "chunks" if transaction.chunks else "recipients" if transaction.recipients else "transaction"
        return (name, session.name, session.cipher, session.login, transaction.sender.text,
                len(transaction.recipients))

    def heard(self, line, verb=""):
        """A command line (str) that the client sent, without its secrets. verb: its name, "" if it is no command."""
        bare_lf, self.bare_lf = self.bare_lf, False
        state = self._state()
        for watcher in self._watchers:
            watcher.heard(line, verb, bare_lf, state)

    def said(self, reply):
        """A Reply."""
        state = self._state()
        if reply.code == 354:
            state = ("text", *state[1:])
        for watcher in self._watchers:
            watcher.said(reply, state)

    def text(self, piece):
        """A piece of a message (octets as they came, cut anywhere)."""
        for watcher in self._watchers:
            watcher.text(piece)

    def end_of_text(self, octets):
        """The message that text() was given is complete."""
        for watcher in self._watchers:
            watcher.end_of_text(octets)

    def end_of_chunk(self, octets, dropped=False):
        """A chunk (BDAT) that text() was given is complete, or was read and not kept."""
        for watcher in self._watchers:
            watcher.end_of_chunk(octets, dropped)

    def accepted(self, message_id):
        """The message is kept, and is called so."""
        for watcher in self._watchers:
            watcher.accepted(message_id)

    def secured(self, cipher):
        """TLS has come about."""
        for watcher in self._watchers:
            watcher.secured(cipher)

    def patience(self):
        """The client is waited for: how many seconds at most before this is to be asked again."""
        patience = FOREVER
        for watcher in self._watchers:
            patience = min(patience, watcher.patience())
        return patience

    def gone(self):
        """The session is over."""
        for watcher in self._watchers:
            watcher.gone()


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
