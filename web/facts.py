"""What a newcomer has to know of this server before the first command: what serveur.sh says when it starts."""
from common.mainlog import readable

ANY_ADDRESS = ("", "0.0.0.0", "::")
EACH_LOGIN = "chaque utilisateur de cette machine est un compte"
ROOMS = {"maildir": f"~compte/Maildir ; {EACH_LOGIN}", "mbox": f"/var/mail/compte ; {EACH_LOGIN}"}


def facts(settings):
    """{"address": where to connect to, "" if everywhere; "port"; "domain"; "lines": pairs of French texts}."""
    address = settings.bind.split()[0] if settings.bind else ""
    lines = [
        ("Écoute", _listening(settings)),
        ("Domaine local", f"{settings.domain} ; son courrier va {_room(settings.store)}"),
        ("Domaines relayés", f"{_relayed(settings.relays)} ; leur courrier passe par la file d'attente"),
        ("Qui peut envoyer", "les comptes de -pass, une fois authentifiés" if settings.accounts else "tout le monde"),
        ("Journal", settings.log),
        ("File d'attente", f"{settings.spool}/queue"),
        ("La lister", f"./relay.py -spool {settings.spool} list"),
        ("Réessayer tout", f"./relay.py -spool {settings.spool} retry"),
    ]
    return {"address": "" if address in ANY_ADDRESS else address, "port": settings.ports[0], "domain": settings.domain,
            "lines": [(name, readable(text)) for name, text in lines]}


def _listening(settings):
    ports = [f"{port} (TLS dès la connexion)" if port in settings.smtps else str(port)
             for port in sorted({*settings.ports, *settings.smtps})]
    offered = " ; STARTTLS offert" if settings.tls else ""
    return f"port{'s' if ports[1:] else ''} {', '.join(ports)}, {settings.bind or 'toutes les adresses'}{offered}"


def _room(store):
    if store.startswith("lmtp:"):
        return f"au serveur LMTP {store[5:]}"
    return f"dans {ROOMS.get(store) or f'{store}/compte/Maildir ; chaque dossier de {store} est un compte'}"


def _relayed(relays):
    return ", ".join(f"{'tous les autres' if domain == '*' else domain} → {host or 'son MX (DNS)'}"
                     for domain, host in relays.items()) or "aucun"
