"""What a list names, in the aliases, in a file that they include, or in somebody's .forward.

    user, \\user                     an account or an alias; the account itself
    address, <address>, Name <address>      and with (comments), as RFC 5322 §3.4 has a mailbox
    :include:/file                  the members that stand in a file
    :blackhole:                     nobody, and so nobody of the whole list (as Exim has it); /dev/null: nobody
    :fail: text, :defer: text       the whole list is refused, for good or for now

What else other servers follow (`|command`, `/file`) is a mistake here, as is what can't be read.
"""
from mailstore.aliases import QUOTE, lines_of

ADDRESS, INCLUDE, BLACKHOLE, NULL, FAIL, DEFER, MISTAKE = range(7)
INCLUDE_WORD = ":include:"
SPECIALS = ((INCLUDE_WORD, INCLUDE), (":blackhole:", BLACKHOLE), (":fail:", FAIL), (":defer:", DEFER))
MOST_TARGETS = 10000        # that one address may lead to, lists in lists counted: what a session can hold and check
PROTECTING = frozenset('\\"()')     # characters without which every comma parts
NO_ADDRESS = "not an address"
NOT_FOLLOWED = "commands and files are not followed"
NO_PATH = "an absolute path is needed"
NESTED = "only the aliases file includes files"


class Target:
    """kind: as above. text: as written. local, domain: of an ADDRESS, without quotes and "" if there is none;
    address: the same as an address is written; is_exact: whether aliases do not count. value: an INCLUDE's path, a
    FAIL's or DEFER's text, what is wrong with a MISTAKE."""

    __slots__ = ("kind", "text", "value", "local", "domain", "address", "is_exact")

    def __init__(self, kind, text, value=""):
        self.kind = kind
        self.text = text
        self.value = value
        self.local = self.domain = self.address = ""
        self.is_exact = False


def targets_of(text):
    """The Targets in an alias's text, in their order."""
    if text.startswith((":fail:", ":defer:")):
        return [read_target(text)]
    return [read_target(part) for part in split_targets(text)]


def listed(text):
    """The Targets of a file that is a list (`text`), which names no further files; None if they are too many."""
    if text.count(",") + text.count("\n") > 2 * MOST_TARGETS:
        return None
    found = [read_target(part) for line in lines_of(text) for part in split_targets(line)]
    return [Target(MISTAKE, target.text, NESTED) if target.kind == INCLUDE else target for target in found]


def split_targets(text):
    """The parts (list of str) of a list's line; commas inside quotes and comments do not part them, unless these
    are never closed."""
    if not PROTECTING.intersection(text):
        return [part.strip() for part in text.split(",") if part.strip()]
    parts, start = [], 0
    quoted = escaped = False
    depth = 0
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted or depth > 0
        elif character == QUOTE and not depth:
            quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth = max(0, depth - 1)
        elif character == "," and not quoted and not depth:
            parts.append(text[start:position])
            start = position + 1
    parts = text.split(",") if quoted or depth else [*parts, text[start:]]
    return [part.strip() for part in parts if part.strip()]


def read_target(text):
    """The Target that is written as `text`."""
    bare = text.strip(QUOTE)
    for word, kind in SPECIALS:
        if bare.startswith(word):
            return _special(kind, text, bare[len(word):].strip())
    if bare == "/dev/null":
        return Target(NULL, text)
    if bare.startswith(("|", "/", ":")):
        return Target(MISTAKE, text, NOT_FOLLOWED)
    return _address(text)


def _special(kind, text, value):
    if kind == INCLUDE and not (value.startswith("/") and value.isprintable()):
        return Target(MISTAKE, text, NO_PATH)
    return Target(kind, text, value)


def _address(text):
    address = _bracketed(_without_comments(text))
    is_exact = address.startswith("\\")
    address = address.removeprefix("\\")
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if not (_is_local_part(local) and (_is_domain(domain) or not at)):
        return Target(MISTAKE, text, NO_ADDRESS)
    target = Target(ADDRESS, text)
    target.local, target.domain, target.address, target.is_exact = unquoted(local), domain, address, is_exact
    return target


def _without_comments(text):
    """`text` without what stands in parentheses outside quotes; as it is if they do not match."""
    if "(" not in text:
        return text.strip()
    kept, depth, quoted = [], 0, False
    for character in text:
        if character == QUOTE and not depth:
            quoted = not quoted
        if character == "(" and not quoted:
            depth += 1
        if not depth:
            kept.append(character)
        if character == ")" and not quoted and depth:
            depth -= 1
    return text if depth else "".join(kept).strip()


def _bracketed(text):
    """The address in `Name <address>`, or `text` itself."""
    if not text.endswith(">"):
        return text
    name, bracket, address = text[:-1].rpartition("<")
    return address.strip() if bracket and name.count(QUOTE) % 2 == 0 and "<" not in name.replace(QUOTE, "") else text


def _is_local_part(local):
    if local.startswith(QUOTE):
        inside = local[1:-1].replace("\\\\", "").replace('\\"', "")
        return bool(inside) and local.endswith(QUOTE) and local.isprintable() and QUOTE not in inside
    return bool(local) and local.isprintable() and not any(character in ' ()<>[],;:\\"@' for character in local)


def _is_domain(domain):
    return bool(domain) and domain.isprintable() and not any(character in ' ()<>,;\\"@' for character in domain)


def unquoted(local):
    """A local part without its quotes, if it has any, nor what they ask to have quoted (RFC 5321 §4.1.2)."""
    if not (local.startswith(QUOTE) and local.endswith(QUOTE)):
        return local
    return "\\".join(part.replace("\\", "") for part in local[1:-1].split("\\\\"))
