"""The certificate of `-tls`: made when none is given, and checked before the server starts.

Used by preflight.py only. Messages are French: the person who starts the server reads them.
"""
import os
import ssl
import subprocess

from french import reason

DAYS = "3650"


class Unusable(Exception):
    """A certificate or a key that the server cannot use. `text`: why, in French."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


def self_signed(folder, domain):
    """(certificate, key) for `domain`, kept in `folder`; made there by openssl the first time, and again when
    they are spoilt or have expired. Raises Unusable."""
    files = f"{folder}/{domain}.pem", f"{folder}/{domain}.key"
    try:
        check(*files)
    except Unusable:
        _make(*files, domain)
    return files


def _make(certificate, key, domain):
    old_mask = os.umask(0o077)
    try:
        for path in (certificate, key):         # else openssl would say in English why it can't
            open(path, "ab").close()
        result = _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                          "-days", DAYS, "-subj", f"/CN={domain[:64]}", "-addext", f"subjectAltName=DNS:{domain}",
                          "-keyout", key, "-out", certificate)
    except OSError as error:
        raise Unusable(f"{error.filename} : {reason(error)}") from error
    finally:
        os.umask(old_mask)
    if result.returncode:
        raise Unusable(f"openssl n'a pas pu fabriquer {certificate} : « {result.stderr.strip().splitlines()[-1]} »")


def _openssl(*arguments):
    try:
        return subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Unusable("openssl est introuvable : apt-get install openssl") from error


def fingerprint(certificate):
    """The SHA-256 fingerprint as Thunderbird shows it, `AB:CD:…`."""
    shown = _openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").stdout
    return shown.strip().partition("=")[2]


def check(certificate, key):
    """Raise Unusable unless the server could serve with these PEM files today."""
    for path in (certificate, key):
        _check_readable(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"la clé {key} n'est pas celle du certificat {certificate}") from error
        raise Unusable(f"{certificate}, {key} : le certificat ou la clé n'est pas un fichier PEM sans mot de passe") from error
    if _has_expired(certificate):
        raise Unusable(f"le certificat {certificate} a expiré")


def _no_password():
    return ""       # a key under a password could not be opened by sessions: fail here, never ask


def _check_readable(path):
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        why = "est introuvable" if isinstance(error, FileNotFoundError) else f"ne peut pas être lu : {reason(error)}"
        raise Unusable(f"{path} {why}") from error


def _has_expired(certificate):
    return _openssl("x509", "-in", certificate, "-noout", "-checkend", "0").returncode != 0
