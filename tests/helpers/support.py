"""What every test needs: the real server on a free port, accounts, a client in lock step, mailboxes read back.

The usual test file:

    from tests.helpers import support

    class GreetingTest(support.ServerTestCase):
        options = ("-size", "1000")                 # more options of serveur.sh, if any

        def test_greeting(self):
            with self.client() as client:           # the 220 has been read
                self.assertEqual(client.ask("EHLO x").code, 250)

One server serves a whole class; it is `self.server` (log, mailboxes, processes).  After the class the
server is stopped, and the class fails when its exit code is not 0 or anything of it is left.  When a test fails,
what the server wrote meanwhile is shown.
"""

import atexit
import contextlib
import functools
import itertools
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing
import unittest

from tests.helpers import mailboxes, processes, sockets
from tests.helpers.client import PATIENCE, Client, Reply, greeted_client
from tests.helpers.sockets import listeners

# TERM ends the tests as Ctrl-C does, cleaned up; a shell's background job, and all it starts, would not hear INT.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOMAIN = "binome.tp.info.unicaen.fr"
IS_ROOT = os.geteuid() == 0
NOBODY = 65534                  # who owns the folders of `-store DIR` when the server runs as root

NO_NETCAT = "il manque nc.traditional"          # says the launcher

LONG = bool(os.environ.get("TESTS_LONG"))       # tests/run -long


@functools.lru_cache(maxsize=None)
def open_root() -> pathlib.Path:
    """The checkout, for whatever another user runs: a copy of it where only its owner gets there (/root, a home of
    Debian 13)."""
    if all(folder.stat().st_mode & 0o005 == 0o005 for folder in (ROOT, *ROOT.parents)):
        return ROOT
    place = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    return pathlib.Path(shutil.copytree(ROOT, place / "serveur", ignore=shutil.ignore_patterns(".git")))


needs_root = unittest.skipUnless(IS_ROOT, "il faut être root")
long_test = unittest.skipUnless(LONG, "test long : tests/run -long")


def needs_program(*names: str):
    """Decorator: skip the test or the class when one of these programs isn't installed."""
    missing = [name for name in names if not find_program(name)]
    return unittest.skipIf(missing, "programme absent : " + ", ".join(missing))


def find_program(name: str) -> typing.Optional[str]:
    """The path of a program, also one that only root's PATH would show; None if there is none."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


# -- waiting, ports, processes -----------------------------------------------------------------------

def wait_for(condition: typing.Callable[[], typing.Any], what: str, seconds: float = PATIENCE):
    """Return the first true value of `condition()`; AssertionError naming `what` when it takes too long.

    Only for what nothing announces (a file, another process); a reply or an exit is waited for itself.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("not seen within %d s: %s" % (seconds, what))
        time.sleep(0.01)
    return value


def own_name() -> str:
    """The login that we run as."""
    return pwd.getpwuid(os.geteuid()).pw_name


held_ports = contextlib.ExitStack()
atexit.register(held_ports.close)


def free_port() -> int:
    """A TCP port nobody listens on, outside the range from which the kernel takes clients' ports, and which no other
    process of the tests has been given: that is held by a name, as long as this process lives."""
    while True:
        port = random.randrange(10000, 30000)
        holder = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            holder.bind("\0serveur-smtp-essai-port-%d" % port)
            held_ports.enter_context(holder)
            return port
        holder.close()


def processes_marked(mark: str) -> typing.Dict[int, str]:
    """The processes that have `mark` in their environment, zombies aside: {pid: command line}."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):          # it may end while we look, or be another user's
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = command.decode("ascii", "replace")
    return found


def end_marked(mark: str) -> None:
    """Kill all processes with `mark` in their environment, those they start meanwhile too.  Never fails."""
    while left := processes_marked(mark):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def marked_environment(mark: str, **more: str) -> typing.Dict[str, str]:
    """Our own environment, without what would configure the server, with `mark` ("NAME=value") and more."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMTP_")}
    name, _, value = mark.partition("=")
    return {**inherited, **more, name: value}


# -- the server --------------------------------------------------------------------------------------

class Server:
    """The real serveur.sh, in a folder of its own, on a free loopback port.

    options   more of serveur.sh's options
    accounts  names that get a folder under `-store DIR`; None: the options say what the store is
    aliases   the text of the aliases file
    run_as    user id to start it as (root only)
    """

    lacks_netcat = False
    interpreter: typing.Sequence[str] = ()          # what is typed before the script's name

    def __init__(self, options=(), accounts=("alice", "bob"), aliases: str = "", domain: str = DOMAIN,
                 run_as: typing.Optional[int] = None, environment=()):
        self.domain, self.port, self.run_as = domain, free_port(), run_as
        self.script = (ROOT if run_as is None else open_root()) / "serveur.sh"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
        atexit.register(self.destroy)               # should the tests be interrupted
        self.folder.chmod(0o755)
        self.mail, self.spool = self.folder / "mail", self.folder / "spool"
        self.log_path, self.output_path = self.spool / "mainlog", self.folder / "output"
        self.mark = "SERVEUR_ESSAI=" + self.folder.name
        self.process: typing.Optional[subprocess.Popen] = None
        self._environment = dict(environment)
        (self.folder / "aliases").write_text(aliases)
        self.arguments = self._command_options(options, accounts)
        if run_as is not None:
            os.chown(self.folder, run_as, run_as)

    def _command_options(self, options, accounts) -> typing.List[str]:
        store = []
        if accounts is not None:
            self.mail.mkdir()
            for name in accounts:
                self.add_account(name)
            store = ["-store", str(self.mail)]
        given = [str(option) for option in options]
        small_pool = [] if "-max" in given else ["-max", "8"]
        return ["-domain", self.domain, "-bind", "127.0.0.1", "-port", str(self.port),
                "-spool", str(self.spool), "-aliases", str(self.folder / "aliases"), *store, *small_pool, *given]

    def add_account(self, name: str) -> pathlib.Path:
        """A folder of the store, owned by whom mail is then delivered as."""
        folder = self.mail / name
        folder.mkdir()
        if IS_ROOT:
            owner = NOBODY if self.run_as is None else self.run_as
            os.chown(folder, owner, owner)
        return folder

    def replace_option(self, option: str, *words: str) -> None:
        """Put `words` in the place of an option that every server gets, with its value; none: take it away."""
        at = self.arguments.index(option)
        self.arguments[at:at + 2] = words

    # -- start and stop --

    def start(self) -> "Server":
        """Start, and come back when it listens; AssertionError with what it wrote if it ends instead.

        SkipTest where netcat is neither installed nor to be had.
        """
        if Server.lacks_netcat and "prefork" not in self.arguments:
            raise unittest.SkipTest(NO_NETCAT)
        self.launch()
        wait_for(lambda: listeners(self.port) or self.process.poll() is not None, "a listener")
        if self.process.poll() is not None:
            if NO_NETCAT in self.output() and not find_program("nc.traditional"):
                Server.lacks_netcat = True          # to be told so once is enough: the launcher tries to fetch it
                raise unittest.SkipTest(NO_NETCAT)
            raise AssertionError("serveur.sh ended with %d:\n%s" % (self.process.returncode, self.output()))
        return self

    def launch(self) -> subprocess.Popen:
        """Only start it: for tests of what happens before it listens."""
        identity = {} if self.run_as is None else dict(user=self.run_as, group=self.run_as, extra_groups=[])
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                [*self.interpreter, str(self.script), *self.arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, cwd=self.folder, start_new_session=True, **identity,
                env=marked_environment(self.mark, **self._environment))
        return self.process

    def stop(self, seconds: float = PATIENCE) -> int:
        """TERM, wait, and return the exit code; AssertionError when it stays or leaves something behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            left = processes.states_of(processes_marked(self.mark))
            raise AssertionError("serveur.sh still runs %d s after TERM:\n%s" % (seconds, left)) from None
        left = processes_marked(self.mark)
        if left or listeners(self.port):
            raise AssertionError("left behind after the stop: %s" % (left or "a listener"))
        return code

    def destroy(self) -> None:
        """End what is left, whatever it is, and remove the folder.  Never fails; safe to repeat."""
        end_marked(self.mark)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # -- looking at it --

    def client(self, **arguments) -> Client:
        """A new connection whose greeting, a 220, has been read."""
        return greeted_client(self.port, **arguments)

    def send(self, recipients, wire: bytes, sender: str = "sender@client.example.org") -> Reply:
        """One message over a connection of its own; the reply to its end of data."""
        with self.client() as client:
            client.expect("EHLO client.example.org", 250)
            reply = client.letter(sender, recipients, wire)
            client.expect("QUIT", 221)
        return reply

    def messages(self, account: str) -> typing.List[mailboxes.StoredMessage]:
        """What lies in an account's Maildir under `-store DIR`."""
        return mailboxes.read_maildir(self.mail / account / "Maildir")

    def log(self) -> str:
        """The main log so far."""
        return self.log_path.read_text("latin-1") if self.log_path.exists() else ""

    def wait_log(self, text: str) -> str:
        """Wait for a line that contains `text`; returns the first."""
        return wait_for(lambda: next((line for line in self.log().splitlines() if text in line), None),
                        "%r in the log" % text)

    def output(self) -> str:
        """What serveur.sh and all it started wrote to the terminal so far."""
        return self.output_path.read_text("utf-8", "replace") if self.output_path.exists() else ""

    def processes(self) -> typing.Dict[int, str]:
        """All processes of this server: {pid: command line}."""
        return processes_marked(self.mark)

    def serving(self) -> typing.List[int]:
        """The pids of the processes that have a client, behind either listener."""
        return list(self._clients_ports())

    def process_of(self, client: Client) -> int:
        """The pid of the process that has `client`."""
        ours = client.socket.getsockname()[1]
        return next(pid for pid, port in self._clients_ports().items() if port == ours)

    def _clients_ports(self) -> typing.Dict[int, int]:
        """{pid: its client's port} of the processes that have one."""
        connections = {"socket:[%d]" % found.inode: found.peer for found in sockets.connected(self.port)}
        found = {}
        for pid in self.processes():
            with contextlib.suppress(OSError, KeyError):        # it has just ended, or has no client
                found[pid] = connections[os.readlink("/proc/%d/fd/0" % pid)]
        return found

    def relay_pid(self) -> int:
        """The pid of its first relay, once that is at work."""
        return int(self.wait_log(" relay started: ").partition("pid=")[2].partition(",")[0])

    def agent_master(self) -> int:
        """The pid of the delivery agent's master; 0 if there is none."""
        return self._first_of(self._agents())

    def agent_workers(self) -> typing.List[int]:
        """The pids of the processes that write mailboxes for the sessions; [] if those do it themselves."""
        pids = self._agents()
        return [pid for pid in pids if processes.parent_of(pid) in pids]

    def _agents(self) -> typing.List[int]:
        return [pid for pid, command in self.processes().items() if command.rstrip().endswith("/delivery_agent")]

    def prefork_master(self) -> int:
        """The pid of listener/prefork.py's master; 0 if there is none."""
        pids = [pid for pid, command in self.processes().items() if "/prefork.py" in command]
        return self._first_of(pids)

    @staticmethod
    def _first_of(pids: typing.Sequence[int]) -> int:
        """Whose parent is none of them; 0 if there is nobody. (One that has just ended has no parent to be known.)"""
        return next((pid for pid in pids if processes.parent_of(pid) not in (0, *pids)), 0)


class ServerTestCase(unittest.TestCase):
    """One server a class.  Subclasses set what `Server` takes; `self.address("alice")` is a mailbox here.

    With `@support.both_listeners` before it, a class's tests are run behind netcat and behind listener/prefork.py.
    """

    options: typing.Sequence = ()
    accounts: typing.Optional[typing.Sequence[str]] = ("alice", "bob")
    aliases = ""
    run_as: typing.Optional[int] = None
    listener = "netcat"
    server: Server

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        options = (*cls.options, "-listen", cls.listener)
        cls.server = Server(options, cls.accounts, cls.aliases, run_as=cls.run_as)
        cls.addClassCleanup(cls.server.destroy)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError("serveur.sh ended with %d:\n%s" % (code, cls.server.output()))
        super().tearDownClass()

    def run(self, result=None):
        """Run one test; when it fails, show what the server wrote during it."""
        if not hasattr(self, "server"):                 # the class is skipped
            return super().run(result)
        seen = len(self.server.log()), len(self.server.output())
        trouble = count_trouble(result)
        finished = super().run(result)
        if count_trouble(finished or result) > trouble:
            print("\n--- %s\n--- log\n%s--- terminal\n%s---" % (
                self.id(), self.server.log()[seen[0]:], self.server.output()[seen[1]:]), file=sys.stderr)
        return finished

    def sample(self, cases: typing.Iterable, step: int) -> typing.Iterator:
        """All cases behind prefork, or with -long; each `step`-th behind netcat, where each costs a process's start."""
        whole = LONG or self.listener == "prefork"
        return itertools.islice(cases, 0, None, 1 if whole else step)

    def client(self, **arguments) -> Client:
        return self.server.client(**arguments)

    def address(self, name: str) -> str:
        return "%s@%s" % (name, self.server.domain)


def both_listeners(case: typing.Type[ServerTestCase]) -> typing.Type[ServerTestCase]:
    """Class decorator: the tests of `case` are run once more, as `...Prefork`, with listener/prefork.py in netcat's
    place."""
    variant = type(case.__name__ + "Prefork", (case,), {"listener": "prefork", "__module__": case.__module__})
    setattr(sys.modules[case.__module__], variant.__name__, variant)
    return case


def count_trouble(result) -> int:
    """How many tests have failed so far."""
    return 0 if result is None else len(result.failures) + len(result.errors)
