"""What `-v` and `-vv` show: each session's dialogue in the launcher's terminal, in French where it explains."""
import posix

from common.mainlog import readable
from smtp.transcript import FOREVER, OPENING, Lines, State

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
        self._begin_text()

    def arrived(self, number, address):
        self._number = number
        self._show([("", NOTE_COLOUR, f"connexion de {address} (processus {posix.getpid()})")])

    def heard(self, line, verb, bare_lf, state):
        if verb in OPENING:
            self._begin_text()
        rows = [("C: ", CLIENT_COLOUR, readable(line) + BARE_LF * bare_lf)]
        if self._explains:
            from smtp.explanations import state_text
            self._state = state_text(State(*state))
            rows += self._notes(f"état : {self._state}", *explained_verb(verb))
        self._show(rows)

    def said(self, reply, state):
        rows = [("S: ", SERVER_COLOUR, line) for line in map(readable, reply.lines())]
        if self._explains:
            from smtp.explanations import state_text
            before, self._state = self._state, state_text(State(*state))
            becomes = [] if before == self._state else [f"état : {self._state}"]
            rows += self._notes(*explained_reply(reply), *becomes)
        self._show(rows)

    def text(self, piece):
        lines = self._lines.feed(piece)
        self._show_text(lines[:max(0, MESSAGE_LINES - self._count)])
        self._count += len(lines)

    def end_of_text(self, octets):
        self._show_rest()
        if self._count > MESSAGE_LINES:
            self._note(f"[... encore {self._count - MESSAGE_LINES} lignes]")
        self._note(f"[fin du message, {octets} octets]")
        self._begin_text()

    def end_of_chunk(self, octets, dropped):
        self._show_rest()
        self._note(f"[morceau de {octets} octets{', lu et jeté' if dropped else ''}]")

    def accepted(self, message_id):
        if self._explains:
            self._note(f"le message s'appelle {message_id} : le journal et relay.py disent ce qu'il devient")

    def secured(self, cipher):
        self._note(f"[TLS : {cipher}]")

    def patience(self):
        """Everything is shown already."""
        return FOREVER

    def gone(self):
        self._note("fin de la session")

    def _begin_text(self):
        self._lines = Lines(LINE_OCTETS)
        self._count = 0

    def _show_rest(self):
        if self._count < MESSAGE_LINES:
            self._show_text(self._lines.rest())
        else:
            self._lines.rest()

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


def explained_reply(reply):
    """The same for a Reply."""
    from smtp.explanations import explain
    entry = explain(reply.code, reply.enhanced)
    codes = f"{reply.code} {reply.enhanced}".rstrip()
    return [f"{codes} ({entry.section}) : {entry.french}"] if entry else []
