"""The servers that are measured, each on a port of its own, with a system account of its own whose Maildir
takes its mail.  All are idle but the one that is being measured.
"""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import typing

from tests.bench import submission
from tests.bench.postfix import Postfix
from tests.helpers import support
from tests.lab import namespace
from tests.lab.exim import Exim

BENCH = pathlib.Path(__file__).resolve().parent
SESSIONS = 128                  # at once, for every server that has a limit


class Contestant:
    """account: whose Maildir takes its mail, "" if it takes none; port: where it listens, on loopback."""

    takes_mail = True

    def __init__(self, account: str):
        self.account = account
        self.port = 0
        self.recipient = "%s@%s" % (account, support.DOMAIN)

    @property
    def maildir(self) -> pathlib.Path:
        return pathlib.Path(pwd.getpwnam(self.account).pw_dir) / "Maildir"

    def start(self) -> None:
        """Start, and come back when it listens."""

    def stop(self) -> None:
        """End it, and all that it started.  Safe to repeat."""

    def pid(self) -> int:
        """The process from which all of this server's descend."""

    def is_idle(self) -> bool:
        """Whether nothing waits to be delivered."""
        return True

    def submitting(self) -> typing.ContextManager[int]:
        """The same server once more, for who has a login (submission.py): gives its port, 0 if there is none."""
        return contextlib.nullcontext(0)


class Ours(Contestant):
    """serveur.sh, with netcat."""

    listen = "netcat"

    def __init__(self, account: str):
        super().__init__(account)
        options = ("-store", "maildir", "-max", SESSIONS, "-listen", self.listen)
        self._server = support.Server(options, accounts=None)
        self.port = self._server.port

    def start(self) -> None:
        self._server.start()
        support.wait_for(lambda: "Pour essayer" in self._server.output(), "serveur.sh")

    def stop(self) -> None:
        if self._server.process and self._server.process.poll() is None:
            self._server.stop()
        self._server.destroy()

    def pid(self) -> int:
        return self._server.process.pid

    def submitting(self) -> typing.ContextManager[int]:
        return submission.ours(self.listen, SESSIONS)


class Preforked(Ours):
    """serveur.sh, with warm workers."""

    listen = "prefork"


class EximDaemon(Contestant):
    """Exim as Debian runs it: a daemon that forks for each connection."""

    def __init__(self, account: str):
        super().__init__(account)
        self._exim = Exim()
        self.port = self._exim.port

    def start(self) -> None:
        self._exim.start()

    def stop(self) -> None:
        self._exim.stop()

    def pid(self) -> int:
        return self._exim.process.pid

    def is_idle(self) -> bool:
        return not any((self._exim.folder / "spool" / "input").iterdir())

    def submitting(self) -> typing.ContextManager[int]:
        return submission.exim()


class Pooled(Contestant):
    """What is in folder/smtp_handler.py, under serveur.sh's own pool of netcats."""

    def __init__(self, account: str):
        super().__init__(account)
        self.port = support.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-banc-"))
        self.folder.chmod(0o755)
        self._process: typing.Optional[subprocess.Popen] = None

    def _start_pool(self, places: typing.Mapping[str, str]) -> None:
        """`places`: folders that the pool and its handlers see elsewhere, as namespace.command takes them."""
        (self.folder / "smtp_handler.py").chmod(0o755)
        command = [str(BENCH / "pool"), str(self.port), str(self.folder)]
        self._process = subprocess.Popen(namespace.command(places, *command) if places else command,
                                         start_new_session=True)
        support.wait_for(lambda: support.listeners(self.port) > SESSIONS, "a pool of netcats")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(support.PATIENCE)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self) -> int:
        return self._process.pid


class Floor(Pooled):
    """A Python that greets, and answers two commands without reading them."""

    takes_mail = False

    def start(self) -> None:
        shutil.copy(BENCH / "greeter", self.folder / "smtp_handler.py")
        self._start_pool({})


class EximPooled(Pooled):
    """`exim -bs` under the pool."""

    def __init__(self, account: str):
        super().__init__(account)
        self._exim = Exim()

    def start(self) -> None:
        exim = support.find_program("exim4")
        (self.folder / "smtp_handler.py").write_text("#!/bin/sh\nexec %s -bs\n" % exim)
        self._start_pool({"/etc/exim4": str(self._exim.folder / "etc")})

    def stop(self) -> None:
        super().stop()
        self._exim.stop()

    def is_idle(self) -> bool:
        waiting = self._exim.folder / "spool" / "input"
        return not (waiting.is_dir() and any(waiting.iterdir()))


class PostfixDaemon(Contestant):
    """Debian's Postfix, unpacked into a folder of its own."""

    def __init__(self, account: str):
        super().__init__(account)
        self._postfix = Postfix(SESSIONS)
        self.port = self._postfix.port

    def start(self) -> None:
        self._postfix.start()

    def stop(self) -> None:
        self._postfix.stop()

    def pid(self) -> int:
        return self._postfix.process.pid

    def is_idle(self) -> bool:
        return self._postfix.is_idle()

    def submitting(self) -> typing.ContextManager[int]:
        return submission.postfix(SESSIONS)


# by the names that figures.NAMES gives in French
ALL = {"netcat": Ours, "prefork": Preforked, "exim": EximDaemon, "exim_bs": EximPooled, "postfix": PostfixDaemon,
       "floor": Floor}
