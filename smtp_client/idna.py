"""Domain names in letters of any script, as the DNS has them: IDNA2008 (RFC 5891), by `idn2` (Debian's package idn2).

Python's own codec is that of 2003, which sends the mail of faß.example to fass.example. Without the program, only
names that are the same in both are taken.
"""
import os
import re
import subprocess
from encodings.idna import ToASCII, nameprep
from unicodedata import normalize

SECONDS = 5
NAME = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*")


class NoName(Exception):
    """No domain name, or one that might be taken for another. `text`: what is wrong."""

    def __init__(self, text="Unrouteable address"):
        super().__init__(text)
        self.text = text


def to_ascii(domain):
    """`domain` (str) with its U-labels as A-labels. Raises NoName."""
    if domain.isascii():
        return domain
    try:
        name = _by_idn2(domain)
    except (OSError, ValueError, subprocess.SubprocessError):
        raise NoName() from None
    if not NAME.fullmatch(name):
        raise NoName()
    return name


def _by_idn2(domain):
    """What the program prints: nothing for what is no name."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(["idn2", "--quiet", "--", domain.encode()], stdin=subprocess.DEVNULL, timeout=SECONDS,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, check=False)
    except FileNotFoundError:
        return _without_idn2(domain)
    return done.stdout.decode("ascii", "replace").rstrip("\n")


def _without_idn2(domain):
    """What both standards make of it. Raises NoName where they differ, UnicodeError for what is no name."""
    labels = normalize("NFC", domain.lower()).split(".")
    if list(map(nameprep, labels)) != labels:
        raise NoName("domain name needs IDNA2008: idn2 is not installed (package idn2)")
    return ".".join(ToASCII(label).decode("ascii") for label in labels)
