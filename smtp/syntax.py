"""Paths, addresses and parameters: text in, values out (RFC 5321 §4.1.2).

Text is str whose undecodable octets are surrogates (UTF-8 with surrogateescape), so octets survive a
round trip and comparing without case is right for both ASCII and UTF-8.
"""

NOT_IN_ATOMS = frozenset('()<>[]:;@\\,." ')
DIGITS = frozenset("0123456789")
PATH_OCTETS = 256           # RFC 5321 §4.5.3.1.3
LABEL_OCTETS = 63           # RFC 1035 §2.3.4
ENVID_OCTETS = 100          # RFC 3461 §4.4
ORCPT_OCTETS = 500          # RFC 3461 §4.2
NOTIFY_WORDS = frozenset(("SUCCESS", "FAILURE", "DELAY"))


class Malformed(Exception):
    """Text that does not follow the grammar. `reason`: a phrase for the reply."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class MalformedParameter(Malformed):
    """A parameter that does not follow the grammar, or its value."""


class Address:
    """A mailbox. local: the local part with quoting undone; domain: as written, "" for a bare
    <postmaster>; text: the address as the client wrote it, its source route dropped."""

    __slots__ = ("local", "domain", "text")

    def __init__(self, local, domain, text):
        self.local = local
        self.domain = domain
        self.text = text

    @property
    def needs_utf8(self):
        """Whether only SMTPUTF8 allows it (RFC 6531 §3.3)."""
        return not self.text.isascii()


NULL = Address("", "", "")


def parse_path(text):
    """Split `<path> parameters` into (Address, the text of the parameters).

    Lenient as people type: blanks around, inside the brackets too, or no brackets. An empty path, `<>`, gives NULL.
    Raises Malformed.
    """
    text = text.strip(" \t")
    if text.startswith("<"):
        end = _end_of_path(text)
        inner, rest = text[1:end].strip(" \t"), text[end + 1:]
    else:
        inner, rest = _first_word(text)
    if rest[:1] not in ("", " ", "\t"):
        raise Malformed("unexpected text after the address")
    if not text:
        raise Malformed("no address")
    return parse_address(_without_route(inner)) if inner else NULL, rest.strip(" \t")


def _end_of_path(text):
    end = _find_unquoted(text, ">", 1)
    if end < 0:
        raise Malformed("'>' missing at end of address")
    return end


def _first_word(text):
    end = _find_unquoted(text.replace("\t", " "), " ", 0)
    return (text, "") if end < 0 else (text[:end], text[end:])


def _find_unquoted(text, character, position):
    """Where `character` stands in `text`, from `position` on, without quotes around it; -1 if nowhere."""
    if '"' not in text:
        return text.find(character, position)
    return next((at for at in _between_quotes(text, position) if text[at] == character), -1)


def _between_quotes(text, position):
    """The positions of `text`, from `position` on, that quotes do not enclose."""
    quoted = False
    while position < len(text):
        if text[position] == '"':
            quoted = not quoted
        elif quoted and text[position] == "\\":
            position += 1
        elif not quoted:
            yield position
        position += 1
    if quoted:
        raise Malformed("unbalanced quote")


def _without_route(path):
    """RFC 5321 §4.1.1.3, appendix C: a source route is read, and ignored."""
    if not path.startswith("@"):
        return path
    route, colon, mailbox = path.partition(":")
    if not colon or not mailbox:
        raise Malformed("malformed source route")
    for hop in route.split(","):
        if not hop.startswith("@"):
            raise Malformed("malformed source route")
        check_domain(hop[1:])
    return mailbox


def parse_address(text):
    """An Address from `local@domain`, or from `postmaster` alone. Raises Malformed."""
    try:
        octets = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise Malformed("address is not valid UTF-8") from None
    if octets > PATH_OCTETS:
        raise Malformed("address too long")
    local, rest = _quoted_local(text) if text.startswith('"') else _plain_local(text)
    if not rest and text.lower() == "postmaster":
        return Address(local, "", text)
    if not rest:
        raise Malformed("address must contain a domain")
    if not rest.startswith("@"):
        raise Malformed("'@' expected after the local part")
    check_domain(rest[1:])
    return Address(local, rest[1:], text)


def _quoted_local(text):
    characters = []
    position = 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return _checked_quoted(characters), text[position + 1:]
        if character == "\\":
            position += 1
            character = text[position:position + 1]
        characters.append(character)
        position += 1
    raise Malformed("unbalanced quote")


def _checked_quoted(characters):
    local = "".join(characters)
    if not local:
        raise Malformed("empty local part")
    if not local.isprintable():
        raise Malformed("control character in local part")
    return local


def _plain_local(text):
    local = text.partition("@")[0]
    if not local:
        raise Malformed("no local part")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise Malformed("empty part in local part")
    if not (local.isprintable() and NOT_IN_ATOMS.isdisjoint(local.replace(".", ""))):
        raise Malformed("malformed local part")
    return local, text[len(local):]


def check_domain(domain):
    """Raise Malformed unless `domain` is a domain name or an address literal (RFC 5321 §4.1.2)."""
    if domain.startswith("[") and domain.endswith("]"):
        _check_literal(domain[1:-1])
    elif not all(map(_is_label, domain.split("."))):
        raise Malformed("domain missing or malformed")


def _is_label(label):
    return 0 < len(label) <= LABEL_OCTETS and (label.isalnum() or _is_hyphenated(label) or _is_u_label(label))


def _is_hyphenated(label):
    # The underscore is no letter of a host name (RFC 1123 §2.1), but lab machines carry it.
    return label[0] != "-" and label[-1] != "-" and label.replace("-", "").replace("_", "").isalnum()


def _is_u_label(label):
    """Whether it is in a script whose letters take marks and joiners (RFC 5892); if it is a name, the DNS knows."""
    if label.isascii() or label[0] == "-" or label[-1] == "-":
        return False
    from unicodedata import category
    return all(character in "-\u200c\u200d" or category(character)[0] in "LMN" for character in label)


def _check_literal(text):
    if text[:5].upper() == "IPV6:":
        good = ":" in text[5:] and set(text[5:].lower()) <= set("0123456789abcdef:.")
    else:
        parts = text.split(".")
        good = len(parts) == 4 and all(p and set(p) <= DIGITS and len(p) < 4 and int(p) < 256 for p in parts)
    if not good:
        raise Malformed("malformed address literal")


def parse_parameters(text):
    """ESMTP parameters as {keyword in capitals: value or None} (RFC 5321 §4.1.2). Raises MalformedParameter."""
    parameters = {}
    # Blanks alone part them: split() would take control characters for blanks too.
    for word in filter(None, text.replace("\t", " ").split(" ")):
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if not _is_keyword(keyword) or keyword in parameters or (equals and not _is_value(value)):
            raise MalformedParameter("malformed parameter")
        parameters[keyword] = value if equals else None
    return parameters


def _is_keyword(text):
    return text.isascii() and text.replace("-", "").isalnum() and text[0] != "-"


def _is_value(text):
    return bool(text) and text.isprintable() and "=" not in text


def parse_size(value):
    """The octets that SIZE= declares (RFC 1870 §6: 1 to 20 digits). Raises MalformedParameter."""
    if not value or not set(value) <= DIGITS or len(value) > 20:
        raise MalformedParameter("SIZE needs a number of octets")
    return int(value)


def _ret(value):
    """RET's value (RFC 3461 §4.3), in capitals. Raises MalformedParameter."""
    if (value or "").upper() not in ("FULL", "HDRS"):
        raise MalformedParameter("RET is FULL or HDRS")
    return value.upper()


def _envid(value):
    """ENVID's value (RFC 3461 §4.4), as it is. Raises MalformedParameter."""
    _check_xtext(value, ENVID_OCTETS)
    return value


def _notify(value):
    """NOTIFY's value (RFC 3461 §4.1), in capitals. Raises MalformedParameter."""
    words = (value or "").upper().split(",")
    if words != ["NEVER"] and not NOTIFY_WORDS.issuperset(words):
        raise MalformedParameter("NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
    return ",".join(dict.fromkeys(words))


def _orcpt(value):
    """ORCPT's value (RFC 3461 §4.2), as it is, but that no letter beyond ASCII is left: those may come by SMTPUTF8,
    in an address of type utf-8 (RFC 6533 §3). Raises MalformedParameter."""
    kind, _, address = (value or "").partition(";")
    if kind.lower() == "utf-8":
        address = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address)
    if not _is_keyword(kind):
        raise MalformedParameter("ORCPT needs the type of an address")
    _check_xtext(address, ORCPT_OCTETS - len(f"{kind};"))
    return f"{kind};{address}"


def _check_xtext(text, octets):
    from common.xtext import decode
    try:
        if not text or len(text) > octets:
            raise ValueError("empty or too long")
        decode(text)
    except ValueError as error:
        raise MalformedParameter(str(error)) from None


MAIL_REQUESTS = {"RET": _ret, "ENVID": _envid}
RCPT_REQUESTS = {"NOTIFY": _notify, "ORCPT": _orcpt}


def take_requests(parameters, requests):
    """The values of those of `requests` that are among `parameters`, "" for the others; they are taken out. Raises
    MalformedParameter."""
    return [read(parameters.pop(keyword)) if keyword in parameters else "" for keyword, read in requests.items()]
