"""Mailboxes by way of the delivery agent (delivery_agent/), for those who gave root up: what they ask, and how.

A question is one or more packets over a Unix socket, and so is an answer. A packet's first octet is MORE or LAST. The
first packet has a head, words parted by NULs and ended by LF; all else of the packets is the text that belongs to it.
A question of ALONE is the only one of its connection. A text that is in memory as a whole, but too long for one packet,
comes in a file without a name instead, whose descriptor goes with the head. Who has answered is done with that file.

    check USER                  done if USER may receive now
    prepare USER NAME [again]   a copy for USER, whose text follows, unless it is for an mbox
    commit NAME                 it counts; its text follows if it is for an mbox
    discard NAME                nothing of it is kept
    deliver USER NAME [again]   prepare and commit; its text follows
    open FILE                   the descriptor of a file that the agent's settings name
    include PATH                the descriptor of a file that the aliases include
    forward USER                the descriptor of the .forward of USER, if there is one
    active USER                 done if a terminal of USER takes messages; never asked, nor done, without -terminals
    write USER                  done if a terminal of USER has the text, which follows, and in which nothing is left
                                that a terminal obeys

    done [usable]               usable: USER has no .forward, and may receive now
    later | room | never TEXT ERRNO DOING    an Outcome's fields

Whoever asks gives each copy its name. So when the agent dies, he can ask again: what was done under that name is found.
"""
import _socket
import posix
from errno import ETIMEDOUT
from stat import S_ISREG
from sys import byteorder
from time import monotonic, sleep

from mailstore.files import write_all
from mailstore.outcome import UNUSABLE, Later, Never, NoRoom, Unavailable

PIECE = 65536               # octets of a packet
LONG = 2 << 20              # octets that are put into a file in memory at most
MORE, LAST = b"+", b"."
SECONDS = 60                # after which the agent ends what hangs
MARGIN_SECONDS = 5          # and we what hangs so that it cannot
RESTART_SECONDS = 10        # that a dead agent may take to be replaced
PAUSE = 0.02
TRIES = 5
FRESH_SECONDS = 0.1         # for which a mailbox that has just taken a session's message is not asked about again
SEEK_SET = 0                # as os has it, which a session does not import
DESCRIPTOR_OCTETS = _socket.CMSG_SPACE(4)
ALONE = ("check", "deliver", "open", "include", "forward", "active", "write")    # behind the answers to these it closes
OUTCOMES = {"later": Later, "room": NoRoom, "never": Never}


class Lost(Exception):
    """The agent's process ended before it answered."""


def packets(words, pieces=()):
    """Yield the packets of a question or an answer, each as a list of its parts (bytes): words (str), then the text
    in pieces (bytes)."""
    parts = [b"\0".join(word.encode("utf-8", "surrogateescape") for word in words) + b"\n"]
    size = len(parts[0])
    for piece in pieces:
        rest = memoryview(piece)
        while size + len(rest) > PIECE:
            room = PIECE - size
            yield [MORE, *parts, rest[:room]]
            parts, size, rest = [], 0, rest[room:]
        parts.append(rest)
        size += len(rest)
    yield [LAST, *parts]


def words_of(head):
    """The words (str) of a first packet's head (bytes), which begins behind the first octet and ends before LF."""
    return head.decode("utf-8", "surrogateescape").split("\0")


def _unavailable(doing):
    return Unavailable("Mail cannot be delivered now", errno=-1, doing=f"delivery agent: {doing}")


class Agent:
    """The one whose socket is at `path`. See mailstore/direct.py for what the methods do. aliases: the file's path, for
    it may be everybody's to read: then it takes no question."""

    uid = 0

    def __init__(self, path, aliases=""):
        self._path = path
        self._aliases = aliases
        self._spare = Spare()
        self._usable = set()        # users of whom forward() has heard what check() asks next
        self._fresh = {}            # {user: until when his mailbox needs no question (monotonic seconds)}

    def begin_session(self):
        """What the session before has learnt does not count for the next one in this process."""
        self._usable.clear()
        self._fresh.clear()

    def check(self, mailbox):
        if mailbox.user in self._usable:
            self._usable.remove(mailbox.user)
        elif monotonic() >= self._fresh.get(mailbox.user, 0):
            self._ask("check", mailbox.user)

    def open(self, name):
        file = _open_readable(self._aliases) if name == "aliases" else -1
        return self._open("open", name) if file < 0 else file

    def include(self, path):
        return self._open("include", path)

    def _open(self, *words):
        try:
            return self._ask(*words)[0]
        except Later as error:
            raise OSError(error.errno, error.doing) from error

    def forward(self, mailbox):
        file, words = self._ask("forward", mailbox.user)
        if words:
            self._usable.add(mailbox.user)
        return file

    def errand(self):
        return Errand(self._path, self._spare, self._note_delivery)

    def _note_delivery(self, mailbox):
        self._fresh[mailbox.user] = monotonic() + FRESH_SECONDS

    def check_active(self, mailbox):
        self._ask("active", mailbox.user)

    def write(self, mailbox, text):
        self._ask("write", mailbox.user, pieces=[text])

    def _ask(self, *words, pieces=()):
        """(the descriptor that came with the answer, or None; the words behind `done`)."""
        for _ in range(TRIES):
            try:
                line = Line(self._path)
                try:
                    return line.ask(words, pieces)
                finally:
                    line.close()
            except Lost:
                pass
        raise _unavailable("it dies again and again")


def _open_readable(path):
    """A descriptor to read the regular file at `path` by; -1 if there is none that we may read."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return -1
    if S_ISREG(posix.fstat(file).st_mode):
        return file
    posix.close(file)
    return -1


class Spare:
    """The nameless file that the last text went in. Written over for the next, it takes a fifth of the time of a new
    one, whose memory the kernel clears first. The relay's threads share one."""

    def __init__(self):
        self._files = []

    def take(self):
        """A descriptor to write a text to, from its beginning on: the caller's until he gives it back or closes it."""
        try:
            return self._files.pop()        # in one step: no two threads get the same
        except IndexError:
            return posix.memfd_create("text", posix.MFD_CLOEXEC)

    def give_back(self, file):
        """`file` is nobody else's any more."""
        if self._files:
            posix.close(file)
        else:
            posix.lseek(file, 0, SEEK_SET)
            self._files.append(file)


class Line:
    """A connection to the agent. spare: a Spare, for who sends texts. Raises Later if there is no agent."""

    def __init__(self, path, spare=None):
        self._spare = spare
        self._file = -1
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._socket.settimeout(SECONDS + MARGIN_SECONDS)
        self._connect(path)

    def _connect(self, path):
        deadline = monotonic() + RESTART_SECONDS
        while True:
            try:
                return self._socket.connect(path)
            except (ConnectionRefusedError, BlockingIOError) as error:
                # Nobody listens behind that name any more, and another will soon; or very many ask at once.
                if monotonic() >= deadline:
                    raise _unavailable(f"{path}: {error.strerror}") from error
            except OSError as error:
                raise _unavailable(f"{path}: {error.strerror}") from error
            sleep(PAUSE)

    def ask(self, words, pieces=()):
        """Ask, and return the descriptor that came with the answer, if any, and the words behind `done`. Raises Lost,
        or the outcome told."""
        started = monotonic()
        try:
            self._send(words, pieces)
            answer, ancillary, flags, _ = self._socket.recvmsg(PIECE, DESCRIPTOR_OCTETS, _socket.MSG_CMSG_CLOEXEC)
        except _socket.timeout:
            self.close()        # what comes over it now would be taken for the answer to the next question
            raise _slow() from None
        except OSError:
            answer, flags = b"", 0
        if flags & _socket.MSG_CTRUNC:
            raise _unavailable("a descriptor could not be taken in")
        if not answer:
            raise _slow() if monotonic() - started >= SECONDS * 0.9 else Lost
        self._give_back()
        words = _done_or_raise(answer)
        return memoryview(ancillary[0][2]).cast("i")[0] if ancillary else None, words

    def _send(self, words, pieces):
        pieces = iter(pieces)
        beginning, size = [], 0
        for piece in pieces:
            beginning.append(piece)
            size += len(piece)
            if size > LONG:
                break
        try:
            if PIECE // 2 < size <= LONG:
                return self._send_file(words, beginning)
            for packet in packets(words, (piece for some in (beginning, pieces) for piece in some)):
                self._socket.sendmsg(packet)
        except (BrokenPipeError, ConnectionResetError):
            pass                # it is dead, and so there is no answer

    def _send_file(self, words, pieces):
        self._file = self._spare.take()
        for piece in pieces:
            write_all(self._file, piece)
        posix.ftruncate(self._file, sum(map(len, pieces)))
        packet, = packets(words)
        self._socket.sendmsg(packet, [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, self._file.to_bytes(4, byteorder))])

    def _give_back(self):
        if self._file >= 0:
            self._spare.give_back(self._file)
            self._file = -1

    def close(self):
        if self._file >= 0:     # an agent that has not answered may still read it
            posix.close(self._file)
            self._file = -1
        self._socket.close()


def _slow():
    return Later(UNUSABLE, errno=ETIMEDOUT, doing=f"nothing done within {SECONDS} s")


def _done_or_raise(answer):
    outcome, *fields = words_of(answer[1:-1])
    if outcome in OUTCOMES:
        text, errno, doing = fields
        raise OUTCOMES[outcome](text, int(errno), doing)
    return fields


class Errand:
    """See mailstore/direct.py. Its copies are prepared and committed over one connection, which is made when the first
    of them needs it. When that breaks, whatever was ready is made ready again over another one."""

    def __init__(self, path, spare, delivered):
        """delivered: called with a Mailbox that has taken a copy."""
        self._path = path
        self._spare = spare
        self._delivered = delivered
        self._line = None
        self._ready = []
        self._gone = None

    def prepare(self, copy):
        self._insist(self._prepare, copy)
        self._ready.append(copy)

    def commit(self, copy):
        try:
            self._insist(self._commit, copy)
        finally:
            self._ready.remove(copy)

    def discard(self, copy):
        try:
            self._ask(("discard", copy.name))
        except (Lost, Later):
            pass                # who is dead has nothing ready, or it shows as what it is: begun, and never mail
        self._ready.remove(copy)

    def deliver(self, copy):
        self._insist(self._deliver, copy)

    def close(self):
        if self._line:
            self._line.close()
            self._line = None

    def _insist(self, step, copy):
        """Take this step with `copy`, with the next agent if one dies of it."""
        again = ()
        for _ in range(TRIES):
            try:
                if again:
                    self._restore()
                return step(copy, again)
            except Lost:
                self.close()
                again = ("again",)
        raise _unavailable("it dies again and again")

    def _restore(self):
        """Make ready again what was, with another agent."""
        for copy in self._ready:
            copy.trouble = None
            try:
                self._prepare(copy, ("again",))
            except Later as error:
                copy.trouble = error

    def _prepare(self, copy, again):
        self._ask(("prepare", copy.mailbox.user, copy.name, *again), () if copy.mailbox.is_mbox else copy.text())

    def _commit(self, copy, _):
        if copy.trouble:
            raise copy.trouble
        self._ask(("commit", copy.name), copy.text() if copy.mailbox.is_mbox else ())

    def _deliver(self, copy, again):
        self._ask(("deliver", copy.mailbox.user, copy.name, *again), copy.text())
        self.close()
        self._delivered(copy.mailbox)

    def _ask(self, words, pieces=()):
        if self._gone:
            raise self._gone    # once waited for is enough
        try:
            self._line = self._line or Line(self._path, self._spare)
        except Later as error:
            self._gone = error
            raise
        self._line.ask(words, pieces)
