"""net.ipv4.tcp_migrate_req: set by the first server of a machine, put back by the last."""

import fcntl
import os
import pathlib
import re
import subprocess

from tests.helpers import readme, support
from tests.helpers.client import PATIENCE
from tests.launcher.test_pool import MIGRATE, PoolTestCase


def waited_for(lock: int) -> bool:
    """Whether somebody waits for this file's flock, as /proc/locks tells it."""
    inode = ":%d " % os.fstat(lock).st_ino
    return any("->" in line and inode in line for line in pathlib.Path("/proc/locks").read_text().splitlines())


@support.needs_root
@support.needs_program("unshare", "nsenter", "ip")
class MigrationTest(PoolTestCase):
    """In a network namespace of their own: the setting is one for all servers of a machine."""

    def setUp(self):
        self.keeper = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
                                       stdout=subprocess.PIPE)
        self.addCleanup(self.keeper.stdout.close)
        self.addCleanup(self.keeper.wait)
        self.addCleanup(self.keeper.kill)
        self.assertEqual(self.keeper.stdout.readline(), b"up\n")
        if not self.inside("test", "-e", MIGRATE).returncode == 0:
            self.skipTest("noyau antérieur à Linux 5.14")

    def inside(self, *command: str, **arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["nsenter", "-n", "-t", str(self.keeper.pid), *command], capture_output=True, text=True,
                              **arguments)

    def value(self) -> str:
        return self.inside("cat", MIGRATE).stdout.strip()

    def launch(self, *command: str, **arguments) -> support.Server:
        """A server in the namespace, started through `command`; comes back when it has said where it listens."""
        server = self.launch_only(*command, **arguments)
        self.wait_output(server, "telnet")
        return server

    def launch_only(self, *command: str, **arguments) -> support.Server:
        server = self.make_server(**arguments)
        server.arguments[:0] = ["-n", "-t", str(self.keeper.pid), *command, str(server.script)]
        server.script, server.run_as = support.find_program("nsenter"), None
        server.launch()
        return server

    def stop(self, server: support.Server) -> None:
        server.process.terminate()
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_set_and_put_back(self):
        server = self.launch()
        self.assertEqual(self.value(), "1")
        self.assertIn("tcp_migrate_req passe à 1", server.output())
        self.stop(server)
        self.assertEqual(self.value(), "0")
        self.assertIn("tcp_migrate_req est remis à 0", server.output())

    @support.needs_program("sysctl")
    def test_left_as_the_administrator_set_it(self):
        """With the command of README's section 10."""
        command = re.search(r"sysctl [a-z0-9_.=]+", readme.section(10))[0]
        self.inside(*command.split(), check=True)
        server = self.launch()
        self.stop(server)
        self.assertEqual(self.value(), "1")
        self.assertNotIn("tcp_migrate_req", server.output())

    def test_the_last_server_puts_it_back(self):
        first, second = self.launch(), self.launch()
        self.stop(first)
        self.assertEqual(self.value(), "1")
        self.stop(second)
        self.assertEqual(self.value(), "0")

    def test_put_back_by_the_next_after_a_kill(self):
        first = self.launch()
        first.process.kill()
        first.process.wait()
        self.assertEqual(self.value(), "1")
        self.stop(self.launch())
        self.assertEqual(self.value(), "0")

    def test_started_while_another_puts_it_back(self):
        self.inside("sh", "-c", "echo 1 >%s" % MIGRATE)
        namespace = self.inside("readlink", "/proc/self/ns/net").stdout.strip("net:[]\n")
        path = pathlib.Path("/run/serveur-smtp-0", namespace + "-migration")
        path.parent.mkdir(0o700, exist_ok=True)
        self.addCleanup(path.unlink)
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = self.launch_only()
            support.wait_for(lambda: waited_for(lock.fileno()), "the launcher waits")
            self.inside("sh", "-c", "echo 0 >%s" % MIGRATE)
        self.wait_output(server, "telnet")
        self.assertEqual(self.value(), "1")
        self.stop(server)
        self.assertEqual(self.value(), "0")

    def test_ordinary_user_is_told_the_command(self):
        nobody = str(support.NOBODY)
        server = self.launch("setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups", run_as=support.NOBODY)
        self.assertIn("sysctl -w net.ipv4.tcp_migrate_req=1", server.output())
        self.stop(server)
        self.assertEqual(self.value(), "0")
