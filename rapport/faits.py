"""What the report says of the code, read out of the code as it is when the report is built.

    facts(ROOT, texts)      a dict for rapport.typ (JSON): options, replies, codes, numbers, excerpts, values

Of the report's own texts it needs what they ask for: extrait("smtp/commands.py", "has_recipient") is a function, a
class, a constant, or with "VERBS.RCPT" an entry of one; in a dialogue, "C: EHLO x … S: 235" is from the line to the
next that begins so; valeur("smtp.limits.IDLE_SECONDS") a number.
"""
import ast
import importlib
import pathlib
import re
import sys

import reponses

EXCERPT = re.compile(r'extrait\("([^"]+)"((?:, "[^"]+")+)')
VALUE = re.compile(r'valeur\("([\w.]+)\.(\w+)"')
SOURCES = ("rapport.typ", "sujet.typ", "mesures.typ")
ROOMS = ("common", "delivery_agent", "launcher", "listener", "mailstore", "queue_manager", "smtp", "smtp_client", "web")


def excerpt(root, path, name):
    """The lines of `path` that define `name`, as they stand there. KeyError if none do."""
    text = (root / path).read_text("utf-8")
    kind = path.rpartition(".")[2]
    found = {"sh": _in_bash, "py": _in_python, "txt": _in_dialogue}[kind](text, name)
    if found is None:
        raise KeyError("%s : %s n'y est pas" % (path, name))
    return found


def _in_bash(text, name):
    found = re.search(r"^%s\(\) \{.*?(^\}|\}$)" % re.escape(name), text, re.M | re.S)
    return found and found.group()


def _in_dialogue(text, name):
    first, _, last = name.partition(" … ")
    lines = text.splitlines()
    if first not in lines:
        return None
    begin = lines.index(first)
    end = next((number for number, line in enumerate(lines) if number > begin and line.startswith(last)), None)
    return end and "\n".join(lines[begin:end + 1])


def _in_python(text, name):
    scope = ast.parse(text).body
    *outer, last = name.split(".")
    for owner in outer:
        scope = _members(_defined(scope, owner))
    node = _defined(scope, last)
    return node and _lines(text, node)


def _defined(scope, name):
    """What defines `name` among these nodes: (the first of its lines' node, the last's), or None."""
    for node in scope:
        if isinstance(node, tuple):
            if getattr(node[0], "value", "") == name:
                return node
        elif getattr(node, "name", "") == name:
            return node, node
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return node, node
    return None


def _members(found):
    node = found[1] if found else None
    if isinstance(node, ast.ClassDef):
        return node.body
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
        return [*zip(node.value.keys, node.value.values)]
    return []


def _lines(text, node):
    first, last = node
    lines = text.splitlines()[first.lineno - 1:last.end_lineno]
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[margin:] for line in lines)


def options():
    from launcher.options import OPTIONS
    return [{"name": option.name, "value": option.value, "text": " ".join(option.texts), "default": option.default}
            for option in OPTIONS]


def long_commands():
    """[(octets, the verbs whose lines may have so many)], where it is not the usual number."""
    from smtp import commands
    found = {}
    for name, verb in commands.VERBS.items():
        if verb.line_octets != commands.LINE_OCTETS:
            found.setdefault(verb.line_octets, []).append(name)
    return sorted(found.items())


def codes():
    from smtp import explanations
    return {str(code): entry.french for code, entry in explanations.CODES.items()}


def numbers(root):
    """How much there is of everything."""
    tests = [path for path in (root / "tests").rglob("test_*.py")]
    methods = sum(len(re.findall(r"^    def test_", path.read_text("utf-8"), re.M)) for path in tests)
    program = [*root.glob("*.py"), root / "serveur.sh", *(root / "launcher").glob("*.sh"),
               *(path for room in ROOMS for path in (root / room).glob("*.py"))]
    lengths = [len(path.read_text("utf-8").splitlines()) for path in program]
    data = {room: len([*(root / "tests" / room).glob("*.txt")]) for room in ("corpus", "dialogues")}
    return {**data, "tests": methods, "files": len(program), "lines": sum(lengths), "longest": max(lengths)}


def value(module, name):
    """A constant of a module; a dict as JSON has it."""
    found = getattr(importlib.import_module(module), name)
    return list(found) if isinstance(found, (tuple, frozenset)) else found


def excerpts_named(texts):
    """{(path, name)} of all that these texts call extrait() for."""
    calls = (match for text in texts for match in EXCERPT.findall(text))
    return {(path, name) for path, names in calls for name in re.findall(r'"([^"]+)"', names)}


def facts(root, texts):
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    wanted = sorted(excerpts_named(texts))
    values = sorted({match for text in texts for match in VALUE.findall(text)})
    return {"options": options(), "codes": codes(), "long_commands": long_commands(), "numbers": numbers(root),
            "replies": {verb: sorted(found) for verb, found in reponses.by_command(root).items()},
            "excerpts": {"%s %s" % pair: excerpt(root, *pair) for pair in wanted},
            "values": {"%s.%s" % pair: value(*pair) for pair in values}}


def texts(folder):
    return [(pathlib.Path(folder) / name).read_text("utf-8") for name in SOURCES]
