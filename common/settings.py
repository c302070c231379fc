"""The SMTP_* variables as one read-only object. Every default that is a value stands here, once.

serveur.sh exports them; under ncat, inetd or systemd whoever configures these does. Read once, when a
process starts, before it gives up being root.

`posix` is `os` without the millisecond that importing `os` costs; the same holds in every module
that a plain session needs.
"""
import posix

HERE = __file__.rpartition("/")[0].rpartition("/")[0] or "."
PORT = "4567"
STORE = "maildir"
LISTEN = "netcat"
THIS_MACHINE = "127.0.0.1"
NUMBERS = {         # (default, least, most)
    "SMTP_MAX": (128, 1, 4096),
    "SMTP_SIZE": (52428800, 1024, 1 << 40),
    "SMTP_RCPTS": (1000, 1, 1000000),
    "SMTP_PORTS": (PORT, 1, 65535),
    "SMTP_SMTPS": ("", 1, 65535),
    "SMTP_PORT": (0, 0, 65535),
    "SMTP_VERBOSE": (0, 0, 2),
}
RELAY_DOMAIN = "tpmail.info.unicaen.fr"
LOCAL_SUFFIX = "tp.info.unicaen.fr"
SYSTEM_ALIASES = "/etc/aliases"
SYSTEM_SPOOL = "/var/spool/serveur-smtp"
SYSTEM_AGENT = "/run/serveur-smtp-agent/socket"


class BadSetting(Exception):
    """A variable holds what cannot be used. `name`: the variable; `value`: its text."""

    def __init__(self, name, value):
        super().__init__(f"{name}={value}")
        self.name = name
        self.value = value


class Settings:
    """What the person who started the server asked for.

    domain: the local domain, lower case. store: "maildir", "mbox", a folder or "lmtp:" and where. aliases, accounts,
    relay_logins, noms: files, "" when there is none. tag: the sign before an address's tag, "" for none.
    relays: {domain: "host:port", "host" or "", the first two perhaps behind "smtps:"}. tls: (certificate,
    key) files, or (). spool, log: paths. max_sessions, max_recipients: counts. max_size: octets.
    listen: "netcat" or "prefork". bind: the addresses to listen at, parted by blanks, "" for all.
    ports, smtps: lists of port numbers. port: the listener's that took this connection, 0 if unknown.
    agent: the delivery agent's socket, "" when mailboxes are written without one.
    proxies: addresses, as sockets' names have them.
    dns: "" for the system's name servers, else "address#port" of one to ask.
    verbose: 0; 1 to show dialogues, 2 to explain them. web: where the page listens, "address:port", or "".
    terminals: whether SEND, SOML and SAML write to those of users.
    terminal, coloured, implicit_tls, match_sender: yes or no.
    """

    def __init__(self, values):
        self.__dict__.update(values)

    @property
    def lmtp(self):
        """Where the LMTP server is that has the mailboxes, "host:port" or a socket's path; "" if none has."""
        return self.store[5:] if self.store.startswith("lmtp:") else ""

    @property
    def watched(self):
        """Whether anybody asks for dialogues."""
        return bool(self.verbose or self.web)

    def at_port(self, port):
        """The same for the listener at `port`."""
        return Settings({**self.__dict__, "port": port, "implicit_tls": port in self.smtps})

    def __setattr__(self, name, value):
        raise AttributeError("settings are read-only")


def _state_folder(get):
    if posix.geteuid() == 0:
        return SYSTEM_SPOOL
    return (get("XDG_STATE_HOME") or (get("HOME") or _home()) + "/.local/state") + "/serveur-smtp"


def _home():
    import pwd
    try:
        return pwd.getpwuid(posix.geteuid()).pw_dir
    except KeyError:
        return ""           # a uid that no login has: it starts at the root, as with login(1)


def _number(get, name):
    return _bounded(name, get(name) or str(NUMBERS[name][0]))


def _bounded(name, text):
    _, least, most = NUMBERS[name]
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise BadSetting(name, text)
    return int(text)


def _ports(get, name):
    return [_bounded(name, text) for text in (get(name) or NUMBERS[name][0]).split()]


def _proxies(text):
    return tuple(map(_address, text.split())) if text else ()


def _address(text):
    """An IP address as a socket's name has it. Raises BadSetting."""
    import _socket
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        return _socket.inet_ntop(family, _socket.inet_pton(family, text)).removeprefix("::ffff:")
    except (OSError, ValueError):
        raise BadSetting("SMTP_PROXY", text) from None


def canonical(domain):
    """`domain` (str) as domains are compared: without case, and U-labels are their A-labels."""
    if domain.isascii():
        return domain.lower()
    from common.domains import a_labels
    return a_labels(domain)


def _relays(text):
    pairs = [item.partition("=") for item in text.split()]
    return {canonical(domain): host for domain, _, host in pairs}


def _existing_aliases():
    try:
        posix.stat(SYSTEM_ALIASES)
    except OSError:
        return ""
    return SYSTEM_ALIASES


def _domain(get, noms):
    if get("SMTP_DOMAIN"):
        return canonical(get("SMTP_DOMAIN"))
    from common import local_domain as names
    return names.local_domain(noms, LOCAL_SUFFIX)


def _tls(text):
    certificate, _, key = text.partition(",")
    return (certificate, key or certificate) if certificate else ()


def _listening(get):
    return {
        "bind": get("SMTP_BIND"),
        "listen": get("SMTP_LISTEN") or LISTEN,
        "ports": _ports(get, "SMTP_PORTS"),
        "smtps": _ports(get, "SMTP_SMTPS"),
        "proxies": _proxies(get("SMTP_PROXY")),
        "port": _number(get, "SMTP_PORT"),
        "implicit_tls": get("SMTP_IMPLICIT_TLS") == "1",
    }


def _mail(get):
    """Who has it here, where else it goes, and who may send it."""
    return {
        "store": get("SMTP_STORE") or STORE,
        "aliases": get("SMTP_ALIASES") or _existing_aliases(),
        "tag": get("SMTP_TAG"),
        "terminals": get("SMTP_TERMINALS") == "1",
        "relays": _relays(get("SMTP_RELAY") or RELAY_DOMAIN),
        "relay_logins": get("SMTP_RELAY_LOGIN"),
        "dns": get("SMTP_DNS"),
        "accounts": get("SMTP_PASS"),
        "match_sender": get("SMTP_MATCH_SENDER") == "1",
    }


def from_environ(environ=None):
    """Settings out of `environ` (a dict of bytes, as posix.environ is).

    Raises BadSetting for a number or an address that is none, local_domain.BadNames when the domain is to come from a
    file of names that yields none.
    """
    raw = posix.environ if environ is None else environ

    def get(name):
        return raw.get(name.encode(), b"").decode("utf-8", "surrogateescape")

    spool = get("SMTP_SPOOL") or _state_folder(get)
    noms = get("SMTP_NOMS") or HERE + "/noms.txt"
    return Settings({
        **_listening(get),
        "domain": _domain(get, noms),
        "noms": noms,
        **_mail(get),
        "tls": _tls(get("SMTP_TLS")),
        "spool": spool,
        "log": get("SMTP_LOG") or spool + "/mainlog",
        "max_sessions": _number(get, "SMTP_MAX"),
        "max_size": _number(get, "SMTP_SIZE"),
        "max_recipients": _number(get, "SMTP_RCPTS"),
        "agent": get("SMTP_AGENT") or (SYSTEM_AGENT if posix.geteuid() == 0 else ""),
        "verbose": _number(get, "SMTP_VERBOSE"), "web": get("SMTP_WEB"),
        "terminal": get("SMTP_TERMINAL") == "1",
        "coloured": get("SMTP_COLOURS") == "1",
    })
