"""The local domain, drawn from a file of the authors' names.

One author a line. The words in capitals are the family name; where a line has none, its first word
is. Accents, and whatever is neither letter nor digit, are dropped. Empty lines and lines that begin
with # are skipped. `BINOME` alone gives binome.tp.info.unicaen.fr; `Ana NÚÑEZ` and `LE GOFF Yann`
give nunez-legoff.tp.info.unicaen.fr.
"""
import unicodedata

LABEL_OCTETS = 63


class BadNames(Exception):
    """A file of names that yields no domain. `path`: the file; `reason`: missing, encoding, empty, long."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def _plain(word):
    letters = unicodedata.normalize("NFKD", word)
    return "".join(c for c in letters if c.isascii() and c.isalnum())


def family_name(line):
    """The family name in one author's line, as it goes into the domain ("" if nothing is left)."""
    words = line.split()
    capitals = [word for word in words if word.isupper() and len(_plain(word)) > 1]
    return "".join(_plain(word) for word in capitals or words[:1]).lower()


def authors(text):
    """The authors' lines (list of str) in a file's text."""
    lines = (line.strip() for line in text.replace("\r", "\n").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def label(text):
    """The names in a file's text, joined with hyphens; "" if there is none."""
    names = map(family_name, authors(text))
    return "-".join(name for name in names if name)


def decoded(octets):
    """The text in a file's `octets`: in UTF-8, else in Latin-1, as old editors write it. ValueError when it is none."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    if "\0" in text:                    # as in UTF-16
        raise ValueError("NUL")
    return text


def local_domain(path, suffix):
    """The domain for the names in `path`: "<names>.<suffix>". Raises BadNames."""
    try:
        with open(path, "rb") as file:
            names = label(decoded(file.read()))
    except OSError as error:
        raise BadNames(path, "missing") from error
    except ValueError as error:
        raise BadNames(path, "encoding") from error
    if not names:
        raise BadNames(path, "empty")
    if len(names) > LABEL_OCTETS:
        raise BadNames(path, "long")
    return f"{names}.{suffix}"
