"""What `-v` and `-vv` show: each session's dialogue in the launcher's terminal, in French where it explains."""
import posix

from common.mainlog import readable
from smtp.transcript import FOREVER, Lines, State

CLIENT_COLOUR = "\033[36m"
SERVER_COLOUR = "\033[32m"
NOTE_COLOUR = "\033[2m"
SESSION_COLOURS = ("\033[30;43m", "\033[30;46m", "\033[30;45m", "\033[30;42m", "\033[37;44m", "\033[37;41m")
PLAIN = "\033[0m"
MESSAGE_LINES = 40          # of a message that are shown
LINE_OCTETS = 1000          # of each
BARE_LF = " ⏎LF"            # behind a line that did not end in CRLF


class Console:
    """Writes to `sink`, a descriptor; in colours if that is a terminal, or `coloured` says that it leads to one.
    explains: whether each step is (-vv)."""

    def __init__(self, sink=2, coloured=False, explains=False):
        self.sink = sink
        self._coloured = coloured or posix.isatty(sink)
        self._explains = explains
        self._number = 0
        self._state = ""
        self.begin_text()

    def take(self, step):
        """Show it."""
        _, kind, *rest = step
        getattr(self, f"_{kind}")(*rest)

    def _arrived(self, address, number, pid):
        self._number = number
        self._note(f"connexion de {address} (processus {pid})")

    def _heard(self, line, verb, bare_lf):
        rows = [("C: ", CLIENT_COLOUR, readable(line) + BARE_LF * bare_lf)]
        if self._explains:
            rows += self._notes(f"état : {self._state}", *explained_verb(verb))
        self._show(rows)

    def _said(self, code, enhanced, octets, state):
        rows = [("S: ", SERVER_COLOUR, line) for line in map(readable, octets.decode().split("\r\n")[:-1])]
        if self._explains:
            before = self._state
            self._take_state(state)
            becomes = [] if before == self._state else [f"état : {self._state}"]
            rows += self._notes(*explained_reply(code, enhanced), *becomes)
        self._show(rows)

    def _take_state(self, state):
        from smtp.explanations import state_text
        self._state = state_text(State(*state))

    def text(self, piece):
        lines = self._lines.feed(piece)
        self._show_text(lines[:max(0, MESSAGE_LINES - self._count)])
        self._count += len(lines)

    def end_line(self):
        rest = self._lines.rest()
        if self._count < MESSAGE_LINES:
            self._show_text(rest)

    def _end(self, octets):
        if self._count > MESSAGE_LINES:
            self._note(f"[... encore {self._count - MESSAGE_LINES} lignes]")
        self._note(f"[fin du message, {octets} octets]")

    def _chunk(self, octets, dropped):
        self._note(f"[morceau de {octets} octets{', lu et jeté' if dropped else ''}]")

    def _accepted(self, message_id):
        if self._explains:
            self._note(f"le message s'appelle {message_id} : le journal et relay.py disent ce qu'il devient")

    def _secured(self, cipher, state):
        self._note(f"[TLS : {cipher}]")
        if self._explains:
            self._take_state(state)

    def patience(self):
        """Everything is shown already."""
        return FOREVER

    def finish(self, _):
        self._note("fin de la session")

    def begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._count = 0

    def _show_text(self, lines):
        self._show([("C: ", CLIENT_COLOUR, _shown(*line)) for line in lines])

    def _note(self, text):
        self._show([("", NOTE_COLOUR, text)])

    def _notes(self, *texts):
        return [("   ", NOTE_COLOUR, readable(text)) for text in texts]

    def _show(self, rows):
        """Write rows (who, colour, text) at once, so that sessions do not come between."""
        column = f"{self._number:>3} "
        if self._coloured:
            column = SESSION_COLOURS[self._number % len(SESSION_COLOURS)] + column + PLAIN
            rows = [(who, colour, f"{text}{PLAIN}") for who, colour, text in rows]
        else:
            rows = [(who, "", text) for who, _, text in rows]
        data = "".join(f"{column}│ {colour}{who}{text}\n" for who, colour, text in rows).encode()
        try:
            posix.write(self.sink, data)
        except OSError:
            pass


def _shown(text, octets, end):
    more = octets - len(text.encode("utf-8", "surrogateescape"))
    return readable(text) + (f" [... encore {more} octets]" if more else "") + BARE_LF * (end == "LF")


def explained_verb(verb):
    """What a verb means, in French, in a list of at most one line."""
    from smtp.explanations import COMMANDS
    entry = COMMANDS.get(verb)
    return [f"{verb} ({entry.section}) : {entry.french}"] if entry else []


def explained_reply(code, enhanced):
    """The same for a reply."""
    from smtp.explanations import explain
    entry = explain(code, enhanced)
    codes = f"{code} {enhanced}".rstrip()
    return [f"{codes} ({entry.section}) : {entry.french}"] if entry else []
