"""Which reply codes each command can bring, read out of the sources: the calls that lead from its row in the table of
smtp/commands.py to names in smtp/replies.py. None of them is made.

    by_command(ROOT)        {"MAIL": [250, 452, ...], ..., "": those that any command may bring, "connexion": ...}
"""
import ast


class Sources:
    """The modules of smtp/: their functions (methods as Class.name), their other names, what they import."""

    def __init__(self, root):
        self.root = root
        self._modules = {}

    def module(self, name):
        if name not in self._modules:
            path = self.root / (name.replace(".", "/") + ".py")
            self._modules[name] = Module(name, ast.parse(path.read_text("utf-8")))
        return self._modules[name]


class Module:
    """name, tree: as parsed; bodies: {a function, class or constant: its node}."""

    def __init__(self, name, tree):
        self.name = name
        self.tree = tree
        self.bodies = {}
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.bodies[node.name] = node
            elif isinstance(node, ast.Assign):
                self.bodies.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        self.imports = _imports(tree.body)


def _imports(statements):
    """{name here: (module, name there)} of what these statements take from smtp/."""
    ours = (statement for statement in statements
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("smtp."))
    return {alias.asname or alias.name: (statement.module, alias.name)
            for statement in ours for alias in statement.names}


def _codes(sources, name):
    """The codes of what smtp/replies.py calls so: a Reply, or a function that makes some."""
    body = sources.module("smtp.replies").bodies.get(name)
    calls = ast.walk(body) if body else ()
    return {node.args[0].value for node in calls
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reply"
            and isinstance(node.args[0], ast.Constant)}


class Walk:
    """Everything that some functions lead to, each once."""

    def __init__(self, sources):
        self.sources = sources
        self.codes = set()
        self._seen = set()

    def visit(self, module, name):
        """Follow what `module` calls `name`."""
        where = self.sources.module(module)
        if (module, name) in self._seen:
            return
        self._seen.add((module, name))
        if name in where.bodies:
            self.read(where, where.bodies[name])
        elif name in where.imports:
            self.visit(*where.imports[name])

    def read(self, where, body):
        late = _imports(ast.walk(body))
        for node in ast.walk(body):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                self._attribute(node.value.id, node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != "VERBS":
                if node.id in late:
                    self.visit(*late[node.id])
                else:
                    self.visit(where.name, node.id)

    def _attribute(self, owner, name):
        if owner == "replies":
            self.codes |= _codes(self.sources, name)
        elif owner == "session":
            self._method(name)

    def _method(self, name):
        session = self.sources.module("smtp.session")
        methods = {node.name: node for node in session.bodies["Session"].body if isinstance(node, ast.FunctionDef)}
        if name in methods and ("Session", name) not in self._seen:
            self._seen.add(("Session", name))
            self.read(session, methods[name])


ARGUMENT = {"none": ("UNEXPECTED_ARGUMENT",), "some": ("argument_needed",), "any": ()}


def _row(sources, verb):
    """The codes of one Verb of the table."""
    walk = Walk(sources)
    for function in (verb.handler, *verb.guards):
        where = sources.module(function.__module__)
        walk.read(where, _definition(where, function))
    for name in ARGUMENT[verb.argument]:
        walk.codes |= _codes(sources, name)
    return sorted(walk.codes)


def _definition(where, function):
    """The node that defines `function`, which may stand in another one."""
    return next(node for node in ast.walk(where.tree) if isinstance(node, ast.FunctionDef)
                and node.name == function.__name__ and node.lineno == function.__code__.co_firstlineno)


def _of_methods(sources, module, owner, names):
    body = sources.module(module).bodies
    found = set()
    nodes = [node for node in (body[owner].body if owner else body.values())
             if getattr(node, "name", "") in names]
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "replies":
                found |= _codes(sources, part.attr)
    return sorted(found)


GENERAL = ("_answer", "_dismiss_browser", "_serve_one", "_answer_next", "_end_line_without_end", "_count")


def by_command(root):
    from smtp.commands import VERBS
    sources = Sources(root)
    rows = {name: _row(sources, verb) for name, verb in VERBS.items()}
    rows[""] = _of_methods(sources, "smtp.session", "Session", GENERAL)
    rows["connexion"] = sorted({220, *_of_methods(sources, "smtp.handler", "", ("_converse", "_admit", "_report"))})
    return rows
