"""The message's id, the dates, the header lines that an MTA adds (RFC 5321 §4.4), and the log's lines that say the same
of mail that stays here, whoever writes them: all as Exim has them."""
import posix
from time import localtime, strftime, time

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NAME_CHARACTERS = frozenset(DIGITS + "-._:[]/+")    # may stand in a Received comment and a log field and change neither
TICKS = 2000                # an id tells half milliseconds apart

LOCAL_USER, ALIASES = "local_user", "system_aliases"     # Exim's names for the ways of mail that stays here


def base62(number, width):
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return digits


class Clock:
    """Makes ids and moments of which no two are alike within one process, of however many Clocks, also when
    the time is set back: then they go on from the last one. host: this host's name, as it
    may stand in a file name: Maildir readers take / and : for something else (djb's maildir page)."""

    _tick = 0
    _microsecond = 0

    def __init__(self, host):
        self.host = host.replace("/", "\\057").replace(":", "\\072")

    def message_id(self):
        """A new id, `tttttt-pppppp-ss`: seconds, process id, fraction of the second in 1/2000 s."""
        tick = Clock._tick = max(Clock._tick + 1, int(time() * TICKS))
        seconds, fraction = divmod(tick, TICKS)
        return f"{base62(seconds, 6)}-{base62(posix.getpid(), 6)}-{base62(fraction, 2)}"

    def moment(self):
        """(seconds, microseconds) since 1970, never the same twice."""
        now = Clock._microsecond = max(Clock._microsecond + 1, int(time() * 1000000))
        return divmod(now, 1000000)

    def file_name(self):
        """The name of a file in a Maildir: time, process and host (djb's maildir page)."""
        seconds, microseconds = self.moment()
        return f"{seconds}.M{microseconds}P{posix.getpid()}.{self.host}"


def mail_date(seconds=None):
    """The date as header lines have it (RFC 5322 §3.3), local time."""
    return strftime("%a, %d %b %Y %H:%M:%S %z", localtime(seconds))


def mbox_date(seconds=None):
    """The date as an mbox's `From ` line has it, the day of the month in two digits."""
    return strftime("%a %b %d %H:%M:%S %Y", localtime(seconds))


def _readable(name):
    return "".join(c if c in NAME_CHARACTERS else "?" for c in name)


class Origin:
    """Where a message came from. address: the client's, "" for this host itself; name: what it called
    itself; protocol: "smtp", "esmtp", ...; login: who authenticated, or ""; mechanism: how, or "";
    cipher: of the TLS session, or ""."""

    def __init__(self, address, name, protocol, login="", mechanism="", cipher=""):
        self.address = address
        self.name = name if NAME_CHARACTERS.issuperset(name) else _readable(name)
        self.protocol = protocol
        self.login = login
        self.mechanism = mechanism
        self.cipher = cipher

    def received_from(self):
        """`[address] (helo=name)`, as in a Received line."""
        # A name that only repeats the address as a literal says nothing more, and Exim leaves it out.
        if not self.name or self.name.lower() in (f"[{self.address}]", f"[ipv6:{self.address}]"):
            return f"[{self.address}]"
        return f"[{self.address}] (helo={self.name})"

    def received_tls(self):
        """The TLS version and cipher as a Received line has them, "" without TLS."""
        if not self.cipher:
            return ""
        version, name, _ = self.cipher.split(":")
        return f" ({version}) tls {registered_name(name)}\n\t"

    def log_host(self):
        """`(name) [address]`, as in a log line after H=."""
        return f"({self.name}) [{self.address}]" if self.name else f"[{self.address}]"


def registered_name(cipher):
    """IANA's name of the cipher suite that OpenSSL calls `cipher`; for TLS 1.3 they are the same."""
    if cipher.startswith("TLS_"):
        return cipher
    words = cipher.replace("AES", "AES_").replace("POLY1305", "POLY1305-SHA256").split("-")
    start = next((i for i, word in enumerate(words) if word.startswith(("AES_", "CHACHA"))), 0)
    if words[start].startswith("AES_") and words[start + 1] not in ("GCM", "CCM"):
        words.insert(start + 1, "CBC")
    return f"TLS_{'_'.join(words[:start]) or 'RSA'}_WITH_{'_'.join(words[start:])}"


def received(origin, domain, message_id, sender, recipients, seconds):
    """The Received field as str with its line ends. sender: "" for the null reverse-path; recipients:
    the addresses as given; named only when there is one (RFC 5321 §4.4, as Exim)."""
    lines = [f"Received: from {origin.received_from()}",
             f"by {domain} with {origin.protocol} {origin.received_tls()}(serveur)"]
    if sender:
        lines.append(f"(envelope-from <{sender}>)")
    lines.append(f"id {message_id}")
    if len(recipients) == 1:
        lines.append(f"for {recipients[0]}")
    return "\n\t".join(lines) + f";\n\t{mail_date(seconds)}\n"


def received_here(user, domain, message_id, recipient):
    """The Received field of a message that `user` of this machine made for `recipient`."""
    named = f"\n\tfor {recipient}" if recipient.isascii() else ""
    return f"Received: from {user} by {domain} with local (serveur)\n\tid {message_id}{named};\n\t{mail_date()}\n"


def arrival_here(sender, of, octets, user=""):
    """The `<=` line's text for what comes of the message called `of`: a part of it, or what `user` tells of it."""
    return f"<= {sender or '<>'} R={of} {f'U={user} ' if user else ''}P=local S={octets}"


def delivered_here(account, given, transport, router=LOCAL_USER):
    """The `=>` line's text for mail to `given` that rests with `account` here."""
    return f"=> {account} <{given}> R={router}{f' T={transport}' if transport else ''}"


def delivery_header(sender, envelope_to, seconds):
    """The three fields of final delivery as str. envelope_to: the addresses that led to this mailbox."""
    return (f"Return-path: <{sender}>\n"
            "Envelope-to: " + ",\n ".join(envelope_to) + "\n"
            f"Delivery-date: {mail_date(seconds)}\n")
