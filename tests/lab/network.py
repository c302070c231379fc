"""Several hosts on one wire, each a process tree with a network, a /run and process numbers of its own.

    with Network() as network:
        host = network.host("un", "10.9.0.11")
        host.start(["./serveur.sh", ...], folder)       # folder: its /run, and what it writes
        host.kill()                                     # -9 for all of it, at once, as when the power goes
        host.start(...)                                 # the same address, and the same disk

Root only (`@needed`).  Nothing of this machine's own network changes, and all of it ends with its processes.
"""

import atexit
import contextlib
import pathlib
import signal
import subprocess
import typing

from tests.helpers import support

MASK = 16
# Process 1 of a host: waits for its address, and then for its program.
BOOT = """
mount --bind "$1" /run && ip link set lo up && read -r _ || exit 1
shift
"$@" & program=$!
trap 'kill -TERM $program' TERM
while kill -0 $program 2>/dev/null; do wait $program; code=$?; done
exit $code
"""
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
# util-linux 2.36 has what it starts ignore these two.
HEARD = ["/usr/bin/python3", "-ISc", "import os, signal, sys\n"
         "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_DFL)\n"
         "os.execvp(sys.argv[1], sys.argv[1:])"]
SWITCH = "ip link add wire type bridge && ip link set wire up && echo && exec sleep infinity"


def works() -> bool:
    """Whether such hosts may be made here; some containers forbid it to their root."""
    probe = [*UNSHARE, "sh", "-c", "ip link add wire type bridge && ip link add name left type veth peer name right"]
    return support.IS_ROOT and subprocess.run(probe, capture_output=True).returncode == 0


needed = support.unittest.skipUnless(works(), "il faut être root et avoir droit à unshare --net --mount --pid")


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


class Network:

    def __init__(self):
        self._hosts: typing.List[Host] = []
        self._switch = subprocess.Popen(["unshare", "--net", "sh", "-c", SWITCH], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        assert self._switch.stdout.readline(), "no bridge"
        self._cables = 0
        atexit.register(self.end)                   # should the tests be interrupted

    def host(self, name: str, *addresses: str) -> "Host":
        host = Host(self, name, addresses)
        self._hosts.append(host)
        return host

    def unplug(self, host: "Host") -> None:
        """From now on nobody hears anything of it, not even that it is gone."""
        run("nsenter", "-t", str(self._switch.pid), "-n", "ip", "link", "set", host.cable, "down")

    def connect(self, host: "Host") -> None:
        """Lay a cable to a host that has been started."""
        self._cables += 1
        host.cable = cable = "cable%d" % self._cables
        pid, addresses = host.pid, host.addresses
        # A host that comes back has the same card as before: its neighbours remember that.
        card = "02:00:" + ":".join("%02x" % int(part) for part in addresses[0].split("."))
        switch, inside = (["nsenter", "-t", str(place), "-n", "ip"] for place in (self._switch.pid, pid))
        run(*switch, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "address", card, "netns", str(pid))
        for address in addresses:
            run(*inside, "addr", "add", "%s/%d" % (address, MASK), "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*switch, "link", "set", cable, "master", "wire", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self) -> None:
        """Safe to repeat."""
        for host in self._hosts:
            host.kill()
        self._switch.kill()
        self._switch.wait()
        self._switch.stdout.close()


class Host:
    """See the module."""

    def __init__(self, network: Network, name: str, addresses: typing.Sequence[str]):
        self.network, self.name, self.addresses = network, name, addresses
        self.process: typing.Optional[subprocess.Popen] = None
        self.pid, self.cable = 0, ""

    def start(self, command: typing.Sequence[str], folder: pathlib.Path, stdout=None, **environment) -> "Host":
        """Run `command` there.  What it writes goes to `folder`/output, unless `stdout` says where."""
        (folder / "run").mkdir(exist_ok=True)
        with open(folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [*UNSHARE, *HEARD, "sh", "-c", BOOT, "sh", str(folder / "run"), *map(str, command)],
                stdin=subprocess.PIPE, stdout=stdout or output, stderr=output, cwd=folder, start_new_session=True,
                env=support.marked_environment("RESEAU_ESSAI=1", **environment))
        children = pathlib.Path("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid))
        self.pid = int(support.wait_for(children.read_text, "the host %s" % self.name))
        # Its name says that it is in its own network by now.
        support.wait_for(lambda: pathlib.Path("/proc/%d/comm" % self.pid).read_text() == "sh\n", "its process 1")
        self.network.connect(self)
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        return self

    def inside(self, *command: str) -> subprocess.CompletedProcess:
        """Run a program there, as a person at the host would."""
        return subprocess.run(["nsenter", "-t", str(self.pid), "--all", "--root", *command], capture_output=True,
                              text=True)

    def listens(self, port: int) -> bool:
        rows = []
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                rows += pathlib.Path("/proc/%d/net/%s" % (self.pid, table)).read_text().splitlines()[1:]
        fields = (row.split() for row in rows)
        return any(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port for row in fields)

    def wait_listening(self, port: int) -> None:
        support.wait_for(lambda: self.listens(port) or self.process.poll() is not None,
                         "%s listening at %d" % (self.name, port))
        assert self.process.poll() is None, "%s has ended" % self.name

    def stop(self, seconds: float = 60) -> int:
        """TERM for its program; the exit code."""
        with contextlib.suppress(ProcessLookupError):
            support.os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            left = self.inside("ps", "axf", "-o", "pid,stat,wchan:20,args").stdout
            raise AssertionError("%s still runs %d s after TERM:\n%s" % (self.name, seconds, left)) from None

    def kill(self) -> None:
        """KILL for all of it, which it cannot foresee.  Safe to repeat."""
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                support.os.kill(self.pid, signal.SIGKILL)       # the kernel ends whoever is in there
            self.process.wait()
