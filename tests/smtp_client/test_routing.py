"""Which hosts take a domain's mail (smtp_client/routing.py), and what dig's output says (smtp_client/dns.py), with
answers made up: no process, no network."""

import queue
import types
import unittest
from unittest import mock

from common.settings import canonical
from smtp_client import dns, routing
from smtp_client.bounds import ADDRESSES
from smtp_client.result import LATER, NEVER
from smtp_client.route_cache import RouteFinder
from tests.helpers import support

OURS = "binome.example"
HEADER = ";; ->>HEADER<<- opcode: QUERY, status: %s, id: 1\n"


class Answers:
    """A resolver.  mail_hosts: {domain: [(preference, host)]}, or an exception to raise; addresses: {host: its own}."""

    def __init__(self, mail_hosts, addresses):
        self._mail_hosts, self._addresses = mail_hosts, addresses

    def mail_hosts(self, domain, _):
        found = self._mail_hosts.get(domain, [])
        if isinstance(found, Exception):
            raise found
        return found

    def addresses(self, hosts, _):
        return {host: list(self._addresses.get(host, [])) for host in hosts}


def router(relays=(), mail_hosts=(), logins=(), **addresses):
    settings = types.SimpleNamespace(relays=dict(relays), domain=OURS, ports=[25], smtps=[], bind="192.0.2.250")
    answers = Answers(dict(mail_hosts), {name + ".example": found for name, found in addresses.items()})
    return routing.Router(settings, answers, canonical, logins)


class HostTest(unittest.TestCase):

    def test_split_host(self):
        for text, expected in {
                "host.example": ("host.example", 25), "host.example:2525": ("host.example", 2525),
                "192.0.2.1:26": ("192.0.2.1", 26), "2001:db8::1": ("2001:db8::1", 25),
                "[2001:db8::1]": ("2001:db8::1", 25), "[2001:db8::1]:26": ("2001:db8::1", 26)}.items():
            self.assertEqual(routing.split_host(text), (*expected, False), text)
        for text, expected in {
                "host.example:465": ("host.example", 465), "smtps:host.example": ("host.example", 465),
                "smtps:host.example:26": ("host.example", 26), "smtps:2001:db8::1": ("2001:db8::1", 465),
                "smtps:[2001:db8::1]:26": ("2001:db8::1", 26)}.items():
            self.assertEqual(routing.split_host(text), (*expected, True), text)
        for text in ("h:0", "h:65536", "h:x", "h:", ":25", "smtps:", "smtps::25", "smtps:h:x", "[]"):
            with self.assertRaises(ValueError, msg=text):
                routing.split_host(text)


class StaticTest(unittest.TestCase):
    """What needs no look-up."""

    def way(self, relays, domain):
        route = router(relays).static(domain)
        return route and (route.router, [(host.name, host.port) for host in route.hosts])

    def test_ways(self):
        relays = {"a.example": "hub.example:26", "dns.example": "", "*": "smart.example"}
        self.assertEqual(self.way(relays, "A.Example"), ("hubbed_hosts", [("hub.example", 26)]))
        self.assertIsNone(self.way(relays, "dns.example"))
        self.assertEqual(self.way(relays, "elsewhere.example"), ("smarthost", [("smart.example", 25)]))
        self.assertIsNone(self.way({}, "elsewhere.example"))

    def test_logins(self):
        """The line with the port goes before; and no name that the DNS gives has a login."""
        relays = {"a.example": "Hub.example:26", "b.example": "hub.example", "c.example": "other.example"}
        found = router(relays, {"d.example": [(1, "hub.example")]}, hub=["192.0.2.9"],
                       logins={("hub.example", 26): ("me", "x"), ("hub.example", 0): ("me", "y")})
        logins = [found.static(name + ".example").hosts[0].login for name in "abc"]
        self.assertEqual(logins, [("me", "x"), ("me", "y"), None])
        self.assertEqual([host.login for host in found.look_up("d.example", None).hosts], [None])

    def test_literals(self):
        self.assertEqual(self.way({}, "[192.0.2.1]"), ("ipliteral", [("192.0.2.1", 25)]))
        self.assertEqual(self.way({}, "[IPv6:2001:db8::1]"), ("ipliteral", [("2001:db8::1", 25)]))
        for inside in ("[127.0.0.1]", "[IPv6:::1]", "[169.254.1.1]", "[IPv6:::ffff:127.0.0.1]", "[0.0.0.0]", "[x]"):
            self.assertEqual(router().static(inside).result.outcome, NEVER, inside)

    def test_share(self):
        found = router({"a.example": "", "*": "x"})
        self.assertEqual(found.share("b.example", "me@x"), "relay")
        self.assertEqual(router().share("b.example", "me@x"), "mail")
        self.assertEqual(router().share("b.example", ""), "bounces")
        self.assertEqual(router({"é.example": ""}).share("É.example", "me@x"), "mail")
        self.assertEqual(router({canonical("é.example"): ""}).share("É.example", "me@x"), "relay")


class LookUpTest(unittest.TestCase):
    PATIENCE = types.SimpleNamespace(is_last=True)

    def hosts(self, found, domain="d.example"):
        return [(host.name, host.preference) for host in found.look_up(domain, self.PATIENCE).hosts]

    def failure(self, found):
        nowhere = found.look_up("d.example", self.PATIENCE)
        self.assertIsInstance(nowhere, routing.NoRoute)
        return nowhere.result

    def test_by_preference(self):
        records = {"d.example": [(20, "b.example"), (10, "a.example"), (30, "gone.example")]}
        found = router((), records, a=["192.0.2.1"], b=["192.0.2.2"])
        self.assertEqual(self.hosts(found), [("a.example", 10), ("b.example", 20)])

    def test_without_mx(self):
        self.assertEqual(self.hosts(router((), {}, d=["192.0.2.1"])), [("d.example", 0)])

    def test_what_is_no_better_than_we(self):
        records = {"d.example": [(10, "a.example"), (20, OURS), (20, "b.example"), (30, "c.example")]}
        addresses = dict(a=["192.0.2.1"], b=["192.0.2.2"], c=["192.0.2.3"])
        self.assertEqual(self.hosts(router((), records, **addresses)), [("a.example", 10)])
        records["d.example"][0] = (20, "a.example")
        self.assertEqual(self.failure(router((), records, **addresses)).status, "5.4.6")

    def test_none(self):
        for records, outcome, status in (
                ([(0, "")], NEVER, "5.1.10"), ([(10, "gone.example")], NEVER, "5.1.2"), ([], NEVER, "5.1.2"),
                (dns.NoSuchDomain("d.example"), NEVER, "5.1.2"), (dns.NoAnswer("SERVFAIL"), LATER, "")):
            result = self.failure(router((), {"d.example": records}))
            self.assertEqual((result.outcome, result.status), (outcome, status), records)

    def test_silence_may_be_over_later(self):
        found = router((), {"d.example": dns.NoAnswer("silent", is_silence=True)})
        with self.assertRaises(dns.NoAnswer):
            found.look_up("d.example", types.SimpleNamespace(is_last=False))
        self.assertEqual(self.failure(found).outcome, LATER)

    def test_addresses_are_bounded(self):
        """The first of each host, then the second ones."""
        many = ["192.0.2.%d" % number for number in range(1, 100)]
        records = {"d.example": [(10, "a.example"), (20, "b.example")]}
        route = router((), records, a=many, b=["192.0.2.200"]).look_up("d.example", self.PATIENCE)
        self.assertEqual([len(host.addresses) for host in route.hosts], [ADDRESSES - 1, 1])


class NoThreadTest(unittest.TestCase):
    def test_look_up_waits_for_the_next(self):
        """What is asked while the system has no thread is answered, and answered once."""
        calls, answers = queue.SimpleQueue(), []
        finder = RouteFinder(types.SimpleNamespace(look_up=lambda domain, _: domain.upper()),
                             types.SimpleNamespace(put=lambda *call: calls.put(call)),
                             lambda question, routes: answers.append((question, routes)))
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
            finder.find("mail", ["a.example"], "first")
        finder.find("mail", ["b.example"], "second")
        while len(answers) < 2:
            call, *arguments = calls.get(timeout=support.PATIENCE)
            call(*arguments)
        self.assertEqual(answers, [("first", {"a.example": "A.EXAMPLE"}), ("second", {"b.example": "B.EXAMPLE"})])


class ParseTest(unittest.TestCase):
    """dig +noall +comments +answer."""

    def test_answers(self):
        text = (HEADER % "NOERROR" + ";; flags: qr rd ra; QUERY: 1\n\n;; ANSWER SECTION:\n"
                "d.example.\t300\tIN\tMX\t10 a.example.\nd.example. 300 IN MX 20 b.example.\n\n"
                + HEADER % "NXDOMAIN" + "\n" + HEADER % "NOERROR"
                + "w.example. 300 IN CNAME a.example.\na.example. 300 IN AAAA 2001:db8::1\n")
        self.assertEqual(dns._parse(text), [
            ("NOERROR", [("MX", "10 a.example."), ("MX", "20 b.example.")]), ("NXDOMAIN", []),
            ("NOERROR", [("AAAA", "2001:db8::1")])])

    def test_silence(self):
        text = ";; communications error to 192.0.2.1#53: timed out\n;; no servers could be reached\n"
        self.assertEqual(dns._parse(text + HEADER % "SERVFAIL"), [(dns.SILENCE, []), ("SERVFAIL", [])])

    def test_nonsense(self):
        for text in ("", "\n\n", "a. 1 IN A 192.0.2.1\n", "x" * 1000, "; comment\n", "a b c\n"):
            self.assertEqual(dns._parse(text), [], text)
        self.assertEqual(dns._parse(HEADER % "NOERROR" + "a. 1 IN A\na. 1 IN TXT x\n"), [("NOERROR", [])])


if __name__ == "__main__":
    unittest.main()
