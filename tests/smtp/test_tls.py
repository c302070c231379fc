"""STARTTLS and -smtps: handshakes, versions, and sessions under TLS."""

import re
import socket
import ssl
import subprocess
import threading

from tests.helpers import processes, support
from tests.helpers.client import PATIENCE, Client
from tests.helpers.secure import ALICE, BOB, MESSAGE, RUBBISH, TlsTestCase, context, encoded, log_in, plain, wrap
from tests.helpers.tracing import Tracing


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
        for command in ("AUTH PLAIN " + plain("alice", ALICE), "AUTH LOGIN", "MAIL FROM:<a@x.example>"):
            self.assertEqual(client.expect(command, 530).text, "5.7.0 Must issue a STARTTLS command first")
        client = self.secured()
        self.assertEqual(client.expect("MAIL FROM:<a@x.example>", 530).text, "5.7.0 Authentication required")
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
        """close_notify in one segment with QUIT, or without it, on a connection that stays open: answered, and
        closed."""
        for command, answer in ((b"QUIT\r\n", b"221 "), (b"NOOP\r\n", b"250 "), (b"", b"")):
            with self.subTest(command=command):
                client = self.greeted()
                client.expect("STARTTLS", 220)
                self.assertIn(answer, talk_at_once(client, context(), command, end=True))

    @support.needs_root
    @support.needs_program("strace")
    def test_tickets_leave_no_reply_waiting(self):
        """TLS 1.3's tickets are a write of their own: without TCP_NODELAY the reply behind them waits until a client
        that has nothing to say acknowledges them, 40 ms later."""
        client = self.client()
        self.addCleanup(client.close)
        client.expect("EHLO client.example.org", 250)
        with Tracing([self.server.process_of(client)], calls="trace=setsockopt") as tracing:
            client.expect("STARTTLS", 220)
            wrap(client)
            client.expect("EHLO client.example.org", 250)
        self.assertIn("TCP_NODELAY, [1]", " ".join(call.arguments for call in tracing.calls))

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
            done = subprocess.run(["openssl", "s_client", "-quiet", "-crlf", "-ign_eof", *options],
                                  input=b"EHLO x\nQUIT\n", capture_output=True, timeout=PATIENCE, check=False)
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
            for command, code in (("MAIL FROM:<a@x.example>", 250), ("RCPT TO:<%s>" % self.address("bob"), 250),
                                  ("DATA", 354)):
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
        for command, code in (("MAIL FROM:<a@x.example>", 250), ("RCPT TO:<%s>" % self.address("alice"), 250),
                              ("DATA", 354)):
            client.expect(command, code)
        client.write(b"Subject: large\r\n\r\n")
        for start in range(0, count, 5000):
            client.write(b"".join(line % number for number in range(start, min(start + 5000, count))))
        peaks = [processes.peak_memory(pid) for pid, command in self.server.processes().items()
                 if "smtp_handler.py" in command]
        client.write(b".\r\n")
        self.assertEqual(client.reply().code, 250)
        self.assertTrue(peaks)
        self.assertLess(max(peaks), 64 << 20)
        stored = self.server.messages("alice")[-1].content
        body = stored[stored.index(b"\n\n") + 2:]
        self.assertEqual(len(body), count * 77)
        self.assertEqual(body[-77000:],
                         b"".join(line % number for number in range(count - 1000, count)).replace(b"\r\n", b"\n"))

    def test_many_at_once(self):
        """Implicit TLS and STARTTLS side by side, as many as the pool has."""
        results = []

        def one(client):
            log_in(client)
            results.append(client.letter("a@x.example", self.address("bob"), MESSAGE).code)
            client.close()

        # They come one by one: of a burst netcat loses some unless root has set tcp_migrate_req.
        clients = [(self.secured, self.implicit)[number % 2]() for number in range(8)]
        threads = [threading.Thread(target=one, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(results, [250] * 8)
