"""The aliases file, as Exim, Postfix and Sendmail read it: `name: target, target`, continued on lines that begin with a
blank, # comments. What a target may be stands in targets.py.
"""

QUOTE = '"'
BOM = "\ufeff"
CATCH_ALL = "*"             # the name of whoever is nobody else
POSTMASTER = "postmaster"   # who is always there (RFC 5321 §4.5.1)


def read_aliases(access):
    """{name in lower case: its targets' text} from the file that `access` opens. Raises OSError."""
    with open(access.open("aliases"), encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


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
    lines = text.removeprefix(BOM).split("\n")
    return [line for line in lines if line.strip() and not line.lstrip(" \t").startswith("#")]


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
