"""What the relay, as the launcher, needs before it works: its settings, its state folder, its logins. Problems are in
French, for the person who starts it."""
import os
from errno import EINVAL

from common import settings as configuration
from common import spool
from common.french import reason
from common.local_domain import BadNames
from common.ownership import open_regular
from launcher import options

NAMES_REASONS = {
    "encoding": "ce n'est pas du texte en UTF-8 ou en Latin-1",
    "empty": "aucun nom dans ce fichier",
    "long": "ces noms font un nom de domaine trop long, plus de 63 caractères",
}


class Problem(Exception):
    """Why the server must not start, in French."""


def read_settings(environ=None):
    """The Settings out of `environ` (of bytes), or a Problem for what they cannot be made of."""
    try:
        return configuration.from_environ(environ)
    except configuration.BadSetting as error:
        raise Problem(f"{options.bounds(error.name)}, pas « {error.value} »") from error
    except BadNames as error:
        why = NAMES_REASONS.get(error.reason) or reason(error.__cause__)
        raise Problem(f"-noms {error.path} : {why} ; corrigez-le, ou donnez -domain") from error


def make_state(settings):
    """What of the state is made as who starts the server."""
    _make(spool.make_top, settings)


def make_inside(settings):
    """What of the state is made as who the sessions run as."""
    _make(spool.make_inside, settings)


def _make(make, settings):
    try:
        make(settings)
    except spool.BadPlace as problem:
        raise Problem(str(problem)) from problem
    except OSError as error:
        if error.filename == settings.log:
            raise Problem(f"{_place('-log', settings.log, error)} ; donnez un autre fichier par -log") from error
        raise Problem(f"{_place('-spool', settings.spool, error)} ; donnez un autre dossier par -spool") from error


def _place(option, path, error):
    """What went wrong with `path`, which was to be made, or with a folder above it."""
    culprit = os.path.dirname(path) if isinstance(error, FileNotFoundError) else error.filename
    return f"{option} {path} : {'' if culprit == path else f'{culprit} : '}{reason(error)}"


def read_relay_logins(path):
    """The Logins of the file at `path`. Raises Problem with all of its problems, a line each.

    It is read by who starts the server: the delivery agent, which sessions may ask for files, has no part in it.
    """
    from queue_manager.relay_logins import Logins
    open_named = open_regular
    if not os.geteuid():
        from delivery_agent.files import open_named
    try:
        with open(open_named(path), "rb") as file:
            logins = Logins(path, file.read())
    except OSError as error:
        why = "ce n'est pas un fichier ordinaire" if error.errno == EINVAL else reason(error)
        raise Problem(f"-relay-login {path} : {why}") from error
    if logins.problems:
        raise Problem("\n".join(f"-relay-login {problem}" for problem in logins.problems))
    return logins
