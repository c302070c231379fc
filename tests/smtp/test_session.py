"""A session as the network makes it: cut anywhere, left at any moment, or huge."""

import concurrent.futures
import itertools
import re
import socket
import struct
import subprocess
import unittest

from tests.helpers import harness, processes, support
from tests.helpers.client import Client
from tests.helpers.harness import unread_octets

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


def send_apart(client: Client, pieces) -> None:
    """Send `pieces` so that the server reads each by itself."""
    for piece in pieces:
        client.write(piece)
        support.wait_for(lambda: not unread_octets(client), "the server reads %r" % piece)


def without_ids(data: bytes) -> bytes:
    return re.sub(rb"id=\S+", b"id=*", data)


def handlers(server: support.Server):
    """The pids of the handlers: what is a netcat no more, whether its client is still there or not."""
    return [pid for pid, command in server.processes().items() if command.startswith("/usr/bin/python3 -ES")
            and "smtp_handler" in command]


class PipesTest(unittest.TestCase):
    """Without a socket, as under ncat: whoever starts the handler says in variables who is at both ends."""

    def test_both_ends(self):
        ends = {"TCPREMOTEIP": "192.0.2.1", "TCPLOCALIP": "192.0.2.7"}
        with harness.Handlers(ends) as server:
            server.have_agent()
            dialogue = ("EHLO x\nMAIL FROM:<a@b.example>\nRCPT TO:<alice@[192.0.2.7]>\nRCPT TO:<alice@[192.0.2.8]>\n"
                        "QUIT\n")
            replies = subprocess.run([support.open_root() / "smtp_handler.py"], input=dialogue, env=server.variables,
                                     stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        self.assertIn("x [192.0.2.1]", replies[1])
        self.assertEqual([reply[:3] for reply in replies if reply[3] == " "],
                         ["220", "250", "250", "250", "550", "221"])


@support.both_listeners
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

    def replies_to_one_of_many(self, pieces) -> bytes:
        """The same for clients that come together: netcat loses some unless root has set tcp_migrate_req, and they come
        again."""
        for _ in range(10):
            with Client(self.server.port) as client:
                try:
                    greeting = client.reply().raw
                except (EOFError, OSError):
                    continue
                send_apart(client, pieces)
                return without_ids(greeting + client.rest())
        raise AssertionError("never greeted")

    def test_every_cut(self):
        whole = self.replies([self.wire])
        self.assertIn(b"\r\n250 2.0.0 OK id=*\r\n501 5.5.4", whole)
        self.assertTrue(whole.endswith(b"closing connection\r\n"))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            cuts = [(self.wire[:place], self.wire[place:]) for place in self.sample(range(1, len(self.wire)), 3)]
            for cut, replies in zip(cuts, pool.map(self.replies_to_one_of_many, cuts)):
                self.assertEqual(replies, whole, cut)
        stored = [message.content for message in self.server.messages("alice")]
        self.assertEqual(len(stored), 1 + len(cuts))
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
        left = [*self.server.spool.glob("tmp/*"), *self.server.spool.glob("queue/**/*.*"),
                *self.server.mail.glob("*/Maildir/*/*")]
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

    def assert_little_memory(self, client: Client):
        self.assertLess(processes.peak_memory(self.server.process_of(client)), self.MOST_MEMORY)

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
            pieces = itertools.chain([header], itertools.repeat(piece, count), [last])
            self.assertEqual(self.send_data(client, pieces), 250)
            self.assert_little_memory(client)
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
            self.assert_little_memory(client)
        self.assertEqual(self.server.messages("alice"), [])

    def test_large_header(self):
        with self.client() as client:
            self.assertEqual(self.send_data(client, [b"X: y\r\n" * 10000] * 400), 552)
            self.assert_little_memory(client)
        self.server.wait_log("rejected after DATA: message header too big")

    def test_long_command(self):
        with self.client() as client:
            for _ in range(15):
                client.write(b"x" * 65536)
            self.assertEqual(client.ask("").code, 500)
            client.expect("NOOP", 250)
            self.assert_little_memory(client)


if __name__ == "__main__":
    unittest.main()
