"""What serveur.sh asks before it starts: are the options sound, and what do they come to?

Gets serveur.sh's command line. Prints `NAME=value` lines, every option resolved, so that no handler has
to work them out again; problems go to standard error, in French, a line each. Exit status: 0, or 2 when
the server must not start.
"""
import sys

sys.path[0] = __file__.rpartition("/launcher/")[0]      # run as a script, it finds only its own room there

import _socket as socket
import os
import shutil

from common import settings as configuration
from common.french import reason
from common.privileges import SERVICE_USER, become_service
from launcher import certificate, options
from launcher.alias_mistakes import mistakes
from launcher.folders import no_accounts
from launcher.indexes import Indexes
from launcher.starting import (
    Problem,
    make_inside,
    make_state,
    read_relay_logins,
    read_settings,
)
from mailstore.aliases import parse, text_of
from mailstore.direct import Direct
from mailstore.files import try_entering
from mailstore.mailboxes import SPOOL
from smtp.syntax import Malformed, check_domain


def main(words):
    """Check the command line `words`, print what it comes to; the exit status."""
    try:
        settings = read_settings(environment(words))
        for check in (check_listener, check_page, check_domains, check_store, check_tag, check_terminals,
                      check_aliases, check_accounts, check_relay_logins):
            check(settings)
        tls, fingerprint = given_tls(settings)
        make_state(settings)
        compile_modules()
        indexes = Indexes(settings, named_files(settings))
        become_service()
        check_reachable(settings)
        make_inside(settings)
        indexes.make()
        if settings.tls and not tls:
            tls, fingerprint = made_tls(settings)
    except Problem as problem:
        print(f"serveur.sh: {problem}", file=sys.stderr)
        return 2
    check_dig(settings)
    check_lmtp(settings)
    print_resolved(settings, tls, fingerprint)
    return 0


def warn(text):
    print(f"serveur.sh: attention : {text}", file=sys.stderr)


def environment(words):
    """Our environment with the command line's variables in it. What SMTP_* was set beforehand doesn't count: the
    command line says it all."""
    try:
        variables = options.read(words)
    except options.Wrong as error:
        raise Problem(error) from error
    inherited = {name: value for name, value in os.environb.items() if not name.startswith(b"SMTP_")}
    return {**inherited, **{name.encode(): os.fsencode(value) for name, value in variables.items()}}


def check_listener(settings):
    """What -listen and -bind ask for must go together."""
    if settings.listen not in ("netcat", "prefork"):
        raise Problem(f"-listen attend netcat ou prefork, pas « {settings.listen} »")
    if settings.listen == "netcat" and ":" in settings.bind:
        raise Problem(f"-bind {settings.bind} : netcat n'écoute pas en IPv6 ; -listen prefork le peut")


def check_page(settings):
    """The page of -web needs an address, and a port of its own."""
    if not settings.web:
        return
    address, _, port = settings.web.rpartition(":")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except OSError as error:
        raise Problem(f"-web attend une adresse IP comme {configuration.THIS_MACHINE}, pas « {address} »") from error
    if int(port) in (*settings.ports, *settings.smtps):
        raise Problem(f"-web : le port {port} est déjà celui du courrier")


def check_domains(settings):
    """The local domain and those of -relay must be domain names."""
    domains = [("-domain", settings.domain)]
    domains += [("-relay", domain) for domain in settings.relays if domain != "*"]
    for option, domain in domains:
        try:
            check_domain(domain)
        except Malformed as error:
            raise Problem(f"{option} : « {domain} » n'est pas un nom de domaine") from error
    if settings.domain in settings.relays:
        raise Problem(f"-relay : « {settings.domain} » est le domaine local")
    for domain, host in settings.relays.items():
        _check_host(domain, host)


def _check_host(domain, host):
    from smtp_client.routing import split_host
    try:
        if host:
            split_host(host)
    except ValueError as error:
        raise Problem(f"-relay : « {domain}={host} » : mauvais numéro de port") from error
    if domain == "*" and not host:
        raise Problem("-relay : « * » demande un hôte, par exemple '*=smtp.example.org:25'")


def check_store(settings):
    """Where mail is put must be there."""
    if settings.store.startswith("/"):
        if not os.path.isdir(settings.store):
            raise Problem(f"-store : le dossier {settings.store} n'existe pas")
        if not os.access(settings.store, os.R_OK | os.X_OK):
            raise Problem(f"-store : le dossier {settings.store} ne peut pas être lu")
        for line in no_accounts(settings.store):
            warn(line)
    elif settings.lmtp or settings.store == "lmtp:":
        _check_lmtp_place(settings)
    elif settings.store not in ("maildir", "mbox"):
        raise Problem(f"-store demande maildir, mbox, un dossier ou lmtp:..., pas « {settings.store} »")
    elif settings.store == "mbox" and not os.access(SPOOL, os.W_OK):
        warn(f"{SPOOL} n'est pas accessible en écriture : le courrier sera refusé (450) ; relancez en root")


def _check_lmtp_place(settings):
    import launcher.lmtp_server     # noqa: F401  here: once root is given up, the checkout may be closed to us
    from smtp_client.lmtp import NoPlace, split_place
    try:
        split_place(settings.lmtp)
    except NoPlace as error:
        raise Problem(f"-store demande lmtp:HÔTE:PORT ou lmtp:/SOCKET, pas « {settings.store} »") from error
    if settings.tag:
        warn(f"-tag {settings.tag} est sans effet : c'est le serveur LMTP qui lit les étiquettes")


def check_lmtp(settings):
    """Whether the LMTP server answers now, and to the sessions' user. It may still come: that is no reason to wait."""
    if settings.lmtp:
        from launcher.lmtp_server import trouble
        if found := trouble(settings):
            warn(f"-store {settings.store} : {found}")


def check_tag(settings):
    """The sign of -tag must be one of those that may stand between a name and its tag."""
    if settings.tag and settings.tag not in options.TAG_SIGNS:
        raise Problem(f"-tag demande un signe parmi {' '.join(options.TAG_SIGNS)}, pas « {settings.tag} »")


def check_terminals(settings):
    """Only root may write to terminals of others."""
    if settings.terminals and os.geteuid():
        warn("-terminals : sans root, SEND, SOML et SAML n'atteignent que vos propres terminaux")


def named_files(settings):
    """What opens the files that the settings name, with the rights that it will be done with later."""
    if os.geteuid():
        return Direct(settings, None)
    from delivery_agent.files import NamedFiles
    return NamedFiles(settings)


def check_aliases(settings):
    """The aliases must be readable; what in them is not followed is named."""
    if not settings.aliases:
        return
    files = named_files(settings)
    try:
        entries = parse(text_of(contents(files, "aliases")))
    except OSError as error:
        raise Problem(f"-aliases {settings.aliases} : {reason(error)}") from error
    for line in mistakes(entries, files):
        warn(line)


def check_accounts(settings):
    """The accounts of -pass must be sound."""
    if not settings.accounts:
        if settings.match_sender:
            raise Problem("-match-sender demande -pass : sans comptes, personne n'a d'adresse à lui")
        return
    import auth
    try:
        accounts = auth.read_accounts(settings.accounts, read_accounts_file(settings))
    except auth.Unreadable as error:
        raise Problem(f"-pass {error.text}") from error
    for problem in accounts.problems:
        print(f"serveur.sh: -pass {problem}", file=sys.stderr)
    if accounts.problems:
        raise Problem(f"-pass {settings.accounts} : fichier à corriger ; rien n'a été lancé")
    for warning in accounts.warnings:
        warn(f"-pass {warning}")


def check_relay_logins(settings):
    """The file of -relay-login must be sound."""
    path = settings.relay_logins
    if path:
        from queue_manager import relay_logins
        logins = read_relay_logins(path)
        for warning in relay_logins.warnings(path, logins, settings.relays):
            warn(f"-relay-login {warning}")


def read_accounts_file(settings):
    """What the file of -pass holds (bytes)."""
    try:
        return contents(named_files(settings), "accounts")
    except OSError as error:
        from common.logins import read_file
        read_file(settings.accounts)        # says better why not, if root can't either
        raise Problem(f"-pass {settings.accounts} : {reason(error)}") from error


def contents(files, name):
    """What the file holds (bytes) that the settings name so. Raises OSError."""
    with open(files.open(name), "rb") as file:
        return file.read()


def given_tls(settings):
    """((certificate, key), fingerprint) of the files of -tls, which must be usable; empty if it names none."""
    if not settings.tls and settings.smtps:
        raise Problem("-smtps demande un certificat : ajoutez -tls CERT[,CLÉ] ou -tls auto")
    if not settings.tls or settings.tls[0] == "auto":
        return (), ""
    return described_tls(lambda: settings.tls)


def made_tls(settings):
    """The same for `-tls auto`."""
    return described_tls(lambda: certificate.self_signed(settings.spool, settings.domain, warn))


def described_tls(get_files):
    """(what get_files() returns, its fingerprint)."""
    try:
        files = get_files()
        certificate.check(*files)
    except certificate.Unusable as error:
        raise Problem(f"-tls : {error.text}") from error
    return files, certificate.fingerprint(files[0])


def check_dig(settings):
    """Whether what MX records are looked up with is there: without it, mail waits."""
    domains = [domain for domain, host in settings.relays.items() if not host]
    if domains and not shutil.which("dig"):
        warn(f"-relay : dig n'est pas installé, et sans lui le courrier pour {', '.join(domains)} attend dans la file ;"
             " comme administrateur : apt-get install bind9-dnsutils")


def compile_modules():
    """Leave every module compiled, for compiling takes a session 10 ms. Root does so only where the program is its own;
    in the copy that it serves from they are in any case."""
    if os.geteuid() != 0 or os.stat(configuration.HERE).st_uid == 0:
        from launcher.program import compile_rooms
        compile_rooms()


def check_reachable(settings):
    """The sessions' user must get to the state folder and to a store of folders."""
    folders = [("-spool", settings.spool)]
    if settings.store.startswith("/"):
        folders.append(("-store", settings.store))
    for option, folder in folders:
        try:
            try_entering(folder)
        except OSError as error:
            raise Problem(f"{option} : l'utilisateur {SERVICE_USER}, sous lequel tournent les sessions, ne peut pas "
                          f"entrer dans {folder} (un dossier au-dessus lui est fermé)") from error


def print_resolved(settings, tls, fingerprint):
    """Every option that somebody whom the launcher starts will read, on standard output."""
    relays = " ".join(f"{domain}={host}" if host else domain for domain, host in settings.relays.items())
    resolved = {
        "DOMAIN": settings.domain, "NOMS": settings.noms, "STORE": settings.store,
        "ALIASES": settings.aliases, "TAG": settings.tag, "RELAY": relays, "PASS": settings.accounts,
        "RELAY_LOGIN": settings.relay_logins,
        "TLS": ",".join(tls), "FINGERPRINT": fingerprint, "SPOOL": settings.spool, "LOG": settings.log,
        "MAX": settings.max_sessions, "SIZE": settings.max_size, "RCPTS": settings.max_recipients,
        "BIND": settings.bind, "PORTS": " ".join(map(str, settings.ports)),
        "SMTPS": " ".join(map(str, settings.smtps)), "LISTEN": settings.listen, "PROXY": " ".join(settings.proxies),
        "MATCH_SENDER": int(settings.match_sender), "VERBOSE": settings.verbose,
        "TERMINALS": int(settings.terminals), "WEB": settings.web,
    }
    if settings.web:
        import secrets
        resolved["WEB_TOKEN"] = secrets.token_urlsafe()
    for name, value in resolved.items():
        print(f"SMTP_{name}={value}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
