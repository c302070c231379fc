"""Which host takes a domain's mail: the relay asks a real name server, dnsmasq, through dig."""

import contextlib
import os
import tempfile
import unittest

from smtp_client.dns import is_harmless
from tests.helpers import support
from tests.lab.dns import NameServer
from tests.lab.relay import Relay
from tests.lab.sink import DROP, MAILPIT, Sink

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
NOBODY = "127.0.0.9"                    # no one listens there
REFUSING, FULL, DROPPING = "127.0.0.5", "127.0.0.6", "127.0.0.7"
GREETINGS = {REFUSING: "554 no service here", FULL: "421 too many", DROPPING: DROP, "::1": "554 not over IPv6"}
HAS_IPV6 = os.path.exists("/proc/net/if_inet6")
SPELLINGS = ("faß.example", "FAẞ.example", "café.example", "cafe\u0301.example", "a\u200db.example")

MAIL_HOSTS = {
    "order.example": [(20, "second.example"), (10, "first.example")],
    "down.example": [(10, "nobody.example"), (20, "second.example")],
    "equal.example": [(10, "first.example"), (10, "second.example")],
    "null.example": [(0, ".")],
    "dangling.example": [(10, "missing.example")],
    "half.example": [(10, "missing.example"), (20, "second.example")],
    "loop.example": [(10, "ourselves.example"), (20, "second.example")],
    "named.example": [(5, support.DOMAIN), (10, "second.example")],
    "backup.example": [(10, "nobody.example"), (20, "ourselves.example"), (30, "second.example")],
    "refused.example": [(10, "refusing.example"), (20, "second.example")],
    "busy.example": [(10, "full.example"), (20, "second.example")],
    "reset.example": [(10, "dropping.example"), (20, "second.example")],
    "no.example": [(10, "refusing.example"), (20, "refusing.example")],
    "perhaps.example": [(10, "nobody.example"), (20, "refusing.example")],
    "families.example": [(10, "both.example"), (20, "second.example")],
    "xn--fa-hia.example": [(10, "first.example")],
    "fass.example": [(10, "second.example")],
    "xn--caf-dma.example": [(10, "second.example")],
}
ADDRESSES = {"first.example": FIRST, "second.example": SECOND, "plain.example": THIRD, "nobody.example": NOBODY,
             "ourselves.example": "127.0.0.1", "empty.sub.example": THIRD, "refusing.example": REFUSING,
             "full.example": FULL, "dropping.example": DROPPING, "both.example": "%s,::1" % FIRST}
ALIASES = {"alias.example": "order.example"}


@support.needs_program("dnsmasq", "dig")
class MailHostsTest(unittest.TestCase):
    """One message a domain, all in one run."""

    @classmethod
    def setUpClass(cls):
        with contextlib.ExitStack() as stack:
            cls.port = support.free_port()
            names = stack.enter_context(NameServer(MAIL_HOSTS, ADDRESSES, ALIASES))
            cls.sinks = {address: stack.enter_context(Sink(port=cls.port, address=address, extensions=MAILPIT))
                         for address in (FIRST, SECOND, THIRD)}
            for address, greeting in GREETINGS.items():
                if address == "::1" and not HAS_IPV6:
                    continue
                stack.enter_context(Sink({"connect": greeting}, port=cls.port, address=address))
            cls.relay = stack.enter_context(Relay(
                mail_port=cls.port, SMTP_DNS=names.server, SMTP_PORTS=str(cls.port), SMTP_BIND="127.0.0.1",
                bounds={"lookups": {"PATIENT_LOOKUP": (3, 2, 20)}}))
            domains = ["nowhere.silent.test", *MAIL_HOSTS, "plain.example", "alias.example", "unknown.example",
                       "sub.example", "x.servfail.test", *SPELLINGS]
            cls.ids = {domain: cls.relay.enqueue("x@" + domain) for domain in domains}
            cls.relay.start()
            # After seconds; whoever is not done by then was held up (test_silence_holds_up_nobody), or is slow.
            cls.relay.wait_log("== x@nowhere.silent.test")
            support.wait_for(lambda: all(map(cls.is_settled, domains)), "every fate")
            support.wait_for(lambda: set(cls.relay.ids()) <= set(cls.ids.values()), "every bounce delivered")
            cls.relay.stop()
            cls.addClassCleanup(stack.pop_all().close)

    @classmethod
    def is_settled(cls, domain):
        """Whether it is done with for now."""
        return cls.relay.lines(cls.ids[domain])[-1:] and cls.relay.lines(cls.ids[domain])[-1].startswith(
            ("Completed", "=="))

    def lines(self, domain):
        return self.relay.lines(self.ids[domain])

    def assert_taken_by(self, domain, *addresses):
        lines = self.lines(domain)
        self.assertEqual(lines[-1], "Completed", lines)
        self.assertIn("=> x@%s R=dnslookup T=remote_smtp H=" % domain, lines[-2])
        self.assertIn(lines[-2].partition("[")[2].partition("]")[0], addresses)

    def assert_failed(self, domain, line):
        self.assertEqual(self.lines(domain), [line, "Completed"])

    def test_best_preference(self):
        self.assert_taken_by("order.example", FIRST)

    def test_next_preference_when_the_best_is_down(self):
        self.assert_taken_by("down.example", SECOND)
        self.assertEqual(self.lines("down.example")[0], "H=nobody.example [%s] Connection refused" % NOBODY)

    def test_equal_preference(self):
        self.assert_taken_by("equal.example", FIRST, SECOND)

    def test_host_without_address_is_passed_over(self):
        self.assert_taken_by("half.example", SECOND)

    def test_address_of_a_domain_without_mx(self):
        self.assert_taken_by("plain.example", THIRD)

    def test_alias_of_a_domain(self):
        self.assert_taken_by("alias.example", FIRST)
        recipients = [message.recipients for message in self.sinks[FIRST].messages]
        self.assertIn(["TO:<x@alias.example>"], recipients)

    def test_host_that_greets_with_a_refusal_is_passed_over(self):
        said = "H=%s [%s]: SMTP error from remote mail server after initial connection: %s"
        for domain, host, address, text in (("refused", "refusing", REFUSING, "554 no service here"),
                                            ("busy", "full", FULL, "421 too many")):
            self.assert_taken_by(domain + ".example", SECOND)
            self.assertEqual(self.lines(domain + ".example")[0], said % (host + ".example", address, text))
        self.assert_taken_by("reset.example", SECOND)

    def test_refusal_of_all_hosts_is_the_messages(self):
        self.assertEqual(self.lines("no.example")[1:], [
            "** x@no.example R=dnslookup T=remote_smtp H=refusing.example [%s]: SMTP error from remote mail server "
            "after "
            "initial connection: 554 no service here" % REFUSING, "Completed"])

    def test_refusal_counts_only_when_no_host_is_left(self):
        self.assertEqual(self.lines("perhaps.example")[-1],
                         "== x@perhaps.example R=dnslookup T=remote_smtp defer (111): Connection refused")

    @unittest.skipUnless(HAS_IPV6, "cette machine n'a pas IPv6")
    def test_addresses_of_one_host(self):
        """IPv6 first; what one address refuses, the next may take."""
        self.assertEqual(self.lines("families.example")[0], "H=both.example [::1]: SMTP error from remote mail server "
                                                            "after "
                         "initial connection: 554 not over IPv6")
        self.assert_taken_by("families.example", FIRST)

    @support.needs_program("idn2")
    def test_names_in_other_letters(self):
        """IDNA2008, which keeps the German ß (RFC 5894 §7.2); upper case and accents in two characters are no other
        name."""
        for spelling, address in (("faß.example", FIRST), ("FAẞ.example", FIRST), ("café.example", SECOND),
                                  ("cafe\u0301.example", SECOND)):
            line, end = self.lines(spelling)
            self.assertEqual(end, "Completed")
            self.assertIn("[%s]" % address, line)
        self.assertIn(": Unrouteable address", self.lines("a\u200db.example")[0])

    def test_null_mx(self):
        self.assert_failed("null.example",
                           "** x@null.example R=dnslookup: an MX or SRV record indicated no SMTP service")

    def test_no_such_domain(self):
        self.assert_failed("unknown.example", "** x@unknown.example: Unrouteable address")

    def test_domain_without_records(self):
        self.assert_failed("sub.example", "** x@sub.example: Unrouteable address")

    def test_mx_without_address(self):
        self.assert_failed("dangling.example",
                           "** x@dangling.example R=dnslookup: all relevant MX records point to non-existent hosts")

    def test_we_are_the_best_host(self):
        """Mail that the DNS sends back to us is a loop, whatever hosts stand behind us."""
        for domain in ("loop.example", "named.example"):
            self.assert_failed(domain, "** x@%s R=dnslookup: lowest numbered MX record points to local host" % domain)

    def test_we_are_a_backup(self):
        """RFC 5321 §5.1: only hosts that are better than we are count."""
        lines = self.lines("backup.example")
        self.assertEqual(lines[-1], "== x@backup.example R=dnslookup T=remote_smtp defer (111): Connection refused")
        self.assertFalse(any(SECOND in line or "127.0.0.1" in line for line in lines), lines)

    def test_failure_and_silence_are_temporary(self):
        for domain in ("x.servfail.test", "nowhere.silent.test"):
            lines = self.lines(domain)
            self.assertEqual(len(lines), 1)
            start = "== x@%s R=dnslookup defer (-1): host lookup did not complete" % domain
            self.assertTrue(lines[0].startswith(start), lines)
            self.assertIn(self.ids[domain], self.relay.ids())

    def test_silence_holds_up_nobody(self):
        log = self.relay.log()
        last = log.index("== x@nowhere.silent.test")
        for domain in ("order.example", "plain.example", "unknown.example"):
            self.assertLess(log.index(self.ids[domain] + " Completed"), last)

    def test_status_of_the_bounces(self):
        statuses = {}
        for message in self.relay.messages("alice"):
            for line in message.content.decode().splitlines():
                if line.startswith("Final-Recipient: utf-8;"):
                    domain = ""
                if line.startswith("Final-Recipient: rfc822;x@"):
                    domain = line.partition("@")[2]
                if line.startswith("Status: "):
                    statuses[domain] = line[8:]
        statuses.pop("", None)
        self.assertEqual(statuses, {
            "null.example": "5.1.10", "unknown.example": "5.1.2", "sub.example": "5.1.2", "dangling.example": "5.1.2",
            "loop.example": "5.4.6", "named.example": "5.4.6", "no.example": "5.0.0"})


@support.needs_program("dnsmasq", "dig")
class EqualPreferenceTest(unittest.TestCase):

    def test_both_hosts_are_used(self):
        """Each connection takes equal hosts in a new order (RFC 5321 §5.1); these take one message each."""
        def once(_, visit):
            return "250 OK" if visit.transactions == 1 else "421 one is enough"
        port = support.free_port()
        with contextlib.ExitStack() as stack:
            names = stack.enter_context(NameServer(MAIL_HOSTS, ADDRESSES))
            sinks = [stack.enter_context(Sink({"mail": once}, port=port, address=address))
                     for address in (FIRST, SECOND)]
            relay = stack.enter_context(Relay(mail_port=port, SMTP_DNS=names.server))
            for number in range(40):
                relay.enqueue("u%d@equal.example" % number)
            relay.start()
            relay.wait_empty()
            counts = [len(sink.messages) for sink in sinks]
        self.assertEqual(sum(counts), 40)
        self.assertGreater(min(counts), 0, counts)


@support.needs_program("dnsmasq", "dig")
class WithoutIdn2Test(unittest.TestCase):

    def test_only_what_both_standards_agree_on(self):
        """A name that Python's codec, of 2003, takes for another one is refused with the reason."""
        with contextlib.ExitStack() as stack:
            port = support.free_port()
            programs = stack.enter_context(tempfile.TemporaryDirectory())
            os.chmod(programs, 0o755)
            os.symlink(support.find_program("dig"), programs + "/dig")
            names = stack.enter_context(NameServer(MAIL_HOSTS, ADDRESSES))
            sink = stack.enter_context(Sink(port=port, address=SECOND, extensions=MAILPIT))
            relay = stack.enter_context(Relay(mail_port=port, SMTP_DNS=names.server, PATH=programs))
            ids = {spelling: relay.enqueue("x@" + spelling) for spelling in (*SPELLINGS, "βόλος.example")}
            relay.start()
            relay.wait_empty()
            for spelling in ("faß.example", "FAẞ.example", "a\u200db.example", "βόλος.example"):
                self.assertIn(": domain name needs IDNA2008: idn2 is not installed (package idn2)",
                              relay.lines(ids[spelling])[0])
            self.assertEqual({message.recipients[0] for message in sink.messages},
                             {"TO:<x@café.example>", "TO:<x@cafe\u0301.example>"})


@support.needs_program("dnsmasq", "dig")
class ManyAddressesTest(unittest.TestCase):

    def test_ten_are_tried(self):
        """Ten of all hosts together, and some of each."""
        mail_hosts = {"many.example": [(10, "first.example"), (20, "second.example")]}
        addresses = {"first.example": ["127.2.0.%d" % number for number in range(1, 21)],
                     "second.example": ["127.3.0.%d" % number for number in range(1, 4)]}
        with NameServer(mail_hosts, addresses) as names, \
                Relay(mail_port=support.free_port(), SMTP_DNS=names.server) as relay:
            message_id = relay.enqueue("x@many.example")
            relay.start()
            relay.wait_log("== x@many.example")
            tried = [line.partition(" ")[0] for line in relay.lines(message_id)[:-1]]
            self.assertEqual((tried.count("H=first.example"), tried.count("H=second.example")), (7, 3))


@support.needs_program("dnsmasq", "dig")
class StrangersAddressesTest(unittest.TestCase):
    """What a stranger's DNS or sender address may have us connect to: not to this machine, nor to its link."""

    MAIL_HOSTS = {name: [(10, "mx." + name)] for name in ("loop.example", "link.example", "zero.example")}
    ADDRESSES = {"mx.loop.example": FIRST, "mx.link.example": "169.254.169.254", "mx.zero.example": "0.0.0.0",
                 "plain.example": FIRST}

    def test_which(self):
        for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1",
                        "fe80::1%eth0", "::ffff:169.254.0.1", "0.0.0.0", "::", "nonsense", ""):
            self.assertFalse(is_harmless(address), address)
        for address in ("10.0.0.5", "192.168.1.1", "172.16.0.1", "fd00::1", "192.0.2.1", "2001:db8::1",
                        "::ffff:10.0.0.5"):
            self.assertTrue(is_harmless(address), address)

    def lines_about(self, domains, **options):
        """{domain: the first line in the log} of a relay for which this is the DNS that the system has."""
        port = support.free_port()
        with contextlib.ExitStack() as stack:
            names = stack.enter_context(NameServer(self.MAIL_HOSTS, self.ADDRESSES))
            sink = stack.enter_context(Sink(port=port, address=FIRST))
            programs = stack.enter_context(tempfile.TemporaryDirectory())
            os.chmod(programs, 0o755)
            dig = support.pathlib.Path(programs, "dig")
            dig.write_text('#!/bin/sh\nexec %s @127.0.0.1 -p %d "$@"\n' % (support.find_program("dig"), names.port))
            dig.chmod(0o755)
            relay = stack.enter_context(Relay(mail_port=port, PATH=programs, **options))
            ids = {domain: relay.enqueue("x@" + domain) for domain in domains}
            relay.start()
            support.wait_for(lambda: all(relay.lines(message_id) for message_id in ids.values()), "a line of each")
            self.assertEqual(sink.connections, 0)
            return {domain: relay.lines(message_id)[0] for domain, message_id in ids.items()}

    def test_dns(self):
        domains = [*self.MAIL_HOSTS, "plain.example"]
        lines = self.lines_about(domains, routes={"link.example": 0})      # named, but its host is not
        for domain in self.MAIL_HOSTS:
            self.assertEqual(lines[domain],
                             "** x@%s R=dnslookup: all relevant MX records point to non-existent hosts" % domain)
        self.assertEqual(lines["plain.example"], "** x@plain.example: Unrouteable address")

    def test_literals(self):
        domains = ["[127.0.0.2]", "[169.254.169.254]", "[IPv6:::1]", "[0.0.0.0]"]
        lines = self.lines_about(domains)
        for domain in domains:
            self.assertEqual(lines[domain], "** x@%s: Unrouteable address" % domain)

    def test_literal_with_a_smarthost(self):
        """All that is not for a domain of -relay goes to the smarthost, which the administrator chose."""
        with Sink() as smarthost, Relay({"*": smarthost.port}) as relay:
            message_id = relay.enqueue("x@[10.0.0.5]")
            relay.start()
            smarthost.wait_messages(1)
            relay.wait_log(message_id + " Completed")
            self.assertIn("=> x@[10.0.0.5] R=smarthost T=remote_smtp_smarthost H=127.0.0.1", relay.log())


class WithoutDnsTest(unittest.TestCase):

    def test_dig_is_missing(self):
        """Mail waits, and the log says for what."""
        with Relay({"x.example": 0}, PATH="/nonexistent") as relay:
            message_id = relay.enqueue("x@x.example")
            relay.start()
            relay.wait_log("== x@x.example R=dnslookup defer (-1): dig is not installed (package bind9-dnsutils)")
            self.assertEqual(relay.ids(), [message_id])

    def test_static_host_that_is_ourselves(self):
        port = support.free_port()
        with Relay({"x.example": port}, SMTP_PORTS=str(port)) as relay:
            message_id = relay.enqueue("x@x.example")
            relay.start()
            relay.wait_empty()
            self.assertEqual(relay.lines(message_id)[0],
                             "** x@x.example R=hubbed_hosts T=remote_smtp: remote host address is the local host")
