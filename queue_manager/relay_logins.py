"""The file of -relay-login: with which login and password hosts take mail from us, `host[:port] login password` a line.

Blanks part the three; the password is the rest of the line, blanks inside it too. Empty lines and lines that begin
with # are skipped. UTF-8, with or without a byte order mark; lines end in LF or CRLF. Without a port the line is for
all of the host's ports; one that names the port goes before.
"""
from common.logins import Trouble, decoded, is_open_to_all, take_lines
from smtp_client.routing import split_host, split_port


class Logins:
    """What the file held when it was read. by_host: {(host, port or 0): (login, password)}, hosts in lower case.
    problems: French lines for the person who starts the server; a line with a problem is no login."""

    def __init__(self, path, text):
        """path: the file's name, for the messages; text: what is in it (bytes)."""
        self.by_host = {}
        self._lines = {}
        self.problems = take_lines(path, text, self._take)

    def _take(self, number, line):
        words = [decoded(word) for word in line.strip().split(None, 2)]
        if not words or words[0].startswith("#"):
            return
        if len(words) < 3:
            raise Trouble("on attend « hôte[:port] login mot-de-passe »")
        if any(character < " " and character != "\t" or character == "\x7f" for word in words for character in word):
            raise Trouble("un caractère de contrôle")
        host = _host(words[0])
        if host in self.by_host:
            raise Trouble(f"cet hôte est déjà à la ligne {self._lines[host]}")
        self._lines[host] = number
        self.by_host[host] = (words[1], words[2])

    def unused(self, relays):
        """The hosts (str) to which none of `relays`, as Settings has them, leads."""
        named = {split_host(host)[:2] for host in relays.values() if host}
        named = {(name.lower(), port) for name, port in named}
        return [name for name, port in self.by_host
                if not any(name == other and port in (0, its_port) for other, its_port in named)]


def _host(text):
    try:
        name, port = split_port(text)
    except ValueError:
        raise Trouble(f"« {text} » : mauvais numéro de port") from None
    return name.lower(), port


def warnings(path, logins, relays):
    """French lines about what is no fault, but may not be meant."""
    found = [f"{path} : aucun -relay ne mène à {host}" for host in logins.unused(relays)]
    if logins.by_host and is_open_to_all(path):
        found.append(f"{path} : tout le monde peut le lire ou l'écrire (chmod 600 {path})")
    return found
