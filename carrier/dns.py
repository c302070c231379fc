"""The DNS, asked through `dig` (Debian's bind9-dnsutils)."""
import subprocess

SECONDS = 3                 # for each of
TRIES = 2
TYPES = {"A", "AAAA", "MX"}


class NoAnswer(Exception):
    """Nobody answered, or with a failure: it may be different later. `text`: what went wrong."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class NoSuchDomain(Exception):
    """The name does not exist."""


class Resolver:
    """server: "" for the system's resolvers, else "address" or "address#port" of one to ask."""

    def __init__(self, server=""):
        address, _, port = server.partition("#")
        self._options = [f"@{address}"] if address else []
        if port:
            self._options += ["-p", port]

    def mail_hosts(self, domain):
        """[(preference, host)] of the MX records of `domain`, [] when it has none.

        The host is "" in a null MX (RFC 7505). Raises NoSuchDomain, NoAnswer.
        """
        status, answers = self._ask([(domain, "MX")])[0]
        if status == "NXDOMAIN":
            raise NoSuchDomain(domain)
        _check(domain, status)
        pairs = [data.split() for kind, data in answers if kind == "MX"]
        return [(int(preference), host.rstrip(".")) for preference, host in pairs]

    def addresses(self, hosts):
        """{host: [its IPv6, then its IPv4 addresses]}; [] for what has none. Raises NoAnswer when there is
        no address at all, and an answer was missing."""
        questions = [(host, kind) for host in hosts for kind in ("AAAA", "A")]
        found = {host: [] for host in hosts}
        problem = None
        for (host, kind), (status, answers) in zip(questions, self._ask(questions)):
            found[host] += [data for answer, data in answers if answer == kind]
            if status not in ("NOERROR", "NXDOMAIN"):
                problem = (host, status)
        if problem and not any(found.values()):
            _check(*problem)
        return found

    def _ask(self, questions):
        """[(status, [(type, data)])] for each of `questions`, pairs of (name, type)."""
        words = [word for name, kind in questions for word in ("-q", name, "-t", kind)]
        command = ["dig", "-r", *self._options, "+noall", "+comments", "+answer", f"+time={SECONDS}",
                   f"+tries={TRIES}", *words]
        patience = len(questions) * SECONDS * TRIES + SECONDS
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=patience, check=False)
        except FileNotFoundError:
            raise NoAnswer("dig is not installed (package bind9-dnsutils)") from None
        except subprocess.TimeoutExpired:
            raise NoAnswer("host lookup did not complete") from None
        found = _parse(done.stdout.decode("ascii", "replace"))
        if len(found) != len(questions):
            raise NoAnswer("host lookup did not complete")
        return found


def _check(name, status):
    if status != "NOERROR":
        raise NoAnswer(f"host lookup did not complete ({name}: {status})")


def _parse(text):
    """[(status, [(type, data)])], one for each answer in dig's output."""
    found = []
    for line in text.split("\n"):
        if line.startswith(";; ->>HEADER<<-"):
            found.append((line.partition("status: ")[2].partition(",")[0], []))
        elif line.startswith(";;") and line.endswith("no servers could be reached"):
            found.append(("no answer", []))
        elif line and not line.startswith(";") and found:
            fields = line.split(None, 4)
            if len(fields) == 5 and fields[3] in TYPES:
                found[-1][1].append((fields[3], fields[4]))
    return found
