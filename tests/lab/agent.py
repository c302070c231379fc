"""The delivery agent without serveur.sh, for tests that start sessions or the relay themselves. Only root needs one."""

import contextlib
import pathlib
import resource
import subprocess
import typing

from tests.helpers import patching, support

RUN = "from delivery_agent.pool import main\nmain()\n"


def limit_files(size: int) -> None:
    """From now on, no file of this process grows past so many octets."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Agent:
    """Its socket is `folder`/agent/socket, what it writes goes to the file `output`. environment: the settings are
    taken out of it; patch: see tests/helpers/patching.py; file_size: octets that a file may have."""

    def __init__(self, folder: pathlib.Path, environment: typing.Dict[str, str], output: pathlib.Path,
                 patch: typing.Optional[patching.Patch] = None, file_size: int = resource.RLIM_INFINITY):
        self.socket = socket_in(folder)
        with contextlib.suppress(FileNotFoundError):
            pathlib.Path(self.socket).unlink()
        settings = {name: value for name, value in environment.items() if name.startswith("SMTP_")}
        with open(output, "ab") as file:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-ES", "-c", patching.prologue(support.ROOT, patch) + RUN],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=folder,
                env={**settings, "SMTP_AGENT": self.socket}, preexec_fn=lambda: limit_files(file_size))
        support.wait_for(lambda: pathlib.Path(self.socket).exists() or self.process.poll() is not None,
                         "the agent's socket")
        assert self.process.poll() is None, output.read_text("utf-8", "replace")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def socket_in(folder: pathlib.Path) -> str:
    return str(folder / "agent" / "socket")
