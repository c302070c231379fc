"""The house: which room may know which, how large things are, and what shellcheck and ruff say.

It reads the sources and runs nothing of them.
"""

import ast
import importlib.util
import itertools
import os
import pathlib
import re
import subprocess
import typing
import unittest

from tests.helpers import programs, support

# Imports run downwards: a room may know those on lower floors.  smtp_client knows nothing of ours at all.
FLOORS = (
    {"common", "smtp_client"},
    {"mailstore", "auth"},
    {"smtp", "queue_manager", "delivery_agent"},
    {"launcher", "listener", "web"},
    {"smtp_handler", "relay"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LINE_WIDTH = int(re.search(r"^max_line_length = (\d+)$", (support.ROOT / ".editorconfig").read_text(), re.M).group(1))
README_WIDTH = 80               # it is read in a terminal
FUNCTION_LINES = 40             # few pass thirty
FILE_LINES = 400
# What finds faults, not taste. B023 sees one in each condition that a loop waits for; these are used up in their turn.
RULES = ("--select", "E9,F,B,PLE,PLW0127,PLW0129,PLW0131,PLW0711", "--ignore", "B023")
RUFF = pathlib.Path(os.environ.get("TESTS_RUFF", "/nonexistent"))       # tests/run makes it
NOT_OURS = {".git", "__pycache__", "rapport"}
# Read with the settings, before anybody is served.
WITH_THE_SETTINGS = {"common.local_domain"}
# Programs that run in a checkout which may be closed to who they are once they have given root up; and what they import
# on their way all the same: before that, or never as who was root.
ROOT_AT_FIRST = {
    "relay": {
        "delivery_agent.files", "queue_manager.relay_logins", "queue_manager.lmtp_delivery", "mailstore.lmtp",  # before
        "mailstore.maildir", "mailstore.terminals",                                 # the delivery agent does that
    },
    "launcher.preflight": {
        "auth", "common.domains", "delivery_agent.files", "launcher.lmtp_server", "launcher.program",
        "mailstore.expansion", "queue_manager.relay_logins", "smtp_client.lmtp", "smtp_client.routing",         # before
        "common.nss", "common.xtext", "mailstore.lmtp", "mailstore.maildir", "mailstore.mbox", "mailstore.terminals",
    },
}


def product_files() -> typing.List[pathlib.Path]:
    """The Python files that are handed in, tests and report aside."""
    found = [*support.ROOT.glob("*.py"), *support.ROOT.glob("*/*.py")]
    return sorted(path for path in found if path.parent.name not in ("tests", "rapport"))


def scripts(interpreter: bytes) -> typing.List[pathlib.Path]:
    """Every file in the checkout whose first line names such an interpreter, whatever it is called."""
    found = []
    for path in support.ROOT.rglob("*"):
        if path.is_file() and NOT_OURS.isdisjoint(path.relative_to(support.ROOT).parts[:-1]):
            with path.open("rb") as file:
                if re.match(rb"#!.*\b%b\b" % interpreter, file.readline(80)):
                    found.append(path)
    return sorted(found)


def sourced_files() -> typing.List[pathlib.Path]:
    """What programs in bash are made of, beside their first file."""
    return sorted(support.ROOT.glob("launcher/*.sh"))


def module_name(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(support.ROOT).with_suffix("").parts)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imported(tree: ast.AST, modules: typing.Set[str]) -> typing.Iterator[typing.Tuple[str, bool]]:
    """The modules of ours that a file imports: (name, whether only inside a function)."""
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
              for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["%s.%s" % (node.module, alias.name)
                     if "%s.%s" % (node.module, alias.name) in modules else node.module
                     for alias in node.names]
        else:
            continue
        for name in names:
            if name in modules:
                yield name, id(node) in inside


def bound_names(tree: ast.Module) -> typing.Set[str]:
    """What a module has once it is imported; names inside its functions and classes aside."""
    names, rest = set(), list(tree.body)
    while rest:
        node = rest.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        rest += ast.iter_child_nodes(node)
    return names


class HouseTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.trees = {module_name(path): ast.parse(path.read_text("utf-8")) for path in product_files()}
        names = set(cls.trees)
        cls.imports = {name: set(imported(tree, names)) for name, tree in cls.trees.items()}

    def test_imports_run_downwards(self):
        wrong = ["%s imports %s" % (name, other) for name, others in self.imports.items() for other, _ in others
                 if room_of(other) != room_of(name) and FLOOR_OF[room_of(other)] >= FLOOR_OF[room_of(name)]]
        self.assertEqual(wrong, [])

    def test_the_smtp_client_knows_nothing_of_ours(self):
        wrong = ["%s imports %s" % (name, other) for name, others in self.imports.items() for other, _ in others
                 if room_of(name) == "smtp_client" != room_of(other)]
        self.assertEqual(wrong, [])

    def test_what_is_imported_is_there(self):
        """By name, and what is taken from a module that was imported whole."""
        bound = {name: bound_names(tree) for name, tree in self.trees.items()}
        wrong = []
        for name, tree in self.trees.items():
            wholes = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        if "%s.%s" % (node.module, alias.name) in self.trees:
                            wholes[alias.asname or alias.name] = "%s.%s" % (node.module, alias.name)
                        elif node.module in bound and alias.name not in bound[node.module]:
                            wrong.append("%s: %s.%s" % (name, node.module, alias.name))
                elif isinstance(node, ast.Import):
                    wholes.update({alias.name: alias.name for alias in node.names if alias.name in self.trees})
            wrong += ["%s: %s.%s" % (name, wholes[node.value.id], node.attr) for node in ast.walk(tree)
                      if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                      and node.value.id in wholes and node.attr not in bound[wholes[node.value.id]]]
        self.assertEqual(wrong, [])

    def test_no_circle(self):
        """Imports at the top of files only: one inside a function waits until it runs."""
        left = {name: {other for other, is_late in others if not is_late} for name, others in self.imports.items()}
        while free := [name for name, others in left.items() if not others & set(left)]:
            for name in free:
                del left[name]
        self.assertEqual(sorted(left), [])

    def test_late_imports_are_preloaded(self):
        """What a session imports on its way, a warm worker has before it is forked."""
        listed = self.strings_of("listener.preload") & set(self.trees)
        reached = set(listed)
        while more := {other for name in reached for other, _ in self.imports[name]} - reached:
            reached |= more
        late = {other for name, others in self.imports.items() if room_of(name) in ("smtp", "mailstore", "common")
                for other, is_late in others if is_late}
        early = {other for name in ("listener.prefork", "listener.worker") for other, _ in self.imports[name]}
        while more := {other for name in early for other, is_late in self.imports[name] if not is_late} - early:
            early |= more
        at_top = {other for name in reached for other, is_late in self.imports[name] if not is_late}
        self.assertEqual(sorted(late - listed - at_top - early - WITH_THE_SETTINGS), [])

    def test_early_enough(self):
        """What is imported late by a program that has given root up by then would not be found in a closed checkout."""
        for program, allowed in ROOT_AT_FIRST.items():
            early = {program}
            while more := {other for name in early for other, is_late in self.imports[name] if not is_late} - early:
                early |= more
            late = {other for name in early for other, is_late in self.imports[name] if is_late} - early
            self.assertEqual(sorted(late - allowed), [], program)

    def test_what_is_preloaded_exists(self):
        for assigned in self.trees["listener.preload"].body:
            if isinstance(assigned, ast.Assign) and isinstance(assigned.value, ast.Tuple):
                for name in ast.literal_eval(assigned.value):
                    self.assertTrue(importlib.util.find_spec(name), name)

    def strings_of(self, module: str) -> typing.Set[str]:
        return {node.value for node in ast.walk(self.trees[module])
                if isinstance(node, ast.Constant) and isinstance(node.value, str)}

    def test_sizes(self):
        texts = {str(path.relative_to(support.ROOT)): path.read_text("utf-8").split("\n") for path in self.files()}
        long_lines = ["%s:%d" % (name, number) for name, lines in texts.items()
                      for number, line in enumerate(lines, 1) if len(line) > LINE_WIDTH]
        self.assertEqual(long_lines, [], "lines over %d columns" % LINE_WIDTH)
        long_files = [name for name, lines in texts.items() if len(lines) - 1 > FILE_LINES]
        self.assertEqual(long_files, [], "files over %d lines" % FILE_LINES)

    def test_readme_fits_a_terminal(self):
        lines = (support.ROOT / "README.txt").read_text("utf-8").split("\n")
        self.assertEqual([line for line in lines if len(line) > README_WIDTH or line.endswith((" ", "\t"))], [])

    def files(self) -> typing.Set[pathlib.Path]:
        tests = (support.ROOT / "tests").rglob("*.py")
        programs = itertools.chain(*map(scripts, (b"bash", b"sh", b"python3")))
        return {*product_files(), *tests, *sourced_files(), *programs}

    def test_functions_are_short(self):
        trees = {name: ast.walk(tree) for name, tree in self.trees.items()}
        long_ones = ["%s.%s: %d lines" % (name, node.name, node.end_lineno - node.lineno + 1)
                     for name, nodes in trees.items() for node in nodes
                     if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES]
        for path in (*scripts(b"bash"), *sourced_files()):
            bodies = re.findall(r"^(\w+)\(\) \{\n(.*?)^\}", path.read_text("utf-8"), re.M | re.S)
            long_ones += ["%s: %s" % (path.name, name) for name, body in bodies
                          if body.count("\n") + 2 > FUNCTION_LINES]
        self.assertEqual(long_ones, [])

    def test_top_level(self):
        """What is handed in, and rooms."""
        expected = {"serveur.sh", "smtp_handler.py", "relay.py", "auth.py", "login_pass.txt", "noms.txt", "README.txt",
                    "rapport.pdf"}
        found = {path.name for path in support.ROOT.iterdir() if path.is_file() and not path.name.startswith(".")}
        self.assertEqual(found - expected, set())

    @support.needs_program("shellcheck")
    def test_shellcheck(self):
        """Each program with all that it sources."""
        if programs.version("shellcheck", "--version") < (0, 9):
            self.skipTest("shellcheck d'avant 0.9 ne suit pas tout ce que nos programmes lisent")
        names = [str(path.relative_to(support.ROOT)) for path in (*scripts(b"bash"), *scripts(b"sh"))]
        done = subprocess.run(["shellcheck", "-x", "-a", *names], cwd=support.ROOT, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    @unittest.skipUnless(RUFF.exists(), "programme absent : ruff (de PyPI, que tests/run installe s'il le peut)")
    def test_ruff(self):
        names = [str(path.relative_to(support.ROOT)) for path in scripts(b"python3")]
        done = subprocess.run([str(RUFF), "check", "--no-cache", "--isolated", "--quiet", *RULES, "--target-version",
                               "py39", "--output-format", "concise", ".", *names], cwd=support.ROOT,
                              capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)


if __name__ == "__main__":
    unittest.main()
