"""A large file of accounts: each line is read when somebody says that it is his."""
import posix

from common.logins import BLANKS, BOM, SCRYPT, Accounts, Clear, Hashed, Trouble, decoded, record_of, split_line
from common.name_index import lines_of, open_index

CLEAR = b"clear"
ANY_LINE = (0, 80)          # is read for who has none, so that the time says nothing of who has one


class IndexedAccounts(Accounts):
    """The accounts that are open as descriptor `file`, whose stamp this is, for who authenticates: `problems` and
    `warnings` are for who starts the server. path: of their index; may_keep: as open_index() has it."""

    def __init__(self, file, path, stamp, may_keep):
        self._file = file
        self._index = open_index(path, stamp, lambda: places(file), may_keep)
        decoys = (Clear(b"").decoy() if word == CLEAR else Hashed.parse(word) for word in self._index.note.split())
        self._decoys = {decoy.kind: decoy for decoy in decoys}

    def _find(self, login):
        places = self._index.places(login)
        for begin, octets in places or [ANY_LINE]:
            parts = split_line(posix.pread(self._file, octets, begin))
            # No line may be left there, while somebody writes the file anew.
            if places and parts and parts[0] == login:
                return _record_or_none(*parts)
        return None


def _record_or_none(login, secret):
    try:
        return record_of(login.decode(), secret)
    except Trouble:
        return None


def places(file):
    """Yield (login, where it begins, its octets) of each line of the open file that is for one; what is noted with
    them is a decoy for each kind of password."""
    decoys = {}
    for login, secret, begin, octets in _lines(file):
        yield login, begin, octets
        kind = _kind(secret)
        if kind not in decoys and (record := _record_or_none(login, secret)) and _is_first(file, login, begin):
            decoys[kind] = CLEAR if record.kind is None else record.decoy().written()
    return b" ".join(decoys.values())


def _kind(secret):
    """What two passwords have in common that are checked in the same way."""
    trimmed = secret.strip(BLANKS)
    return trimmed.split(b"$", 3)[2] if trimmed.startswith(SCRYPT) else CLEAR


def _is_first(file, login, begin):
    """Whether this line is the first for `login`, the one that counts. None is if somebody writes the file anew."""
    return next((place for name, _, place, _ in _lines(file) if name == login), None) == begin


def _lines(file):
    """Yield (login, password as written, where it begins, its octets) of the lines that are for somebody."""
    for place, line in lines_of(file, BOM):
        text = line.rstrip(b"\n")
        if parts := _parts(text):
            yield (*parts, place, len(text))


def _parts(line):
    """(login, password as written) of a line; None if it is for nobody."""
    try:
        decoded(line)
    except Trouble:
        return None
    parts = split_line(line)
    return parts if parts and parts[0] else None
