"""The state folder and the log: made by whom they belong to, and refused where somebody else has a hand in them.

Root makes no more than the top folder, and a log that lies elsewhere; all the rest the service user makes, in whose
folder it is. Messages are French: the person who starts the server reads them.
"""
import os
import pwd
from stat import S_ISLNK, S_ISREG

from common.ownership import ANYBODY, stranger_on
from common.privileges import SERVICE_USER, user_name

FOLDERS = ("", "/tmp", "/queue", "/queue/tmp", "/queue/aside")
WEB_FOLDERS = ("/web", "/web/dialogues")
FILES = ("/sessions", "/failures", "/authenticating", "/aliases.index", "/accounts.index", "/mainlog", "/queue/lock",
         "/queue/wake")
LOG = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BadPlace(Exception):
    """Why the state folder or the log cannot be used, in French."""


def make_top(settings):
    """As who starts the server: the state folder itself, and the log if it lies elsewhere. Raises BadPlace, OSError."""
    service = pwd.getpwnam(SERVICE_USER) if os.geteuid() == 0 else None
    trusted = {0, os.geteuid(), service.pw_uid} if service else {0, os.geteuid()}
    if service:
        _check_way(settings.spool, trusted)
    for part in _folders(settings) + FILES:
        _check_part(settings.spool + part, trusted)
    os.makedirs(os.path.dirname(settings.spool), mode=0o755, exist_ok=True)
    _make_folder(settings.spool, service)
    if not _is_inside(settings):
        if service:
            _check_way(settings.log, trusted)
        _check_part(settings.log, trusted)
        _make_log(settings.log, service)


def make_inside(settings):
    """As the service user: what is in the state folder. Raises BadPlace, OSError."""
    for folder in _folders(settings)[1:]:
        _make_folder(settings.spool + folder, None)
    if _is_inside(settings):
        _make_log(settings.log, None)


def _folders(settings):
    return FOLDERS + WEB_FOLDERS if settings.web else FOLDERS


def _is_inside(settings):
    return settings.log.startswith(settings.spool + "/")


def _check_way(path, trusted):
    found = stranger_on(path, trusted)
    if found:
        part, uid = found
        whose = "tout le monde peut y écrire" if uid == ANYBODY else f"il est à {user_name(uid)}"
        raise BadPlace(f"{path} : {part} n'est pas sûr, {whose}")


def _check_part(path, trusted):
    try:
        state = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if state.st_uid not in trusted:
        raise BadPlace(f"{path} est à {user_name(state.st_uid)}")
    if S_ISLNK(state.st_mode):
        raise BadPlace(f"{path} est un lien")


def _make_folder(path, service):
    """Make `path`, for `service` (of pwd) if there is one, for us alone otherwise. One that root has and that is
    empty is given away too."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    folder = os.open(path, FOLDER)
    try:
        if service and os.fstat(folder).st_uid == 0:
            if os.listdir(folder):
                raise BadPlace(f"{path} est à root, et n'est pas vide : chown {SERVICE_USER} {path}, "
                              "ou un autre dossier")
            os.fchown(folder, service.pw_uid, service.pw_gid)
        os.fchmod(folder, 0o700)
    finally:
        os.close(folder)


def _make_log(path, service):
    try:
        file = os.open(path, LOG | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _check_log(path)
        return
    if service:
        os.fchown(file, service.pw_uid, service.pw_gid)
    os.close(file)


def _check_log(path):
    file = os.open(path, LOG)
    state = os.fstat(file)
    os.close(file)
    if not S_ISREG(state.st_mode) or state.st_nlink != 1:
        raise BadPlace(f"{path} n'est pas un fichier ordinaire d'un seul nom")
