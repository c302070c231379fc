"""Submission: each server once more, with a certificate (of the same kind for all) and one account, which may send
under TLS only.
"""

import contextlib
import os
import pathlib
import pwd
import subprocess
import tempfile
import typing

from tests.bench.postfix import MAIL_USER, Postfix
from tests.helpers import secure, support
from tests.lab.exim import Exim

LOGIN, PASSWORD = "eximalice", "secret"         # the one that the lab's Exim knows
EXIM = """\
tls_advertise_hosts = *
tls_certificate = {0.certificate}
tls_privatekey = {0.key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_mail = "accept authenticated = *"
"""
POSTFIX = """\
smtpd_tls_cert_file = {certificate.certificate}
smtpd_tls_key_file = {certificate.key}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {etc}/postfix/sasl
smtpd_sender_restrictions = permit_sasl_authenticated, reject
"""
SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN
sasldb_path: {etc}/sasldb2
"""


class Certificate(secure.Certificate):
    """One that any server may read."""

    def __init__(self, user: str):
        super().__init__()
        self.give_to(pwd.getpwnam(user).pw_uid)


@contextlib.contextmanager
def ours(listen: str, sessions: int) -> typing.Iterator[int]:
    """The port of a serveur.sh that submits."""
    with contextlib.ExitStack() as stack:
        certificate = Certificate("root")
        stack.callback(certificate.destroy)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="banc-comptes-")))
        accounts = folder / "comptes"
        accounts.write_text("%s:%s\n" % (LOGIN, PASSWORD))
        accounts.chmod(0o600)
        server = support.Server(("-store", "maildir", "-max", sessions, "-listen", listen, "-pass", accounts,
                                 "-tls", "%s,%s" % (certificate.certificate, certificate.key)), accounts=None)
        stack.callback(server.destroy)
        server.start()
        support.wait_for(lambda: "Pour essayer" in server.output(), "serveur.sh")
        yield server.port


@contextlib.contextmanager
def exim() -> typing.Iterator[int]:
    """That of an Exim."""
    with contextlib.ExitStack() as stack:
        certificate = Certificate("Debian-exim")
        stack.callback(certificate.destroy)
        server = Exim(options=EXIM.format(certificate))
        stack.callback(server.stop)
        server.start()
        yield server.port


@contextlib.contextmanager
def postfix(sessions: int) -> typing.Iterator[int]:
    """That of a Postfix, whose accounts Cyrus SASL keeps.  Its library must be there (libsasl2-modules,
    libsasl2-modules-db); the program that makes the accounts is fetched."""
    with contextlib.ExitStack() as stack:
        certificate = Certificate("root")
        stack.callback(certificate.destroy)
        server = SubmittingPostfix(sessions, certificate)
        stack.callback(server.stop)
        server.start()
        yield server.port


class SubmittingPostfix(Postfix):
    """certificate: a Certificate."""

    packages = ("postfix", "sasl2-bin")

    def __init__(self, sessions: int, certificate: Certificate):
        super().__init__(sessions)
        etc = self.folder / "etc"
        self.options = POSTFIX.format(certificate=certificate, etc=etc)

    def _make_etc(self) -> None:
        super()._make_etc()
        etc = self.folder / "etc"
        (etc / "postfix" / "sasl").mkdir()
        (etc / "postfix" / "sasl" / "smtpd.conf").write_text(SASL.format(etc=etc))
        subprocess.run([self.root / "usr/sbin/saslpasswd2", "-p", "-c", "-f", etc / "sasldb2", "-u", support.DOMAIN,
                        LOGIN], input=PASSWORD.encode(), check=True)
        os.chown(etc / "sasldb2", MAIL_USER, -1)
