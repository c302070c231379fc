"""The ports serveur.sh listens on: what it says of those it can't have, and that nobody else has their other half."""

import contextlib
import os
import pathlib
import pwd
import socket
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE
from tests.helpers.launcher import LauncherTestCase, copy_tree, write_program

NOT_OURS = "192.0.2.1"          # TEST-NET-1: no machine's address
PRIVILEGED = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 25


def user_name(uid: int) -> str:
    """As messages name a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class PortTest(LauncherTestCase):
    def on_port_of(self, server: support.Server, *bind: str) -> support.Server:
        """Another server, with a folder of its own, for the same port: on all addresses, or on those of `bind`."""
        other = self.make_server()
        other.port = server.port
        other.arguments[other.arguments.index("-port") + 1] = str(server.port)
        other.replace_option("-bind", *bind)
        return other

    def test_second_start(self):
        server = self.make_server().start()
        self.assertIn("un autre serveur.sh écoute déjà sur le port %d" % server.port,
                      self.refused(self.on_port_of(server, "-bind", "127.0.0.1"), 1))
        server.client().close()
        self.assertEqual(server.stop(), 0)

    def test_all_addresses_keep_out_one(self):
        server = self.on_port_of(self.make_server()).start()
        self.assertIn("un autre serveur.sh", self.refused(self.on_port_of(server, "-bind", "127.0.0.1"), 1))

    def test_one_address_keeps_out_all(self):
        server = self.make_server().start()
        self.assertIn("un autre serveur.sh", self.refused(self.on_port_of(server), 1))

    def test_two_addresses_one_port(self):
        server = self.make_server().start()
        other = self.on_port_of(server, "-bind", "127.0.0.2")
        other.launch()
        support.wait_for(lambda: "telnet 127.0.0.2" in other.output(), "the second server")
        with other.client(host="127.0.0.2"), server.client():
            pass
        other.process.terminate()
        self.assertEqual(other.process.wait(PATIENCE), 0)
        server.client().close()

    def test_port_taken(self):
        """By another program of the same user, also by one that would share the port."""
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with self.subTest(option), socket.socket() as taken:
                server = self.make_server()
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
                taken.bind(("127.0.0.1", server.port))
                taken.listen()
                self.assertIn("le port %d est déjà pris par %s (processus %d, utilisateur %s)" % (
                    server.port, pathlib.Path("/proc/self/comm").read_text().strip(), os.getpid(),
                    user_name(os.geteuid())), self.refused(server, 1))

    @support.needs_root
    def test_port_of_another_users_server(self):
        for listener in ("netcat", "prefork"):
            for owner, other in ((None, support.NOBODY), (support.NOBODY, None)):
                with self.subTest(listener=listener, owner=owner):
                    with self.make_server("-listen", listener, run_as=owner).start() as server:
                        second = self.make_server(run_as=other)
                        second.arguments[second.arguments.index("-port") + 1] = str(server.port)
                        self.assertRegex(self.refused(second, 1), r"le port %d est déjà pris par un autre serveur\.sh "
                                         r"\(processus \d+, utilisateur %s\)$" % (server.port, user_name(owner or 0)))

    def test_no_such_address(self):
        line = self.refused(self.make_server("-bind", NOT_OURS), 1)
        self.assertIn("l'adresse %s n'est pas de cette machine" % NOT_OURS, line)

    @support.needs_root
    @unittest.skipUnless(PRIVILEGED, "tout le monde peut ici écouter sur le port 25")
    def test_privileged_port(self):
        line = self.refused(self.make_server("-port", "25", run_as=support.NOBODY), 1)
        self.assertIn("le port 25 est réservé à root", line)

    def test_several_addresses_and_ports(self):
        more = support.free_port()
        server = self.make_server("-port", more, "-bind", "127.0.0.3").start()
        support.wait_for(lambda: "telnet" in server.output(), "the announcement")
        for host in ("127.0.0.1", "127.0.0.3"):
            for port in (server.port, more):
                with support.greeted_client(port, host=host) as client:
                    client.expect("QUIT", 221)
        self.assertEqual(server.stop(), 0)

    def test_listener_tells_its_handlers_what_it_is(self):
        secure = support.free_port()
        server = self.make_server("-smtps", secure, "-tls", "auto")
        server.script = copy_tree(self) / "serveur.sh"
        write_program(server.script.with_name("smtp_handler.py"), """\
            #!/bin/sh
            printf '220 %s %s %s\\r\\n' "$SMTP_PORT" "${SMTP_IMPLICIT_TLS:-clear}" "$SMTP_TERMINAL"
            """)
        server.start()
        support.wait_for(lambda: "telnet" in server.output(), "the announcement")
        for port, kind in ((server.port, "clear"), (secure, "1")):
            with support.Client(port) as client:
                self.assertEqual(client.reply().text, "%d %s 1" % (port, kind))
        self.assertIn("port %d (127.0.0.1), en TLS dès la connexion" % secure, server.output())


@unittest.skipUnless(socket.has_dualstack_ipv6(), "pas d'IPv6 ici")
class TwinTest(LauncherTestCase):
    """Clients told "localhost" try ::1 first. Beside a server that listens on IPv4 only, nobody else may listen
    there."""

    def server(self, *options, bind=()) -> support.Server:
        server = self.make_server(*options)
        at = server.arguments.index("-bind")
        server.arguments[at:at + 2] = bind
        return server

    def attack(self, port: int, address: str, *options) -> None:
        """Listen there as another user would."""
        with socket.socket(socket.AF_INET6) as taken:
            for option in options:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken.bind((address, port))
            taken.listen()

    def test_nobody_else_gets_it(self):
        for options, bind in (((), ()), ((), ("-bind", "0.0.0.0")), ((), ("-bind", "127.0.0.1")),
                              (("-listen", "prefork"), ("-bind", "0.0.0.0"))):
            with self.subTest(options=options, bind=bind), self.server(*options, bind=bind).start() as server:
                support.wait_for(lambda: "telnet" in server.output(), "the announcement")
                support.wait_for(lambda: self.is_held(server.port), "the port's IPv6 twin to be held")
                for more in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,),
                             (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
                    with self.assertRaises(OSError):
                        self.attack(server.port, "::1", *more)
                with self.assertRaises(ConnectionRefusedError), socket.create_connection(("::1", server.port),
                                                                                         PATIENCE):
                    pass
                self.assertEqual(server.stop(), 0)
                self.attack(server.port, "::1")

    def is_held(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            self.attack(port, "::1")
            return False
        return True

    def test_somebody_has_it(self):
        server = self.server()
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", server.port))
            taken.listen()
            self.assertIn("le port %d est déjà pris par " % server.port, self.refused(server, 1))

    def test_both_kinds_of_address(self):
        """What is given twice, or stands for others that are given too, is bound once; and the server keeps no one
        out."""
        for bind, hosts in ((("0.0.0.0", "::"), ("127.0.0.1", "::1")), (("::1", "0.0.0.0"), ("127.0.0.1", "::1")),
                            (("127.0.0.1", "127.0.0.1", "::1"), ("127.0.0.1", "::1")),
                            (("127.0.0.1", "0.0.0.0"), ("127.0.0.1",))):
            with self.subTest(bind):
                options = [word for address in bind for word in ("-bind", address)]
                with self.server("-listen", "prefork", bind=options).start() as server:
                    for host in hosts:
                        with server.client(host=host) as client:
                            client.expect("QUIT", 221)
                    self.assertEqual(server.stop(), 0)
        with self.server(bind=("-bind", "127.0.0.1", "-bind", "0.0.0.0", "-bind", "127.0.0.1")).start() as server:
            server.client().close()
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
