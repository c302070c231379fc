"""Debian's Postfix, unpacked into a folder of its own: nothing is installed, and Exim stays where it is.

It runs in a mount namespace where /etc is ours: it holds Postfix's configuration and its two accounts, so
that the machine need not have them.  Root only, and apt must be able to fetch the package.
"""

import atexit
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import typing

from tests.helpers import support
from tests.lab import namespace

MAIL_USER, DROP_GROUP = 64101, 64102        # ids that no account of Debian's has
COPIED = ("nsswitch.conf", "hosts", "host.conf", "resolv.conf", "services", "protocols", "ld.so.cache", "localtime",
          "passwd", "group")
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace",
          "maildrop", "public", "pid")
FOREIGN = ("maildrop", "uucp", "ifmail", "bsmtp", "scalemail", "mailman")       # programs that Debian's file names

CONFIGURATION = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH
maillog_file = {folder}/data/maillog
maillog_file_prefixes = {folder}
myhostname = {domain}
mydestination = {domain}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
alias_maps =
alias_database =
home_mailbox = Maildir/
default_process_limit = {sessions}
"""


class Unavailable(Exception):
    """There is no Postfix to be had here; the text says why."""


class Postfix:
    """sessions: how many at once. packages: what is fetched; options: further lines of main.cf."""

    packages: typing.Tuple[str, ...] = ("postfix",)
    options = ""

    def __init__(self, sessions: int):
        self.port = support.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postfix-banc-"))
        self.folder.chmod(0o755)
        atexit.register(self.stop)
        self.process: typing.Optional[subprocess.Popen] = None
        self.root = self.folder / "root"
        self._sessions = sessions

    def start(self) -> None:
        """Fetch, unpack, configure, start, and come back when it listens.  Raises Unavailable."""
        self._fetch()
        self._make_folders()
        self._make_etc()
        library, sbin = (str(self.root / "usr/lib/postfix" / part) for part in ("", "sbin"))
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                namespace.command({"/etc": str(self.folder / "etc")}, sbin + "/master", "-s", "-d"),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": library})
        support.wait_for(lambda: support.listeners(self.port) or self.process.poll() is not None, "Postfix listening")
        if self.process.poll() is not None:
            raise Unavailable((self.folder / "output").read_text().strip() or self.log())

    def _fetch(self) -> None:
        unpack = "for package in *.deb; do dpkg-deb -x $package root; done"
        for command in (["apt-get", "download", "-q", *self.packages], ["sh", "-c", unpack]):
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
            if done.returncode:
                raise Unavailable((done.stderr.strip().splitlines() or ["apt-get"])[-1])

    def _make_folders(self) -> None:
        for name in QUEUES:
            (self.folder / "queue" / name).mkdir(parents=True)
            os.chown(self.folder / "queue" / name, 0 if name == "pid" else MAIL_USER, 0)
        for name in ("maildrop", "public"):
            os.chown(self.folder / "queue" / name, MAIL_USER, DROP_GROUP)
        (self.folder / "data").mkdir()
        os.chown(self.folder / "data", MAIL_USER, 0)

    def _make_etc(self) -> None:
        etc = self.folder / "etc"
        (etc / "postfix").mkdir(parents=True)
        for name in COPIED:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy("/etc/" + name, etc / name)
        with open(etc / "passwd", "a") as passwd, open(etc / "group", "a") as group:
            passwd.write("postfix:x:%d:%d::/nonexistent:/usr/sbin/nologin\n" % (MAIL_USER, MAIL_USER))
            group.write("postfix:x:%d:\npostdrop:x:%d:\n" % (MAIL_USER, DROP_GROUP))
        (etc / "postfix" / "main.cf").write_text(CONFIGURATION.format(
            folder=self.folder, root=self.root, domain=support.DOMAIN, sessions=self._sessions) + self.options)
        services = (self.root / "usr/share/postfix/master.cf.dist").read_text()
        (etc / "postfix" / "master.cf").write_text(adapted(services, self.port))

    def log(self) -> str:
        path = self.folder / "data" / "maillog"
        return path.read_text("latin-1") if path.exists() else ""

    def is_idle(self) -> bool:
        """Whether nothing waits to be delivered."""
        return not any(path.is_file() for name in ("incoming", "active", "maildrop", "deferred")
                       for path in (self.folder / "queue" / name).rglob("*"))

    def stop(self) -> None:
        """End it and remove its folder.  Safe to repeat."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def adapted(services: str, port: int) -> str:
    """Debian's master.cf: SMTP at `port`, no chroot, none of the programs that aren't Postfix's."""
    lines = [line for line in services.splitlines() if line[:1] not in ("", "#", " ")]
    kept = [line for line in lines if line.split()[0] not in FOREIGN]
    kept = [re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)y", r"\1n", line) for line in kept]
    return re.sub(r"^smtp(\s+inet)", r"%d\1" % port, "\n".join(kept), flags=re.M) + "\n"
