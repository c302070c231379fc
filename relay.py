#!/usr/bin/python3 -ES
"""The relay: carries on what the sessions leave in the queue. Without a command it works until TERM;
with one it serves a person: list, show, retry, remove. Exit status: 0; 1 it could not be done; 2 wrong usage.
"""
import os
import posix
import sys
import time

from common.french import reason
from common.mainlog import MainLog
from common.privileges import become_service
from launcher import starting
from queue_manager.mailq import Command, NotDone
from queue_manager.manager import QueueManager
from queue_manager.queue_store import QueueStore
from smtp_client.bounds import Limits

USAGE = """\
relay.py : fait suivre le courrier de la file d'attente.

usage : ./relay.py [-spool DOSSIER]          le relais lui-même, jusqu'à Ctrl-C
                                             (serveur.sh le lance)
        ./relay.py ... list                  ce qui attend, comme mailq
        ./relay.py ... show ID               tout sur un message, et son texte
        ./relay.py ... retry [ID...]         réessayer maintenant, ou tous
        ./relay.py ... remove ID...          supprimer, sans prévenir personne

La file est celle de -spool, sinon de la variable SMTP_SPOOL, sinon
/var/spool/serveur-smtp pour root et ~/.local/state/serveur-smtp pour les
autres. Les réglages du relais sont les variables SMTP_* de serveur.sh."""

# How many ids each command takes: (at least, at most).
COMMANDS = {"list": (0, 0), "show": (1, 1), "retry": (0, 1000), "remove": (1, 1000)}
NICENESS = 5                # who has just connected comes before what can wait


class Wrong(Exception):
    """A command line that is none, in French."""


def main():
    """Do what the command line says and return the exit status."""
    try:
        words = read_options(sys.argv[1:])
        if words == ["-help"]:
            print(USAGE)
            return 0
        return serve(read_settings(words), words)
    except (Wrong, starting.Problem) as error:
        print(f"relay.py: {error}", file=sys.stderr)
        return 2


def serve(settings, words):
    """Obey the command in `words`, or be the relay if there is none; the exit status. Raises starting.Problem."""
    try:
        if not words:
            return work(settings)
        obey(settings, *words)
        return 0
    except NotDone as error:
        print(f"relay.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"relay.py: {error.filename or settings.spool} : {reason(error)}", file=sys.stderr)
        return 1


def read_options(words):
    """The command's words; -spool becomes SMTP_SPOOL. Raises Wrong."""
    words = list(words)
    if words[:1] == ["-spool"]:
        if len(words) < 2:
            raise Wrong("-spool demande un dossier")
        posix.environ[b"SMTP_SPOOL"] = os.fsencode(absolute(words[1]))
        del words[:2]
    if words in (["-help"], ["-h"], ["--help"]):
        return ["-help"]
    if words:
        check_words(*words)
    return words


def absolute(path):
    """`path` from the root on. Raises Wrong."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise Wrong(f"-spool {path} : le dossier courant n'existe plus ; donnez un chemin absolu") from None


def check_words(command, *ids):
    """Raise Wrong unless `command` is one, and `ids` are as many as it takes."""
    if command not in COMMANDS:
        raise Wrong(f"commande inconnue : {command} (./relay.py -help les montre toutes)")
    least, most = COMMANDS[command]
    if len(ids) < least:
        raise Wrong(f"{command} demande un numéro de message (./relay.py list les montre)")
    if len(ids) > most:
        raise Wrong(f"argument de trop : {ids[most]}")


def read_settings(words):
    """The Settings; a command asks for no more of them than where the queue is. Raises starting.Problem."""
    if words:
        posix.environ.setdefault(b"SMTP_DOMAIN", b"localhost")
    return starting.read_settings()


def obey(settings, command, *ids):
    """Serve the person who typed `command`. Raises NotDone, OSError."""
    if not os.path.isdir(settings.spool):
        raise NotDone(f"{settings.spool} n'existe pas : indiquez le dossier du serveur par -spool")
    become_service()
    store = QueueStore(f"{settings.spool}/queue")
    getattr(Command(store, MainLog(settings.log)), command)(*ids)


def work(settings, limits=None, now=time.time):
    """Be the relay until TERM or HUP, after which serveur.sh starts it anew; the exit status. limits: other ones than
    Limits(); now: gives the seconds since 1970. Raises NotDone, starting.Problem."""
    starting.make_state(settings)
    logins = starting.read_relay_logins(settings.relay_logins).by_host if settings.relay_logins else {}
    if settings.lmtp:
        import queue_manager.lmtp_delivery      # noqa: F401  here: later the checkout may be closed to us
    become_service()
    starting.make_inside(settings)
    mainlog = MainLog(settings.log, settings.terminal)
    store = QueueStore(f"{settings.spool}/queue")
    store.make_folders()
    if not store.lock():
        raise NotDone(f"un relais s'occupe déjà de {store.folder}")
    os.nice(NICENESS)
    QueueManager(settings, logins, mainlog, store, limits or Limits(), now).run()
    # Threads may still wait for hosts that do not answer, or for mailboxes.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
