"""Who may look at the page of -web, from where and how; how the launcher starts it, and when it does not."""

import os
import pathlib
import pwd
import signal
import socket
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE, greeted_client
from tests.web.page import LETTER, Page, PageTestCase

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
          "frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
NO_DIALOGUE = "/dialogue?name=1795787496.309858-31880@0"
FILES = ("/", "/page.css", "/page.js", "/curves.js", "/icon.svg")


class AccessTest(PageTestCase):

    def assert_guarded(self, answer):
        for name, value in (("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
                            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store")):
            self.assertEqual(answer.headers.get(name), value, name)

    def test_with_the_token(self):
        for path in FILES:
            answer = self.page.get(path)
            self.assertEqual(answer.status, 200, path)
            self.assertEqual(int(answer.headers["Content-Length"]), len(answer.body))
            self.assert_guarded(answer)

    def test_without_it(self):
        for path in (*FILES, "/events", "/dialogue", "/message", "/nothing"):
            for query in ("", "?jeton=", "?jeton=" + self.page.token[:-1], "?jeton=é", "?jeton=x&jeton=%ff"):
                answer = self.page.get(path + query.replace("é", "%C3%A9"), token=False)
                self.assertEqual(answer.status, 403, path + query)
                self.assertNotIn("Set-Cookie", answer.headers)
                self.assert_guarded(answer)

    def test_the_cookie_stands_for_it(self):
        cookie = self.page.get("/").headers["Set-Cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=Strict", cookie)
        pair = cookie.partition(";")[0]
        self.assertEqual(self.page.get("/page.js", token=False, Cookie="a=b; " + pair).status, 200)
        self.assertEqual(self.page.get("/page.js", token=False, Cookie=pair + "x").status, 403)
        self.assertEqual(self.page.get("/page.js?jeton=x", token=False, Cookie=pair).status, 403)

    def test_foreign_hosts(self):
        for host in ("evil.example", "evil.example:%d" % self.page.port, "127.0.0.1.evil.example", "127.0.0.2", "[::1]",
                     ""):
            self.assertEqual(self.page.get("/", Host=host).status, 403, host)
        for host in ("127.0.0.1", "localhost", "LOCALHOST:9999", "127.0.0.1:%d" % self.page.port):
            self.assertEqual(self.page.get("/", Host=host).status, 200, host)

    def test_only_looking(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            answer = self.page.get("/", method=method)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"))
            self.assert_guarded(answer)
        answer = self.page.get("/", method="HEAD")
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_what_is_not_there(self):
        for path in ("/nothing", "/../serveur.sh", "/page.html", "/dialogue?name=../../mainlog", "/dialogue?name=x",
                     NO_DIALOGUE, NO_DIALOGUE + "&from=-1", NO_DIALOGUE + "&from=99999999999999999999"):
            self.assertEqual(self.page.get(path).status, 404, path)
        self.assertEqual(self.page.get("/?" + "a=b&" * 50).status, 400)

    def test_no_way_out_of_the_queue(self):
        """What is asked for as a message is never a path."""
        envelope = self.server.spool / "x.envelope"
        envelope.write_text('{"id": "../x", "received": 0, "sender": "", "recipients": []}')
        (self.server.spool / "x.message").write_text("x")
        envelope.chmod(0o644)
        told = self.page.json("/message?id=..%2Fx")
        self.assertEqual((told["events"], told["queue"]), ([], None))

    def test_broken_requests(self):
        for head in (b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"x" * 100000,
                     b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 50000):
            with socket.create_connection(("127.0.0.1", self.page.port), PATIENCE) as stranger:
                try:
                    stranger.sendall(head)
                    stranger.shutdown(socket.SHUT_WR)
                    answer = stranger.makefile("rb").read()
                except OSError:
                    continue        # more than it wants to read
                self.assertNotIn(b"200", answer[:15])
        self.assertNotIn("Traceback", self.server.output())
        self.assertEqual(self.page.get("/").status, 200)

    def test_this_machine_only(self):
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", self.page.port), PATIENCE)

    def test_who_knows_the_token(self):
        holders = [pid for pid in self.server.processes()
                   if self.page.token.encode() in pathlib.Path("/proc/%d/environ" % pid).read_bytes()]
        self.assertEqual(holders, [self.page.process()])
        self.assertNotIn(self.page.token, "".join(self.server.processes().values()) + self.server.log())

    @support.needs_root
    def test_it_has_given_root_up(self):
        service = str(pwd.getpwnam("mail").pw_uid)
        status = pathlib.Path("/proc/%d/status" % self.page.process()).read_text()
        for name in ("Uid:", "Gid:"):
            ids = next(line for line in status.splitlines() if line.startswith(name)).split()[1:]
            self.assertEqual(set(ids), {service})

    @support.long_test
    def test_a_request_octet_by_octet(self):
        with socket.create_connection(("127.0.0.1", self.page.port), PATIENCE) as stranger:
            stranger.settimeout(0.5)
            with self.assertRaises((ConnectionError, EOFError)):
                for _ in range(60):
                    stranger.sendall(b"G")
                    try:
                        if not stranger.recv(1):
                            raise EOFError
                    except socket.timeout:
                        pass


class LauncherTest(unittest.TestCase):

    def make_server(self, *options, **arguments):
        server = support.Server(options, **arguments)
        self.addCleanup(server.destroy)
        return server

    def test_without_the_option(self):
        """Nothing of it runs, nothing is written, and nobody loads its modules."""
        server = self.make_server().start()
        server.send("alice@" + server.domain, LETTER)
        self.assertFalse((server.spool / "web").exists())
        self.assertNotIn("web/server.py", "".join(server.processes().values()))
        self.assertNotIn("http://", server.output())
        self.assertEqual(server.stop(), 0)

    def test_refused_options(self):
        port = support.free_port()
        for value, expected in (("abc", "abc"), ("0", "entre 1 et 65535"), ("65536", "65536"),
                                ("localhost:8025", "adresse IP"), ("127.0.0.1:", "127.0.0.1:"),
                                (str(port), "déjà celui du courrier")):
            server = self.make_server("-port", str(port), "-web", value)
            self.assertEqual(server.launch().wait(PATIENCE), 2, server.output())
            self.assertIn("-web", server.output())
            self.assertIn(expected, server.output())

    def test_a_taken_port(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", support.free_port()))
            other.listen()
            server = self.make_server("-web", str(other.getsockname()[1]))
            self.assertEqual(server.launch().wait(PATIENCE), 1, server.output())
            self.assertIn("-web : le port %d est déjà pris" % other.getsockname()[1], server.output())

    def test_a_killed_page_comes_back(self):
        server = self.make_server("-web", str(support.free_port())).start()
        page = Page(server)
        first = page.process()
        os.kill(first, signal.SIGKILL)
        support.wait_for(lambda: page.process() not in (0, first) and support.listeners(page.port), "another one")
        self.assertEqual(page.get("/").status, 200, "at the same address, with the same token")
        self.assertEqual(server.stop(), 0)

    @support.needs_root
    def test_as_an_ordinary_user(self):
        server = self.make_server("-web", str(support.free_port()), run_as=61234).start()
        server.send("alice@" + server.domain, LETTER)
        page = Page(server)
        self.assertEqual(len(page.session("client.example.org")["messages"]), 1)
        self.assertEqual(page.get("/page.js").status, 200)
        self.assertEqual(server.stop(), 0)

    def test_all_addresses(self):
        server = self.make_server("-web", "0.0.0.0:%d" % support.free_port()).start()
        page = Page(server)
        self.assertTrue(page.address.startswith("http://127.0.0.1:"))
        with socket.create_connection(("127.0.0.2", page.port), PATIENCE) as client:
            client.sendall(b"GET /?jeton=%s HTTP/1.0\r\nHost: 127.0.0.2:%d\r\n\r\n" % (page.token.encode(), page.port))
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.0 200 "))
        self.assertEqual(server.stop(), 0)

    def test_a_session_is_served_where_nothing_can_be_recorded(self):
        server = self.make_server("-web", str(support.free_port())).start()
        page = Page(server)
        (server.spool / "web/dialogues").rename(server.spool / "web/away")
        with greeted_client(server.port) as client:
            client.expect("HELO x", 250)
            client.letter("a@b.example", "alice@" + server.domain, LETTER)
            client.expect("QUIT", 221)
        self.assertEqual(page.snapshot()["sessions"], [])
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
