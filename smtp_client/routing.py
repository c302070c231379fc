"""Which hosts take the mail of a domain: those of -relay, else the DNS's (RFC 5321 §5)."""
import random
import socket

from smtp_client.bounds import ADDRESSES
from smtp_client.dns import NoAnswer, NoSuchDomain, is_harmless
from smtp_client.idna import NoName, to_ascii
from smtp_client.result import LATER, NEVER, UNKNOWN, DeliveryResult, Undeliverable

SMTP_PORT = 25
SUBMISSIONS_PORT = 465      # TLS from the first octet (RFC 8314 §7.3), as `smtps:` asks for at any port
MOST_HOSTS = 10             # of a domain's MX records; RFC 5321 §5.1 asks for two


class Host:
    """A host to try. name; port; preference: the least is the best; addresses: its IP addresses, or None
    when the system is to be asked for them; implicit_tls: whether TLS begins with the first octet; login: (login,
    password) that it is to have, under TLS and if its certificate is good, or None."""

    def __init__(self, name: str, port: int = SMTP_PORT, preference: int = 0, addresses=None, implicit_tls=False,
                 login=None):
        self.name = name
        self.port = port
        self.preference = preference
        self.addresses = addresses
        self.implicit_tls = implicit_tls
        self.login = login


class Route:
    """Where a domain's mail goes. router, transport: Exim's names for it. hosts: Hosts, at least one.
    Mail of two domains goes over the same connections when their routes have the same `key`."""

    def __init__(self, router: str, transport: str, hosts: list):
        self.router = router
        self.transport = transport
        self.hosts = hosts
        self.key = (transport, frozenset((host.name, host.port, host.preference, host.implicit_tls) for host in hosts))

    def in_order(self):
        """The hosts by preference, equal ones in a new order each time (RFC 5321 §5.1)."""
        return sorted(self.hosts, key=lambda host: (host.preference, random.random()))


class NoRoute:
    """Why a domain's mail goes nowhere. result: a DeliveryResult; router, transport: as a Route's, or ""."""

    transport = ""

    def __init__(self, result: DeliveryResult, router: str = ""):
        self.result = result
        self.router = router


class Router:
    """settings: a Settings; resolver: a Resolver; canonical: gives a domain's form (str) in which domains are compared,
    and in which the settings' relays stand; logins: {(host, port): (login, password)} for hosts that -relay names, the
    port 0 for any."""

    def __init__(self, settings, resolver, canonical, logins=()):
        self._logins = dict(logins)
        self._relays = settings.relays
        self._domain = settings.domain
        self._resolver = resolver
        self._canonical = canonical
        self.own = OwnAddresses(settings)

    def share(self, domain: str, sender: str) -> str:
        """Whose clients and look-ups mail from `sender` ("" for <>) to `domain` has: a name in bounds.SHARES."""
        if self._canonical(domain) in self._relays or "*" in self._relays:
            return "relay"
        return "mail" if sender else "bounces"

    def static(self, domain: str):
        """The Route or the NoRoute for `domain` that needs no look-up, or None."""
        name = self._canonical(domain)
        host = self._relays.get(name)
        if host:
            return self._static("hubbed_hosts", "remote_smtp", host)
        smarthost = self._relays.get("*")
        if smarthost and name not in self._relays:
            return self._static("smarthost", "remote_smtp_smarthost", smarthost)
        return _literal(domain) if domain.startswith("[") else None

    def _static(self, router, transport, text):
        name, port, implicit_tls = split_host(text)
        login = self._logins.get((name.lower(), port)) or self._logins.get((name.lower(), 0))
        return Route(router, transport, [Host(name, port, implicit_tls=implicit_tls, login=login)])

    def look_up(self, domain, patience):
        """The Route or the NoRoute for `domain` by the DNS; this may take as long as `patience` (dns.Patience) says.
        Raises NoAnswer when more patience may help."""
        try:
            hosts = self._without_ourselves(self._mail_hosts(to_ascii(domain), patience))
        except NoName as error:
            return NoRoute(DeliveryResult(NEVER, error.text, status="5.1.2"))
        except NoSuchDomain:
            return _unrouteable()
        except Undeliverable as error:
            return NoRoute(error.result, "dnslookup")
        except NoAnswer as error:
            if error.is_silence and not patience.is_last:
                raise
            return NoRoute(DeliveryResult(LATER, error.text, UNKNOWN), "dnslookup")
        return Route("dnslookup", "remote_smtp", _within_bounds(hosts))

    def _mail_hosts(self, domain, patience):
        records = sorted(self._resolver.mail_hosts(domain, patience))[:MOST_HOSTS]
        if any(not name for _, name in records):
            raise _never("an MX or SRV record indicated no SMTP service", "5.1.10")
        named = records or [(0, domain)]
        addresses = self._resolver.addresses([name for _, name in named], patience)
        hosts = [Host(name, SMTP_PORT, preference, addresses[name]) for preference, name in named
                 if addresses[name] or name.lower() == self._domain]
        if hosts:
            return hosts
        if records:
            raise _never("all relevant MX records point to non-existent hosts", "5.1.2")
        raise NoSuchDomain(domain)

    def _without_ourselves(self, hosts):
        """RFC 5321 §5.1: what is no better than we are is left out; if nothing is better, mail loops."""
        ours = [host.preference for host in hosts if self._is_ourselves(host)]
        better = [host for host in hosts if not ours or host.preference < min(ours)]
        if not better:
            raise _never("lowest numbered MX record points to local host", "5.4.6")
        return better

    def _is_ourselves(self, host):
        return host.name.lower() == self._domain or any(
            self.own.is_ours(address, host.port) for address in host.addresses)


def _literal(domain):
    """The Route for an address literal, or the NoRoute of one that leads into this machine (RFC 5321 §4.1.3)."""
    address = domain[1:-1].lower().removeprefix("ipv6:")
    if not is_harmless(address):
        return _unrouteable()
    return Route("ipliteral", "remote_smtp", [Host(address, addresses=[address])])


def _unrouteable():
    return NoRoute(DeliveryResult(NEVER, "Unrouteable address", status="5.1.2"))


def _within_bounds(hosts):
    """`hosts` with ADDRESSES addresses all together: the first one of each, then the second ones, and so on."""
    turns = sorted((turn, place) for place, host in enumerate(hosts) for turn in range(len(host.addresses)))
    kept = [place for _, place in turns[:ADDRESSES]]
    for place, host in enumerate(hosts):
        host.addresses = host.addresses[:kept.count(place)]
    return hosts


def _never(text, status):
    return Undeliverable(DeliveryResult(NEVER, text, status=status))


def split_host(text):
    """(name, port, whether TLS begins with the first octet) of what -relay gives after the `=`: `host`, `host:port`,
    `[IPv6]:port`, `IPv6`, each also behind `smtps:`. Raises ValueError."""
    rest = text.removeprefix("smtps:")
    name, port = split_port(rest)
    implicit_tls = rest != text
    port = port or (SUBMISSIONS_PORT if implicit_tls else SMTP_PORT)
    return name, port, implicit_tls or port == SUBMISSIONS_PORT


def split_port(text):
    """(name, port) of `host`, `host:port`, `[IPv6]:port` or `IPv6`; the port 0 if none is given. Raises ValueError."""
    name, colon, port = text.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):
        name, port = text, ""
    elif not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(text)
    if not name.strip("[]"):
        raise ValueError(text)
    return name.strip("[]"), int(port or 0)


class OwnAddresses:
    """Knows where this very server listens."""

    def __init__(self, settings):
        self._ports = {*settings.ports, *settings.smtps}
        self._bound = settings.bind.split()

    def is_ours(self, address, port):
        """Whether a connection to `address` and `port` would come back to us."""
        if port not in self._ports:
            return False
        if self._bound and not {"0.0.0.0", "::"}.intersection(self._bound):
            return address in self._bound
        return _is_of_this_host(address)


def _is_of_this_host(address):
    # The kernel binds to an address of this host only.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
