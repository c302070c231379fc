"""AUTH: the dialogue of an authentication (RFC 4954). The mechanisms themselves are in auth.py.

Imported when AUTH is to be offered, which is under `-pass` only.
"""
import posix
from binascii import Error, a2b_base64, b2a_base64
from fcntl import LOCK_EX, LOCK_NB, lockf
from time import monotonic

import auth
from common.logins import Accounts
from mailstore.files import SMALL_OCTETS, EditedFile, is_settled, stamp_of
from smtp import limits, replies

PLACES = (2, 3, 0, 1)       # checks of passwords at once on this machine: hashed ones take up to 64 MiB each
GUESSERS_PLACES = (0, 1)    # so that nobody else ever waits behind all of them
LOOK_SECONDS = 0.02         # for a place that has become free


def mechanisms(session):
    """The mechanisms on offer, [] if the accounts cannot be read now."""
    try:
        return _accounts(session).mechanisms()
    except auth.Unreadable:
        return []


class AccountFile(EditedFile):
    """The accounts as they are now, so that a new one needs no restart. path: of their file, for messages; access: what
    opens it; index: the path of its index, which a large one gets."""

    def __init__(self, path, access, index):
        super().__init__()
        self._path = path
        self._access = access
        self._index = index

    def _open(self):
        return self._access.open("accounts")

    def _read(self, file):
        if posix.fstat(file).st_size > SMALL_OCTETS:
            from common.account_index import IndexedAccounts
            return IndexedAccounts(file, self._index, stamp_of(file), is_settled(file))
        return Accounts(self._path, posix.read(file, SMALL_OCTETS + 1))


def _accounts(session):
    """Raises auth.Unreadable."""
    try:
        return session.backend.accounts.current()
    except OSError as error:
        raise auth.Unreadable(session.settings.accounts, error) from error


def authenticate(session, argument):
    """AUTH mechanism [initial-response]: the whole exchange, up to its last Reply."""
    name, _, initial = argument.replace("\t", " ").partition(" ")
    try:
        exchange = auth.start(name, _accounts(session), session.domain, session.is_local)
    except auth.UnknownMechanism:
        return replies.UNKNOWN_MECHANISM
    except auth.Unreadable as error:
        why = error.error.strerror if error.error else "not a regular file"
        session.mainlog.write(f"accounts cannot be read: {error.path}: {why}")
        return replies.AUTHENTICATION_LATER
    session.slow_down(limits.delay(session.backend.guesses.failures(session.address) + 1, limits.FREE_FAILURES))
    try:
        verdict = _exchange(session, exchange, initial.strip())
    except _Ended as end:
        _log_failure(session, exchange, end.reply)
        return end.reply
    except OSError as error:
        session.mainlog.write(f"passwords cannot be checked: {error.strerror}: {error.filename}")
        return replies.AUTHENTICATION_LATER
    return _conclude(session, exchange, verdict)


class _Ended(Exception):
    """The client's line ends the exchange."""

    def __init__(self, reply):
        super().__init__()
        self.reply = reply


def _exchange(session, exchange, initial):
    """Challenge and response until there is a verdict: an auth.Success or auth.Failure."""
    step = _step(session, exchange, _decode_initial(initial) if initial else None)
    while isinstance(step, auth.Challenge):
        session.channel.send(replies.challenge(b2a_base64(step.data, newline=False).decode()))
        line = session.next_secret_line().strip(" \t")
        if line == "*":
            raise _Ended(replies.AUTHENTICATION_CANCELLED)
        step = _step(session, exchange, _decode(line))
    return step


def _step(session, exchange, response):
    """exchange.step, while only so many sessions do it as there are places; the others wait for one. Raises OSError."""
    file = _take_place(session)
    try:
        return exchange.step(response)
    finally:
        posix.close(file)


def _take_place(session):
    """A descriptor with a lock on a place, which closing gives back. Raises OSError if none becomes free in time."""
    path = f"{session.settings.spool}/authenticating"
    file = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    deadline = monotonic() + limits.CHECK_SECONDS
    try:
        while not any(_has_locked(file, place) for place in _places(session)):
            if monotonic() >= deadline:
                raise BlockingIOError(11, "no place becomes free", path)
            session.channel.pause(LOOK_SECONDS)
        return file
    except BaseException:
        posix.close(file)
        raise


def _places(session):
    """Those that a client may take: one whose address has failed often has not all of them."""
    has_guessed = session.backend.guesses.failures(session.address) >= limits.FREE_FAILURES
    return GUESSERS_PLACES if has_guessed else PLACES


def _has_locked(file, place):
    try:
        lockf(file, LOCK_EX | LOCK_NB, 1, place)
    except OSError:
        return False
    return True


def _decode_initial(text):
    """RFC 4954 §4: `=` stands for an empty initial response."""
    return b"" if text == "=" else _decode(text)


def _decode(text):
    try:
        data = a2b_base64(text.encode("ascii"))
    except (Error, UnicodeEncodeError):
        raise _Ended(replies.BAD_BASE64) from None
    # a2b_base64 passes over what is no base64; only what comes back unchanged was some.
    if b2a_base64(data, newline=False).decode() != text:
        raise _Ended(replies.BAD_BASE64)
    return data


def _conclude(session, exchange, verdict):
    if isinstance(verdict, auth.Success):
        session.login = verdict.login
        session.mechanism = exchange.mechanism.lower()
        return replies.AUTHENTICATED
    if isinstance(verdict, auth.Malformed):
        return replies.NO_INITIAL_RESPONSE
    session.failures += 1
    session.backend.guesses.note(session.address)
    _log_failure(session, exchange, replies.AUTHENTICATION_FAILED, verdict.login)
    if session.failures >= limits.MOST_FAILURES:
        return replies.too_many_failures(session.domain)
    return replies.AUTHENTICATION_FAILED


def _log_failure(session, exchange, reply, login=None):
    who = f" (set_id={login})" if login else ""
    session.mainlog.write(f"{exchange.mechanism.lower()} authenticator failed for {session.log_host()}: "
                          f"{reply.code} {reply.texts[0]}{who}")
