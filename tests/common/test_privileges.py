"""Started as root: nobody's client ever speaks to root, and nobody's links lead a byte out of his own mailbox."""

import contextlib
import fcntl
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import termios
import typing
import unittest

from tests.helpers import mailboxes, processes, support
from tests.helpers.accounts import system_users
from tests.helpers.client import Client
from tests.helpers.lasting import enter
from tests.helpers.tracing import Tracing

SMALL = b"Subject: private\r\n\r\ntext\r\n.\r\n"


@support.needs_root
@support.both_listeners
class IdentityTest(support.ServerTestCase):
    """Who reads what strangers send is `mail`, and can't become anybody else."""

    options = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:9")

    def setUp(self):
        entry = pwd.getpwnam("mail")
        self.mail = processes.Identity({entry.pw_uid}, {entry.pw_gid})

    def test_at_every_step(self):
        with self.client() as client:
            for command in ("EHLO x", "MAIL FROM:<a@client.example>", "RCPT TO:<%s>" % self.address("alice"),
                            "VRFY alice", "DATA"):
                self.assertLess(client.ask(command).code, 400)
                pid = self.server.process_of(client)
                self.assertEqual(processes.identity_of(pid), self.mail, command)
            client.write(SMALL)
            self.assertEqual(client.reply().code, 250)
            self.assertEqual(processes.identity_of(pid), self.mail)

    @support.needs_program("strace")
    def test_nobody_asks_access(self):
        """Of the effective user a C library may answer with what the real one, root, could do."""
        with self.client() as client:
            with Tracing([self.server.process_of(client), *self.server.agent_workers()],
                         calls="trace=/access") as tracing:
                client.expect("EHLO x", 250)
                for name in ("alice", "bob"):
                    self.assertEqual(client.letter("a@client.example", self.address(name), SMALL).code, 250)
                client.expect("NOOP", 250)
        self.assertEqual([call for call in tracing.calls if str(self.server.mail) in call.arguments], [])

    def test_who_keeps_root(self):
        """The launcher with its helpers, netcats that wait, and the delivery agent: none of them reads what a client
        sends."""
        support.wait_for(lambda: " relay started:" in self.server.log(), "the relay")
        found = {}
        for pid, command in self.server.processes().items():
            if "python" in command and "/delivery_agent" not in command and "/launcher/" not in command:
                with contextlib.suppress(OSError):          # it has just ended
                    found[command] = processes.identity_of(pid)
        self.assertTrue(any("/relay.py" in command for command in found))
        self.assertEqual(found, dict.fromkeys(found, self.mail))


@support.needs_root
class TerminalTest(unittest.TestCase):
    """Whoever has root's terminal, as a descriptor or as his own, which /dev/tty opens, can type into it."""

    def check(self, listener: str):
        ours, theirs = os.openpty()
        with support.Server(("-listen", listener, "-v")) as server, os.fdopen(ours, "rb", buffering=0) as screen:
            path = os.ttyname(theirs)
            server.process = subprocess.Popen(
                [str(server.script), *server.arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=server.folder,
                env=support.marked_environment(server.mark), start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
            os.close(theirs)
            said = b""
            while b"Journal : " not in said:
                said += screen.read(65536)
            self.assertEqual(server.send("alice@" + server.domain, SMALL).code, 250)
            while b"Completed" not in said:
                said += screen.read(65536)
            with server.client() as client:
                mail, seen = {pwd.getpwnam("mail").pw_uid}, []
                for pid, command in server.processes().items():
                    with contextlib.suppress(OSError):      # it has just ended
                        if processes.identity_of(pid).users == mail:
                            self.assert_has_no_terminal(pid, path, command)
                            seen.append(pid)
                self.assertIn(server.process_of(client), seen)
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(OSError):          # EIO: nobody has the other end any more
                while piece := screen.read(65536):
                    said += piece
            self.assertEqual(server.process.wait(support.PATIENCE), 0)
            # The dialogue in colours and the log, in order, and all of it before the end.
            shown = [said.find(text)
                     for text in (b"\033[36mC: ", b"Completed", b"Arr\xc3\xaat du serveur", b"relay stopped",
                                                  b"Serveur arr\xc3\xaat\xc3\xa9.")]
            self.assertEqual(shown, sorted(shown), said)
            self.assertNotIn(-1, shown)

    def assert_has_no_terminal(self, pid: int, path: str, command: str):
        links = [os.readlink(link) for link in pathlib.Path("/proc/%d/fd" % pid).iterdir()]
        self.assertNotIn(path, links, command)
        terminal = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[4]
        self.assertEqual(terminal, "0", command)

    def test_netcat(self):
        self.check("netcat")

    def test_prefork(self):
        self.check("prefork")


@support.needs_root
@support.needs_program("strace")
class FirstOctetTest(unittest.TestCase):
    """As the kernel is asked: root is given up, the saved id too, before anything of a client is read."""

    CALL = re.compile(r"(\w+)\((.*)\) += (\d+)")

    def trace(self, listener: str) -> typing.Dict[int, typing.List[str]]:
        """{pid: its calls} of a whole server, from its start to its stop, with two sessions in between."""
        with support.Server(("-listen", listener, "-max", "1")) as server:
            traces = server.folder / "traces"
            traces.mkdir()
            server.script = server.folder / "traced"
            command = "exec strace -D -ff -y -o %s/pid --seccomp-bpf -f -e trace=%s %s \"$@\"" % (
                traces, "setresuid,read,recvfrom,clone,clone3,fork,vfork", support.ROOT / "serveur.sh")
            server.script.write_text("#!/bin/sh\n" + command + "\n")
            server.script.chmod(0o755)
            server.start()
            for _ in range(2):
                support.wait_for(lambda: support.listeners(server.port), "a netcat, which are few here, and slow")
                self.assertEqual(server.send("alice@" + server.domain, SMALL).code, 250)
            server.stop(3 * support.PATIENCE)
            return {int(path.suffix[1:]): path.read_text("latin-1").splitlines() for path in traces.iterdir()}

    def check(self, listener: str):
        calls = self.trace(listener)
        reads = 0
        pending = []

        def follow(pid: int, is_root: bool):
            nonlocal reads
            for line in calls.pop(pid, ()):
                if not (found := self.CALL.match(line)):
                    continue
                name, arguments, result = found.groups()
                if name == "setresuid" and "0" not in arguments.split(", "):
                    is_root = False
                elif name in ("clone", "clone3", "fork", "vfork"):
                    pending.append((int(result), is_root))
                elif arguments.startswith("0<") and ("socket:" in arguments or "TCP" in arguments):
                    reads += 1
                    self.assertFalse(is_root, line)

        born = {int(found[3]) for lines in calls.values() for line in lines
                if (found := self.CALL.match(line)) and found[1] in ("clone", "clone3", "fork", "vfork")}
        pending += [(pid, True) for pid in calls if pid not in born]
        while pending:
            follow(*pending.pop())
        self.assertGreater(reads, 5)

    def test_netcat(self):
        self.check("netcat")

    def test_prefork(self):
        self.check("prefork")


@support.needs_root
@support.both_listeners
class LinksTest(support.ServerTestCase):
    """What the owner of a home replaces by links to others' files."""

    options = ("-store", "maildir")
    accounts = None

    @classmethod
    def setUpClass(cls):
        people = enter(cls.addClassCleanup, system_users("essaimallory", "essaivictim"))
        cls.mallory, cls.victim = people["essaimallory"], people["essaivictim"]
        super().setUpClass()

    def setUp(self):
        self.home = pathlib.Path(self.mallory.pw_dir)
        self.maildir = self.home / "Maildir"
        self.outside = self.server.folder / ("outside-" + self._testMethodName)
        for owner, name in ((self.victim.pw_uid, "victim"), (0, "root")):
            for folder in (self.outside / name, *(self.outside / name / sub for sub in ("tmp", "new", "cur"))):
                folder.mkdir(parents=True)
                os.chown(folder, owner, owner)
                folder.chmod(0o700)
        self.addCleanup(self.clear)

    def clear(self):
        if self.maildir.is_symlink():
            self.maildir.unlink()
        else:
            shutil.rmtree(self.maildir, ignore_errors=True)

    def make_maildir(self):
        for folder in (self.maildir, *(self.maildir / sub for sub in ("tmp", "new", "cur"))):
            folder.mkdir()
            os.chown(folder, self.mallory.pw_uid, self.mallory.pw_gid)

    def assert_nothing_outside(self, reply_codes):
        """Mail for Mallory is refused with one of these codes, and no file is anywhere it was led to."""
        with self.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            reply = client.ask("RCPT TO:<essaimallory@%s>" % self.server.domain)
            if reply.code == 250:
                client.expect("DATA", 354)
                client.write(SMALL)
                reply = client.reply()
            self.assertIn(reply.code, reply_codes, reply)
        self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [])

    def test_maildir(self):
        for name in ("victim", "root"):
            self.maildir.symlink_to(self.outside / name)
            self.assert_nothing_outside((450, 451))
            self.maildir.unlink()

    def test_folder_in_it(self):
        for name in ("victim", "root"):
            for sub in ("tmp", "new"):
                with self.subTest(owner=name, folder=sub):
                    self.make_maildir()
                    (self.maildir / sub).rmdir()
                    (self.maildir / sub).symlink_to(self.outside / name)
                    self.assert_nothing_outside((450, 451))
                    self.clear()

    def test_link_to_nowhere_yet(self):
        """A link whose target could be made by root only is not made."""
        for target in ("/etc/serveur-smtp-essai", self.outside / "root" / "made"):
            self.maildir.symlink_to(target)
            self.assert_nothing_outside((450, 451))
            self.assertFalse(pathlib.Path(target).exists())
            self.maildir.unlink()

    def test_exchanged_after_rcpt(self):
        """Between RCPT and the end of data, when all has been looked at."""
        for name in ("victim", "root"):
            with self.subTest(owner=name), self.client() as client:
                self.make_maildir()
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@client.example>", 250)
                client.expect("RCPT TO:<essaimallory@%s>" % self.server.domain, 250)
                client.expect("DATA", 354)
                self.clear()
                self.maildir.symlink_to(self.outside / name)
                client.write(SMALL)
                self.assertEqual(client.reply().code, 451)
                self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [])
                self.clear()

    def test_home_itself(self):
        aside = self.home.with_name("essaimallory.aside")
        self.home.rename(aside)
        try:
            for name in ("victim", "root"):
                self.home.symlink_to(self.outside / name)
                self.assert_nothing_outside((450, 451))
                self.home.unlink()
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.home.unlink()
            aside.rename(self.home)

    def test_own_folder_elsewhere_is_the_owners_choice(self):
        elsewhere = self.home / "elsewhere"
        elsewhere.mkdir()
        os.chown(elsewhere, self.mallory.pw_uid, self.mallory.pw_gid)
        self.maildir.symlink_to(elsewhere)
        self.assertEqual(self.server.send("essaimallory@" + self.server.domain, SMALL).code, 250)
        message, = mailboxes.read_maildir(elsewhere)
        self.assertEqual((message.status.st_uid, message.status.st_gid), (self.mallory.pw_uid, self.mallory.pw_gid))


@support.needs_root
@support.both_listeners
class MboxLinksTest(support.ServerTestCase):
    """The same for /var/mail/NAME and its lock file."""

    options = ("-store", "mbox")
    accounts = None

    def attempt(self, client: Client) -> int:
        client.expect("EHLO x", 250)
        client.expect("MAIL FROM:<a@client.example>", 250)
        reply = client.ask("RCPT TO:<essaimallory@%s>" % self.server.domain)
        if reply.code == 250:
            client.expect("DATA", 354)
            client.write(SMALL)
            reply = client.reply()
        return reply.code

    def test_links(self):
        with system_users("essaimallory", "essaivictim") as people:
            mbox = pathlib.Path("/var/mail/essaimallory")
            for owner in (people["essaivictim"].pw_uid, 0):
                target = self.server.folder / "others"
                target.write_text("others' mail\n")
                os.chown(target, owner, owner)
                for link in (os.symlink, os.link):
                    with self.subTest(owner=owner, link=link.__name__), self.client() as client:
                        try:
                            link(target, mbox)
                        except OSError:             # /var/mail is another file system: no hard link leads there
                            continue
                        self.assertEqual(self.attempt(client), 450)
                        self.assertEqual(target.read_text(), "others' mail\n")
                        mbox.unlink()
                target.unlink()

    def test_lock_file_is_a_link(self):
        """It is not followed, and not waited for longer than any lock."""
        with system_users("essaimallory") as people, self.client() as client:
            target = self.server.folder / "locked"
            target.write_text("%d %s\n0\n" % (2 ** 22 + 1, os.uname().nodename))
            os.chown(target, people["essaimallory"].pw_uid, people["essaimallory"].pw_gid)
            lock = pathlib.Path("/var/mail/essaimallory.lock")
            lock.symlink_to(target)
            os.utime(lock, (0, 0), follow_symlinks=False)
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@client.example>", 250)
            client.expect("RCPT TO:<essaimallory@%s>" % self.server.domain, 250)
            client.expect("DATA", 354)
            client.write(SMALL)
            support.wait_for(lambda: list(pathlib.Path("/var/mail").glob("essaimallory.lock.*")),
                             "it waits for the lock")
            self.assertTrue(target.read_text().endswith("0\n"))
            lock.unlink()
            self.assertEqual(client.reply().code, 250)
            self.assertTrue(target.exists())


if __name__ == "__main__":
    unittest.main()
