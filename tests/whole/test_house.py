"""The house: which room may know which, how large things are, and what shellcheck and ruff say.

It reads the sources and runs nothing of them.
"""

import ast
import itertools
import pathlib
import shutil
import subprocess
import sys
import typing
import unittest

from tests.helpers import support

# Imports run downwards: a room may know those on lower floors.  smtp_client knows nothing of ours at all.
FLOORS = (
    {"common", "smtp_client"},
    {"mailstore", "auth"},
    {"smtp", "queue_manager", "delivery_agent", "web"},
    {"launcher", "listener"},
    {"smtp_handler", "relay"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LINE_WIDTH = 120
FUNCTION_LINES = 40             # few pass thirty
FILE_LINES = 400
RULES = "E9,F,B,PLE,PLW0127,PLW0129,PLW0131,PLW0711"
NOT_OURS = {".git", "__pycache__", "rapport"}


def product_files() -> typing.List[pathlib.Path]:
    """The Python files that are handed in, tests and report aside."""
    found = [*support.ROOT.glob("*.py"), *support.ROOT.glob("*/*.py")]
    return sorted(path for path in found if path.parent.name not in ("tests", "rapport"))


def shell_files() -> typing.List[pathlib.Path]:
    """Every file of bash or sh in the checkout."""
    found = []
    for path in support.ROOT.rglob("*"):
        if path.is_file() and NOT_OURS.isdisjoint(path.relative_to(support.ROOT).parts[:-1]):
            with path.open("rb") as file:
                start = file.readline(80)
            if path.suffix == ".sh" or (start.startswith(b"#!")
                                        and (b"bash" in start or start.rstrip().endswith(b"/sh"))):
                found.append(path)
    return sorted(found)


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

    def test_no_circle(self):
        """Imports at the top of files only: one inside a function waits until it runs."""
        left = {name: {other for other, is_late in others if not is_late} for name, others in self.imports.items()}
        while free := [name for name, others in left.items() if not others & set(left)]:
            for name in free:
                del left[name]
        self.assertEqual(sorted(left), [])

    def test_late_imports_are_preloaded(self):
        """What a session imports on its way, a warm worker has before it is forked."""
        listed = {text for node in ast.walk(self.trees["listener.preload"]) if isinstance(node, ast.Constant)
                  for text in [node.value] if isinstance(text, str) and text in self.trees}
        reached = set(listed)
        while more := {other for name in reached for other, _ in self.imports[name]} - reached:
            reached |= more
        late = {other for name, others in self.imports.items() if room_of(name) in ("smtp", "mailstore", "common")
                for other, is_late in others if is_late}
        early = {other for name in ("listener.prefork", "listener.worker") for other, _ in self.imports[name]}
        while more := {other for name in early for other, is_late in self.imports[name] if not is_late} - early:
            early |= more
        at_top = {other for name in reached for other, is_late in self.imports[name] if not is_late}
        self.assertEqual(sorted(late - listed - at_top - early), [])

    def test_sizes(self):
        long_lines = ["%s:%d" % (path.relative_to(support.ROOT), number) for path in self.text_files()
                      for number, line in enumerate(path.read_text("utf-8").split("\n"), 1) if len(line) > LINE_WIDTH]
        self.assertEqual(long_lines, [], "lines over %d columns" % LINE_WIDTH)
        long_files = [str(path.relative_to(support.ROOT)) for path in self.text_files()
                      if path.read_text("utf-8").count("\n") > FILE_LINES]
        self.assertEqual(long_files, [], "files over %d lines" % FILE_LINES)

    def text_files(self):
        tests = itertools.chain((support.ROOT / "tests").rglob("*.py"), shell_files())
        return [*product_files(), *sorted(set(tests))]

    def test_functions_are_short(self):
        trees = {name: ast.walk(tree) for name, tree in self.trees.items()}
        long_ones = ["%s.%s: %d lines" % (name, node.name, node.end_lineno - node.lineno + 1)
                     for name, nodes in trees.items() for node in nodes
                     if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES]
        self.assertEqual(long_ones, [])

    def test_top_level(self):
        """What is handed in, and rooms."""
        expected = {"serveur.sh", "smtp_handler.py", "relay.py", "auth.py", "login_pass.txt", "noms.txt", "README.txt",
                    "rapport.pdf"}
        found = {path.name for path in support.ROOT.iterdir() if path.is_file() and not path.name.startswith(".")}
        self.assertEqual(found - expected, set())

    @support.needs_program("shellcheck")
    def test_shellcheck(self):
        files = [str(path.relative_to(support.ROOT)) for path in shell_files()]
        done = subprocess.run(["shellcheck", "-x", *files], cwd=support.ROOT, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_ruff(self):
        ruff = shutil.which("ruff") or (str(support.RUFF) if support.RUFF.exists() else None)
        if not ruff:
            self.skipTest("programme absent : ruff (PyPI)")
        done = subprocess.run([ruff, "check", "--no-cache", "--isolated", "--quiet", "--select", RULES,
                               "--target-version", "py39", "--output-format", "concise", "."], cwd=support.ROOT,
                               capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    sys.exit(unittest.main())
