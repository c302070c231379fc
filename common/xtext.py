"""xtext: how parameters of DSN carry text (RFC 3461 §4)."""

HEXADECIMAL = frozenset("0123456789ABCDEF")


def decode(text):
    """What `text` stands for, printable ASCII and blanks. Raises ValueError if it is no xtext, or stands for more: that
    could not stand in a report (RFC 3461 §4.2, §4.4)."""
    plain, *coded = text.split("+")
    if not all(len(part) > 1 and HEXADECIMAL.issuperset(part[:2]) for part in coded):
        raise ValueError("+ without two hexadecimal digits")
    decoded = plain + "".join(chr(int(part[:2], 16)) + part[2:] for part in coded)
    if not (text.isascii() and decoded.isascii() and decoded.replace("\t", " ").isprintable()):
        raise ValueError("not printable ASCII")
    return decoded
