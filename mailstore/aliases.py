"""/etc/aliases' format: `name: target, target`, continued on lines that begin with a blank, # comments.

A target is a user, an address, `:fail: text` or `:defer: text`. Targets that Exim or Sendmail would
run or open (`|command`, `/file`, `:include:/file`, `:blackhole:`) are never followed.
"""

QUOTE = '"'
BOM = "\ufeff"


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


def _logical_lines(text):
    """The entries of `text`, each as one line. Joined once: a list may have a line for each of its members."""
    entries = []
    # splitlines() would end lines at more than the format does; CR and CRLF have become LF where the file was read.
    for line in text.removeprefix(BOM).split("\n"):
        if not line.strip() or line.lstrip(" \t").startswith("#"):
            continue
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


def split_targets(text):
    """The targets in an entry's text, as a list; commas inside quotes do not part them."""
    if text.startswith((":fail:", ":defer:")):
        return [text]
    targets, quoted, current = [], False, ""
    for character in text:
        if character == QUOTE:
            quoted = not quoted
        if character == "," and not quoted:
            targets.append(current)
            current = ""
        else:
            current += character
    return [target.strip() for target in [*targets, current] if target.strip()]


def unquoted(local):
    """A local part without its quotes, if it has any (RFC 5321 §4.1.2)."""
    return local[1:-1].replace("\\", "") if local.startswith(QUOTE) and local.endswith(QUOTE) else local


def is_unsafe(target):
    """Whether a target asks to run a command, to open a file, or for something else we never do."""
    return target.strip(QUOTE).startswith(("|", "/", ":"))
