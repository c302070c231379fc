"""A store of folders: what in it is no account, and why, said in French."""
import os
from stat import S_ISDIR, S_ISLNK

from common.ownership import stranger_on
from mailstore.mailboxes import is_looked_up

MOST_NAMED = 10


def no_accounts(store):
    """A line for each entry of the folder `store` that is no account: its path and why not; of many the first and a
    count."""
    entries = sorted(os.scandir(store), key=lambda entry: entry.name)
    problems = [f"{_shown(entry.path)} n'est pas un compte : {why}" for entry in entries if (why := _why_not(entry))]
    more = len(problems) - MOST_NAMED
    return problems[:MOST_NAMED] + ([f"{store} : {more} autres ne sont pas des comptes non plus"] if more > 0 else [])


def _shown(path):
    return "".join(character if character.isprintable() else "?" for character in path)


def _why_not(entry):
    """Why the entry (an os.DirEntry) is nobody's mail, or "", also for one that has gone meanwhile."""
    try:
        state = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return ""
    if S_ISLNK(state.st_mode):
        return "c'est un lien"
    if not S_ISDIR(state.st_mode):
        return "ce n'est pas un dossier"
    return _why_never_found(entry.name) or _why_closed(entry.path, state)


def _why_never_found(name):
    if name.startswith("."):
        return "un nom qui commence par un point n'est jamais cherché"
    if not is_looked_up(name):
        return "un nom qui a des caractères de contrôle, ou n'est pas en UTF-8, n'est jamais cherché"
    return "" if name == name.lower() else "les noms sont cherchés en minuscules"


def _why_closed(path, state):
    """Why whoever will write mail into the folder at `path` may not, or ""."""
    if os.geteuid():
        return "" if os.access(path, os.X_OK) else "vous ne pouvez pas y entrer"
    if state.st_uid:
        return "" if state.st_mode & 0o100 else "son propriétaire ne peut pas y entrer (chmod u+rwx)"
    found = stranger_on(path, (0,))
    return f"il est à root, et {found[0]} ne l'est pas à lui seul" if found else ""
