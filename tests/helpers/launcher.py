"""What tests of serveur.sh share: a copy of the tree to change, programs in the place of others, what refuses."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import tempfile
import textwrap
import typing
import unittest

from tests.helpers import support
from tests.helpers.client import PATIENCE

SCRIPT = support.ROOT / "serveur.sh"
LETTER = b"Subject: x\r\n\r\nx\r\n.\r\n"


def copy_tree(case: unittest.TestCase, name: str = "serveur") -> pathlib.Path:
    """A copy of the program in a temporary folder that everyone may read, to be changed as a test likes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    shutil.copytree(support.ROOT, folder / name, ignore=shutil.ignore_patterns(".git", "tests"))
    return folder / name


def set_constant(script: pathlib.Path, file: str, name: str, value: int) -> None:
    """In the copy of the tree that `script` is in: give a constant of `file` another value.

    The launcher reads nothing that would let a user do so; a copy is the only handle.
    """
    path = script.parent / file
    text, count = re.subn(r"^((?:readonly )?%s ?= ?)\d+" % name, r"\g<1>%d" % value, path.read_text(), flags=re.M)
    assert count == 1, "%s: %d x %s" % (file, count, name)
    path.write_text(text)


def write_program(path: pathlib.Path, text: str) -> pathlib.Path:
    """An executable file; the text may be indented."""
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)
    return path


def path_without(case: unittest.TestCase, missing: str) -> pathlib.Path:
    """A folder for PATH with links to all of this machine's programs, the one that is `missing` aside."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for place in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
        for program in pathlib.Path(place).iterdir():
            with contextlib.suppress(FileExistsError):
                (folder / program.name).symlink_to(program)
    (folder / missing).unlink()
    return folder


def kill_together(server: support.Server, chosen: typing.Callable[[int, str], bool]) -> None:
    """SIGKILL for the launcher and those of its processes that are `chosen(pid, command line)`, before any can notice
    another's end: the launcher, which leads the session, is the last, for the kernel wakes stopped processes whose
    leader has ended."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid, command in sorted(server.processes().items(), key=lambda entry: entry[0] == server.process.pid):
            if chosen(pid, command):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
    server.process.wait()


class LauncherTestCase(unittest.TestCase):
    def make_server(self, *options, **arguments) -> support.Server:
        server = support.Server(options, **arguments)
        self.addCleanup(server.destroy)
        return server

    def refused(self, server: support.Server, code: int) -> str:
        """Start a server that must end by itself with `code`, leaving nothing: the one line that it writes."""
        self.assertEqual(server.launch().wait(PATIENCE), code, server.output())
        self.assertEqual(server.processes(), {})
        lines = server.output().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("serveur.sh: "), lines)
        return lines[0]
