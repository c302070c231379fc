"""Programs that people send with, each in each mode that it knows: swaks, msmtp, curl, Perl's Net::SMTP, Python's
smtplib, and Exim, which sends on to us."""

import pathlib
import smtplib
import subprocess
import tempfile
import typing
import unittest

from tests.helpers import support
from tests.helpers.secure import BOB, WRONG, AccountsTestCase, Certificate, TlsPorts, context
from tests.lab.exim import Exim, needs_exim

BODY = "Déjà vu :\n.\n..\n.point\nFrom ici\n\nfin\n"
MESSAGE = "Subject: =?utf-8?q?=C3=A9t=C3=A9?=\nFrom: bob@x.example\nTo: alice@x.example\n\n" + BODY
SENDER = "bob@client.example.org"
SMTPLIB_ANSWERS_TWICE = hasattr(smtplib, "_MAXCHALLENGE")       # its name came with the mending, after 3.9.2


class Mode(typing.NamedTuple):
    """How to send. tls: "", "starttls" or "implicit"; mechanism: of AUTH, or ""."""
    tls: str = ""
    mechanism: str = ""
    password: str = BOB

    @property
    def protocol(self) -> str:
        """What the log must say, as a pattern; msmtp asks for SMTPUTF8 since 1.8.28, whatever it sends."""
        return "(esmtp|utf8smtp)" + ("s" if self.tls else "") + ("a" if self.mechanism else "")


class Job(typing.NamedTuple):
    """What to send, and where to."""
    mode: Mode
    port: int
    recipient: str
    folder: pathlib.Path

    @property
    def message(self) -> pathlib.Path:
        return self.folder / "message"


def run(*command: str, text: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=support.PATIENCE, check=False)


# -- the clients: each sends the message of a Job and gives the finished process ------------------------------

def swaks(job: Job):
    options = {"": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[job.mode.tls]
    if job.mode.mechanism:
        options += ["--auth", job.mode.mechanism, "--auth-user", "bob", "--auth-password", job.mode.password]
    return run("swaks", "--server", "127.0.0.1", "--port", str(job.port), "--ehlo", "client.example.org", "--from",
               SENDER, "--to", job.recipient, "--data", "-", *options, text=MESSAGE[:-1])           # it adds a line end


def msmtp(job: Job):
    settings = ["account default", "host 127.0.0.1", "port %d" % job.port, "from " + SENDER,
                "domain client.example.org", "tls %s" % ("on" if job.mode.tls else "off"), "tls_certcheck off",
                "tls_starttls %s" % ("off" if job.mode.tls == "implicit" else "on"),
                "auth %s" % (job.mode.mechanism.lower() or "off")]
    if job.mode.mechanism:
        settings += ["user bob", "password " + job.mode.password]
    file = job.folder / "msmtprc"
    file.write_text("\n".join(settings) + "\n")
    file.chmod(0o600)
    return run("msmtp", "-C", str(file), job.recipient, text=MESSAGE)


def curl(job: Job, *more: str):
    scheme, *options = {"": ["smtp"], "starttls": ["smtp", "--ssl-reqd", "-k"],
                        "implicit": ["smtps", "-k"]}[job.mode.tls]
    if job.mode.mechanism:
        options += ["--user", "bob:" + job.mode.password, "--login-options", "AUTH=" + job.mode.mechanism]
    return run("curl", "--silent", "--show-error", "%s://127.0.0.1:%d/client.example.org" % (scheme, job.port),
               *options, *more, "--mail-from", SENDER, "--mail-rcpt", job.recipient, "--upload-file", str(job.message))


NET_SMTP = r"""
use strict; use warnings; use Net::SMTP; use Authen::SASL;
my ($port, $tls, $mechanism, $password, $sender, $recipient, $file) = @ARGV;
my @tls = (SSL_verify_mode => 0);
my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Hello => 'client.example.org', Timeout => 20,
                          $tls eq 'implicit' ? (SSL => 1, @tls) : ()) or die "no connection: $@";
$smtp->starttls(@tls) or die $smtp->message if $tls eq 'starttls';
if ($mechanism) {
    my $sasl = Authen::SASL->new(mechanism => $mechanism,
                                 callback => {user => 'bob', pass => $password, authname => ''});
    $smtp->auth($sasl) or die $smtp->message;
}
open my $message, '<:raw', $file or die $!;
$smtp->mail($sender) && $smtp->to($recipient) && $smtp->data(<$message>) or die $smtp->message;
$smtp->quit or die;
"""


def net_smtp(job: Job):
    return run("perl", "-e", NET_SMTP, str(job.port), job.mode.tls, job.mode.mechanism, job.mode.password, SENDER,
               job.recipient, str(job.message))


def python_smtplib(job: Job):
    """In this process; its outcome looks like a finished program's."""
    try:
        send_by_smtplib(job)
    except smtplib.SMTPException as error:
        return subprocess.CompletedProcess("smtplib", 1, str(error).encode())
    return subprocess.CompletedProcess("smtplib", 0, b"")


def send_by_smtplib(job: Job, initial_response: bool = True) -> None:
    arguments = dict(host="127.0.0.1", port=job.port, local_hostname="client.example.org", timeout=support.PATIENCE)
    implicit = job.mode.tls == "implicit"
    connection = smtplib.SMTP_SSL(context=context(), **arguments) if implicit else smtplib.SMTP(**arguments)
    with connection as client:
        if job.mode.tls == "starttls":
            client.starttls(context=context())
        if job.mode.mechanism:
            client.user, client.password = "bob", job.mode.password
            client.ehlo()
            method = getattr(client, "auth_" + job.mode.mechanism.lower().replace("-", "_"))
            client.auth(job.mode.mechanism, method, initial_response_ok=initial_response)
        client.sendmail(SENDER, [job.recipient], job.message.read_bytes())


class ClientsCase:
    """The tests; subclasses have a server. modes: what it must serve."""

    modes: typing.Sequence[Mode] = ()

    def port_for(self, mode: Mode) -> int:
        return self.smtps if mode.tls == "implicit" else self.server.port

    def job(self, mode: Mode) -> Job:
        folder = tempfile.TemporaryDirectory(prefix="client-essai-")
        self.addCleanup(folder.cleanup)
        (pathlib.Path(folder.name) / "message").write_bytes(MESSAGE.replace("\n", "\r\n").encode())
        return Job(mode, self.port_for(mode), self.address("alice"), pathlib.Path(folder.name))

    def check(self, client, modes=None) -> None:
        for mode in modes or self.modes:
            with self.subTest(mode=mode):
                before = len(self.server.log())
                done = client(self.job(mode))
                self.assertEqual(done.returncode, 0, done.stdout.decode("utf-8", "replace"))
                self.assert_arrived(self.server.log()[before:], mode)
            if mode.mechanism:
                with self.subTest("wrong password", mode=mode):
                    self.assert_refused(client, mode)

    def assert_arrived(self, log: str, mode: Mode) -> None:
        stored = self.server.messages("alice")[-1].content.decode()
        self.assertEqual(stored.partition("\n\n")[2], BODY)
        arrival = next(line for line in log.splitlines() if " <= " in line)
        self.assertRegex(arrival, " P=%s " % mode.protocol)
        self.assertEqual(" X=TLS1." in arrival, bool(mode.tls))
        self.assertIn(" A=%s:bob " % mode.mechanism.lower() if mode.mechanism else "(client.example.org)", arrival)

    def assert_refused(self, client, mode: Mode) -> None:
        before = len(self.server.messages("alice"))
        done = client(self.job(mode._replace(password=WRONG)))
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(self.server.messages("alice")), before)
        self.server.wait_log("535 Incorrect authentication data (set_id=bob)")
        (self.server.spool / "failures").unlink()       # or the next client has to wait (test_guessing)

    @support.needs_program("swaks")
    def test_swaks(self):
        self.check(swaks)

    @support.needs_program("msmtp")
    def test_msmtp(self):
        self.check(msmtp)

    @support.needs_program("curl")
    def test_curl(self):
        self.check(curl)

    @support.needs_program("perl")
    def test_net_smtp(self):
        if run("perl", "-MNet::SMTP", "-MAuthen::SASL", "-MIO::Socket::SSL", "-MDigest::HMAC_MD5", "-e",
               "1").returncode:
            self.skipTest("modules de Perl absents")
        self.check(net_smtp)

    def test_smtplib(self):
        self.check(python_smtplib)


class AnonymousTest(ClientsCase, support.ServerTestCase):
    modes = [Mode()]


class ClearTest(ClientsCase, AccountsTestCase):
    """AUTH without a certificate."""

    modes = [Mode("", mechanism) for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5")]

    def test_smtplib_without_initial_response(self):
        for mode in self.modes:
            with self.subTest(mode=mode):
                if mode.mechanism == "LOGIN" and not SMTPLIB_ANSWERS_TWICE:
                    self.skipTest("ce smtplib répond à « Username: » par le mot de passe, puis plus rien (bpo-27820)")
                before = len(self.server.log())
                send_by_smtplib(self.job(mode), initial_response=False)
                self.assert_arrived(self.server.log()[before:], mode)

    @support.needs_program("curl")
    def test_curl_with_initial_response(self):
        self.check(lambda job: curl(job, "--sasl-ir"), [mode for mode in self.modes if mode.mechanism != "CRAM-MD5"])


class TlsTest(TlsPorts, ClientsCase, AccountsTestCase):
    modes = [Mode(tls, mechanism) for tls in ("starttls", "implicit") for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5")]


class AnonymousTlsTest(TlsPorts, ClientsCase, support.ServerTestCase):
    modes = [Mode("starttls"), Mode("implicit")]


@needs_exim
class EximTest(unittest.TestCase):
    """Exim sends envelope, BDAT, message and QUIT in one segment, and takes STARTTLS where it is offered."""

    def test_relayed_to_us(self):
        certificate = Certificate()
        self.addCleanup(certificate.destroy)
        for options, tokens in (((), " P=esmtp K "), (("-tls", certificate.option), " P=esmtps K X=TLS1.")):
            with self.subTest(options=options), support.Server(options) as server, \
                    Exim(domain="exim.example", routes={server.domain: server.port}) as exim:
                server.start()
                wire = MESSAGE.replace("\n", "\r\n").replace("\r\n.", "\r\n..").encode() + b".\r\n"
                exim.wait_completed(exim.send("alice@" + server.domain, wire))
                self.assertEqual(server.messages("alice")[-1].content.decode().partition("\n\n")[2], BODY)
                self.assertIn(tokens, server.wait_log(" <= sender@client.example.org"))
                self.assertEqual(server.stop(), 0)
