"""Which files the program is made of: compiled where they lie, or copied and compiled.

program.py FOLDER: copy them into FOLDER, an empty folder of who runs this, and let everyone read it. Exit status: 1 if
that cannot be done.
"""
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NOT_SERVED = ("tests", "rapport")
SUFFIXES = (".py", ".html", ".css", ".js", ".svg")


def main(target):
    """Fill the folder `target`; the exit status."""
    os.umask(0o022)
    try:
        try_executing(target)
        copy_program(target)
        os.chmod(target, 0o755)
    except OSError:
        return 1
    return 0


def try_executing(folder):
    """Raise OSError where a file system is mounted noexec, as a booted Debian's /run."""
    path = os.path.join(folder, "probe")
    write_file(path, b"#!/bin/sh\n", 0o700)
    os.waitpid(os.posix_spawn(path, [path], {}), 0)
    os.unlink(path)


def rooms():
    """The folders (paths) that modules are imported from: the top, and those in it that have some."""
    with os.scandir(TOP) as entries:
        inner = [entry.path for entry in entries
                 if entry.is_dir() and entry.name not in NOT_SERVED and not entry.name.startswith((".", "__"))]
    return [TOP] + [path for path in inner if sources(path, ".py")]


def sources(room, suffixes=SUFFIXES):
    """The names of the files in `room` that end so; none if it cannot be read, for then it is none of ours."""
    try:
        with os.scandir(room) as entries:
            # What an editor leaves beside a file begins with a dot.
            return [entry.name for entry in entries
                    if entry.name.endswith(suffixes) and not entry.name.startswith(".") and entry.is_file()]
    except PermissionError:
        return []


def compile_rooms():
    """Leave every module compiled, as far as who we are may write here: else each session would compile it anew."""
    for room in rooms():
        for name in sources(room, ".py"):
            path = os.path.join(room, name)
            if not code_of(path, os.stat(path)):
                try:
                    compile_module(path)
                except OSError:
                    return          # it may not


def copy_program(target):
    """Copy all rooms with their modules compiled. Raises OSError."""
    for room in rooms():
        copied = os.path.join(target, os.path.relpath(room, TOP))
        os.makedirs(os.path.join(copied, "__pycache__"), exist_ok=True)
        # At the top lie files of the person's as well, a list of passwords among them.
        for name in sources(room, ".py" if room == TOP else SUFFIXES):
            copy_file(os.path.join(room, name), os.path.join(copied, name))


def copy_file(source, target):
    """Copy a file with its time, whether it may be executed, and the compiled form of a module. Raises OSError."""
    with open(source, "rb") as file:
        text = file.read()
        state = os.fstat(file.fileno())
    write_file(target, text, 0o755 if state.st_mode & 0o100 else 0o644)
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
    if source.endswith(".py"):
        code = code_of(source, state)
        if code:
            write_file(cache_of(target), code, 0o644)
        else:
            compile_module(target)


def write_file(path, text, mode):
    """A new file. Raises OSError."""
    with open(path, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
        file.write(text)


def cache_of(path):
    """Where the compiled form of the module at `path` lies (PEP 3147)."""
    folder, name = os.path.split(path)
    return f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"


def code_of(path, state):
    """The compiled form (octets) of the module at `path`, whose stat is `state`; b"" if there is none of this text."""
    try:
        with open(cache_of(path), "rb") as file:
            code = file.read()
    except OSError:
        return b""
    # PEP 552: after a magic number and flags, the time and size of the source.
    wanted = [0, int(state.st_mtime) & 0xFFFFFFFF, state.st_size & 0xFFFFFFFF]
    return code if [int.from_bytes(code[at:at + 4], "little") for at in (4, 8, 12)] == wanted else b""


def compile_module(path):
    """Compile a module beside itself; one that is no Python is left to whoever runs it. Raises OSError."""
    import py_compile
    try:
        py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    except py_compile.PyCompileError:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
