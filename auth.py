#!/usr/bin/python3 -ES
"""SASL: the mechanisms by which a client proves who it is; and the command that keeps the file of accounts.

The mechanisms are PLAIN (RFC 4616), LOGIN, and CRAM-MD5 (RFC 2195), which needs passwords in clear.
They take and give bytes; base64, `*` and the reply codes belong to whoever speaks SMTP (RFC 4954).
The file's format stands at the top of common/logins.py.

As a command (see USAGE), it exits with 0 when done, 1 for a wrong password, 2 when nothing could be done.
"""
import posix
import sys

from common.logins import Hashed, Trouble, Unreadable, check_login, check_password, read_accounts, write_account

# what a session uses; the rest serves the command
__all__ = ["Challenge", "Exchange", "Failure", "Malformed", "Success", "UnknownMechanism", "Unreadable",
           "read_accounts", "start"]

USAGE = """\
usage : auth.py add [-clair] FICHIER LOGIN    ajoute un compte, ou change son
                                              mot de passe
        auth.py check FICHIER LOGIN           essaie un mot de passe : code 0
                                              s'il est juste, 1 sinon
        auth.py hash                          affiche un mot de passe haché,
                                              à mettre dans le fichier

Le mot de passe est demandé au terminal ; sans terminal, c'est une ligne de
l'entrée standard. Il est enregistré haché ; avec -clair il reste lisible.
CRAM-MD5 n'est offert que si tous ceux du fichier le sont."""


class UnknownMechanism(KeyError):
    """A mechanism that does not exist, or that these accounts cannot serve."""


# -- the mechanisms ---------------------------------------------------------------------------------------

class Challenge:
    """What the server says next. `data`: bytes."""

    def __init__(self, data):
        self.data = data


class Success:
    """The client is who it says. `login`: str."""

    def __init__(self, login):
        self.login = login


class Failure:
    """The client is not let in. `login`: the one it gave, for the log, or None; `reason`: English, for the log."""

    def __init__(self, login, reason):
        self.login = login
        self.reason = reason


class Malformed(Failure):
    """A failure that RFC 4954 answers with 501: an initial response where the server speaks first (§4)."""


def _verdict(login, accepted):
    name = login.decode("utf-8", "backslashreplace")
    return Success(name) if accepted else Failure(name, "wrong login or password")


def _own(accounts, is_local, login):
    """`login` (bytes) as the file has it: an address of ours stands for its local part, unless it is a login itself."""
    local, at, domain = login.rpartition(b"@")
    try:
        is_short = bool(at) and not accounts.has(login) and is_local(domain.decode())
    except UnicodeError:
        is_short = False
    return local if is_short else login


def _plain(accounts, _host, is_local):
    response = yield
    if response is None:
        response = yield Challenge(b"")
    parts = response.split(b"\0")
    if len(parts) != 3:
        return Failure(None, "malformed PLAIN message")
    authorization, login = (_own(accounts, is_local, part) for part in parts[:2])
    password = parts[2]
    if authorization not in (b"", login):
        return Failure(login.decode("utf-8", "backslashreplace"), "authorization id is not the login")
    return _verdict(login, accounts.accept(login, password))


def _login(accounts, _host, is_local):
    login = yield
    if login is None:               # some clients send it with the command
        login = yield Challenge(b"Username:")
    password = yield Challenge(b"Password:")
    login = _own(accounts, is_local, login)
    return _verdict(login, accounts.accept(login, password))


def _cram_challenge(host):
    from time import time
    number = int.from_bytes(posix.urandom(8), "big")
    return f"<{number}.{int(time())}@{host}>".encode("ascii", "replace")


def _cram_md5(accounts, host, is_local):
    if (yield) is not None:
        return Malformed(None, "initial response with CRAM-MD5")
    challenge = _cram_challenge(host)
    response = yield Challenge(challenge)
    login, _, answer = response.rpartition(b" ")
    login = _own(accounts, is_local, login)
    return _verdict(login, accounts.accept_cram_md5(login, challenge, answer))


# Each is sent the initial response or None, then the answers; it yields challenges and returns the end.
DIALOGUES = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}


class Exchange:
    """One AUTH command's dialogue. `mechanism`: its name, in capitals."""

    def __init__(self, mechanism, accounts, host, is_local):
        self.mechanism = mechanism
        self._dialogue = DIALOGUES[mechanism](accounts, host, is_local)
        next(self._dialogue)

    def step(self, response):
        """A Challenge, or the end: Success or Failure. `response`: what the client said, bytes without base64;
        the first step takes the initial response, None when there was none."""
        try:
            return self._dialogue.send(response)
        except StopIteration as end:
            return end.value


def _nowhere(_domain):
    return False


def start(mechanism, accounts, host, is_local=_nowhere):
    """The Exchange for `mechanism` (any case). `host`: this host's name; `is_local`: a function that tells whether a
    domain (str) is one whose addresses are logins. Raises UnknownMechanism."""
    name = mechanism.upper()
    if name not in accounts.mechanisms():
        raise UnknownMechanism(mechanism)
    return Exchange(name, accounts, host, is_local)


# -- the command --------------------------------------------------------------------------------------------

def _typed_password(prompts):
    from getpass import getpass
    try:
        answers = {getpass(prompt).encode() for prompt in prompts}
    except EOFError:
        raise Trouble("pas de mot de passe") from None
    except UnicodeError:            # the terminal is not set to the encoding of the locale
        raise Trouble("un caractère illisible dans le mot de passe") from None
    if len(answers) > 1:
        raise Trouble("les deux mots de passe diffèrent ; rien n'est changé")
    return answers.pop()


def _ask(*prompts):
    """A password (bytes) from the terminal, the same for each prompt; else one line of standard input."""
    if sys.stdin is None:           # it was closed
        raise Trouble("pas de mot de passe")
    if sys.stdin.isatty():
        return _typed_password(prompts)
    return sys.stdin.buffer.readline().rstrip(b"\r\n")


def _new_password():
    password = _ask("Mot de passe : ", "Encore une fois : ")
    check_password(password)
    return password


def _show_remarks(accounts):
    for remark in accounts.problems + accounts.warnings:
        print(f"auth.py: attention : {remark}", file=sys.stderr)


def _mechanisms_of(path):
    """What the accounts in the file can serve; [] when there is no file, or no account in it."""
    import os
    accounts = read_accounts(path) if os.path.exists(path) else None
    return accounts.mechanisms() if accounts and accounts.has_accounts() else []


def _add(path, login, clear=False):
    check_login(login)              # nobody should type a password for nothing
    before = _mechanisms_of(path)
    write_account(path, login, _new_password(), clear)
    accounts = read_accounts(path)
    _show_remarks(accounts)
    print(f"{path} : compte « {login} » enregistré ; mécanismes : {', '.join(accounts.mechanisms())}")
    if "CRAM-MD5" in before and "CRAM-MD5" not in accounts.mechanisms():
        print("CRAM-MD5 n'est plus offert : il demande que tous les mots de passe soient en clair"
              f" (./auth.py add -clair {path} {login} le rétablit)")
    return 0


def _check(path, login):
    accounts = read_accounts(path)
    _show_remarks(accounts)
    accepted = accounts.accept(login.encode("utf-8", "surrogateescape"), _ask("Mot de passe : "))
    print("mot de passe juste" if accepted else "login ou mot de passe faux")
    return 0 if accepted else 1


def _hash():
    print(Hashed.of(_new_password()).written().decode())
    return 0


COMMANDS = {("add", 2): _add, ("check", 2): _check, ("hash", 0): _hash}


def _parsed(arguments):
    """(function, its arguments); None when that is no command."""
    words = [word for word in arguments if word != "-clair"]
    function = COMMANDS.get((words[0], len(words) - 1)) if words else None
    options = {"clear": True} if "-clair" in arguments else {}
    if function is None or options and function is not _add or any(word.startswith("-") for word in words):
        return None
    return function, words[1:], options


def main(arguments):
    """Run the command (`arguments`: what follows the program's name); returns the exit code."""
    if arguments in (["-help"], ["--help"], ["-h"]):
        print(USAGE)
        return 0
    if (parsed := _parsed(arguments)) is None:
        print(USAGE, file=sys.stderr)
        return 2
    function, words, options = parsed
    try:
        return function(*words, **options)
    except Trouble as trouble:
        print(f"auth.py: {trouble.text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
