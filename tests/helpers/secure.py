"""What the tests of authentication and TLS share: accounts, certificates, a client that speaks TLS."""

import base64
import hmac
import itertools
import pathlib
import ssl
import subprocess
import tempfile
import time
import typing
import warnings

from tests.helpers import support
from tests.helpers.client import Client, Reply

ALICE = "sésame, ouvre-toi"             # with blanks, a comma and an accent, as people choose them
BOB = "xk9:Qp=7"
ACCOUNTS = "alice:%s\nbob %s\n" % (ALICE, BOB)
WRONG = "pas-celui-ci"
MESSAGE = b"Subject: x\r\n\r\nx\r\n.\r\n"
RUBBISH = bytes(range(256)) * 4        # no TLS, and no certificate


def encoded(text: typing.Union[str, bytes]) -> str:
    """Base64 of `text`, as AUTH carries it."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def plain(login: str, password: str, authorization: str = "") -> str:
    """The response of PLAIN (RFC 4616)."""
    return encoded("%s\0%s\0%s" % (authorization, login, password))


def cram(challenge: str, login: str, password: str) -> str:
    """The response of CRAM-MD5 (RFC 2195) to a challenge in base64."""
    digest = hmac.new(password.encode(), base64.b64decode(challenge), "md5").hexdigest()
    return encoded("%s %s" % (login, digest))


# `openssl ca` alone takes a day that is past in every version: `x509 -days -1` is refused since 3.4.
AUTHORITY = """
[ca]
default_ca = own
[own]
dir = {folder}
database = $dir/issued
new_certs_dir = $dir
rand_serial = yes
default_md = sha256
policy = named
x509_extensions = names
[named]
commonName = supplied
[names]
subjectAltName = DNS:localhost,IP:127.0.0.1
"""


class Certificate:
    """A key and a certificate for localhost, made by openssl in a folder that goes away with `destroy`.

    days   until it expires; it has done so already when they are negative
    """

    def __init__(self, days: int = 2):
        self._folder = tempfile.TemporaryDirectory(prefix="certificat-essai-")
        folder = pathlib.Path(self._folder.name)
        folder.chmod(0o755)
        self.certificate, self.key, self.both = folder / "c.pem", folder / "c.key", folder / "both.pem"
        run_openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=localhost", "-keyout", str(self.key), "-out", str(folder / "c.req"))
        self._sign(folder, days)
        self.both.write_text(self.key.read_text() + self.certificate.read_text())
        self.both.chmod(0o600)

    def _sign(self, folder: pathlib.Path, days: int) -> None:
        (folder / "ca.cnf").write_text(AUTHORITY.format(folder=folder))
        (folder / "issued").touch()
        run_openssl("ca", "-batch", "-selfsign", "-notext", "-config", str(folder / "ca.cnf"), "-keyfile",
                    str(self.key), "-in", str(folder / "c.req"), "-startdate", certificate_date(min(days, 0) - 1),
                    "-enddate", certificate_date(days), "-out", str(self.certificate))

    @property
    def option(self) -> str:
        return "%s,%s" % (self.certificate, self.key)

    def give_to(self, user: int) -> None:
        """Let that user own the files; root only."""
        for path in (self.certificate, self.key, self.both):
            support.os.chown(path, user, user)

    def destroy(self) -> None:
        self._folder.cleanup()


def certificate_date(days: int) -> str:
    """The moment `days` from now, as openssl reads it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


def run_openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True,
                          timeout=support.PATIENCE).stdout


def context(version: typing.Optional[ssl.TLSVersion] = None) -> ssl.SSLContext:
    """A client's context that takes any certificate; `version`: the only one it speaks."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if version:
        made.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():             # Python too would rather not speak the old ones
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version = made.maximum_version = version
    return made


def wrap(client: Client, with_context: typing.Optional[ssl.SSLContext] = None) -> Client:
    """Go on under TLS with `client`. ssl.SSLError if the handshake fails."""
    client.file.close()
    client.socket = (with_context or context()).wrap_socket(client.socket, suppress_ragged_eofs=False)
    client.file = client.socket.makefile("rb")
    return client


def start_tls(client: Client, with_context: typing.Optional[ssl.SSLContext] = None) -> Client:
    """EHLO, STARTTLS, handshake, EHLO."""
    client.expect("EHLO client.example.org", 250)
    client.expect("STARTTLS", 220)
    wrap(client, with_context)
    client.expect("EHLO client.example.org", 250)
    return client


def implicit(port: int, with_context: typing.Optional[ssl.SSLContext] = None) -> Client:
    """A connection to a -smtps port whose greeting has been read."""
    client = wrap(Client(port), with_context)
    greeting = client.reply()
    if greeting.code != 220:
        raise AssertionError("greeted with %r" % greeting.raw)
    return client


def log_in(client: Client, login: str = "alice", password: str = ALICE) -> Reply:
    """EHLO and AUTH PLAIN; AssertionError unless it succeeds."""
    client.expect("EHLO client.example.org", 250)
    return client.expect("AUTH PLAIN " + plain(login, password), 235)


class AccountsTestCase(support.ServerTestCase):
    """A server with -pass. text: the accounts; more: further options. `self.file`: the accounts' file."""

    text = ACCOUNTS
    more: typing.Sequence = ()
    from_many_addresses = False         # for tests that often fail: an address whose passwords were wrong has to wait
    numbers = itertools.count(1)
    file: pathlib.Path

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="comptes-essai-")
        cls.addClassCleanup(folder.cleanup)
        pathlib.Path(folder.name).chmod(0o755)
        cls.file = pathlib.Path(folder.name) / "login_pass.txt"
        cls.write_accounts(cls.text)
        cls.options = ("-pass", cls.file, *cls.more)
        super().setUpClass()

    @classmethod
    def write_accounts(cls, text: str) -> None:
        """Replace what is in the file, which belongs to whoever starts the server and only to it."""
        cls.file.write_text(text, encoding="utf-8")
        cls.file.chmod(0o600)
        if cls.run_as is not None:
            support.os.chown(cls.file, cls.run_as, cls.run_as)

    def client(self, **arguments) -> Client:
        own = {"source": "127.1.%d.%d" % divmod(next(self.numbers), 256)} if self.from_many_addresses else {}
        return super().client(**{**own, **arguments})

    def greeted(self, greeting: str = "EHLO client.example.org") -> Client:
        """A client that has introduced itself, closed when the test ends."""
        client = self.client()
        self.addCleanup(client.close)
        client.expect(greeting, 250)
        return client


class TlsPorts:
    """Put before a test case with a server: a certificate, a -smtps port (`self.smtps`) and further `tls_options`."""

    tls_options: typing.Sequence = ()

    @classmethod
    def setUpClass(cls):
        cls.certificate = Certificate()
        cls.addClassCleanup(cls.certificate.destroy)
        cls.smtps = support.free_port()
        cls.more = cls.options = ("-tls", cls.certificate.option, "-smtps", cls.smtps, *cls.tls_options)
        super().setUpClass()
        support.wait_for(lambda: support.listeners(cls.smtps), "a listener for -smtps")


class TlsTestCase(TlsPorts, AccountsTestCase):
    """A server with a certificate, a -smtps port and two plain ones."""

    @classmethod
    def setUpClass(cls):
        cls.second = support.free_port()
        cls.tls_options = ("-port", cls.second)
        super().setUpClass()
        support.wait_for(lambda: support.listeners(cls.second), "a second listener")

    def secured(self, with_context=None):
        """A client behind STARTTLS and its second EHLO."""
        client = self.client()
        self.addCleanup(client.close)
        return start_tls(client, with_context)

    def implicit(self, with_context=None):
        client = implicit(self.smtps, with_context)
        self.addCleanup(client.close)
        client.expect("EHLO client.example.org", 250)
        return client

    def assert_serves(self):
        """Whatever a client did to its session, the next one is served."""
        client = self.secured()
        client.expect("QUIT", 221)
