"""What ends a session against its client's will: time-outs, too many of them, a stop, a fault inside the server; and
that nonsense does not."""

import contextlib
import random
import select
import signal
import sys
import unittest

from tests.helpers import faults, harness, patching, support
from tests.helpers.client import Client
from tests.helpers.harness import unread_octets


class TimeOutTest(unittest.TestCase):
    """What takes minutes, with the minutes made short; each ends when its 421 comes."""

    def serve(self, patch: patching.Patch, **variables) -> harness.Handlers:
        server = harness.Handlers({"SMTP_" + name: value for name, value in variables.items()}, patch)
        self.addCleanup(server.destroy)
        return server

    def assert_sent_away(self, client: Client, text: str, server: harness.Handlers, log: str):
        reply = client.reply()
        self.assertEqual((reply.code, client.rest()), (421, b""), reply)
        self.assertIn(text, reply.text)
        client.close()
        server.wait_log(log)
        server.handlers[-1].wait(support.PATIENCE)

    def in_data(self, server: harness.Handlers, text: bytes = b"") -> Client:
        """A client that has said all this at once, before its time began: however slow we are, it was not silent."""
        client = server.stranger()
        self.addCleanup(client.close)
        client.write(b"HELO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@%s>\r\nDATA\r\n%s"
                     % (server.domain.encode(), text))
        self.assertEqual([client.reply().code for _ in range(5)], [220, 250, 250, 250, 354])
        return client

    def test_idle(self):
        server = self.serve({"smtp.limits.IDLE_SECONDS": 0.2, "smtp.limits.STRESS_SECONDS": 0.1})
        with server.client() as client:
            client.write(b"NOO")
            self.assert_sent_away(client, "4.4.2 %s timeout" % server.domain, server,
                                  "SMTP command timeout on connection from [127.0.0.1]")

    def test_idle_in_data(self):
        server = self.serve({"smtp.limits.IDLE_SECONDS": 0.2, "smtp.limits.STRESS_SECONDS": 0.2})
        client = self.in_data(server, b"Subject: x\r\n")
        self.assert_sent_away(client, "timeout", server, "SMTP data timeout (message abandoned) on connection from "
                                                         "(client.example) [127.0.0.1] F=<a@b.example>")
        self.assertEqual(server.messages("alice"), [])

    def test_trickle(self):
        server = self.serve({"smtp.limits.GRACE_SECONDS": 0.2, "smtp.limits.STRESS_SECONDS": 0.2})
        client = self.in_data(server)
        while not select.select([client.socket], [], [], 0.02)[0]:
            client.write(b"a")
        self.assert_sent_away(client, "too slowly", server, "SMTP data too slow (message abandoned)")
        self.assertEqual(server.messages("alice"), [])

    def test_client_that_takes_no_replies(self):
        server = self.serve({"smtp.limits.WRITE_SECONDS": 0.2, "smtp.limits.MOST_IDLE_COMMANDS": 1e9})
        with server.client() as client:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(200000):
                    client.socket.send(b"HELP\r\n" * 1000)
            server.handlers[0].wait(support.PATIENCE)
        server.wait_log("SMTP connection from [127.0.0.1] lost")

    def test_idle_under_pressure(self):
        """When no session is free, one that idles goes, and another client can come."""
        server = self.serve({"smtp.limits.STRESS_SECONDS": 0.1}, MAX="8")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(8)]
            ready, _, _ = select.select([client.socket for client in clients], [], [], support.PATIENCE)
            gone = next(client for client in clients if client.socket in ready)
            self.assertEqual(gone.reply().code, 421)
            gone.close()
            support.wait_for(lambda: any(handler.poll() == 0 for handler in server.handlers), "a handler ends")
            another = stack.enter_context(server.stranger())
            another.write(b"NOOP\r\n")              # before it may be sent away in its turn
            self.assertEqual([another.reply().code, another.reply().code], [220, 250])

    def test_slow_data_under_pressure(self):
        """The others idle, and go too: each is followed by another, so that no session is free."""
        server = self.serve({"smtp.limits.STRESS_SECONDS": 0.3}, MAX="8")
        with contextlib.ExitStack() as stack:
            first = self.in_data(server)

            def is_answered():
                if sum(handler.poll() is None for handler in server.handlers) < 8:
                    stack.enter_context(server.stranger())
                return select.select([first.socket], [], [], 0)[0]
            support.wait_for(is_answered, "the end of the first")
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

    UNLIMITED = {"smtp.limits.MOST_ERRORS": sys.maxsize, "smtp.limits.MOST_IDLE_COMMANDS": sys.maxsize}
    VERBS = [b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA x", b"BDAT", b"RSET", b"NOOP", b"HELP", b"VRFY", b"EXPN",
             b"AUTH", b"STARTTLS", b"SEND", b"SOML", b"SAML", b"TURN", b"MAIL FROM:", b"RCPT TO:", b"mail from:<>",
             b"rcpt to:<postmaster>", b"QUIT x", b""]
    PARTS = [b" ", b"\t", b"<", b">", b"@", b":", b",", b"\"", b"\\", b".", b"[127.0.0.1]", b"[IPv6:", b"x", b"alice",
             b"\0", b"\r", b"\x0b", b"\x1f", b"\x7f", b"\xff", b"\xc2\xb2", b"\xc2\xa0", b"\xc3\xa9", b"\xe2\x80\xa8",
             b"SIZE=", b"BODY=8BITMIME", b"SMTPUTF8", b"=", b"99999999999999999999999", b"-", b"LAST", b"PLAIN", b"%s",
             b"{}", b"../", b"x" * 300]

    def test_lines(self):
        dice = random.Random(5321)
        server = harness.Handlers({"SMTP_RCPTS": "1000000"}, self.UNLIMITED)
        self.addCleanup(server.destroy)
        with server.client() as client:
            for _ in range(4000):
                parts = dice.choices(self.PARTS, k=dice.randrange(5))
                line = dice.choice(self.VERBS) + dice.choice((b"", b" ")) + b"".join(parts)
                reply = client.ask(line)
                self.assertNotIn(reply.code, (421, 354, 334), line)
                self.assertTrue(all(len(text) <= 506 and text.isprintable() for text in reply.lines), reply)
        self.assertNotIn("Traceback", server.log())
        self.assertTrue(server.log().isascii())


class FaultTest(unittest.TestCase):
    """A fault inside the server: 421 for the client, the traceback for the log, and nothing kept."""

    FULL = {"common.mainlog.MainLog._append": faults.fail_full}

    def serve(self, patch: patching.Patch, **arguments) -> harness.Handlers:
        server = harness.Handlers(patch=patch, **arguments)
        self.addCleanup(server.destroy)
        return server

    def send(self, server: harness.Handlers) -> bytes:
        """A whole session in one segment; all that the server says."""
        with server.stranger() as client:
            client.write(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@%s>\r\nDATA\r\n" % server.domain.encode()
                         + b"Subject: x\r\n.\r\nQUIT\r\n")
            said = client.rest()
        server.finished()
        return said

    def check(self, broken: str, code: bytes = b"421 4.3.0"):
        server = self.serve({broken: faults.fail})
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
        self.check("mailstore.mailboxes.Mailboxes.resolve")

    def test_delivery(self):
        self.check("mailstore.delivery.Delivery.accept")

    def test_preparing(self):
        self.check("mailstore.%s.Errand.deliver" % ("agent_client" if support.IS_ROOT else "direct"))

    @support.needs_root
    def test_in_the_delivery_agent(self):
        """It answers for itself, and shows the traceback where the server was started."""
        server = self.serve({"mailstore.maildir.are_all": faults.fail})
        self.assertIn(b"\r\n451 4.3.0 ", self.send(server))
        self.assertIn("internal error of the delivery agent: RuntimeError('a fault of the test')", server.log())
        self.assertIn("Traceback", server.output())

    def test_a_command(self):
        self.check("smtp.commands.VERBS.MAIL.handler")

    def test_service(self):
        self.check("smtp.backend.Backend.__init__")

    def test_log_that_cannot_be_written(self):
        """Mail must go on; the lines are shown where the server was started."""
        server = self.serve(self.FULL)
        self.assertIn(b"\r\n250 2.0.0 OK id=", self.send(server))
        self.assertEqual(len(server.messages("alice")), 1)
        self.assertIn("No space left on device", server.output())
        self.assertIn(" <= a@b.example H=(x) [127.0.0.1]", server.output())

    def test_descriptor_2_is_the_client(self):
        """As inetd starts it: neither the log's lines nor a traceback go there."""
        server = self.serve({**self.FULL, "mailstore.delivery.Delivery.accept": faults.fail}, errors_to_client=True)
        said = self.send(server).splitlines()
        self.assertTrue(all(line[:3].isdigit() for line in said), said)
        self.assertEqual(said[-1][:9], b"421 4.3.0")


if __name__ == "__main__":
    unittest.main()
