"""The table of smtp/limits.py, gone through: whatever state a session is in, and however busy its client is, it ends.

What takes minutes there takes a moment here; each session must end by itself, with a last reply that says why.
"""

import contextlib
import select
import time
import typing
import unittest

from smtp import limits
from tests.helpers import faults, harness, support
from tests.helpers.client import Client

TO = "alice@" + support.DOMAIN
GREETED = b"EHLO x.example\r\n"
OPENED = GREETED + b"MAIL FROM:<a@x.example>\r\n"
ADDRESSED = OPENED + b"RCPT TO:<%s>\r\n" % TO.encode()
IN_DATA = ADDRESSED + b"DATA\r\n"
ENVELOPE = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<%s>\r\n" % TO.encode()
MESSAGE = ENVELOPE + b"BDAT 14 LAST\r\nSubject: x\r\n\r\n"
PRESSED = {"smtp.backend.Backend.is_under_stress": faults.yes}
PATIENT = ("MOST_IDLE_COMMANDS", "STRESS_IDLE_COMMANDS", "MOST_ERRORS")
SOON = 0.3
IDLE = "IDLE_SECONDS STRESS_SECONDS"
FRUITLESS = "FRUITLESS_SECONDS STRESS_FRUITLESS_SECONDS"
SESSION = "SESSION_SECONDS STRESS_SESSION_SECONDS"


class Row(typing.NamedTuple):
    """short: the names of the limits made short; first: what the client says once; then: what it says again
    and again; last: how the last reply begins; log: a piece of the line about it."""
    short: str
    first: bytes
    then: bytes
    last: bytes
    log: str
    pressed: bool = False


ROWS = {
    "silence": Row(IDLE, b"", b"", b"421 4.4.2", "SMTP command timeout"),
    "silence under pressure": Row("STRESS_SECONDS", GREETED, b"", b"421 4.4.2", "SMTP command timeout", True),
    "a command that drips": Row(IDLE, b"", b"N", b"421 4.4.2",
                                "SMTP command timeout"),
    "a command without end": Row("DROPPED_OCTETS", GREETED, b"x" * 65536, b"500 5.5.2 Line too long",
                                 "dropped: a line without end"),
    "commands that come to nothing": Row(FRUITLESS, GREETED, b"NOOP\r\n", b"421 4.4.2", "SMTP command timeout"),
    "recipients for ever": Row(FRUITLESS, OPENED, b"RCPT TO:<%s>\r\n" % TO.encode(), b"421 4.4.2", "timeout"),
    "transactions for ever": Row(FRUITLESS, GREETED, ENVELOPE + b"RSET\r\n", b"421 4.4.2", "timeout"),
    "commands under pressure": Row("STRESS_FRUITLESS_SECONDS", GREETED, b"NOOP\r\n", b"421 4.4.2", "timeout", True),
    "messages for ever": Row(SESSION, GREETED, MESSAGE, b"421 4.4.2", "SMTP command timeout"),
    "messages under pressure": Row("STRESS_SESSION_SECONDS", GREETED, MESSAGE, b"421 4.4.2", "timeout", True),
    "silence in a text": Row(IDLE, IN_DATA, b"", b"421 4.4.2", "SMTP data timeout"),
    "silence in a text under pressure": Row("STRESS_SECONDS", IN_DATA + b"x" * 90000, b"", b"421 4.4.2",
                                            "SMTP data timeout", True),
    "a text that drips": Row("GRACE_SECONDS", IN_DATA, b"x", b"421 4.4.2", "SMTP data too slow"),
    "a text that drips, under pressure": Row("STRESS_SECONDS", IN_DATA, b"x", b"421 4.4.2", "SMTP data too slow",
                                             True),
    "a long text under pressure": Row("STRESS_TEXT_SECONDS STRESS_SECONDS", IN_DATA, b"x" * 1000,
                                      b"421 4.4.2", "SMTP data too slow", True),
    "a text without end": Row("DROPPED_OCTETS", IN_DATA, b"x" * 65536, b"552 5.3.4", "message too big"),
    "chunks that drip": Row("GRACE_SECONDS", ADDRESSED, b"BDAT 1\r\nx", b"421 4.4.2", "on connection from"),
    "a chunk that drips": Row("GRACE_SECONDS", ADDRESSED + b"BDAT 9000\r\n", b"x", b"421 4.4.2", "SMTP data too slow"),
    "chunks that drip, under pressure": Row("STRESS_SECONDS", ADDRESSED, b"BDAT 1\r\nx", b"421 4.4.2",
                                            "on connection from", True),
    "nothing between two chunks": Row("GRACE_SECONDS", ADDRESSED + b"BDAT 1\r\nx", b"NOOP\r\n", b"421 4.4.2",
                                      "timeout"),
    "a chunk for nobody": Row("DROPPED_OCTETS", GREETED + b"BDAT %d\r\n" % (10 ** 20 - 1), b"x" * 400, b"503 5.5.1",
                              "SMTP protocol error"),
    "a chunk for nobody that drips": Row("GRACE_SECONDS", GREETED + b"BDAT 9000\r\n", b"x", b"421 4.4.2", "too slow"),
    "a chunk beyond -size": Row("DROPPED_OCTETS", ADDRESSED + b"BDAT 99999999 LAST\r\n", b"x" * 400, b"552 5.3.4",
                                "message too big: read=99999999"),
    "whoever goes on behind the last reply": Row("LINGER_SECONDS", b"HELP x\r\n" * 20, b"x", b"421 4.7.0",
                                                 "too many syntax"),
}
# What other tests wait for: the files stand behind each name.
ELSEWHERE = {
    "HANDSHAKE_SECONDS": "test_tls", "WRITE_SECONDS": "test_session_limits", "OUTPUT_OCTETS": "test_hostile",
    "LINE_OCTETS": "test_authentication", "MOST_ERRORS": "errors-twenty.txt", "MOST_IDLE_COMMANDS": "idle-commands.txt",
    "STRESS_IDLE_COMMANDS": "test_hostile", "MOST_FAILURES": "test_authentication", "FREE_REFUSALS": "test_guessing",
    "LONGEST_DELAY": "test_guessing", "FIRST_DELAY": "test_guessing", "FREE_FAILURES": "test_guessing",
    "CHECK_SECONDS": "test_guessing", "LEAST_OCTETS_A_SECOND": "with GRACE_SECONDS",
    "TEXT_LINGER_SECONDS": "test_chunking", "HEADER_SECONDS": "test_proxy", "TERMINALS_SECONDS": "test_send_soml_saml",
}


class TableTest(unittest.TestCase):
    def serve(self, row: Row) -> harness.Handlers:
        patient = PATIENT if row.last[:3] == b"421" and b"HELP" not in row.first else ()
        values = {**dict.fromkeys(patient, 1e9),
                  **dict.fromkeys(row.short.split(), 1000 if "OCTETS" in row.short else SOON)}
        patch = {**{"smtp.limits." + name: value for name, value in values.items()}, **(PRESSED if row.pressed else {})}
        server = harness.Handlers({"SMTP_SIZE": "100000"}, patch)
        self.addCleanup(server.destroy)
        return server

    @staticmethod
    def keep_on(client: Client, row: Row) -> bytes:
        """What the server says to a client that does not stop, until it closes."""
        deadline = time.monotonic() + support.PATIENCE
        said, came = b"", b"first"
        with contextlib.suppress(ConnectionError):
            client.write(row.first)
            select.select([client.socket], [], [], support.PATIENCE)
            while came:
                client.write(row.then)
                while came and select.select([client.socket], [], [], 0.01)[0]:     # between what the client says, too
                    came = client.socket.recv(65536)
                    said += came
                if time.monotonic() > deadline:
                    raise AssertionError("the session goes on: ...%r" % said[-200:])
        return said

    def check(self, row: Row):
        server = self.serve(row)
        with server.stranger() as client:           # who has said it before its time begins
            lines = self.keep_on(client, row).splitlines()
        server.finished()
        self.assertTrue(lines[-1].startswith(row.last), lines[-3:])
        server.wait_log(row.log)
        self.assertNotIn("Traceback", server.log())

    def test_every_limit_is_here(self):
        named = set(ELSEWHERE).union(*(row.short.split() for row in ROWS.values()))
        self.assertEqual(named, {name for name in vars(limits) if name.isupper()})


def add_test(name: str, row: Row) -> None:
    test = "test_" + name.replace(",", "").replace("-", "").replace(" ", "_")
    setattr(TableTest, test, lambda case: case.check(row))


for case in ROWS.items():
    add_test(*case)


class LineTest(unittest.TestCase):
    def test_pause_in_a_line_that_is_too_long(self):
        """What comes behind a pause is still of that line, and no command."""
        server = harness.Handlers(patch={"smtp.limits.STRESS_SECONDS": 0.1})
        self.addCleanup(server.destroy)
        with server.client() as client:
            client.write(b"x" * 20000)
            support.wait_for(lambda: not harness.unread_octets(client), "the server reads it")
            time.sleep(0.3)                         # several waits: nothing tells when one is over
            self.assertEqual(client.ask("QUIT").code, 500)
            client.expect("NOOP", 250)


class HttpTest(support.ServerTestCase):
    """A browser that a web page has sent here sends no mail."""

    LETTER = b"HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: x\r\n.\r\nQUIT\r\n" % TO.encode()

    def check(self, request: bytes):
        with self.client() as client:
            client.write(request + b"\r\nHost: localhost:4567\r\nContent-Type: text/plain\r\n\r\n" + self.LETTER)
            reply = client.reply()
            self.assertEqual((reply.code, client.rest()), (421, b""), request)
            self.assertIn("does not speak HTTP", reply.text)
        self.server.wait_log('dropped: HTTP request "%s' % request[:100].decode("latin-1"))
        self.assertEqual(self.server.messages("alice"), [])

    def test_requests(self):
        for request in (b"POST / HTTP/1.1", b"GET / HTTP/1.1", b"PUT /x HTTP/1.0", b"HEAD / HTTP/1.1",
                        b"OPTIONS * HTTP/1.1", b"CONNECT localhost:25 HTTP/1.1", b"post / HTTP/1.1", b"MAKE / HTTP/1.1",
                        b"PRI * HTTP/2.0", b"GET /" + b"x" * 4000 + b" HTTP/1.1", b"GET /"):
            with self.subTest(request=request[:30]):
                self.check(request)

    def test_fields(self):
        for request in (b"Host: localhost", b"content-length: 5"):
            with self.subTest(request=request):
                self.check(request)

    def test_once_greeted_it_is_an_error_like_others(self):
        with self.client() as client:
            client.expect("HELO x", 250)
            client.expect("GET / HTTP/1.1", 500)
            client.expect("NOOP", 250)


if __name__ == "__main__":
    unittest.main()
