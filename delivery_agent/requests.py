"""What may be asked over one connection, and what is done about it: mailstore/agent_client.py has the words.

Who asks runs as the service user and reads what strangers send; so he is believed nothing but a text, an account's
name, and the names of files, which are checked; a message is never looked into. The account is looked up anew, and all
is done with its owner's rights.
"""
from traceback import print_exc

from common.ownership import stranger_on
from common.privileges import acting_as
from delivery_agent.files import NamedFiles
from mailstore import agent_client as protocol
from mailstore import terminals
from mailstore.direct import Errand
from mailstore.mailboxes import Mailboxes
from mailstore.outcome import UNUSABLE, Later, Never, Outcome
from mailstore.usable import check_usable, open_forward

WORDS = {kind: word for word, kind in protocol.OUTCOMES.items()}
LATE_SECONDS = 2            # a delivery that takes longer hangs, or waits for a lock
MOST_LATE = 16              # of those, for one account: a quarter of all workers


class AskedCopy:
    """A text for one mailbox, as mailstore/direct.py takes it."""

    prepared = None

    def __init__(self, mailbox, name, text):
        self.mailbox = mailbox
        self.name = name
        self.text = text

    def owner(self):
        """A context in which the mailbox is touched as its owner."""
        return _owner(self.mailbox)


def _owner(mailbox):
    return acting_as(mailbox.uid, mailbox.gid, mailbox.login)


def _is_usable(mailbox):
    try:
        check_usable(mailbox)
    except Later:
        return False
    return True


class Requests:
    """settings: a Settings; clock: a trace.Clock; board: where this worker notes whose mail it is at."""

    def __init__(self, settings, clock, board):
        self._mailboxes = Mailboxes(settings, None)
        self._has_mailboxes = not settings.lmtp     # else those are none of ours, and nobody's are written
        self._files = NamedFiles(settings)
        self._clock = clock
        self._board = board
        self._writes_to_terminals = settings.terminals

    def serve(self, connection):
        """Answer what is asked over `connection` (a Connection), while anything may be. Nothing is left half done."""
        errand = Errand(self._clock)
        ready = {}
        try:
            while question := connection.receive():
                words, text = question
                connection.answer(*self._answer(words, text, errand, ready))
                if words[0] in protocol.ALONE:
                    break
        finally:
            for copy in ready.values():
                with copy.owner():
                    errand.discard(copy)

    def _answer(self, words, text, errand, ready):
        """(the words of the answer, a descriptor or None). ready: {name: an AskedCopy that is prepared}."""
        verb, *arguments = words
        try:
            if verb == "forward":
                return self.forward(*arguments)
            if verb in OPENINGS:
                return ("done",), OPENINGS[verb](self, *arguments)
            STEPS[verb](self, errand, ready, text, *arguments)
        except Outcome as error:
            return (WORDS[type(error)], error.text, str(error.errno), error.doing), None
        except OSError as error:
            return ("later", UNUSABLE, str(error.errno or -1), error.strerror or str(error)), None
        except Exception as error:
            print_exc()
            return ("later", UNUSABLE, "-1", f"internal error of the delivery agent: {error!r}"), None
        return ("done",), None

    # Files

    def open(self, name):
        return self._files.open(name)

    def include(self, path):
        return self._files.include(path)

    def forward(self, user):
        """An answer as _answer() has it. Who asks will want to know next whether the mailbox may be written."""
        mailbox = self._account(user)
        with _owner(mailbox):
            file = open_forward(mailbox) if mailbox.login else None
            is_usable = file is None and _is_usable(mailbox)
        return ("done", "usable") if is_usable else ("done",), file

    # Mailboxes

    def _account(self, user):
        """The Mailbox of `user`. Raises Never if there is none, Later if nothing may be done there now."""
        if not self._has_mailboxes:
            raise Never("No such user here", doing="mailboxes are an LMTP server's")
        return self._person(user)

    def _person(self, user):
        """The same, for what is no mail."""
        mailbox = self._mailboxes.named_by_us(user)
        if not mailbox:
            raise self._mailboxes.nobody()
        if not (mailbox.uid or mailbox.login) and (found := stranger_on(mailbox.home, (0,))):
            raise Never("No such user here", doing=f"{mailbox.home} is root's, and {found[0]} is not root's alone")
        if self._board.count_late(user, LATE_SECONDS, MOST_LATE) >= MOST_LATE:
            raise Later(UNUSABLE, errno=-9, doing=f"{MOST_LATE} deliveries to {mailbox.path} do not end")
        self._board.begin(user)
        return mailbox

    def check(self, _errand, _ready, _text, user):
        mailbox = self._account(user)
        with _owner(mailbox):
            check_usable(mailbox)

    def prepare(self, errand, ready, text, user, name, *again):
        copy = self._new(user, name, text)
        with copy.owner():
            errand.prepare(copy, bool(again))
        ready[name] = copy

    def _new(self, user, name, text):
        if "/" in name or name.startswith(".") or not name:
            raise Later(UNUSABLE, errno=-1, doing="not the name of a file")
        try:
            return AskedCopy(self._account(user), name, lambda: text)
        except Never as error:      # it was there when the recipient was accepted
            raise Later(UNUSABLE, errno=-1, doing=error.cause) from error

    def commit(self, errand, ready, text, name):
        copy = ready.pop(name)
        copy.text = lambda: text
        with copy.owner():
            errand.commit(copy)

    def discard(self, errand, ready, _text, name):
        copy = ready.pop(name)
        with copy.owner():
            errand.discard(copy)

    def deliver(self, errand, _ready, text, user, name, *again):
        copy = self._new(user, name, text)
        with copy.owner():
            errand.deliver(copy, bool(again))

    # Terminals

    def active(self, _errand, _ready, _text, user):
        mailbox = self._active_account(user)
        with _owner(mailbox):
            terminals.check_active(mailbox.uid)

    def write(self, _errand, _ready, text, user):
        mailbox = self._active_account(user)
        whole = bytearray()
        for piece in text:
            whole += piece
            if len(whole) > terminals.MOST_OCTETS:
                raise Later(UNUSABLE, errno=-1, doing="a text too long for a terminal")
        if not terminals.is_harmless(whole):
            raise Later(UNUSABLE, errno=-1, doing="a text that a terminal would obey")
        with _owner(mailbox):
            terminals.write(mailbox.uid, whole)

    def _active_account(self, user):
        if not self._writes_to_terminals:
            raise Later("User not active now", doing="this server does not write to terminals")
        return self._person(user)


OPENINGS = {"open": Requests.open, "include": Requests.include}
STEPS = {"check": Requests.check, "prepare": Requests.prepare, "commit": Requests.commit, "discard": Requests.discard,
         "deliver": Requests.deliver, "active": Requests.active, "write": Requests.write}
