"""The certificate of `-tls`: made when none is given, and checked before the server starts.

Used by launcher/preflight.py only, which has it before it stops being root; the library's own can be imported by
anyone, when needed. Messages are French: the person who starts the server reads them.
"""
import os

from common.french import reason

DAYS = "3650"
NAME_SECONDS = 2            # for this host's full name to be found: a silent name server must not stop the start


class Unusable(Exception):
    """A certificate or a key that the server cannot use. `text`: why, in French."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


def self_signed(folder, domain, tell):
    """(certificate, key) for `domain` and this host, kept in `folder`; made there by openssl the first time, and again
    when they are spoilt, have expired, or no longer name all that this host is called.

    tell: called with a French line about each change that whoever trusts the certificate should know of. An address
    alone, as DHCP gives another every day, is no reason to make everybody trust a new one. Raises Unusable.
    """
    files = f"{folder}/{domain}.pem", f"{folder}/{domain}.key"
    hosts, addresses = _own_names(domain), _own_addresses()
    is_there = os.path.exists(files[0])
    try:
        check(*files)
    except Unusable as problem:
        _make(*files, hosts, addresses)
        if is_there:
            tell(f"le certificat a été refait : {problem.text}")
        return files
    _keep_up(files, hosts, addresses, tell)
    return files


def _keep_up(files, hosts, addresses, tell):
    """Make the certificate anew if this host is called what it does not name."""
    unnamed = [host for host in hosts if not _names(files[0], "-verify_hostname", host)]
    if unnamed:
        _make(*files, hosts, addresses)
        tell(f"le certificat a été refait, car il ne nommait pas {', '.join(unnamed)}")
        return
    unnamed = [address for address in addresses if not _names(files[0], "-verify_ip", address)]
    if unnamed:
        tell(f"le certificat {files[0]} ne nomme pas l'adresse {', '.join(unnamed)} ; "
             "supprimez-le pour qu'il soit refait")


def _names(certificate, option, name):
    """Whether a client that trusts `certificate`, and no other, finds `name` in it."""
    return _openssl("verify", "-CAfile", certificate, option, name, certificate).returncode == 0


def _own_names(domain):
    """What a client may call this server: the local domain, localhost, this host's names."""
    names = (domain, "localhost", os.uname().nodename.lower(), _ask_hostname("--fqdn").strip().lower())
    return list(dict.fromkeys(filter(None, names)))


def _own_addresses():
    """The addresses (str) at which a client may reach this host, those of loopback first."""
    return ["127.0.0.1", "::1", *_ask_hostname("--all-ip-addresses").split()]


def _ask_hostname(option):
    """What hostname(1) answers, "" if it does not know, or not soon."""
    import subprocess
    try:
        return subprocess.run(["hostname", option], check=False, capture_output=True, text=True,
                              timeout=NAME_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _make(certificate, key, hosts, addresses):
    names = ",".join([f"DNS:{host}" for host in hosts] + [f"IP:{address}" for address in addresses])
    old_mask = os.umask(0o077)
    try:
        for path in (certificate, key):         # else openssl would say in English why it can't
            open(path, "ab").close()
        result = _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                          "-days", DAYS, "-subj", f"/CN={hosts[0][:64]}", "-addext", f"subjectAltName={names}",
                          "-keyout", key, "-out", certificate)
    except OSError as error:
        raise Unusable(f"{error.filename} : {reason(error)}") from error
    finally:
        os.umask(old_mask)
    if result.returncode:
        why = result.stderr.strip().rpartition("\n")[2]
        raise Unusable(f"openssl n'a pas pu fabriquer {certificate} : « {why or f'code {result.returncode}'} »")


def _openssl(*arguments):
    import subprocess
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
    import ssl
    for path in (certificate, key):
        _check_readable(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"la clé {key} n'est pas celle du certificat {certificate}") from error
        raise Unusable(f"{certificate}, {key} : le certificat ou la clé n'est pas un fichier PEM sans mot de passe"
                       ) from error
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
