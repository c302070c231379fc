"""A session as the network makes it: cut anywhere, left at any moment, huge, slow, or one of too many."""

import concurrent.futures
import contextlib
import itertools
import pathlib
import random
import re
import select
import signal
import socket
import struct
import unittest

from tests import harness, support
from tests.client import Client

LINGER_ZERO = struct.pack("ii", 1, 0)       # closing resets the connection
MEGABYTE = 1 << 20


def reset(client: Client) -> None:
    """Leave with a RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    client.close()


def half_close(client: Client) -> None:
    """Say no more, but listen to the end."""
    client.socket.shutdown(socket.SHUT_WR)
    client.rest()
    client.close()


def unread_octets(client: Client) -> int:
    """How many octets that `client` sent the server has not read yet, as the kernel's table shows it."""
    ours, theirs = client.socket.getsockname()[1], client.socket.getpeername()[1]
    for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues = row.split()[:5]
        if int(local.rpartition(":")[2], 16) == theirs and int(remote.rpartition(":")[2], 16) == ours:
            return int(queues.partition(":")[2], 16)
    return 0


def send_apart(client: Client, pieces) -> None:
    """Send `pieces` so that the server reads each by itself."""
    for piece in pieces:
        client.write(piece)
        support.wait_for(lambda: not unread_octets(client), "the server reads %r" % piece)


def without_ids(data: bytes) -> bytes:
    return re.sub(rb"id=\S+", b"id=*", data)


def handlers(server: support.Server):
    """The pids of the handlers that have a client."""
    return [pid for pid, command in server.processes().items() if "smtp_handler" in command and "nc" not in command.split()[0]]


class SegmentsTest(support.ServerTestCase):
    """The dialogue does not depend on how TCP cuts it."""

    def setUp(self):
        self.wire = ("EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@%s>\r\nRCPT TO:<%s>\r\nDATA\r\n"
                     "Subject: cut\r\n\r\n..dot\r\n.\n.\r.\r\n.. \r\n.\r\nRSET x\r\nQUIT\r\n" % (
                         self.server.domain, self.address("alice"))).encode()
        self.body = b"Subject: cut\n\n.dot\n\n.\n.\n. \n"

    def replies(self, pieces) -> bytes:
        """All that the server says to a session that comes in `pieces`, and that goes on to its end."""
        with Client(self.server.port) as client:
            send_apart(client, pieces)
            return without_ids(client.rest())

    def test_every_cut(self):
        whole = self.replies([self.wire])
        self.assertIn(b"\r\n250 2.0.0 OK id=*\r\n501 5.5.4", whole)
        self.assertTrue(whole.endswith(b"closing connection\r\n"))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            cuts = [(self.wire[:place], self.wire[place:]) for place in range(1, len(self.wire))]
            for cut, replies in zip(cuts, pool.map(self.replies, cuts)):
                self.assertEqual(replies, whole, cut)
        stored = [message.content for message in self.server.messages("alice")]
        self.assertEqual(len(stored), len(self.wire))
        self.assertTrue(all(content.endswith(b"\n" + self.body) for content in stored))

    def test_octet_by_octet(self):
        octets = [self.wire[place:place + 1] for place in range(len(self.wire))]
        self.assertEqual(self.replies(octets), self.replies([self.wire]))


class VanishingTest(support.ServerTestCase):
    """A client that leaves, at whatever step and in whatever way, leaves nothing but a line in the log."""

    LEAVING = {"close": Client.close, "reset": reset, "half-close": half_close}

    def steps(self):
        """What a client sends until it leaves, each with the code of its reply (0: none comes)."""
        return [(b"EHLO client.example\r\n", 250), (b"MAIL FROM:<a@b.example>\r\n", 250),
                (b"RCPT TO:<%s>\r\n" % self.address("alice").encode(), 250), (b"DATA\r\n", 354),
                (b"Subject: x\r\n", 0), (b"\r\n" + b"text\r\n" * 300000, 0), (b".\r", 0)]

    def assert_nothing_left(self):
        support.wait_for(lambda: not handlers(self.server), "the handlers end")
        left = [*self.server.spool.glob("tmp/*"), *self.server.spool.glob("queue/**/*.*"), *self.server.mail.glob("*/Maildir/*/*")]
        self.assertEqual(left, [])

    def leave(self, count: int, way: str):
        client = self.client()
        for sent, code in self.steps()[:count]:
            client.write(sent)
            if code:
                self.assertEqual(client.reply().code, code)
        self.LEAVING[way](client)

    def test_after_every_step(self):
        for count, way in itertools.product(range(len(self.steps()) + 1), self.LEAVING):
            with self.subTest(steps=count, way=way):
                lost = self.server.log().count(" lost")
                self.leave(count, way)
                self.assert_nothing_left()
                self.assertEqual(self.server.log().count(" lost"), lost + 1)

    def test_in_the_middle_of_a_command(self):
        for way in self.LEAVING:
            with self.subTest(way=way):
                client = self.client()
                client.write(b"MAIL FR")
                self.LEAVING[way](client)
                self.assert_nothing_left()

    def test_before_the_greeting(self):
        for leave in (Client.close, reset):
            leave(Client(self.server.port))
        self.assert_nothing_left()
        with self.client() as client:
            client.expect("NOOP", 250)

    def test_after_the_end_of_data(self):
        """The message is ours by then, whether the client reads its 250 or not: once, for it may send it again."""
        client = self.client()
        for sent, code in self.steps()[:4]:
            client.write(sent)
            self.assertEqual(client.reply().code, code)
        client.write(b"Subject: kept\r\n.\r\n")
        client.close()
        support.wait_for(lambda: self.server.messages("alice"), "the message")
        support.wait_for(lambda: not handlers(self.server), "the handlers end")
        messages = self.server.messages("alice")
        self.assertEqual(len(messages), 1)
        messages[0].path.unlink()


class LargeMessageTest(support.ServerTestCase):
    """Memory does not grow with the message."""

    SIZE = 52428800                     # the default of -size
    MOST_MEMORY = 32 * MEGABYTE

    def peak_memory(self) -> int:
        """Octets that the one handler with a client had in memory at most."""
        pid, = handlers(self.server)
        status = pathlib.Path("/proc/%d/status" % pid).read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def send_data(self, client: Client, pieces) -> int:
        """Send a message's text; the code of the reply."""
        client.expect("EHLO client.example", 250)
        client.expect("MAIL FROM:<a@b.example>", 250)
        client.expect("RCPT TO:<%s>" % self.address("alice"), 250)
        client.expect("DATA", 354)
        for piece in pieces:
            client.write(piece)
        client.write(b".\r\n")
        return client.reply().code

    def check_stored(self, piece: bytes, stored_piece: bytes):
        """A message of SIZE octets, of nothing but `piece` over and over, is kept as `stored_piece` as often."""
        header = b"Subject: large\r\n\r\n"
        count = (self.SIZE - len(header)) // len(piece) - 1
        last = b"z" * (self.SIZE - len(header) - count * len(piece) - 2) + b"\r\n"
        with self.client() as client:
            self.assertEqual(self.send_data(client, itertools.chain([header], itertools.repeat(piece, count), [last])), 250)
            self.assertLess(self.peak_memory(), self.MOST_MEMORY)
        message, = self.server.messages("alice")
        start = message.content.index(b"Subject: large\n\n") + len(header) - 2
        message.path.unlink()
        self.assertEqual(len(message.content) - start, count * len(stored_piece) + len(last) - 1)
        self.assertEqual(message.content[start:].count(stored_piece), count)

    def test_lines(self):
        line = b"x" * 70 + b"\r\n"
        self.check_stored(line * 1000, line.replace(b"\r\n", b"\n") * 1000)

    def test_dots_and_bare_line_feeds(self):
        self.check_stored(b"..x\r\n.y\rz\nw\r\n" * 5000, b".x\ny\nz\nw\n" * 5000)

    def test_too_large(self):
        piece = b"x" * 65534 + b"\r\n"
        with self.client() as client:
            self.assertEqual(self.send_data(client, [piece] * (self.SIZE // len(piece) + 1)), 552)
            self.assertLess(self.peak_memory(), self.MOST_MEMORY)
        self.assertEqual(self.server.messages("alice"), [])

    def test_large_header(self):
        with self.client() as client:
            self.assertEqual(self.send_data(client, [b"X: y\r\n" * 10000] * 400), 552)
            self.assertLess(self.peak_memory(), self.MOST_MEMORY)
        self.server.wait_log("rejected after DATA: message header too big")

    def test_long_command(self):
        with self.client() as client:
            for _ in range(200):
                client.write(b"x" * 65536)
            self.assertEqual(client.ask("").code, 500)
            client.expect("NOOP", 250)
            self.assertLess(self.peak_memory(), self.MOST_MEMORY)


class TimeOutTest(unittest.TestCase):
    """What takes minutes, with the minutes made short; each ends when its 421 comes."""

    def serve(self, prologue: str, **variables) -> harness.Handlers:
        server = harness.Handlers({"SMTP_" + name: value for name, value in variables.items()}, prologue)
        self.addCleanup(server.destroy)
        return server

    def assert_sent_away(self, client: Client, text: str, server: harness.Handlers, log: str):
        reply = client.reply()
        self.assertEqual((reply.code, client.rest()), (421, b""), reply)
        self.assertIn(text, reply.text)
        client.close()
        server.wait_log(log)
        server.handlers[-1].wait(support.PATIENCE)

    def begin_data(self, client: Client, server: harness.Handlers):
        client.expect("HELO client.example", 250)
        client.expect("MAIL FROM:<a@b.example>", 250)
        client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
        client.expect("DATA", 354)

    def test_idle(self):
        server = self.serve("import smtp.session\nsmtp.session.IDLE_SECONDS = 0.2")
        with server.client() as client:
            client.write(b"NOO")
            self.assert_sent_away(client, "4.4.2 %s timeout" % server.domain, server,
                                  "SMTP command timeout on connection from [127.0.0.1]")

    def test_idle_in_data(self):
        server = self.serve("import smtp.reception\nsmtp.reception.IDLE_SECONDS = smtp.reception.PRESSED_SECONDS = 0.2")
        with server.client() as client:
            self.begin_data(client, server)
            client.write(b"Subject: x\r\n")
            self.assert_sent_away(client, "timeout", server, "SMTP data timeout (message abandoned) on connection from "
                                                             "(client.example) [127.0.0.1] F=<a@b.example>")
        self.assertEqual(server.messages("alice"), [])

    def test_trickle(self):
        server = self.serve("import smtp.reception\nsmtp.reception.GRACE_SECONDS = smtp.reception.PRESSED_SECONDS = 0.2")
        with server.client() as client:
            self.begin_data(client, server)
            while not select.select([client.socket], [], [], 0.02)[0]:
                client.write(b"a")
            self.assert_sent_away(client, "too slowly", server, "SMTP data too slow (message abandoned)")
        self.assertEqual(server.messages("alice"), [])

    def test_client_that_takes_no_replies(self):
        server = self.serve("import smtp.channel, smtp.session\n"
                            "smtp.channel.WRITE_SECONDS = 0.2\nsmtp.session.MOST_IDLE_COMMANDS = 1e9")
        with server.client() as client:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(200000):
                    client.socket.send(b"HELP\r\n" * 1000)
            server.handlers[0].wait(support.PATIENCE)
        server.wait_log("SMTP connection from [127.0.0.1] lost")

    def test_idle_under_pressure(self):
        """When no session is free, one that idles goes, and another client can come."""
        server = self.serve("import smtp.session\nsmtp.session.PRESSED_SECONDS = 0.1", MAX="8")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(8)]
            ready, _, _ = select.select([client.socket for client in clients], [], [], support.PATIENCE)
            gone = next(client for client in clients if client.socket in ready)
            self.assertEqual(gone.reply().code, 421)
            gone.close()
            support.wait_for(lambda: any(handler.poll() == 0 for handler in server.handlers), "a handler ends")
            stack.enter_context(server.client()).expect("NOOP", 250)

    def test_slow_data_under_pressure(self):
        server = self.serve("import smtp.reception\nsmtp.reception.PRESSED_SECONDS = 0.1", MAX="8")
        with contextlib.ExitStack() as stack:
            first, *_ = [stack.enter_context(server.client()) for _ in range(8)]
            self.begin_data(first, server)
            self.assertEqual(first.reply().code, 421)
            server.wait_log("SMTP data too slow")


class ManyTest(support.ServerTestCase):
    """An address may have nearly all the sessions, but not the last of them."""

    options = ("-max", "16")

    def greeted(self, source: str):
        client = Client(self.server.port, source=source)
        self.addCleanup(client.close)
        return client.reply()

    def test_one_address(self):
        for _ in range(15):
            self.assertEqual(self.greeted("127.0.0.2").code, 220)
        reply = self.greeted("127.0.0.2")
        self.assertEqual((reply.code, "from your address" in reply.text), (421, True), reply)
        self.assertEqual(self.greeted("127.0.0.3").code, 220)
        reply = self.greeted("127.0.0.3")
        self.assertEqual((reply.code, "from your address" in reply.text), (421, False), reply)
        self.server.wait_log("Connection from [127.0.0.2] refused: too many connections")


class StopTest(unittest.TestCase):
    """TERM lets a transaction finish, and ends what has none."""

    def setUp(self):
        self.server = harness.Handlers()
        self.addCleanup(self.server.destroy)
        self.client = self.server.client()
        self.addCleanup(self.client.close)
        self.client.expect("EHLO client.example", 250)
        self.handler, = self.server.handlers

    def assert_stopped(self):
        reply = self.client.reply()
        self.assertEqual((reply.code, reply.text[:5]), (421, "4.3.2"))
        self.assertEqual(self.client.rest(), b"")
        self.client.close()
        self.assertEqual(self.handler.wait(support.PATIENCE), 0)

    def test_idle(self):
        self.handler.send_signal(signal.SIGTERM)
        self.assert_stopped()

    def test_in_the_middle_of_a_command(self):
        self.client.write(b"NOO")
        support.wait_for(lambda: not unread_octets(self.client), "the server reads it")
        self.handler.send_signal(signal.SIGTERM)
        self.assert_stopped()

    def test_in_a_transaction(self):
        self.client.expect("MAIL FROM:<a@b.example>", 250)
        self.handler.send_signal(signal.SIGTERM)
        self.client.expect("RCPT TO:<alice@%s>" % self.server.domain, 250)
        self.client.expect("DATA", 354)
        self.client.write(b"Subject: last\r\n.\r\n")
        self.assertEqual(self.client.reply().code, 250)
        self.assert_stopped()
        self.assertEqual(len(self.server.messages("alice")), 1)

    def test_transaction_given_up(self):
        self.client.expect("MAIL FROM:<a@b.example>", 250)
        self.handler.send_signal(signal.SIGTERM)
        self.client.expect("RSET", 250)
        self.assert_stopped()

    def test_in_data(self):
        self.client.expect("MAIL FROM:<a@b.example>", 250)
        self.client.expect("RCPT TO:<alice@%s>" % self.server.domain, 250)
        self.client.expect("DATA", 354)
        self.client.write(b"Subject: last\r\n")
        support.wait_for(lambda: not unread_octets(self.client), "the server reads it")
        self.handler.send_signal(signal.SIGTERM)
        self.client.write(b".\r\n")
        self.assertEqual(self.client.reply().code, 250)
        self.assert_stopped()
        self.assertEqual(len(self.server.messages("alice")), 1)


class NonsenseTest(unittest.TestCase):
    """Whatever a line holds, it gets one reply, in ASCII, and never one that speaks of the server's own trouble."""

    UNLIMITED = ("import smtp.session, sys\nsmtp.session.MOST_ERRORS = smtp.session.MOST_IDLE_COMMANDS = sys.maxsize\n")
    VERBS = [b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA x", b"BDAT", b"RSET", b"NOOP", b"HELP", b"VRFY", b"EXPN", b"AUTH", b"STARTTLS",
             b"SEND", b"SOML", b"SAML", b"TURN", b"MAIL FROM:", b"RCPT TO:", b"mail from:<>", b"rcpt to:<postmaster>", b"QUIT x", b""]
    PARTS = [b" ", b"\t", b"<", b">", b"@", b":", b",", b"\"", b"\\", b".", b"[127.0.0.1]", b"[IPv6:", b"x", b"alice", b"\0", b"\r",
             b"\x0b", b"\x1f", b"\x7f", b"\xff", b"\xc2\xb2", b"\xc2\xa0", b"\xc3\xa9", b"\xe2\x80\xa8", b"SIZE=", b"BODY=8BITMIME",
             b"SMTPUTF8", b"=", b"99999999999999999999999", b"-", b"LAST", b"PLAIN", b"%s", b"{}", b"../", b"x" * 300]

    def test_lines(self):
        dice = random.Random(5321)
        server = harness.Handlers({"SMTP_RCPTS": "1000000"}, self.UNLIMITED)
        self.addCleanup(server.destroy)
        with server.client() as client:
            for _ in range(4000):
                line = dice.choice(self.VERBS) + dice.choice((b"", b" ")) + b"".join(dice.choices(self.PARTS, k=dice.randrange(5)))
                reply = client.ask(line)
                self.assertNotIn(reply.code, (421, 354, 334), line)
                self.assertTrue(all(len(text) <= 506 and text.isprintable() for text in reply.lines), reply)
        self.assertNotIn("Traceback", server.log())
        self.assertTrue(server.log().isascii())


class FaultTest(unittest.TestCase):
    """A fault inside the server: 421 for the client, the traceback for the log, and nothing kept."""

    FAULT = "def fault(*_):\n    raise RuntimeError('a fault of the test')\n"

    FULL = ("import journal\ndef full(*_):\n    raise OSError(28, 'No space left on device')\n"
            "journal.Journal._append = full\n")

    def serve(self, prologue: str, **arguments) -> harness.Handlers:
        server = harness.Handlers(prologue=self.FAULT + prologue, **arguments)
        self.addCleanup(server.destroy)
        return server

    def send(self, server: harness.Handlers) -> bytes:
        """A whole session in one segment; all that the server says."""
        with server.stranger() as client:
            client.write(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@%s>\r\nDATA\r\nSubject: x\r\n.\r\nQUIT\r\n" % (
                server.domain.encode()))
            said = client.rest()
        server.finished()
        return said

    def check(self, prologue: str, code: bytes = b"421 4.3.0"):
        server = self.serve(prologue)
        last = self.send(server).splitlines()[-1]
        self.assertTrue(last.startswith(code), last)
        self.assertNotIn(b"fault", last)
        log = server.log()
        self.assertIn("Traceback (most recent call last):", log)
        self.assertIn("RuntimeError: a fault of the test", log)
        self.assertNotIn("Traceback", server.output())
        left = [*server.spool.glob("tmp/*"), *server.mail.glob("*/Maildir/*/*")]
        self.assertEqual(left, [])

    def test_mailboxes(self):
        self.check("import mailstore.mailboxes\nmailstore.mailboxes.Mailboxes.resolve = fault")

    def test_delivery(self):
        self.check("import mailstore.delivery\nmailstore.delivery.Delivery.accept = fault")

    def test_preparing(self):
        self.check("import mailstore.maildir\nmailstore.maildir.sync_folder = fault")

    def test_a_command(self):
        self.check("import smtp.verbs\nsmtp.verbs.VERBS['MAIL'].handler = fault")

    def test_service(self):
        self.check("import smtp.service\nsmtp.service.Service.__init__ = fault")

    def test_log_that_cannot_be_written(self):
        """Mail must go on; the lines are shown where the server was started."""
        server = self.serve(self.FULL)
        self.assertIn(b"\r\n250 2.0.0 OK id=", self.send(server))
        self.assertEqual(len(server.messages("alice")), 1)
        self.assertIn("No space left on device", server.output())
        self.assertIn(" <= a@b.example H=(x) [127.0.0.1]", server.output())

    def test_descriptor_2_is_the_client(self):
        """As inetd starts it: neither the log's lines nor a traceback go there."""
        server = self.serve(self.FULL + "import mailstore.delivery\nmailstore.delivery.Delivery.accept = fault",
                            errors_to_client=True)
        said = self.send(server).splitlines()
        self.assertTrue(all(line[:3].isdigit() for line in said), said)
        self.assertEqual(said[-1][:9], b"421 4.3.0")


if __name__ == "__main__":
    unittest.main()
