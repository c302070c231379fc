"""strace at work on a process that serves a client: what it asks of the kernel, and faults put into the answers.

    with Tracing([pid], "inject=fsync:error=EIO:when=1") as tracing:
        ...
    tracing.calls           # in order, once the `with` is over
"""

import contextlib
import re
import signal
import subprocess
import tempfile
import typing

from tests.helpers.client import PATIENCE

CALLS = "trace=openat,write,fsync,fdatasync,rename,link,unlink,ftruncate,read,setresuid,sendto,writev"
LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)(.*)")


class Call(typing.NamedTuple):
    """A system call: its name, its arguments (descriptors as `7</path>`), what it returned (-1: it failed)."""
    name: str
    arguments: str
    result: int


class Tracing:
    """Traces the processes `pids` from the beginning of the `with` to its end.  expressions: more of strace's -e."""

    def __init__(self, pids: typing.Iterable[int], *expressions: str, calls: str = CALLS):
        self.calls: typing.List[Call] = []
        self._file = tempfile.NamedTemporaryFile("r", encoding="latin-1")
        options = [option for expression in (calls, *expressions) for option in ("-e", expression)]
        self._pids = list(pids)
        traced = [word for pid in self._pids for word in ("-p", str(pid))]
        self._process = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "100", *traced, "-o", self._file.name, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        for _ in self._pids:
            line = self._process.stderr.readline()
            if "attached" not in line:
                self._process.wait(PATIENCE)
                raise AssertionError("strace: " + line)
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE)
        self._process.stderr.close()
        with contextlib.closing(self._file) as file:
            matches = map(LINE.match, file.read().splitlines())
            self.calls = [Call(m[1], m[2], -1 if m[3] == "?" else int(m[3])) for m in matches if m]

    def position(self, name: str, pattern: str) -> int:
        """Where the first call that did work of this name, with arguments that match `pattern`, stands in `calls`.

        AssertionError if there is none."""
        for position, call in enumerate(self.calls):
            if call.name == name and call.result >= 0 and re.search(pattern, call.arguments):
                return position
        raise AssertionError("no %s(%s) in\n%s" % (name, pattern, "\n".join(map(str, self.calls))))
