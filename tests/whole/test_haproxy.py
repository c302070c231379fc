"""Behind a real HAProxy, with the haproxy.cfg of README.txt: the server sees its clients' own addresses, and HAProxy's
checks find it well."""

import re
import unittest

from tests.helpers import programs, secure, support
from tests.helpers.client import greeted_client
from tests.lab.haproxy import HAProxy, needs_haproxy

README = (support.ROOT / "README.txt").read_text("utf-8")
CLIENT = "127.0.0.5"
WIRE = b"Subject: x\r\n\r\nx\r\n.\r\n"


def recipe() -> str:
    """The haproxy.cfg of README.txt."""
    return re.search(r"\n( +)defaults\n(?:\1 *[a-z].*\n)+", README)[0]


@needs_haproxy
@support.both_listeners
class HAProxyTest(secure.TlsPorts, support.ServerTestCase):
    tls_options = ("-proxy", "127.0.0.1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ports = {name: support.free_port() for name in ("smtp", "first", "secure")}
        text = re.sub(r"10\.0\.0\.1[12]:4567", "127.0.0.1:%d" % cls.server.port, recipe())
        # A check that takes more than 2 s would be broken off, which the server's log tells.
        text = text.replace("timeout connect 5s\n", "timeout connect 5s\n        timeout check 30s\n")
        section = text[text.index("    listen smtp"):]
        first = section.replace("smtp\n", "first\n", 1).replace("send-proxy-v2", "send-proxy")
        over_tls = re.sub(r" *option smtpchk.*\n", "", section.replace("smtp\n", "secure\n", 1)) \
            .replace(" check", "").replace(":%d" % cls.server.port, ":%d" % cls.smtps)
        parts = {"smtp": text, "first": first, "secure": over_tls}
        both = "bind 127.0.0.1:{0}\n    bind ::1:{0}"
        configuration = "".join(part.replace("bind :25", both.format(cls.ports[name])) for name, part in parts.items())
        cls.haproxy = HAProxy(configuration).start()
        cls.addClassCleanup(cls.haproxy.stop)

    def through(self, name: str, **arguments):
        client = greeted_client(self.ports[name], **{"source": CLIENT, **arguments})
        self.addCleanup(client.close)
        return client

    def test_the_recipe_is_short(self):
        self.assertEqual(len(recipe().strip().splitlines()), 12)

    def assert_seen(self, client, address: str):
        self.assertIn("[%s]" % address, client.expect("EHLO client.example", 250).text)
        reply = client.letter("a@client.example", self.address("bob"), WIRE)
        message_id = reply.text.rpartition("id=")[2]
        self.assertIn("H=(client.example) [%s] " % address, self.server.wait_log("%s <=" % message_id))
        received = self.server.messages("bob")[-1].content
        self.assertIn(b"from [%s] (helo=client.example)" % address.encode(), received)
        client.expect("QUIT", 221)

    def test_the_clients_address(self):
        for name in ("smtp", "first"):
            self.assert_seen(self.through(name), CLIENT)
            self.assert_seen(self.through(name, host="::1", source=""), "::1")

    def test_starttls(self):
        self.assert_seen(secure.start_tls(self.through("smtp")), CLIENT)

    def test_tls_from_the_first_octet(self):
        client = secure.wrap(support.Client(self.ports["secure"], source=CLIENT))
        self.addCleanup(client.close)
        self.assertEqual(client.reply().code, 220)
        self.assert_seen(client, CLIENT)

    def test_checks(self):
        """`option smtpchk` goes through a whole dialogue, and leaves nothing in the log."""
        for section in ("smtp", "first"):
            for name in ("un", "deux"):
                self.haproxy.wait_checked(section, name, "L7OK")
        self.assertNotIn("dropped", self.server.log())
        if programs.version("haproxy", "-v") < (2, 6):
            self.skipTest("un haproxy d'avant 2.6 coupe sans QUIT")      # and so is lost
        self.assertNotIn(" lost", self.server.log())


if __name__ == "__main__":
    unittest.main()
