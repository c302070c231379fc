"""The aliases file, as Exim, Postfix and Sendmail read it: `name: target, target`, continued on lines that begin with a
blank, # comments. What a target may be stands in targets.py.
"""
import posix

from mailstore.files import SMALL_OCTETS, EditedFile

QUOTE = '"'
BOM = "\ufeff"
CATCH_ALL = "*"             # the name of whoever is nobody else
POSTMASTER = "postmaster"   # who is always there (RFC 5321 §4.5.1)


class AliasFile(EditedFile):
    """access: what opens the file; index: the path of its index, which a large one gets.

    current() gives what has `name in` and get(name), as a dictionary {name in lower case: its targets' text}.
    """

    def __init__(self, access, index):
        super().__init__()
        self._access = access
        self._index = index

    def _open(self):
        return self._access.open("aliases")

    def _read(self, file):
        if posix.fstat(file).st_size > SMALL_OCTETS:
            from mailstore.alias_index import IndexedAliases
            return IndexedAliases(file, self._index)
        return parse(text_of(posix.read(file, SMALL_OCTETS + 1)))


def text_of(octets):
    """A file's text (str) as people wrote it; every kind of line end is LF."""
    return octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")


def parse(text):
    """{name in lower case: its targets' text}. Lines that are no entry are passed over."""
    entries = {}
    for line in _logical_lines(text):
        name, targets = _split_name(line)
        if name and targets:
            entries[name.lower()] = targets
    return entries


def lines_of(text):
    """The lines of a file that people edit, without those that are blank or a comment, indented or not."""
    # splitlines() would end lines at more than the format does; CR and CRLF have become LF where the file was read.
    return list(filter(is_counted, text.removeprefix(BOM).split("\n")))


def is_counted(line):
    """Whether there is something in a line."""
    return bool(line.strip()) and not line.lstrip(" \t").startswith("#")


def _logical_lines(text):
    """The entries of `text`, each as one line. Joined once: a list may have a line for each of its members."""
    entries = []
    for line in lines_of(text):
        if line[0] in " \t" and entries:
            entries[-1].append(line)
        else:
            entries.append([line])
    return map("".join, entries)


def _split_name(line):
    if line.startswith(QUOTE):
        name, _, rest = line[1:].partition(QUOTE)
        return name, rest.strip().removeprefix(":").strip()
    name, _, targets = line.partition(":")
    return name.strip(), targets.strip()
