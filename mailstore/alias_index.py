"""A large aliases file: each entry is read when somebody asks for its name."""
import posix

from common.name_index import lines_of, open_index
from mailstore.aliases import BOM, is_counted, parse, text_of
from mailstore.files import is_settled, stamp_of

BOM_OCTETS = BOM.encode()
ABOVE = "\n"                # before an entry's text: a mark in front of it is none of the file's beginning


class IndexedAliases:
    """The entries of the aliases that are open as descriptor `file`; path: of their index."""

    def __init__(self, file, path):
        self._file = file
        self._index = open_index(path, stamp_of(file), lambda: places(file), is_settled(file))

    def get(self, name, default=None):
        """The text of the targets of `name` (in lower case); of several entries the last counts."""
        for begin, octets in reversed(self._index.places(_key(name))):
            found = parse(ABOVE + text_of(posix.pread(self._file, octets, begin)))
            if name in found:
                return found[name]
        return default

    def __contains__(self, name):
        return self.get(name) is not None


def _key(name):
    return name.encode("utf-8", "surrogateescape")


def places(file):
    """Yield (name in bytes, where it begins, its octets) of each entry of the open aliases."""
    for begin, octets, text in entries(file):
        for name in parse(ABOVE + text):
            yield _key(name), begin, octets


def entries(file):
    """Yield (where it begins, its octets, its text) of what may be an entry: a line, and those that continue it."""
    begin, end, lines = 0, 0, []
    for place, line in _lines(file):
        if not is_counted(line):
            continue
        if line[0] not in " \t" or not lines:
            if lines:
                yield begin, end - begin, "\n".join(lines)
            begin, lines = place, []
        lines.append(line)
        end = place + len(_key(line))
    if lines:
        yield begin, end - begin, "\n".join(lines)


def _lines(file):
    """Yield (where it begins, the line without its end) of the open file."""
    for place, several in lines_of(file, BOM_OCTETS):
        # A file may also have CR alone as its line end: then these are all of its lines.
        for line in several.splitlines(keepends=True):
            yield place, line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            place += len(line)
