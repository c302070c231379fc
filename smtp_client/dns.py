"""The DNS, asked through `dig` (Debian's bind9-dnsutils)."""
import ipaddress
import subprocess
from time import monotonic

TYPES = {"A", "AAAA", "MX"}
SILENCE = "no answer"       # in the place of an answer's status


class NoAnswer(Exception):
    """Nobody answered, or with a failure: it may be different later. text: what went wrong; is_silence: whether
    nobody answered in time."""

    def __init__(self, text, is_silence=False):
        super().__init__(text)
        self.text = text
        self.is_silence = is_silence


class NoSuchDomain(Exception):
    """The name does not exist."""


class Patience:
    """How long one look-up may take. lookup: a bounds.Lookup; is_last: whether it has to do with what answers
    there are in that time."""

    def __init__(self, lookup, is_last):
        self.lookup = lookup
        self.is_last = is_last
        self._until = monotonic() + lookup.whole

    def left(self):
        """The seconds left."""
        return max(0.0, self._until - monotonic())


class Resolver:
    """server: "" for the system's resolvers, else "address" or "address#port" of one to ask, whom we trust
    since the administrator named it: with others, see is_harmless()."""

    def __init__(self, server=""):
        address, _, port = server.partition("#")
        self._options = [f"@{address}"] if address else []
        self._is_trusted = bool(server)
        if port:
            self._options += ["-p", port]

    def mail_hosts(self, domain, patience):
        """[(preference, host)] of the MX records of `domain`, [] when it has none.

        The host is "" in a null MX (RFC 7505). Raises NoSuchDomain, NoAnswer.
        """
        status, answers = self._ask([(domain, "MX")], patience)[0]
        if status == "NXDOMAIN":
            raise NoSuchDomain(domain)
        _check(domain, status)
        pairs = [data.split() for kind, data in answers if kind == "MX"]
        return [(int(preference), host.rstrip(".")) for preference, host in pairs]

    def addresses(self, hosts, patience):
        """{host: [its IPv6, then its IPv4 addresses]}; [] for what has none. Raises NoAnswer when an answer was
        missing and there is no address at all, or more patience can be had."""
        questions = [(host, kind) for host in hosts for kind in ("AAAA", "A")]
        found = {host: [] for host in hosts}
        problem = None
        for (host, kind), (status, answers) in zip(questions, self._ask(questions, patience)):
            found[host] += [data for answer, data in answers if answer == kind and self._may_lead_to(data)]
            if status not in ("NOERROR", "NXDOMAIN"):
                problem = (host, status)
        if problem and (not any(found.values()) or problem[1] == SILENCE and not patience.is_last):
            _check(*problem)
        return found

    def _may_lead_to(self, address):
        return self._is_trusted or is_harmless(address)

    def _ask(self, questions, patience):
        """[(status, [(type, data)])] for each of `questions`, pairs of (name, type)."""
        words = [word for name, kind in questions for word in ("-q", name, "-t", kind)]
        command = ["dig", "-r", *self._options, "+noall", "+comments", "+answer", f"+time={patience.lookup.seconds}",
                   f"+tries={patience.lookup.tries}", *words]
        try:
            output = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, timeout=patience.left(), check=False).stdout
        except FileNotFoundError:
            raise NoAnswer("dig is not installed (package bind9-dnsutils)") from None
        except subprocess.TimeoutExpired as error:
            output = error.stdout or b""
        found = _parse(output.decode("ascii", "replace"))[:len(questions)]
        return found + [(SILENCE, [])] * (len(questions) - len(found))


def is_harmless(address):
    """Whether a stranger may have us connect to `address` (text): not to this machine, nor to its link."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)


def _check(name, status):
    if status != "NOERROR":
        raise NoAnswer(f"host lookup did not complete ({name}: {status})", status == SILENCE)


def _parse(text):
    """[(status, [(type, data)])], one for each answer in dig's output."""
    found = []
    for line in text.split("\n"):
        if line.startswith(";; ->>HEADER<<-"):
            found.append((line.partition("status: ")[2].partition(",")[0], []))
        elif line.startswith(";;") and line.endswith("no servers could be reached"):
            found.append((SILENCE, []))
        elif line and not line.startswith(";") and found:
            fields = line.split(None, 4)
            if len(fields) == 5 and fields[3] in TYPES:
                found[-1][1].append((fields[3], fields[4]))
    return found
