"""STARTTLS, -smtps, certificates, several ports."""

import hashlib
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from tests import secure, support
from tests.client import PATIENCE, Client
from tests.secure import (ALICE, BOB, AccountsTestCase, Certificate, TlsPorts, context, encoded, implicit, log_in, plain,
                          start_tls, wrap)

MESSAGE = b"Subject: x\r\n\r\nx\r\n.\r\n"
RUBBISH = bytes(range(256)) * 4
certificate: Certificate


def setUpModule():
    global certificate
    certificate = Certificate()
    unittest.addModuleCleanup(certificate.destroy)


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


class StartTlsTest(TlsTestCase):
    def test_offer(self):
        client = self.greeted()
        clear = client.expect("EHLO x", 250).lines
        client.expect("STARTTLS", 220)
        wrap(client)
        secured = client.expect("EHLO x", 250).lines
        self.assertIn("STARTTLS", clear)
        self.assertEqual([line for line in clear if line.startswith("AUTH")], [])
        self.assertNotIn("STARTTLS", secured)
        self.assertIn("AUTH PLAIN LOGIN CRAM-MD5", secured)

    def test_passwords_under_tls_only(self):
        client = self.greeted()
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)
        client.expect("AUTH LOGIN", 503)
        client.expect("MAIL FROM:<a@x.example>", 530)
        client = self.secured()
        client.expect("MAIL FROM:<a@x.example>", 530)
        client.expect("VRFY alice", 530)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 235)
        client.expect("MAIL FROM:<a@x.example>", 250)

    def test_state_is_as_after_connecting(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO before.example", 250)
        client.expect("STARTTLS", 220)
        wrap(client)
        client.expect("MAIL FROM:<a@x.example>", 503)           # not greeted
        client.expect("HELO x", 250)
        client.expect("AUTH PLAIN " + plain("alice", ALICE), 503)   # no EHLO
        self.assertEqual(client.expect("MAIL FROM:<a@x.example>", 530).code, 530)

    def test_before_ehlo(self):
        client = self.client()
        self.addCleanup(client.close)
        client.expect("STARTTLS", 220)
        wrap(client)
        client.expect("EHLO x", 250)

    def test_twice(self):
        client = self.secured()
        self.assertEqual(client.expect("STARTTLS", 503).text, "5.5.1 Already in TLS")
        client.expect("NOOP", 250)

    def test_argument(self):
        client = self.greeted()
        client.expect("STARTTLS now", 501)
        client.expect("NOOP", 250)

    def test_plaintext_behind_starttls_is_never_executed(self):
        """CVE-2011-0411: what was injected in clear must not be taken for what the client said under TLS."""
        client = self.greeted()
        client.write(b"STARTTLS\r\nEHLO injected.example\r\nNOOP\r\nQUIT\r\n")
        self.assertEqual(client.reply().code, 220)
        wrap(client)
        client.expect("MAIL FROM:<a@x.example>", 503)           # the injected EHLO greeted nobody
        self.assertEqual(client.expect("EHLO x", 250).lines[0].split()[2], "x")
        self.assertNotIn("injected", self.server.log() + self.server.output())

    def test_plaintext_in_a_segment_of_its_own_is_never_executed(self):
        client = self.greeted()
        client.expect("STARTTLS", 220)
        client.write(b"EHLO injected.example\r\nNOOP\r\n")
        self.assertNotIn(b"250", client.rest())
        self.server.wait_log("TLS error on connection from (client.example.org) [127.0.0.1]")
        self.assert_serves()

    def test_rubbish(self):
        for octets in (RUBBISH, b"\r\n", b"\x16\x03\x01\x00\x05rubbi", b"\x80" * 5000):
            with self.subTest(octets=octets[:10]):
                before = self.server.log().count("TLS error on connection")
                client = self.greeted()
                client.expect("STARTTLS", 220)
                client.write(octets)
                client.socket.shutdown(socket.SHUT_WR)
                self.assertNotIn(b"250", client.rest())
                if octets != b"\r\n":       # as much as half a record's head is no error yet
                    support.wait_for(lambda: self.server.log().count("TLS error on connection") > before, "the log")
        self.assertNotIn("Traceback", self.server.log())
        self.assert_serves()

    def test_client_leaves_during_the_handshake(self):
        client = self.greeted("EHLO leaver.example")
        client.expect("STARTTLS", 220)
        client.close()
        self.server.wait_log("(leaver.example)")
        self.assertNotIn("Traceback", self.server.log())
        self.assert_serves()

    def test_rubbish_later(self):
        client = self.secured()
        raw = socket.socket(fileno=client.socket.detach())
        with raw:
            raw.settimeout(PATIENCE)
            raw.sendall(RUBBISH)
            while raw.recv(65536):
                pass
        self.assertNotIn("Traceback", self.server.log())
        self.assert_serves()

    def test_commands_that_come_with_the_end_of_the_handshake(self):
        """A client may send its EHLO in one segment with the last octets of the handshake."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                client = self.greeted()
                client.expect("STARTTLS", 220)
                self.assertIn(b"250 ", talk_at_once(client, context(version), b"EHLO x\r\nQUIT\r\n"))

    def test_end_of_tls_that_comes_with_a_command(self):
        """close_notify in one segment with QUIT, or without it, on a connection that stays open: answered, and closed."""
        for command, answer in ((b"QUIT\r\n", b"221 "), (b"NOOP\r\n", b"250 "), (b"", b"")):
            with self.subTest(command=command):
                client = self.greeted()
                client.expect("STARTTLS", 220)
                self.assertIn(answer, talk_at_once(client, context(), command, end=True))

    def test_server_says_goodbye(self):
        """The end of TLS is announced (close_notify): nothing was cut off."""
        client = self.secured()
        client.expect("QUIT", 221)
        self.assertEqual(client.rest(), b"")        # suppress_ragged_eofs is off: a bare end would raise


def talk_at_once(client, with_context, plaintext, end=False):
    """Handshake by hand, so that `plaintext` leaves together with its last octets, and the end of TLS too if asked.
    Returns all that the server says until it closes; the connection stays open on our side."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = with_context.wrap_bio(incoming, outgoing)
    done = False
    while not done:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            client.write(outgoing.read())
            incoming.write(client.socket.recv(65536))
    if plaintext:
        tls.write(plaintext)
    if end:
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            pass
    client.write(outgoing.read())
    said = b""
    while data := client.socket.recv(65536):
        incoming.write(data)
    try:
        while piece := tls.read(65536):
            said += piece
    except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
        pass
    return said


class VersionTest(TlsTestCase):
    def test_old_versions_are_refused(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with self.subTest(version=version.name), support.Client(self.smtps) as client, \
                    self.assertRaises(ssl.SSLError) as caught:
                wrap(client, context(version))
            self.assertIn("PROTOCOL_VERSION", caught.exception.reason)
            with self.subTest(version=version.name), self.client() as client:
                client.expect("EHLO x", 250)
                client.expect("STARTTLS", 220)
                with self.assertRaises(ssl.SSLError):
                    wrap(client, context(version))
        self.server.wait_log("TLS error on connection from [127.0.0.1] (SSL_accept): ")
        self.server.wait_log("TLS error on connection from (x) [127.0.0.1] (SSL_accept): UNSUPPORTED_PROTOCOL")

    def test_new_versions(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            for client in (self.secured(context(version)), self.implicit(context(version))):
                self.assertEqual(client.socket.version(), name)
                client.expect("QUIT", 221)

    def test_certificate_can_be_verified(self):
        verifying = ssl.create_default_context(cafile=self.certificate.certificate)
        with socket.create_connection(("127.0.0.1", self.smtps), PATIENCE) as plain_socket:
            with verifying.wrap_socket(plain_socket, server_hostname="localhost") as secured:
                self.assertEqual(secured.recv(3), b"220")

    @support.needs_program("openssl")
    def test_openssl_client(self):
        for options in (("-connect", "127.0.0.1:%d" % self.server.port, "-starttls", "smtp"),
                        ("-connect", "127.0.0.1:%d" % self.smtps)):
            done = subprocess.run(["openssl", "s_client", "-quiet", "-crlf", "-ign_eof", *options], input=b"EHLO x\nQUIT\n",
                                  capture_output=True, timeout=PATIENCE, check=False)
            self.assertIn(b"221 2.0.0", done.stdout, done.stderr)


class ImplicitTest(TlsTestCase):
    def test_greeting_comes_under_tls(self):
        client = self.implicit()
        lines = client.expect("EHLO x", 250).lines
        self.assertNotIn("STARTTLS", lines)
        self.assertIn("AUTH PLAIN LOGIN CRAM-MD5", lines)
        client.expect("STARTTLS", 503)
        client.expect("QUIT", 221)

    def test_plain_client_gets_no_plaintext(self):
        with Client(self.smtps) as client:
            client.write(b"EHLO x\r\nMAIL FROM:<a@x.example>\r\n")
            self.assertNotIn(b"250", client.rest())
        self.server.wait_log("TLS error on connection from [127.0.0.1] (SSL_accept): ")
        self.assert_serves()

    def test_client_leaves_at_once(self):
        with Client(self.smtps):
            pass
        self.implicit().expect("QUIT", 221)
        self.assertNotIn("Traceback", self.server.log())

    def test_closed_door(self):
        client = self.implicit()
        client.expect("MAIL FROM:<a@x.example>", 530)
        client.expect("AUTH LOGIN", 334)
        client.expect(encoded("bob"), 334)
        client.expect(encoded(BOB), 235)
        self.assertEqual(client.letter("a@x.example", self.address("bob"), MESSAGE).code, 250)


class SessionTest(TlsTestCase):
    """A whole session under TLS: what is stored and logged, large messages, odd ways to cut things."""

    def arrival(self, reply):
        return self.server.wait_log(reply.text.rpartition("id=")[2] + " <= ")

    def test_trace(self):
        for connect in (self.secured, self.implicit):
            for version, number in ((ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")):
                client = connect(context(version))
                log_in(client)
                reply = client.letter("a@x.example", self.address("alice"), MESSAGE)
                cipher, _, bits = client.socket.cipher()
                self.assertIn(" H=(client.example.org) [127.0.0.1] P=esmtpsa X=TLS%s:%s:%d CV=no A=plain:alice S="
                              % (number, cipher, bits), self.arrival(reply))
                stored = self.server.messages("alice")[-1].content.decode()
                self.assertRegex(stored, r"\n\tby %s with esmtpsa  \(TLS%s\) tls TLS_[A-Z0-9_]+\n\t\(serveur\)\n"
                                 % (re.escape(self.server.domain), re.escape(number)))

    def test_pipelining(self):
        client = self.secured()
        client.write(b"AUTH PLAIN %s\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<%s>\r\nDATA\r\n"
                     % (plain("alice", ALICE).encode(), self.address("bob").encode()))
        self.assertEqual([client.reply().code for _ in range(4)], [235, 250, 250, 354])
        client.write(MESSAGE + b"MAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
        self.assertEqual([client.reply().code for _ in range(4)], [250, 250, 250, 221])

    def test_one_octet_a_record(self):
        client = self.implicit()
        log_in(client)
        before = len(self.server.messages("bob"))
        dialogue = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<%s>\r\nDATA\r\n%s" % (self.address("bob").encode(), MESSAGE)
        for octet in dialogue:
            client.write(bytes([octet]))
        self.assertEqual([client.reply().code for _ in range(4)], [250, 250, 354, 250])
        self.assertEqual(len(self.server.messages("bob")), before + 1)

    def test_client_leaves_inside_the_data(self):
        for end in ("close", "unwrap"):
            client = self.secured()
            log_in(client)
            before = len(self.server.messages("bob"))
            for command, code in (("MAIL FROM:<a@x.example>", 250), ("RCPT TO:<%s>" % self.address("bob"), 250), ("DATA", 354)):
                client.expect(command, code)
            client.write(b"Subject: half\r\n")
            if end == "unwrap":
                client.socket.unwrap()
            client.close()
            self.server.wait_log("lost while reading message data")
            self.assertEqual(len(self.server.messages("bob")), before)

    def test_half_closed(self):
        """A client that sends all it has and closes its sending side is still answered."""
        client = self.secured()
        client.write(b"NOOP\r\nAUTH PLAIN %s\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<%s>\r\nDATA\r\n%sQUIT\r\n" % (
            plain("alice", ALICE).encode(), self.address("bob").encode(), MESSAGE))
        socket.socket.shutdown(client.socket, socket.SHUT_WR)
        self.assertEqual([client.reply().code for _ in range(7)], [250, 235, 250, 250, 354, 250, 221])
        self.assertEqual(client.rest(), b"")

    def test_large_message_in_little_memory(self):
        """50 MB, octet for octet, while the process stays small."""
        line = b"%07d " + b"x" * 68 + b"\r\n"
        count = 52000000 // 78
        client = self.secured()
        log_in(client)
        for command, code in (("MAIL FROM:<a@x.example>", 250), ("RCPT TO:<%s>" % self.address("alice"), 250), ("DATA", 354)):
            client.expect(command, code)
        client.write(b"Subject: large\r\n\r\n")
        for start in range(0, count, 5000):
            client.write(b"".join(line % number for number in range(start, min(start + 5000, count))))
        peaks = [peak_memory(pid) for pid, command in self.server.processes().items() if "smtp_handler.py" in command]
        client.write(b".\r\n")
        self.assertEqual(client.reply().code, 250)
        self.assertTrue(peaks)
        self.assertLess(max(peaks), 64 << 20)
        stored = self.server.messages("alice")[-1].content
        body = stored[stored.index(b"\n\n") + 2:]
        self.assertEqual(len(body), count * 77)
        self.assertEqual(body[-77000:], b"".join(line % number for number in range(count - 1000, count)).replace(b"\r\n", b"\n"))

    def test_many_at_once(self):
        """Implicit TLS and STARTTLS side by side, as many as the pool has."""
        results = []

        def one(number):
            client = (self.secured, self.implicit)[number % 2]()
            log_in(client)
            results.append(client.letter("a@x.example", self.address("bob"), MESSAGE).code)
            client.close()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(results, [250] * 8)


def peak_memory(pid):
    """The most that a process has had resident, in octets."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


class PortsTest(TlsTestCase):
    """Several ports at once: one log, one stop."""

    def test_each_port_has_its_way(self):
        client = self.client()
        self.addCleanup(client.close)
        second = support.greeted_client(self.second)
        self.addCleanup(second.close)
        for plain_client in (client, second):
            self.assertIn("STARTTLS", plain_client.expect("EHLO x", 250).lines)
        self.assertNotIn("STARTTLS", self.implicit().expect("EHLO x", 250).lines)

    def test_announced(self):
        support.wait_for(lambda: "Journal : " in self.server.output(), "the announcement")
        output = self.server.output()
        for port in (self.server.port, self.second):
            self.assertRegex(output, r"sur le port %d \(127\.0\.0\.1\)\.\n" % port)
        self.assertIn("sur le port %d (127.0.0.1), en TLS dès la connexion.\n" % self.smtps, output)

    def test_one_log(self):
        for client in (start_tls(support.greeted_client(self.second)), self.secured(), self.implicit()):
            log_in(client)
            reply = client.letter("a@x.example", self.address("bob"), MESSAGE)
            client.close()
            self.server.wait_log(reply.text.rpartition("id=")[2] + " Completed")

    def test_one_stop(self):
        smtps = support.free_port()
        server = support.Server(("-tls", certificate.option, "-smtps", smtps, "-port", support.free_port()))
        with server:
            server.start()
            support.wait_for(lambda: "Journal : " in server.output(), "the announcement")
            ports = [int(port) for port in re.findall(r"sur le port (\d+) ", server.output())]
            self.assertEqual(len(ports), 3)
            clients = [support.greeted_client(server.port), start_tls(support.greeted_client(server.port)), implicit(smtps)]
            server.process.send_signal(signal.SIGTERM)
            for client in clients:
                self.assertEqual(client.reply().code, 421)
                client.close()
            self.assertEqual(server.stop(), 0)
            self.assertEqual([support.listeners(port) for port in ports], [0, 0, 0])


class PipesTest(unittest.TestCase):
    """Under ncat -e the handler has pipes, no socket."""

    @support.needs_program("ncat")
    def test_tls_over_pipes(self):
        for variables in ({}, {"SMTP_IMPLICIT_TLS": "1"}):
            with self.subTest(**variables), tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                self.check(folder, variables)

    def check(self, folder, variables):
        os.chmod(folder, 0o777)
        (folder / "mail" / "alice").mkdir(parents=True)
        if support.IS_ROOT:
            os.chown(folder / "mail" / "alice", support.NOBODY, support.NOBODY)
        subprocess.run(["install", "-d", "-m", "777", folder / "spool", folder / "spool/tmp", folder / "spool/queue",
                        folder / "spool/queue/tmp"], check=True)
        port = support.free_port()
        environment = {"SMTP_DOMAIN": "d.example", "SMTP_STORE": str(folder / "mail"), "SMTP_SPOOL": str(folder / "spool"),
                       "SMTP_TLS": certificate.option, "SMTP_ALIASES": "", "PATH": os.environ["PATH"],
                       "HOME": str(folder), **variables}
        ncat = subprocess.Popen(["ncat", "-l", "127.0.0.1", str(port), "-k", "-e", str(support.ROOT / "smtp_handler.py")],
                                env=environment, start_new_session=True)
        try:
            support.wait_for(lambda: support.listeners(port), "ncat")
            client = implicit(port) if variables else start_tls(support.greeted_client(port))
            with client:
                client.expect("EHLO x", 250)
                body = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 300000 + b".\r\n"
                self.assertEqual(client.letter("a@x.example", "alice@d.example", body).code, 250)
                client.expect("QUIT", 221)
            self.assertEqual(len(support.read_maildir(folder / "mail" / "alice" / "Maildir")), 1)
        finally:
            os.killpg(ncat.pid, signal.SIGKILL)
            ncat.wait()


class CertificateCase(unittest.TestCase):
    """Certificates for a serveur.sh that is yet to be started."""

    run_as = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="certificat-essai-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o777)
        self.own = self.certificate()

    def certificate(self, **arguments):
        made = Certificate(**arguments)
        self.addCleanup(made.destroy)
        if self.run_as is not None:
            made.give_to(self.run_as)
        return made

    def server(self, *options):
        server = support.Server(options, run_as=self.run_as)
        self.addCleanup(server.destroy)
        return server

    def assert_refused(self, option, *words):
        server = self.server("-tls", option)
        self.assertEqual(server.launch().wait(PATIENCE), 2, server.output())
        self.assertRegex(server.output(), r"\Aserveur\.sh: -tls : [^\n]+\n\Z")
        for word in words:
            self.assertIn(word, server.output())
        self.assertEqual(support.listeners(server.port), 0)

    def served_fingerprint(self, server):
        with server.client() as client:
            start_tls(client)
            der = client.socket.getpeercert(binary_form=True)
        digest = hashlib.sha256(der).hexdigest().upper()
        return ":".join(digest[i:i + 2] for i in range(0, 64, 2))


class CertificateTest(CertificateCase):
    """What serveur.sh says of a certificate that will not do, and how it makes its own."""

    def test_missing(self):
        self.assert_refused("%s,%s" % (self.folder / "absent.pem", self.own.key), "absent.pem est introuvable")
        self.assert_refused("%s,%s" % (self.own.certificate, self.folder / "absent.key"), "absent.key est introuvable")

    def test_folder(self):
        self.assert_refused(str(self.folder), "ne peut pas être lu")

    def test_rubbish(self):
        (self.folder / "x.pem").write_bytes(RUBBISH)
        self.assert_refused("%s,%s" % (self.folder / "x.pem", self.own.key), "fichier PEM")
        self.assert_refused("%s,%s" % (self.own.certificate, self.folder / "x.pem"), "fichier PEM")

    def test_key_missing_in_the_same_file(self):
        self.assert_refused(str(self.own.certificate), "fichier PEM")

    def test_key_of_another(self):
        self.assert_refused("%s,%s" % (self.own.certificate, self.certificate().key), "n'est pas celle du certificat")

    def test_key_under_a_password(self):
        locked = self.folder / "locked.key"
        secure.run_openssl("pkey", "-in", str(self.own.key), "-aes256", "-passout", "pass:secret", "-out", str(locked))
        locked.chmod(0o644)
        self.assert_refused("%s,%s" % (self.own.certificate, locked), "sans mot de passe")

    def test_expired(self):
        self.assert_refused(self.certificate(days=-1).option, "a expiré")

    def test_smtps_without_certificate(self):
        server = self.server("-smtps", support.free_port())
        self.assertEqual(server.launch().wait(PATIENCE), 2)
        self.assertIn("serveur.sh: -smtps demande un certificat", server.output())

    def test_one_file_for_both(self):
        server = self.server("-tls", self.own.both).start()
        with server.client() as client:
            start_tls(client)
        self.assertEqual(server.stop(), 0)

    def test_expires_while_the_server_runs(self):
        """A certificate that has become unusable: 454, and the session goes on."""
        server = self.server("-tls", self.own.both).start()
        with server.client() as client:
            client.expect("EHLO x", 250)
            self.own.both.unlink()
            self.assertEqual(client.expect("STARTTLS", 454).text, "4.7.0 TLS not available")
            client.expect("MAIL FROM:<a@x.example>", 250)
        server.wait_log("TLS cannot be used: No such file or directory")
        self.assertEqual(server.stop(), 0)

    def test_auto(self):
        """The certificate stays the same from start to start, and its fingerprint is shown so that a user can compare."""
        server = self.server("-tls", "auto")
        for count in (1, 2):
            server.start()
            shown = "empreinte SHA-256 : %s\n" % self.served_fingerprint(server)
            support.wait_for(lambda: server.output().count(shown) == count, shown)
            self.assertEqual(server.stop(), 0)
        key, = server.spool.glob("*.key")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    def test_auto_names_the_domain(self):
        server = self.server("-tls", "auto").start()
        made, = server.spool.glob("*.pem")
        text = secure.run_openssl("x509", "-in", str(made), "-noout", "-subject", "-ext", "subjectAltName,basicConstraints")
        self.assertIn("DNS:%s" % server.domain, text)
        self.assertEqual(server.stop(), 0)

    def test_auto_is_made_anew_when_it_is_spoilt(self):
        server = self.server("-tls", "auto").start()
        first = self.served_fingerprint(server)
        self.assertEqual(server.stop(), 0)
        for path in server.spool.glob("*.pem"):
            path.write_text("")
        server.start()
        self.assertNotEqual(self.served_fingerprint(server), first)
        self.assertEqual(server.stop(), 0)


@support.needs_root
class CertificateOfSomebodyTest(CertificateCase):
    """The same for an ordinary user, who can't read everything."""

    run_as = support.NOBODY

    def test_unreadable(self):
        self.own.key.chmod(0)
        self.assert_refused(self.own.option, "c.key ne peut pas être lu")

    test_auto = CertificateTest.test_auto


@support.needs_root
class ClosedFolderTest(unittest.TestCase):
    """Root may keep certificate and key where nobody else gets, whoever owns them."""

    def test_files_in_roots_own_folder(self):
        with tempfile.TemporaryDirectory(prefix="certificat-essai-") as folder:         # 0700
            both = pathlib.Path(folder) / "both.pem"
            both.write_text(certificate.both.read_text())
            both.chmod(0o600)
            os.chown(both, support.NOBODY, support.NOBODY)
            with support.Server(("-tls", both)) as server:
                server.start()
                with server.client() as client:
                    start_tls(client)
                self.assertEqual(server.stop(), 0)
