"""A real Dovecot (Debian's) on loopback ports: LMTP over TCP and at a Unix socket, IMAP to read it back.

    with Dovecot(["alice", "bob"]) as dovecot:
        ...                                         # -store lmtp:127.0.0.1:`dovecot.lmtp_port`, or `dovecot.store`
        texts = dovecot.imap("alice")               # each as the bytes that came over the wire

Root only (`@needs_dovecot`).
"""

import atexit
import imaplib
import os
import pathlib
import subprocess
import tempfile
import typing

from tests.helpers import support
from tests.lab import unpacked
from tests.lab.imap_store import ImapStore

PASSWORD = "secret"
OWNER = 54321                   # of all mail; no account has the number
PACKAGE = "dovecot-imapd", "dovecot-core"

# What Dovecot 2.4 calls otherwise.
BEFORE_24 = """\
disable_plaintext_auth = no
passdb {{
    driver = passwd-file
    args = scheme=PLAIN {folder}/users
}}
userdb {{
    driver = passwd-file
    args = {folder}/users
}}
mail_location = maildir:{folder}/mail/%n
"""
FROM_24 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = yes
passdb passwd-file {{
    default_password_scheme = plain
    passwd_file_path = {folder}/users
}}
userdb passwd-file {{
    passwd_file_path = {folder}/users
}}
mail_driver = maildir
mail_path = {folder}/mail/%{{user | username}}
"""
CONFIGURATION = """\
{versions}
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
listen = {address}
maildir_stat_dirs = no
default_process_limit = 300
default_client_limit = 1000
mail_max_userip_connections = 100
service imap-login {{
    inet_listener imap {{
        port = {imap_port}
    }}
    inet_listener imaps {{
        port = 0
    }}
}}
{unpacked}
{recipe}
{more}
"""

UNPACKED = ("imap", "imap-login", "imap-hibernate", "imap-urlauth", "imap-urlauth-login", "imap-urlauth-worker")


def recipe(lmtp_port: int, socket: pathlib.Path) -> str:
    """README.txt's lines, with our places in them."""
    text = (support.ROOT / "README.txt").read_text("utf-8")
    lines = text[text.index("    protocols = imap lmtp\n"):]
    lines = lines[:lines.index("\n\n")]
    for theirs, ours in (("/run/serveur-lmtp", str(socket)), ("port = 24", "port = %d" % lmtp_port)):
        assert theirs in lines, theirs
        lines = lines.replace(theirs, ours)
    return lines if is_before_24() else lines.replace("%Ln    # Dovecot 2.4 : ", "")


def is_before_24() -> bool:
    return not unpacked.version_of(PACKAGE[1]).startswith("1:2.4")


class Dovecot(ImapStore):
    """See the module.  users: their names; address: where it listens; more: of the configuration."""

    def __init__(self, users: typing.Sequence[str], address: str = "127.0.0.1", more: str = ""):
        self.address = address
        self.lmtp_port, self.imap_port = support.free_port(), support.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dovecot-essai-"))
        self.mark = "DOVECOT_ESSAI=" + self.folder.name
        atexit.register(self.stop)                  # should the tests be interrupted
        self.process: typing.Optional[subprocess.Popen] = None
        self.folder.chmod(0o755)
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "mail", OWNER, OWNER)
        self.socket = self.folder / "lmtp"
        unpacked.unpack(*PACKAGE, self.folder / "imapd")
        self.add_users(users)
        (self.folder / "dovecot.conf").write_text(CONFIGURATION.format(
            folder=self.folder, address=address, imap_port=self.imap_port, more=more,
            versions=(BEFORE_24 if is_before_24() else FROM_24).format(folder=self.folder),
            unpacked="".join("service %s {\n executable = %s/imapd/usr/lib/dovecot/%s\n}\n" % (name, self.folder, name)
                             for name in UNPACKED),
            recipe=recipe(self.lmtp_port, self.socket)))

    def add_users(self, names: typing.Sequence[str]) -> None:
        with open(self.folder / "users", "a") as file:
            file.writelines("%s:%s:%d:%d::%s/mail/%s\n" % (name, PASSWORD, OWNER, OWNER, self.folder, name)
                            for name in names)

    @property
    def store(self) -> str:
        """For -store, by the Unix socket."""
        return "lmtp:%s" % self.socket

    @property
    def command(self) -> typing.List[str]:
        """What start() runs; another may run it elsewhere (tests/lab/network.py)."""
        return ["/usr/sbin/dovecot", "-F", "-c", str(self.folder / "dovecot.conf")]

    def start(self) -> "Dovecot":
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=support.marked_environment(self.mark), start_new_session=True)
        support.wait_for(lambda: self._listening() or self.process.poll() is not None, "Dovecot listening")
        if not self._listening():
            raise AssertionError("Dovecot does not start: %s%s" % (
                (self.folder / "output").read_text(), self.log()))
        return self

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def imap(self, user: str) -> typing.List[bytes]:
        """All messages of a user's INBOX."""
        return read_all(imaplib.IMAP4(self.address, self.imap_port, support.PATIENCE), user)


def read_all(connection: imaplib.IMAP4, user: str) -> typing.List[bytes]:
    connection.login(user, PASSWORD)
    count = int(connection.select("INBOX", readonly=True)[1][0])
    fetched = connection.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
    connection.logout()
    return [item[1] for item in fetched if isinstance(item, tuple)]


needs_dovecot = unpacked.needed(*PACKAGE)
