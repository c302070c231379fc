"""What only costs time, hosts that say nothing and name servers that do not answer, holds up no mail for others.

Who waits for what is told by the order of events: a healthy host has its mail while the silent ones are held still.
The sums are smtp_client/bounds.py's; the plain run has them in small.
"""

import contextlib
import select
import socket
import time
import unittest

from tests.helpers import support
from tests.lab.dns import NameServer, udp_socket
from tests.lab.relay import Relay
from tests.lab.sink import SAID, SILENCE, Sink

HEALTHY = "127.0.0.2"
TARPIT = "127.1.0.1"
HELD = {"connect": 60, "greeting": 60, "command": 60, "data": 60, "end_of_data": 60}
# tarpits, and the workers of the share that they are in: a turn of half of them is enough, as with 200 and 160
TARPITS, WORKERS = (200, 160) if support.LONG else (12, 10)
NAMES = 110 if support.LONG else 8
QUICK = 24 if support.LONG else 3


def address_of(number):
    return "127.1.%d.%d" % divmod(number, 250)


def zone(tarpits):
    """({domain: its MX record}, {host: address}) of so many tarpits, each of its own address, and of a healthy host."""
    hosts = {"t%d.example" % number: address_of(number + 1) for number in range(tarpits)}
    hosts["healthy.example"] = HEALTHY
    return {name: [(10, "mx." + name)] for name in hosts}, {"mx." + name: address for name, address in hosts.items()}


@contextlib.contextmanager
def lab(mail_hosts, addresses, **options):
    """(Sink that is healthy, Relay) with a name server that knows these."""
    port = options.setdefault("mail_port", support.free_port())
    with NameServer(mail_hosts, addresses) as names, Sink(port=port, address=HEALTHY) as sink, \
            Relay(SMTP_DNS=names.server, **options) as relay:
        yield sink, relay


def settled(relay):
    return relay.log().count(" == ")


@support.needs_program("dnsmasq", "dig")
class TarpitTest(unittest.TestCase):

    def check(self, sender, share, number=TARPITS, workers=WORKERS, steps=()):
        """Silent hosts have all workers, and more wait for one; the healthy host that comes then has its mail while
        half of the workers are held still."""
        port = support.free_port()
        bounds = {"shares": {share: {"clients": workers}}, "SHORT_STEP": 4 if support.LONG else 1}
        with contextlib.ExitStack() as stack:
            listeners = []
            for host in range(number):
                place = {"port": port, "address": address_of(host + 1)}
                if host < len(steps):
                    stack.enter_context(Sink({steps[host]: SILENCE}, **place))
                else:                           # the kernel takes the connection, and nobody ever greets
                    listeners.append(stack.enter_context(socket.create_server((place["address"], port))))
            sink, relay = stack.enter_context(lab(*zone(number), mail_port=port, limits=HELD, bounds=bounds))
            for host in range(number):
                relay.enqueue("x@t%d.example" % host, sender=sender)
            relay.start()
            held = workers - len(steps)
            support.wait_for(lambda: len(select.select(listeners, [], [], 0)[0]) >= held, "silence for every worker")
            last = relay.enqueue("x@healthy.example", sender=sender)
            relay.wake("new " + last)
            sink.wait_messages(1)
            relay.wait_log(last + " Completed")
            self.assertLessEqual(settled(relay), number - workers // 2)

    def test_bounces(self):
        """Senders that somebody forged: their hosts accept and never greet."""
        self.check("", "bounces")

    def test_hosts_that_stop_later(self):
        steps = ["connect", "ehlo", "mail", "rcpt", "data", "dot"]
        self.check("alice@" + support.DOMAIN, "mail", number=14, workers=10, steps=steps)

    def test_shares_lend_nothing(self):
        """With all that bounces may have held, mail that has a sender has its own workers."""
        bounds = {"shares": {"bounces": {"clients": 1}}}
        with contextlib.ExitStack() as stack:
            port = support.free_port()
            tarpit = stack.enter_context(Sink({"connect": SILENCE}, port=port, address=address_of(1)))
            sink, relay = stack.enter_context(lab(*zone(1), mail_port=port, limits=HELD, bounds={
                **bounds, "SHORT_STEP": 60, "SHORT_VISIT": 60}))
            relay.enqueue("x@t0.example", sender="")
            relay.start()
            tarpit.wait(lambda tarpit: tarpit.connections, "the tarpit's visitor")
            behind = relay.enqueue("y@healthy.example", sender="")
            relay.wake()
            beside = relay.enqueue("x@healthy.example")
            relay.wake("new " + beside)
            sink.wait_messages(1)
            relay.wait_log(beside + " Completed")
            self.assertEqual(relay.lines(behind), [])

    def test_host_that_drips(self):
        """Each answer is in time, but there are many: the visit as a whole has an end."""
        def late(_, visit):
            time.sleep(0.4)
            visit.say("250 OK")
            visit.recipients.append("x")
            return SAID
        bounds = {"shares": {"relay": {"clients": 1}}, "SHORT_STEP": 1, "SHORT_VISIT": 2}
        with Sink({"rcpt": late}) as sink, Relay({"s.example": sink.port}, bounds=bounds) as relay:
            relay.enqueue(*("u%d@s.example" % number for number in range(50)))
            relay.start()
            relay.wait_log(" == u49@s.example")
            self.assertLess(sum(line.startswith("RCPT") for line in sink.commands), 50)
            self.assertEqual(sink.messages, [])


@support.needs_program("dnsmasq", "dig")
class OneAddressTest(unittest.TestCase):
    """Many names lead to one host."""

    def names(self):
        domains = ["n%d.example" % number for number in range(NAMES)]
        mail_hosts = {name: [(10, "mx." + name)] for name in [*domains, "healthy.example"]}
        addresses = {**{"mx." + name: TARPIT for name in domains}, "mx.healthy.example": HEALTHY}
        return domains, mail_hosts, addresses

    def test_holds_one_worker(self):
        domains, *names = self.names()
        port = support.free_port()
        bounds = {"shares": {"bounces": {"clients": 4}}}
        with Sink({"connect": SILENCE}, port=port, address=TARPIT) as tarpit, \
                lab(*names, mail_port=port, limits=HELD, bounds=bounds) as (sink, relay):
            for domain in domains:
                relay.enqueue("x@" + domain, sender="")
            last = relay.enqueue("x@healthy.example", sender="")
            relay.start()
            sink.wait_messages(1)
            relay.wait_log(last + " Completed")
            self.assertEqual((tarpit.connections, settled(relay)), (1, 0))

    def test_silence_is_remembered(self):
        """It costs one connection; a person who asks for another try has it."""
        domains, *names = self.names()
        port = support.free_port()
        with Sink({"connect": SILENCE}, port=port, address=TARPIT) as tarpit, \
                lab(*names, mail_port=port, limits={"greeting": 1}) as (_, relay):
            ids = [relay.enqueue("x@" + domain, sender="") for domain in domains]
            relay.start()
            relay.wait_log(" == ", NAMES)
            self.assertEqual(tarpit.connections, 1)
            for message_id, domain in zip(ids, domains):
                self.assertEqual(relay.lines(message_id)[-1],
                                 "== x@%s R=dnslookup T=remote_smtp defer (110): Connection timed out H=%s [%s]: "
                                 "SMTP timeout after initial connection" % (domain, self.host_named(relay), TARPIT))
            tarpit.script["connect"] = "220 awake"
            relay.command("retry")
            relay.wait_empty()
            self.assertEqual(len(tarpit.messages), NAMES)

    @staticmethod
    def host_named(relay):
        """The one of the names under which the host was tried."""
        return next(line.partition(" H=")[2].partition(" ")[0] for line in relay.log().splitlines() if " H=" in line)

    def test_other_shares_try_it_all_the_same(self):
        """A forged sender must not have a host left alone to which others write."""
        answers = iter((SILENCE,))
        _, *names = self.names()
        with lab(*names, limits={"greeting": 1}) as (sink, relay):
            sink.script["connect"] = lambda *_: next(answers, "220 awake")
            relay.enqueue("x@healthy.example", sender="")
            relay.start()
            relay.wait_log(" == x@healthy.example")
            message_id = relay.enqueue("y@healthy.example")
            relay.wake("new " + message_id)
            relay.wait_log(message_id + " Completed")

    def test_all_of_them_are_served(self):
        """Destinations that wait for a slot at a host that is well, or for a client, have it one after the other."""
        domains, *names = self.names()
        port = support.free_port()
        bounds = {"shares": {"mail": {"clients": 6}}, "TURN": 0}
        with Sink(port=port, address=TARPIT) as host, lab(*names, mail_port=port, bounds=bounds) as (sink, relay):
            for number in range(5):
                for domain in [*domains, "healthy.example"]:
                    relay.enqueue("u%d@%s" % (number, domain))
            relay.start()
            relay.wait_empty()
            self.assertEqual((len(host.messages), len(sink.messages)), (5 * NAMES, 5))
            self.assertLessEqual(host.most_at_once, 4)


class TurnTest(unittest.TestCase):

    def test_endless_mail_gives_way(self):
        """One worker, a host with much mail and another with one message, which leaves before the last of the first."""
        def slow(_, visit):
            time.sleep(0.05)
            return "250 OK"
        bounds = {"shares": {"relay": {"clients": 1}}, "TURN": 0.2}
        with Sink({"dot": slow}) as busy, Sink() as other, \
                Relay({"busy.example": busy.port, "other.example": other.port}, bounds=bounds) as relay:
            for number in range(24):
                relay.enqueue("u%d@busy.example" % number)
            relay.enqueue("x@other.example")
            relay.start()
            other.wait_messages(1)
            self.assertLess(len(busy.messages), 24)
            relay.wait_empty()


@support.needs_program("dnsmasq", "dig")
class SilentNameServerTest(unittest.TestCase):

    BOUNDS = {"shares": {"bounces": {"quick": QUICK, "patient": 1}}, "lookups": {"PATIENT_LOOKUP": (30, 1, 30)}}

    def test_holds_up_nobody(self):
        """Silent name servers first: a healthy domain of the same share, one of -relay, and a member of a list that has
        a silent one too have their mail before the silent ones are given up."""
        domains = {name: [(10, "mx." + name)] for name in ("healthy.example", "named.example", "member.example")}
        addresses = {"mx." + name: HEALTHY for name in domains}
        with lab(domains, addresses, routes={"named.example": 0}, bounds=self.BOUNDS) as (sink, relay):
            for number in range(2 * QUICK):
                relay.enqueue("x@d%d.silent.test" % number, sender="")
            relay.enqueue("x@healthy.example", sender="")
            relay.enqueue("x@named.example", "x@list.silent.test")
            relay.enqueue("x@member.example", "y@list.silent.test")
            relay.start()
            sink.wait_messages(3)
            self.assertEqual(settled(relay), 0)

    def test_silence_is_remembered(self):
        """The second message is not worth another question; a person's `retry` is."""
        with udp_socket() as silent:
            server = "127.0.0.1#%d" % silent.getsockname()[1]
            with Relay(SMTP_DNS=server, bounds={"lookups": {"PATIENT_LOOKUP": (1, 1, 2)}}) as relay:
                relay.enqueue("x@d.example", sender="")
                relay.start()
                relay.wait_log(" == x@d.example")
                self.assertGreater(waiting(silent), 0)
                relay.wake("new " + relay.enqueue("y@d.example", sender=""))
                relay.wait_log(" == y@d.example")
                self.assertEqual(waiting(silent), 0)
                relay.command("retry")
                support.wait_for(lambda: waiting(silent), "a question")


def waiting(connection):
    """How many datagrams have come since the last call."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while connection.recv(4096, socket.MSG_DONTWAIT):
            count += 1
    return count
