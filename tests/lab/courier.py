"""A real Courier (authdaemond, POP3 and IMAP) on free loopback ports, for given Maildirs.

    with Courier({"alice": folder / "alice" / "Maildir"}) as courier:
        messages = courier.pop3("alice")            # each as the bytes that came over the wire
        assert messages == courier.imap("alice")

Root only (`@needs_courier`).  Courier's configuration and socket have fixed places, so it runs in a mount namespace
of its own where those places show ours; nothing on the machine changes.
"""

import atexit
import contextlib
import imaplib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import typing

from tests.helpers import support
from tests.lab import namespace

PASSWORD = "secret"
AUTHDAEMOND = "/usr/lib/courier/courier-authlib/authdaemond"
PROGRAMS = ("couriertcpd", "makeuserdb", "openssl")
SERVED_BY = (AUTHDAEMOND, "/usr/lib/courier/courier/courierpop3d", "/usr/bin/imapd")

AUTHDAEMONRC = """\
authmodulelist="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
"""

# $1 and $2 are the ports of POP3 and IMAP.  The configuration files are shell, and Courier's own
# start scripts read them just so.
SERVERS = r"""
makeuserdb || exit 1
set -a
prefix=/usr exec_prefix=/usr sbindir=/usr/sbin bindir=/usr/bin libexecdir=/usr/lib/courier
AUTHDAEMOND &
listen() { port=$1; shift; exec couriertcpd -address=127.0.0.1 -maxprocs=20 -maxperip=20 $TCPDOPTS "$port" "$@"; }
programs=/usr/lib/courier/courier
(. /etc/courier/pop3d; listen "$1" $programs/courierpop3login $programs/courierpop3d Maildir) &
(. /etc/courier/imapd; IMAP_STARTTLS=NO; listen "$2" $programs/imaplogin /usr/bin/imapd Maildir) &
wait
""".replace("AUTHDAEMOND", AUTHDAEMOND)


def needs_courier(test):
    """Decorator: skip the test or the class when no Courier can be run here."""
    installed = all(map(support.find_program, PROGRAMS)) and all(map(os.path.exists, SERVED_BY))
    return namespace.needed(support.unittest.skipUnless(installed, "Courier n'est pas installé")(test))


class Courier:
    """See the module.  `maildirs`: {login: its Maildir}; the servers become the owner of the Maildir to read it."""

    def __init__(self, maildirs: typing.Dict[str, pathlib.Path]):
        self.pop3_port, self.imap_port = support.free_port(), support.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="courier-essai-"))
        self.mark = "COURIER_ESSAI=" + self.folder.name
        atexit.register(self.stop)                  # should the tests be interrupted
        self.process: typing.Optional[subprocess.Popen] = None
        self.folder.chmod(0o755)
        self._prepare(maildirs)

    def _prepare(self, maildirs) -> None:
        shutil.copytree("/etc/courier", self.folder / "etc")
        sockets = self.folder / "run" / "authdaemon"
        sockets.mkdir(parents=True)
        (self.folder / "etc" / "authdaemonrc").write_text(AUTHDAEMONRC)
        userdb = self.folder / "etc" / "userdb"
        userdb.touch(0o600)
        userdb.write_text("".join(self._account(login, path) for login, path in maildirs.items()))

    @staticmethod
    def _account(login: str, maildir: pathlib.Path) -> str:
        """The line of userdb for one login; ~/Maildir is not named, nor need it be there, as with a machine's own."""
        owner = maildir.parent.stat()
        mail = "" if maildir.name == "Maildir" else "|mail=%s" % maildir
        command = ["openssl", "passwd", "-1", PASSWORD]
        hashed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return "%s\tuid=%d|gid=%d|home=%s%s|systempw=%s\n" % (
            login, owner.st_uid, owner.st_gid, maildir.parent, mail, hashed.strip())

    # -- start and stop --

    def start(self) -> "Courier":
        """Start the servers; come back when they listen and know the accounts."""
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                namespace.command({"/etc/courier": str(self.folder / "etc"), "/run/courier": str(self.folder / "run")},
                                  "sh", "-c", SERVERS, "sh", str(self.pop3_port), str(self.imap_port)),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=support.marked_environment(self.mark, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
        with contextlib.suppress(AssertionError):
            support.wait_for(lambda: self._listening() or self.process.poll() is not None, "Courier listening")
        if not self._listening():
            raise AssertionError("Courier does not start: %s" % (self.folder / "output").read_text())
        return self

    def _listening(self) -> bool:
        sockets = support.listeners(self.pop3_port), support.listeners(self.imap_port)
        return all(sockets) and (self.folder / "run" / "authdaemon" / "socket").exists()

    def stop(self) -> None:
        """End all of it and remove its folder.  Safe to repeat."""
        support.end_marked(self.mark)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- reading --

    def pop3(self, login: str) -> typing.List[bytes]:
        """All messages over POP3.  poplib refuses lines over 2048 octets, so the little we need is here."""
        with socket.create_connection(("127.0.0.1", self.pop3_port), support.PATIENCE) as connection:
            with connection.makefile("rwb") as file:
                pop3_ask(file, None)
                pop3_ask(file, "UTF8")              # else Courier wraps a message with 8-bit bytes in its header
                pop3_ask(file, "USER " + login)
                pop3_ask(file, "PASS " + PASSWORD)
                count = int(pop3_ask(file, "STAT").split()[1])
                messages = [pop3_retrieve(file, number) for number in range(1, count + 1)]
                pop3_ask(file, "QUIT")
        return messages

    def imap(self, login: str) -> typing.List[bytes]:
        """All messages of the INBOX over IMAP."""
        connection = self.imap_connection(login)
        count = int(connection.select("INBOX", readonly=True)[1][0])
        fetched = connection.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
        connection.logout()
        return [item[1] for item in fetched if isinstance(item, tuple)]

    def imap_connection(self, login: str) -> imaplib.IMAP4:
        """A connection that has logged in, for what else a test wants to ask."""
        connection = imaplib.IMAP4("127.0.0.1", self.imap_port, support.PATIENCE)
        connection.login(login, PASSWORD)
        return connection


def pop3_ask(file, command: typing.Optional[str]) -> bytes:
    """Send one command (None: only read) and give the line that answers it; AssertionError unless it is +OK."""
    if command:
        file.write(command.encode() + b"\r\n")
        file.flush()
    answer = file.readline()
    if not answer.startswith(b"+OK"):
        raise AssertionError("POP3: %s: %r" % (command, answer))
    return answer


def pop3_retrieve(file, number: int) -> bytes:
    """One message, dots undone; EOFError when the connection ends inside."""
    pop3_ask(file, "RETR %d" % number)
    lines = []
    while (line := file.readline()) != b".\r\n":
        if not line:
            raise EOFError("POP3: closed inside message %d" % number)
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)
