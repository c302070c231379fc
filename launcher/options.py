"""The options of serveur.sh: one table, its help and its reading of a command line.

An option becomes a variable SMTP_*, which common/settings.py reads in every process; the defaults and the bounds
of numbers stand there, and are shown from there.

Run as a program, it prints the help.
"""
import sys

sys.path[0] = __file__.rpartition("/launcher/")[0]      # run as a script, it finds only its own room there

import os

from common import settings

WIDTH = 80
COLUMN = 20                 # where the help's text begins
TAG_SIGNS = ("+", "_", "=", "#", "~", ".")
HEAD = """\
serveur.sh : un serveur de courrier SMTP derrière netcat.

usage : ./serveur.sh [options]          (Ctrl-C l'arrête)
"""


class Wrong(Exception):
    """A command line that is none. The text says why, in French."""


def as_given(value):
    return value


def path(value):
    """An absolute path: the program's other processes stand elsewhere. Raises Wrong."""
    try:
        return value if value.startswith("/") else f"{os.getcwd()}/{value}"
    except FileNotFoundError:
        raise Wrong(f"{value} : le dossier d'où vous lancez le serveur n'existe plus") from None


def store(value):
    return value if value in ("maildir", "mbox") or value.startswith("lmtp:") else path(value)


def certificate(value):
    """CERT or CERT,KEY; `auto` is no path."""
    first, comma, key = value.partition(",")
    return (first if first == "auto" else path(first)) + (f",{path(key)}" if comma else "")


def page(value):
    """PORT or ADDRESS:PORT with its address, an IPv6 one in brackets or not. Raises Wrong."""
    address, _, port = value.rpartition(":")
    address = address.strip("[]") or settings.THIS_MACHINE
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise Wrong(f"-web demande un port entre 1 et 65535, ou ADRESSE:PORT, pas « {value} »")
    return f"{address}:{int(port)}"


class Option:
    """name: with its dash. variable: of the environment. value: what the help calls it, "" for a yes-or-no option.
    texts: the help's lines. default: as shown behind them, "" for none. kind: turns what was typed into the
    variable's text. repeatable: whether several values add up. means: the variable's text where no value is typed."""

    def __init__(self, name, variable, value, *texts, default="", kind=as_given, repeatable=False, means="1"):
        self.name = name
        self.variable = variable
        self.value = value
        self.texts = texts
        self.default = default
        self.kind = kind
        self.repeatable = repeatable
        self.means = means


def _shown(variable):
    """A number's default, as settings has it."""
    return str(settings.NUMBERS[variable][0])


OPTIONS = (
    Option("-port", "SMTP_PORTS", "N", "écouter sur ce port ; répétable", default=settings.PORT, repeatable=True),
    Option("-smtps", "SMTP_SMTPS", "N", "écouter aussi là, en TLS dès la connexion ; répétable", repeatable=True),
    Option("-bind", "SMTP_BIND", "ADRESSE", "n'écouter que sur cette adresse ; répétable", default="toutes",
           repeatable=True),
    Option("-listen", "SMTP_LISTEN", "MOYEN", "netcat, ou prefork : plus rapide, sans netcat,", "et en IPv6",
           default=settings.LISTEN),
    Option("-pass", "SMTP_PASS", "FICHIER", "seuls les comptes de FICHIER peuvent envoyer", default="tout le monde",
           kind=path),
    Option("-match-sender", "SMTP_MATCH_SENDER", "", "un compte n'envoie que sous son adresse", default="non"),
    Option("-noms", "SMTP_NOMS", "FICHIER", "les noms dont est tiré le domaine local", default="noms.txt", kind=path),
    Option("-domain", "SMTP_DOMAIN", "DOMAINE", "le domaine local lui-même", default=f"<noms>.{settings.LOCAL_SUFFIX}"),
    Option("-store", "SMTP_STORE", "OÙ", "maildir : ~compte/Maildir ; mbox : /var/mail/compte ;",
           "un dossier dont chaque dossier est un compte ;", "lmtp:HÔTE:PORT ou lmtp:/SOCKET : Dovecot, Cyrus",
           default=settings.STORE, kind=store),
    Option("-aliases", "SMTP_ALIASES", "FICHIER", "alias et listes, au format de /etc/aliases",
           default=settings.SYSTEM_ALIASES, kind=path),
    Option("-tag", "SMTP_TAG", "SIGNE", "compte+étiquette@ est à compte, si SIGNE est +", default="non"),
    Option("-terminals", "SMTP_TERMINALS", "", "SEND, SOML et SAML écrivent sur les terminaux", default="non"),
    Option("-relay", "SMTP_RELAY", "DOMAINE[=HÔTE[:PORT]]",
           "domaine relayé, par ses MX ou vers HÔTE ; répétable ;", "smtps:HÔTE[:PORT] : en TLS dès la connexion ;",
           "'*=HÔTE' : tous les autres, pour qui s'est authentifié", default=settings.RELAY_DOMAIN, repeatable=True),
    Option("-relay-login", "SMTP_RELAY_LOGIN", "FICHIER", "logins pour les HÔTES de -relay :",
           "« hôte[:port] login mot-de-passe » par ligne", default="aucun", kind=path),
    Option("-tls", "SMTP_TLS", "CERT[,CLÉ]", "certificat PEM, pour STARTTLS et -smtps ;",
           "« -tls auto » en fabrique un",
           kind=certificate),
    Option("-proxy", "SMTP_PROXY", "ADRESSE", "d'ici, un en-tête PROXY (HAProxy) donne l'adresse",
           "du client ; répétable", default="aucune", repeatable=True),
    Option("-spool", "SMTP_SPOOL", "DOSSIER", f"file d'attente et état : {settings.SYSTEM_SPOOL} pour root,",
           "sinon ~/.local/state/serveur-smtp", kind=path),
    Option("-log", "SMTP_LOG", "FICHIER", "journal", default="DOSSIER/mainlog", kind=path),
    Option("-max", "SMTP_MAX", "N", "sessions à la fois", default=_shown("SMTP_MAX")),
    Option("-size", "SMTP_SIZE", "OCTETS", "plus grand message", default=_shown("SMTP_SIZE")),
    Option("-rcpts", "SMTP_RCPTS", "N", "destinataires par message", default=_shown("SMTP_RCPTS")),
    Option("-web", "SMTP_WEB", "[ADRESSE:]PORT", "page web : dialogues, file et journal, sur ce port de",
           f"{settings.THIS_MACHINE}, ou de ADRESSE", kind=page),
    Option("-v", "SMTP_VERBOSE", "", "montrer les dialogues"),
    Option("-vv", "SMTP_VERBOSE", "", "les montrer, et expliquer chaque étape", means="2"),
    Option("-help", "", "", "cette page"),
)
NAMED = {option.name: option for option in OPTIONS}
CARRIED = {option.variable: option for option in OPTIONS}


def read(words):
    """{variable: text} of the command line `words`. Raises Wrong."""
    variables = {}
    left = [*words]
    while left:
        word = left.pop(0)
        name = _with_plain_dash(word)
        if not name.startswith("-"):
            raise Wrong(f"argument de trop : {word} (./serveur.sh -help montre les options)")
        if name not in NAMED:
            raise Wrong(f"option inconnue : {name} (./serveur.sh -help les montre toutes)")
        option = NAMED[name]
        value = _value(option, left) if option.value else option.means
        before = variables.get(option.variable) if option.repeatable else ""
        variables[option.variable] = f"{before} {value}" if before else value
    return variables


def _value(option, left):
    if not left or not left[0] or _with_plain_dash(left[0]).startswith("-"):
        raise Wrong(f"il manque la valeur de l'option {option.name}")
    return option.kind(left.pop(0))


def _with_plain_dash(word):
    """“–pass”, pasted from a text that a word processor made, is “-pass”; so is “--pass”."""
    return word.replace("–", "-", 1).replace("--", "-", 1) if word[:1] in "–-" else word


def bounds(variable):
    """What `variable`, a number or the addresses of -proxy, may be, in French."""
    if variable not in settings.NUMBERS:
        return f"{CARRIED[variable].name} demande une adresse IP"
    _, least, most = settings.NUMBERS[variable]
    name = CARRIED[variable].name if variable in CARRIED else variable
    return f"{name} demande un nombre entre {least} et {most}"


def help_text():
    """What -help prints, in 80 columns."""
    return "\n".join([HEAD, *(line for option in OPTIONS for line in _help_lines(option))])


def _help_lines(option):
    start = f"  {option.name} {option.value}".rstrip()
    texts = [*option.texts]
    if option.default:
        shown = f"[{option.default}]"
        room = WIDTH - COLUMN - len(texts[-1]) - 1
        beside, below = f"{texts[-1]} {shown:>{room}}", f"{shown:>{WIDTH - COLUMN}}"
        texts[-1:] = [beside] if len(shown) <= room else [texts[-1], below]
    if len(start) >= COLUMN:
        yield start
        start = ""
    for text in texts:
        yield f"{start:<{COLUMN}}{text}"
        start = ""


if __name__ == "__main__":
    print(help_text())
