"""The certificate of `-tls`: made when none is given, and checked before the server starts.

Used by preflight.py only. Messages are French: the person who starts the server reads them.
"""
import os
import ssl
import subprocess

DAYS = "3650"


class Unusable(Exception):
    """A certificate or a key that the server cannot use. `text`: why, in French."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


def self_signed(folder, domain):
    """(certificate, key) for `domain`, kept in `folder`; made there by openssl the first time."""
    certificate, key = f"{folder}/{domain}.pem", f"{folder}/{domain}.key"
    if not (os.path.exists(certificate) and os.path.exists(key)):
        _make(certificate, key, domain)
    return certificate, key


def _make(certificate, key, domain):
    old_mask = os.umask(0o077)
    try:
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj", f"/CN={domain[:64]}",
                 "-addext", f"subjectAltName=DNS:{domain}", "-keyout", key, "-out", certificate)
    finally:
        os.umask(old_mask)


def _openssl(*arguments):
    try:
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise Unusable("openssl est introuvable : apt-get install openssl") from error
    except subprocess.CalledProcessError as error:
        raise Unusable(f"openssl {arguments[0]} : {error.stderr.strip().splitlines()[-1]}") from error


def fingerprint(certificate):
    """The SHA-256 fingerprint as Thunderbird shows it, `AB:CD:…`."""
    return _openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").strip().partition("=")[2]


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
        reason = "est introuvable" if isinstance(error, FileNotFoundError) else "ne peut pas être lu"
        raise Unusable(f"{path} {reason}") from error


def _has_expired(certificate):
    command = ["openssl", "x509", "-in", certificate, "-noout", "-checkend", "0"]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0
