"""Handlers without a launcher: each connection's process started by the test, with other values for some of the names
in its modules.

For what a real server takes minutes to do (time-outs, locks) or never does (a fault inside it):

    with harness.Handlers(patch={"smtp.limits.IDLE_SECONDS": 0.2}) as server:
        client = server.client()

It is a `support.Server` in all but its start: folders, log and mailboxes are looked at in the same way.
"""

import contextlib
import os
import pwd
import resource
import socket
import subprocess
import typing

from tests.helpers import patching, sockets, support
from tests.helpers.client import PATIENCE, Client
from tests.lab.agent import Agent, limit_files, socket_in

RUN = "from smtp import handler\nhandler.main()\n"


def unread_octets(client: Client) -> int:
    """How many octets that `client` sent the server has not read yet."""
    ours, theirs = client.socket.getsockname()[1], client.socket.getpeername()[1]
    return sum(found.unread for found in sockets.connected(theirs) if found.peer == ours)


class Handlers(support.Server):
    """variables   more SMTP_* settings
    patch       what is different in each process's modules (tests/helpers/patching.py), as root in the delivery agent's
                as well; may be changed between clients
    file_size   octets that a file may have there
    errors_to_client    descriptor 2 is the client too, as inetd makes it
    Other arguments as of Server, its `options` aside.
    """

    def __init__(self, variables: typing.Optional[typing.Dict[str, str]] = None,
                 patch: typing.Optional[patching.Patch] = None, errors_to_client: bool = False,
                 file_size: int = resource.RLIM_INFINITY, **arguments):
        super().__init__(**arguments)
        self.patch, self.errors_to_client, self.file_size = dict(patch or {}), errors_to_client, file_size
        self.handlers: typing.List[subprocess.Popen] = []
        store = str(self.mail) if self.mail.is_dir() else "maildir"
        self.variables = {"SMTP_DOMAIN": self.domain, "SMTP_STORE": store, "SMTP_SPOOL": str(self.spool),
                          "SMTP_ALIASES": str(self.folder / "aliases"), "SMTP_MAX": "8", **(variables or {})}
        if support.IS_ROOT:
            self.variables.setdefault("SMTP_AGENT", socket_in(self.folder))
        self.agent: typing.Optional[Agent] = None
        self._agent_of: typing.Tuple = ()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._make_spool()

    def _make_spool(self) -> None:
        owner = pwd.getpwnam("mail") if support.IS_ROOT else pwd.getpwuid(os.geteuid())
        for folder in (self.spool, self.spool / "tmp", self.spool / "queue", self.spool / "queue" / "tmp"):
            folder.mkdir()
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    def client(self, **arguments) -> Client:
        """A new connection to a process of its own, whose greeting, a 220, has been read."""
        client = self.stranger(**arguments)
        greeting = client.reply()
        if greeting.code != 220:
            client.close()
            raise AssertionError("greeted with %r" % greeting.raw)
        return client

    def stranger(self, **arguments) -> Client:
        """A new connection to a process of its own, whatever it is greeted with."""
        client = Client(self.port, **arguments)
        self._spawn()
        return client

    def _spawn(self) -> None:
        connection, _ = self._listener.accept()
        name, _, value = self.mark.partition("=")
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), name: value, **self.variables}
        self.have_agent()
        with connection, open(self.output_path, "ab") as output:
            self.handlers.append(subprocess.Popen(
                ["/usr/bin/python3", "-ES", "-c", patching.prologue(support.open_root(), self.patch) + RUN],
                stdin=connection, stdout=connection, stderr=connection if self.errors_to_client else output,
                cwd=self.folder, env=environment, preexec_fn=lambda: limit_files(self.file_size)))

    def have_agent(self) -> None:
        """As root, one with the settings and the patch as they are now."""
        wanted = dict(self.patch), dict(self.variables)
        if self.variables.get("SMTP_AGENT") == socket_in(self.folder) and self._agent_of != wanted:
            if self.agent:
                self.agent.end()
            self.agent = Agent(self.folder, self.variables, self.output_path, self.patch, self.file_size)
            self._agent_of = wanted

    def finished(self) -> None:
        """Wait until every process so far has ended."""
        for handler in self.handlers:
            handler.wait(PATIENCE)

    def destroy(self) -> None:
        self._listener.close()
        for handler in self.handlers:
            with contextlib.suppress(ProcessLookupError):
                handler.kill()
            handler.wait()
        if self.agent:
            self.agent.end()
        super().destroy()
