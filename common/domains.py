"""Domain names in letters of any script, compared with our own: a plain session never needs this."""
from unicodedata import normalize


def a_labels(domain):
    """`domain` (str) in lower case, its U-labels as the A-labels that they stand for (RFC 5890 §2.3.2.1).

    Whether they may stand in the DNS is not looked at: no other name than the right one gets ours by this.
    """
    return ".".join(map(_a_label, normalize("NFC", domain.lower()).split(".")))


def _a_label(label):
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
