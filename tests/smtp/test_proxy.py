"""`-proxy`: whoever comes from a proxy's address is who its header says, behind both listeners, with TLS and without.

The proxy here is 127.0.0.9: a client that binds itself to that address, and writes headers.
"""

import contextlib
import socket
import unittest

from smtp import limits, proxy_header
from tests.helpers import harness, secure, support
from tests.helpers.client import Client
from tests.smtp.test_proxy_header import FOUR, SIX, v2

PROXY = "127.0.0.9"
FOUR_LINE = b"PROXY TCP4 192.0.2.1 198.51.100.25 56324 25\r\n"
SIX_LINE = b"PROXY TCP6 2001:db8::1 2001:db8::25 56324 25\r\n"
HEADERS = {FOUR_LINE: "192.0.2.1", v2(0x21, 0x11, FOUR): "192.0.2.1",
           SIX_LINE: "2001:db8::1", v2(0x21, 0x21, SIX): "2001:db8::1",
           b"PROXY UNKNOWN\r\n": PROXY, v2(0x20, 0, b""): PROXY, v2(0x21, 0x31, bytes(216)): PROXY}
WIRE = b"Subject: x\r\n\r\nx\r\n.\r\n"


@support.both_listeners
class ProxyTest(secure.TlsPorts, support.ServerTestCase):
    tls_options = ("-proxy", PROXY, "-proxy", "::1", "-max", "16")

    def through(self, header: bytes, port: int = 0) -> Client:
        client = Client(port or self.server.port, source=PROXY)
        self.addCleanup(client.close)
        client.write(header)
        return client

    def test_the_client_that_the_header_names(self):
        """In the reply to EHLO, in Received and in the log."""
        for header, address in HEADERS.items():
            client = self.through(header)
            self.assertEqual(client.reply().code, 220)
            self.assertIn("Hello client.example [%s]" % address, client.expect("EHLO client.example", 250).text)
            reply = client.letter("proxied@client.example", self.address("alice"), WIRE)
            message_id = reply.text.rpartition("id=")[2]
            self.assertIn("H=(client.example) [%s] P=esmtp" % address, self.server.wait_log("%s <=" % message_id))
            stored = self.server.messages("alice")[-1].content
            self.assertIn(b"from [%s] (helo=client.example)" % address.encode(), stored)

    def test_header_and_commands_in_one_segment(self):
        for header in HEADERS:
            client = self.through(header + b"EHLO x\r\nNOOP\r\nQUIT\r\n")
            self.assertEqual([client.reply().code for _ in range(4)], [220, 250, 250, 221])
            self.assertEqual(client.rest(), b"")

    def test_no_greeting_before_the_header(self):
        client = self.through(FOUR_LINE[:-1])
        client.socket.settimeout(0.2)
        with self.assertRaises(socket.timeout):
            client.socket.recv(1)
        client.socket.settimeout(support.PATIENCE)
        client.write(FOUR_LINE[-1:])
        client.file = client.socket.makefile("rb")
        self.assertEqual(client.reply().code, 220)

    def test_the_address_that_the_client_connected_to_is_ours(self):
        client = self.through(FOUR_LINE)
        client.reply()
        client.expect("HELO x", 250)
        client.expect("MAIL FROM:<>", 250)
        client.expect("RCPT TO:<alice@[198.51.100.25]>", 250)
        client.expect("RCPT TO:<alice@[192.0.2.1]>", 550)

    def test_no_good_header(self):
        malformed = "connection from proxy [%s] dropped: PROXY header malformed" % PROXY
        for header in (b"EHLO x\r\n", b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\nQUIT\r\n", b"\x16\x03\x01\x02\x00\x01",
                       v2(0x31, 0x11, FOUR)):
            before = self.server.log().count(malformed)
            with contextlib.suppress(ConnectionError):      # whoever sent more than was read hears a reset
                self.assertEqual(self.through(header).rest(), b"")
            support.wait_for(lambda n=before: self.server.log().count(malformed) > n, "a line in the log")

    def test_a_connection_that_is_only_tried(self):
        self.through(b"").close()
        self.server.wait_log("dropped: PROXY header connection closed before it was complete")

    def test_from_anywhere_else_it_is_a_syntax_error(self):
        with self.client() as client:
            client.write(FOUR_LINE + b"EHLO x\r\nPROXY UNKNOWN\r\nNOOP\r\nQUIT\r\n")
            self.assertEqual([client.reply().code for _ in range(5)], [500, 250, 500, 250, 221])
        self.server.wait_log('SMTP syntax error in "PROXY TCP4 192.0.2.1 198.51.100.25 56324 25" H=[127.0.0.1]')
        self.assertNotIn("H=[192.0.2.1] unrecognized", self.server.log())
        with self.client() as client:
            client.write(proxy_header.SIGNATURE)
            self.assertEqual([client.reply().code for _ in range(4)], [500, 500, 501, 221])

    def test_starttls(self):
        client = self.through(FOUR_LINE)
        client.reply()
        secure.start_tls(client)
        self.assertIn("[192.0.2.1]", client.expect("EHLO x", 250).text)

    def test_header_before_the_handshake(self):
        """The handshake's first octets may come in one segment with the header."""
        for header, address in HEADERS.items():
            client = Client(self.smtps, source=PROXY)
            self.addCleanup(client.close)
            tls = Glued(client, header)
            self.assertIn("220 ", tls.line())
            tls.write(b"EHLO x\r\n")
            self.assertIn("[%s]" % address, tls.line())

    def test_tls_without_a_header(self):
        with Client(self.smtps, source=PROXY) as client, contextlib.suppress(OSError):
            secure.wrap(client)
        self.server.wait_log("dropped: PROXY header malformed")

    def test_clients_are_counted_by_their_own_address(self):
        """One client behind the proxy has all that it may, and the next one still comes in."""
        self.addCleanup(support.wait_for, lambda: not self.server.serving(), "the end of all sessions")
        greedy = [self.through(FOUR_LINE).reply().code]
        while greedy[-1] == 220 and len(greedy) < 16:
            greedy.append(self.through(FOUR_LINE).reply().code)
        self.assertEqual(greedy[-1], 421)
        self.server.wait_log("Connection from [192.0.2.1] refused: too many connections")
        self.assertEqual(self.through(SIX_LINE).reply().code, 220)


class Glued:
    """TLS over memory buffers, so that `first` leaves in one segment with the handshake's first octets."""

    def __init__(self, client: Client, first: bytes):
        ssl = secure.ssl
        self.client, self.incoming, self.outgoing, self.text = client, ssl.MemoryBIO(), ssl.MemoryBIO(), b""
        self.tls = secure.context().wrap_bio(self.incoming, self.outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        client.write(first + self.outgoing.read())
        self._wait(self.tls.do_handshake)
        client.write(self.outgoing.read())

    def _wait(self, step):
        while True:
            try:
                return step()
            except secure.ssl.SSLWantReadError:
                self.incoming.write(self.client.socket.recv(65536))

    def line(self) -> str:
        while b"\n" not in self.text:
            self.text += self._wait(lambda: self.tls.read(65536))
        line, _, self.text = self.text.partition(b"\n")
        return line.decode()

    def write(self, data: bytes):
        self.tls.write(data)
        self.client.write(self.outgoing.read())


def catches_term(pid: int) -> bool:
    """Whether a process has a handler for TERM, which it sets when it begins to wait for its client."""
    status = support.pathlib.Path("/proc/%d/status" % pid).read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(mask & 1 << 14)


class SilenceTest(unittest.TestCase):

    def test_a_header_has_its_time(self):
        """However slowly it drips."""
        self.assertLessEqual(limits.HEADER_SECONDS, 5)
        variables = {"SMTP_PROXY": "127.0.0.1"}
        with harness.Handlers(variables, patch={"smtp.limits.HEADER_SECONDS": 0.3}) as server:
            for sent in (b"", b"PROXY TCP4 ", proxy_header.SIGNATURE):
                client = server.stranger()
                client.write(sent)
                self.assertEqual(client.rest(), b"")
                client.close()
            server.finished()
            self.assertEqual(server.log().count("[127.0.0.1] dropped: PROXY header not complete in time"), 3)

    def test_a_stop_waits_for_no_header(self):
        for listener in ("netcat", "prefork"):
            with support.Server(("-proxy", "127.0.0.1", "-listen", listener)) as server:
                server.start()
                client = Client(server.port)
                self.addCleanup(client.close)
                client.write(FOUR_LINE[:-1])
                support.wait_for(lambda s=server: any(map(catches_term, s.serving())), "the wait for the rest")
                self.assertEqual(server.stop(), 0)
                with contextlib.suppress(ConnectionResetError):     # it may not have read what had come
                    self.assertEqual(client.rest(), b"")
                self.assertIn("dropped: PROXY header not complete when the server stopped", server.log())

    def test_wrong_passwords_are_the_clients(self):
        """Who guesses behind a proxy waits; the proxy's other clients do not."""
        with secure.tempfile.TemporaryDirectory() as folder:
            support.os.chmod(folder, 0o755)
            accounts = support.pathlib.Path(folder) / "accounts"
            accounts.write_text("alice:secret\n")
            accounts.chmod(0o644)
            variables = {"SMTP_PROXY": "127.0.0.1", "SMTP_PASS": str(accounts)}
            with harness.Handlers(variables) as server:
                for header in (FOUR_LINE, SIX_LINE):
                    client = server.stranger()
                    client.write(header)
                    client.reply()
                    client.expect("EHLO x", 250)
                    client.expect("AUTH PLAIN " + secure.plain("alice", "no"), 535)
                    client.close()
                server.finished()
                failures = (server.spool / "failures").read_bytes()
                self.assertIn(b"192.0.2.1\0", failures)
                self.assertNotIn(b"127.0.0.1", failures)


if __name__ == "__main__":
    unittest.main()
