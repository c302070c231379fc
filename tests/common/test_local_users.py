"""Those who have an account on the machine: what they can do to a server that runs as root, and to who starts it."""

import fcntl
import json
import os
import pathlib
import pwd
import subprocess
import tempfile
import typing
import unittest

from tests.helpers import harness, support
from tests.helpers.accounts import system_users

SMALL = b"Subject: small\r\n\r\ntext\r\n.\r\n"

# What somebody tries with each of the paths on its command line; prints what he could do, as JSON {path: [deeds]}.
DEEDS = """
import fcntl, json, os, socket, sys
def read(path): os.listdir(path) if os.path.isdir(path) else os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1)
def write(path): os.open(path, os.O_WRONLY | os.O_NONBLOCK)
def lock(path): fcntl.flock(os.open(path, os.O_RDONLY | os.O_NONBLOCK), fcntl.LOCK_SH | fcntl.LOCK_NB)
def replace(path):
    os.rename(path, path + ".moved")
    os.rename(path + ".moved", path)
def make_beside(path):
    os.mkdir(path + ".mine")
    os.rmdir(path + ".mine")
def connect(path): socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(path)
done = {}
for path in sys.argv[1:]:
    done[path] = []
    for deed in (read, write, lock, replace, make_beside, connect):
        try:
            deed(path)
            done[path].append(deed.__name__)
        except OSError:
            pass
print(json.dumps(done))
"""


def deeds(paths, user: int, group: int) -> typing.Dict[str, typing.List[str]]:
    """What a process of this user and group can do with the paths: {path: names of DEEDS}."""
    result = subprocess.run(["/usr/bin/python3", "-ES", "-c", DEEDS, *map(str, paths)], user=user, group=group,
                            extra_groups=[], capture_output=True, text=True, check=True, cwd="/")
    return json.loads(result.stdout)


@support.needs_root
@support.both_listeners
class TableTest(support.ServerTestCase):
    """The table of README's section 8."""

    options = ("-relay", "tpmail.info.unicaen.fr=127.0.0.1:9", "-tls", "auto")

    def setUp(self):
        self.assertEqual(self.server.send([self.address("alice"), "x@tpmail.info.unicaen.fr"], SMALL).code, 250)
        support.wait_for(lambda: (self.server.spool / "queue/wake").exists(), "the relay's FIFO")
        mail = pwd.getpwnam("mail")
        self.user, self.group = mail.pw_uid, mail.pw_gid
        environment = pathlib.Path("/proc/%d/environ" % self.server.agent_master()).read_bytes().split(b"\0")
        self.socket = next(entry.partition(b"=")[2].decode() for entry in environment
                           if entry.startswith(b"SMTP_AGENT="))
        command = pathlib.Path("/proc/%d/cmdline" % self.server.agent_master()).read_bytes().split(b"\0")
        self.program = os.path.dirname(next(word for word in command if word.endswith(b"/delivery_agent"))).decode()

    def state(self):
        return [self.server.spool, *self.server.spool.rglob("*")]

    def test_unrelated_user_and_member_of_the_group(self):
        code = [self.program, self.program + "/entry.py", self.program + "/delivery_agent/pool.py"]
        for group in (support.NOBODY, self.group):
            found = deeds([*self.state(), os.path.dirname(self.socket), self.socket, *code], support.NOBODY, group)
            spool = found.pop(str(self.server.spool))
            self.assertEqual(set(spool) - {"make_beside"}, set(), group)        # its parent is the test's own
            for path in code:
                self.assertLessEqual(set(found.pop(path)), {"read", "lock"}, path)
            if group == self.group:     # the group is what lets the service user in; the agent asks who it is as well
                self.assertLessEqual(set(found.pop(self.socket)), {"connect"})
            self.assertEqual({path: done for path, done in found.items() if done}, {}, group)

    def test_service_user(self):
        """It has the state, and can ask the agent; it takes no part in what root runs."""
        folder = os.path.dirname(self.socket)
        found = deeds([folder, self.socket, self.program, self.program + "/entry.py"], self.user, self.group)
        self.assertEqual(found[folder], [])
        self.assertEqual(found[self.socket], ["connect"])
        for path in (self.program, self.program + "/entry.py"):
            self.assertLessEqual(set(found[path]), {"read", "lock"}, path)

    def test_modes(self):
        owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in self.state()}
        self.assertEqual(owners, {(self.user, self.group)})
        for path in self.state():
            self.assertEqual(path.lstat().st_mode & 0o777 & ~0o100, 0o600, path)


@support.needs_root
class StartTest(unittest.TestCase):
    """What somebody prepared where root will start the server."""

    def refused(self, spoil, spool: str = "spool") -> str:
        """What the start says, which must end with 2, once spoil(its folder) was done."""
        with support.Server() as server:
            server.arguments += ["-spool", str(server.folder / spool)]
            spoil(server.folder)
            self.assertEqual(server.launch().wait(support.PATIENCE), 2, server.output())
            return server.output()

    def own(self, path: pathlib.Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, support.NOBODY, support.NOBODY)

    def test_another_has_the_folder(self):
        self.assertIn("spool", self.refused(lambda folder: self.own(folder / "spool")))

    def test_another_has_a_folder_above_it(self):
        self.assertIn("of-nobody n'est pas sûr, il est à nobody",
                      self.refused(lambda folder: self.own(folder / "of-nobody"), "of-nobody/spool"))

    def test_another_has_a_part_of_it(self):
        def spoil(folder):
            (folder / "spool").mkdir(0o700)
            os.chown(folder / "spool", pwd.getpwnam("mail").pw_uid, pwd.getpwnam("mail").pw_gid)
            self.own(folder / "spool" / "queue")
        said = self.refused(spoil)
        self.assertIn("spool/queue est à nobody", said)

    def test_links(self):
        for name in ("", "tmp", "queue", "mainlog"):
            with self.subTest(name=name):
                def spoil(folder, path=pathlib.Path("spool", name)):
                    (folder / "victim").mkdir()
                    (folder / path).parent.mkdir(exist_ok=True)
                    (folder / path).symlink_to(folder / "victim")
                self.assertIn("est un lien", self.refused(spoil))

    def test_log_of_two_names(self):
        def spoil(folder):
            (folder / "victim").write_text("")
            os.link(folder / "victim", folder / "log")
        with support.Server() as server:
            server.arguments += ["-log", str(server.folder / "log")]
            spoil(server.folder)
            self.assertEqual(server.launch().wait(support.PATIENCE), 2, server.output())
            self.assertEqual((server.folder / "victim").stat().st_uid, 0)
            self.assertIn("d'un seul nom", server.output())

    def test_mode_of_an_older_server(self):
        with support.Server() as server:
            server.spool.mkdir(0o750)
            os.chown(server.spool, pwd.getpwnam("mail").pw_uid, pwd.getpwnam("mail").pw_gid)
            server.start()
            self.assertEqual(server.spool.stat().st_mode & 0o777, 0o700)
            self.assertEqual(server.stop(), 0)


@support.needs_root
class RelayStartTest(support.ServerTestCase):
    def test_folder_replaced_by_a_link(self):
        """Whoever became the service user gets nothing from the relay's next start."""
        victim = self.server.folder / "victim"
        victim.mkdir()
        relay = self.server.relay_pid()
        queue = self.server.spool / "queue"
        queue.rename(self.server.spool / "old")
        queue.symlink_to(victim)
        os.kill(relay, 9)
        support.wait_for(lambda: "queue est un lien" in self.server.output(), "the relay's refusal")
        self.assertEqual((victim.stat().st_uid, list(victim.iterdir())), (0, []))
        queue.unlink()
        (self.server.spool / "old").rename(queue)


class LockTest(unittest.TestCase):
    def test_one_that_is_never_let_go(self):
        """Whoever holds the locks of the passwords' checks, AUTH ends."""
        with tempfile.NamedTemporaryFile("w") as accounts:
            accounts.write("alice:secret\n")
            accounts.flush()
            os.chmod(accounts.name, 0o644)
            with harness.Handlers({"SMTP_PASS": accounts.name}, {"smtp.limits.CHECK_SECONDS": 0.2}) as server:
                path = server.spool / "authenticating"
                path.touch()
                if support.IS_ROOT:
                    os.chown(path, pwd.getpwnam("mail").pw_uid, pwd.getpwnam("mail").pw_gid)
                with open(path, "r+b") as file, server.client() as client:
                    fcntl.lockf(file, fcntl.LOCK_EX)
                    client.expect("EHLO x", 250)
                    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 454)
                    fcntl.lockf(file, fcntl.LOCK_UN)
                    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 235)


@support.needs_root
class NetcatTest(unittest.TestCase):
    def test_none_out_of_the_state_folder(self):
        """Where netcat is not installed root installs it, or says that it is missing; it runs nothing that mail put
        there."""
        with support.Server() as server:
            tools = server.folder / "bin"
            tools.mkdir()
            for folder in ("/usr/bin", "/bin"):
                for path in pathlib.Path(folder).iterdir():
                    if not path.name.startswith(("nc", "apt", "dpkg")) and not (tools / path.name).is_symlink():
                        (tools / path.name).symlink_to(path)
            planted = server.spool / "netcat" / "bin" / "nc.traditional"
            planted.parent.mkdir(parents=True)
            planted.write_text("#!/bin/sh\nid -u >%s/ran-as\n" % server.folder)
            planted.chmod(0o755)
            for path in (server.spool, planted.parent.parent, planted.parent, planted):
                os.chown(path, pwd.getpwnam("mail").pw_uid, pwd.getpwnam("mail").pw_gid)
            server._environment["PATH"] = str(tools)
            self.assertEqual(server.launch().wait(support.PATIENCE), 1, server.output())
            self.assertFalse((server.folder / "ran-as").exists())


@support.needs_root
class StoreTest(unittest.TestCase):
    """-store DIR: whoever can exchange a folder of root's doesn't get root to write for him."""

    def test_roots_folder_in_anothers(self):
        with support.Server() as server:
            (server.mail / "root").mkdir()
            os.chown(server.mail, support.NOBODY, support.NOBODY)
            server.start()
            self.assertIn("mail/root n'est pas un compte", server.output())
            with server.client() as client:
                client.expect("EHLO x", 250)
                client.expect("MAIL FROM:<a@b.example>", 250)
                client.expect("RCPT TO:<root@%s>" % server.domain, 550)
                client.expect("RCPT TO:<alice@%s>" % server.domain, 250)
            self.assertEqual(server.stop(), 0)

    def test_roots_folder_in_roots(self):
        with support.Server() as server:
            (server.mail / "root").mkdir()
            server.start()
            self.assertNotIn("n'est pas un compte", server.output())
            self.assertEqual(server.send("root@" + server.domain, SMALL).code, 250)
            self.assertEqual(server.stop(), 0)


@support.needs_root
class AliasesTest(unittest.TestCase):
    """The aliases file in somebody's folder is his word, and he can't have another's file read by it."""

    def serve(self, people) -> harness.Handlers:
        self.home = pathlib.Path(people["essailocal"].pw_dir)
        self.aliases = self.home / "aliases"
        server = harness.Handlers({"SMTP_ALIASES": str(self.aliases)})
        self.addCleanup(server.destroy)
        return server

    def answer(self, server, command: str):
        with server.client() as client:
            client.expect("EHLO x", 250)
            client.expect("MAIL FROM:<a@b.example>", 250)
            return client.ask(command)

    def test_his_own(self):
        with system_users("essailocal") as people:
            server = self.serve(people)
            self.aliases.write_text("list: alice, bob\n")
            os.chown(self.aliases, people["essailocal"].pw_uid, -1)
            self.aliases.chmod(0o600)
            self.assertEqual(self.answer(server, "EXPN list").code, 250)

    def test_link_to_a_file_of_roots(self):
        with system_users("essailocal") as people:
            server = self.serve(people)
            secret = server.folder / "secret"
            secret.write_text("secret: hash-of-a-password\n")
            secret.chmod(0o600)
            self.aliases.symlink_to(secret)
            self.assertEqual(self.answer(server, "EXPN secret").code, 450)
            self.assertEqual(self.answer(server, "RCPT TO:<alice@%s>" % server.domain).code, 450)
            server.wait_log("Permission denied")

    def test_fifo(self):
        with system_users("essailocal") as people:
            server = self.serve(people)
            os.mkfifo(self.aliases)
            os.chown(self.aliases, people["essailocal"].pw_uid, -1)
            self.assertEqual(self.answer(server, "RCPT TO:<alice@%s>" % server.domain).code, 450)


if __name__ == "__main__":
    unittest.main()
