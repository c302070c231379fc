"""A real Cyrus (Debian's) on loopback ports: LMTP over TCP and at a Unix socket, IMAP to read it back.

    with Cyrus(["alice", "bob"]) as cyrus:
        ...                                         # -store lmtp:127.0.0.1:`cyrus.lmtp_port`, or `cyrus.store`
        texts = cyrus.imap("alice")                 # each as the bytes that came over the wire

Root only (`@needs_cyrus`).
"""

import atexit
import imaplib
import os
import pathlib
import pwd
import subprocess
import tempfile
import typing

from tests.helpers import support
from tests.lab import unpacked
from tests.lab.dovecot import PASSWORD, read_all
from tests.lab.imap_store import ImapStore

MASTER = "/usr/sbin/cyrmaster"
PACKAGE = "cyrus-imapd", "cyrus-common"
ADMINISTRATOR = "cyrus"

# Headers in 8 bits stay as they come, and what has been sent before is not dropped.
IMAPD = """\
configdirectory: {folder}/lib
partition-default: {folder}/mail
proc_path: {folder}/run/proc
mboxname_lockpath: {folder}/run/lock
lmtpsocket: {folder}/run/lmtp
idlesocket: {folder}/run/idle
notifysocket: {folder}/run/notify
admins: cyrus
allowplaintext: yes
unixhierarchysep: yes
munge8bit: no
duplicatesuppression: no
"""

# -N: any password will do, and -a: LMTP over TCP needs none.
CYRUS = """\
START {{
    recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
    imap cmd="{folder}/imapd/usr/lib/cyrus/bin/imapd -N -C {folder}/imapd.conf" listen="127.0.0.1:{imap_port}" prefork=0
    lmtp cmd="lmtpd -a -C {folder}/imapd.conf" listen="127.0.0.1:{lmtp_port}" prefork=0
    lmtpunix cmd="lmtpd -C {folder}/imapd.conf" listen="{folder}/run/lmtp" prefork=0
}}
"""


class Cyrus(ImapStore):
    """See the module.  users: their names."""

    def __init__(self, users: typing.Sequence[str]):
        self.lmtp_port, self.imap_port = support.free_port(), support.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cyrus-essai-"))
        self.mark = "CYRUS_ESSAI=" + self.folder.name
        atexit.register(self.stop)                  # should the tests be interrupted
        self.users = list(users)
        self.process: typing.Optional[subprocess.Popen] = None
        self.folder.chmod(0o755)
        owner = pwd.getpwnam("cyrus")
        for name in ("lib", "mail", "run"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        unpacked.unpack(*PACKAGE, self.folder / "imapd")
        for name, text in (("imapd.conf", IMAPD), ("cyrus.conf", CYRUS)):
            (self.folder / name).write_text(text.format(**vars(self)))

    @property
    def store(self) -> str:
        """For -store, by the Unix socket."""
        return "lmtp:%s/run/lmtp" % self.folder

    def start(self) -> "Cyrus":
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [MASTER, "-C", str(self.folder / "imapd.conf"), "-M", str(self.folder / "cyrus.conf"),
                 "-p", str(self.folder / "run" / "pid")], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env=support.marked_environment(self.mark), start_new_session=True)
        support.wait_for(lambda: self._listening() or self.process.poll() is not None, "Cyrus listening")
        if not self._listening():
            raise AssertionError("Cyrus does not start: %s" % (self.folder / "output").read_text())
        connection = imaplib.IMAP4("127.0.0.1", self.imap_port, support.PATIENCE)
        connection.login(ADMINISTRATOR, PASSWORD)
        while self.users:
            assert connection.create("user/" + self.users.pop())[0] == "OK"
        connection.logout()
        return self

    def imap(self, user: str) -> typing.List[bytes]:
        """All messages of a user's INBOX."""
        return read_all(imaplib.IMAP4("127.0.0.1", self.imap_port, support.PATIENCE), user)


needs_cyrus = unpacked.needed(*PACKAGE)
