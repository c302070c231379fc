"""What in the aliases, and in the files that they include, will not be followed, said in French."""
from common.french import reason
from mailstore import targets
from mailstore.mailboxes import read_list

MOST_NAMED = 10
REASONS = {
    targets.NO_ADDRESS: "ce n'est pas une adresse",
    targets.NOT_FOLLOWED: "ne sera jamais suivi (ni commande, ni fichier)",
    targets.NESTED: "ne sera jamais suivi (seul le fichier d'alias peut inclure un fichier)",
    targets.NO_PATH: "ne sera jamais suivi (il faut un chemin absolu)",
}


def mistakes(entries, files):
    """A line for each mistake; of many the first and a count. entries: as aliases.parse() gives them; files: what opens
    the files that they include (its method include)."""
    found = [line for name, text in entries.items() for line in _in_entry(name, text, files)]
    more = len(found) - MOST_NAMED
    return found[:MOST_NAMED] + ([f"alias : {more} autres erreurs"] if more > 0 else [])


def _in_entry(name, text, files):
    for target in targets.targets_of(text):
        if target.kind == targets.MISTAKE:
            yield _line(f"alias {name}", target)
        elif target.kind == targets.INCLUDE:
            yield from _in_file(name, target.value, files)


def _in_file(name, path, files):
    try:
        found = targets.listed(read_list(files.include(path), path))
    except OSError as error:
        yield f"alias {name} : {path} : {_why(error)} ; tant que c'est ainsi, l'alias répond 450"
        return
    if found is None:
        yield f"alias {name} : {path} : plus de {targets.MOST_TARGETS} membres ; l'alias répond 450"
    for target in found or ():
        if target.kind != targets.ADDRESS:
            yield _line(f"alias {name} : {path}", target)


def _why(error):
    changeable = isinstance(error, PermissionError) and error.errno == 1
    return "d'autres que son propriétaire peuvent le changer (chmod go-w)" if changeable else reason(error)


def _line(where, target):
    shown = "".join(character if character.isprintable() else "?" for character in target.text[:80])
    return f"{where} : « {shown} » : {REASONS.get(target.value, REASONS[targets.NOT_FOLLOWED])}"
