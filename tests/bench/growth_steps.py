"""The steps that tests/bench/growth measures: each makes what lies around it, of the size that it is given, and then
does the same thing again and again."""

import contextlib
import os
import pathlib
import tempfile
import time
import typing

from mailstore import mailboxes
from queue_manager.queue_store import QueueStore
from tests.helpers import processes, secure, support
from tests.helpers.accounts import system_users
from tests.helpers.client import Client
from tests.lab.exim import Exim
from tests.lab.relay import Relay
from tests.lab.sink import Sink

Probe = typing.Callable[[], float]
Step = typing.Callable[[int], typing.ContextManager[Probe]]
LETTER = b"Subject: x\r\n\r\ntext\r\n.\r\n"
LATER = 10 ** 10                # when what waits is due


class Row(typing.NamedTuple):
    """name: on the command line. sizes: of what lies around; tiny: to see whether it works. exim: the same step there;
    rounds: how often, 0 for the usual."""
    name: str
    title: str
    unit: str
    sizes: typing.Tuple[int, int]
    tiny: typing.Tuple[int, int]
    step: Step
    exim: typing.Optional[Step] = None
    rounds: int = 0


def milliseconds(task, *arguments) -> float:
    """How long task(*arguments) takes."""
    begun = time.monotonic()
    task(*arguments)
    return (time.monotonic() - begun) * 1000


@contextlib.contextmanager
def running(listen: str, *options: str, **arguments):
    """A server that listens with its whole pool."""
    with support.Server(("-listen", listen, *options), **arguments) as server:
        server.start()
        support.wait_for(lambda: "Pour essayer" in server.output(), "serveur.sh", 60)
        yield server
        server.stop()


@contextlib.contextmanager
def text_file(text: str):
    """The path of a file that everybody may read."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o644)
        yield file.name


def begun(client: Client) -> Client:
    client.expect("EHLO client.example", 250)
    client.expect("MAIL FROM:<a@client.example>", 250)
    return client


# -- aliases and lists -------------------------------------------------------------------------------

def names(count: int) -> str:
    """An aliases file of so many lines, `last` at its end."""
    return "".join("user%d: /dev/null\n" % number for number in range(count)) + "last: /dev/null\n"


def list_of(count: int) -> str:
    return "".join("m%d: /dev/null\n" % number for number in range(count)) + "list: %s\n" % ", ".join(
        "m%d" % number for number in range(count))


def lists_of_each_other(count: int) -> str:
    every = ["l%d" % number for number in range(count)]
    lines = ["%s: dev, %s\n" % (name, ", ".join(other for other in every if other != name)) for name in every]
    return "dev: /dev/null\n" + "".join(lines)


def recipient(text: typing.Callable[[int], str], name: str, listen: str = "") -> Step:
    """The first RCPT of a session, of an alias; with `listen` to ours, else to Exim."""
    @contextlib.contextmanager
    def step(size: int):
        server = running(listen, aliases=text(size)) if listen else Exim(aliases=text(size))
        with server as started:
            def probe() -> float:
                with begun(started.client()) as client:
                    return milliseconds(client.expect, "RCPT TO:<%s@%s>" % (name, support.DOMAIN), 250)
            probe()
            yield probe
    return step


def repeated(listen: str = "") -> Step:
    """The last of so many RCPTs of one list with a hundred members."""
    @contextlib.contextmanager
    def step(size: int):
        with (running(listen, aliases=list_of(100)) if listen else Exim(aliases=list_of(100))) as server:
            def probe() -> float:
                with begun(server.client()) as client:
                    line = "RCPT TO:<list@%s>" % support.DOMAIN
                    return [milliseconds(client.expect, line, 250) for _ in range(size)][-1]
            probe()
            yield probe
    return step


@contextlib.contextmanager
def delivery(size: int):
    """A message to a list, for each of its members."""
    members = ["m%d" % number for number in range(size)]
    with running("prefork", accounts=members, aliases="list: %s\n" % ", ".join(members)) as server:
        address = "list@" + support.DOMAIN
        server.send(address, LETTER)
        yield lambda: milliseconds(server.send, address, LETTER) / size


def start(text: typing.Callable[[int], str], listen: str) -> Step:
    """From serveur.sh's start to its last line, with so many aliases and accounts."""
    @contextlib.contextmanager
    def step(size: int):
        def probe() -> float:
            before = time.monotonic()
            with running(listen, "-pass", path, aliases=text(size)):
                return (time.monotonic() - before) * 1000
        with text_file(accounts(size)) as path:
            yield probe
    return step


# -- accounts ----------------------------------------------------------------------------------------

def accounts(count: int) -> str:
    return "".join("user%d:secret%d\n" % (number, number) for number in range(count)) + "last:secret\n"


def login(listen: str) -> Step:
    """A session's EHLO and AUTH."""
    @contextlib.contextmanager
    def step(size: int):
        with text_file(accounts(size)) as path, running(listen, "-pass", path) as server:
            def probe() -> float:
                with server.client() as client:
                    return milliseconds(client.expect, "EHLO client.example", 250) + milliseconds(
                        client.expect, "AUTH PLAIN " + secure.plain("last", "secret"), 235)
            probe()
            yield probe
    return step


@contextlib.contextmanager
def full_name(size: int):
    """Who somebody is by his full name, among so many accounts of the machine; in this process."""
    lines = "".join("user%d:x:%d:1000:Name%d:/home/user%d:/bin/sh\n" % (n, 1000 + n, n, n) for n in range(size))
    settings = type("Settings", (), {"store": "maildir", "domain": "x", "tag": "", "aliases": "", "spool": "/tmp"})
    with text_file(lines) as path:
        def probe() -> float:
            whole, mailboxes.PASSWD = mailboxes.PASSWD, path
            try:
                return milliseconds(mailboxes.Mailboxes(settings, None).named, "name%d" % (size - 1))
            finally:
                mailboxes.PASSWD = whole
        yield probe


# -- sessions ----------------------------------------------------------------------------------------

@contextlib.contextmanager
def chunks(size: int):
    """The peak memory of a session, in MB, whose 400 KB came in chunks of so many octets."""
    with running("netcat") as server:
        def probe() -> float:
            with begun(server.client()) as client:
                client.expect("RCPT TO:<alice@%s>" % support.DOMAIN, 250)
                for _ in range(400000 // size // 100):
                    client.write((b"BDAT %d\r\n" % size + b"x" * size) * 100)
                    for _ in range(100):
                        client.reply()
                return processes.peak_memory(server.process_of(client)) / 1e6
        yield probe


def at_rest(listen: str) -> Step:
    """How often a second the processes of so many silent sessions are woken, all together."""
    @contextlib.contextmanager
    def step(size: int):
        with running(listen, "-max", str(2 * size)) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(size)]
            pids = [server.process_of(client) for client in clients[:20]]

            def probe() -> float:
                before = sum(map(times_woken, pids))
                time.sleep(2)
                return (sum(map(times_woken, pids)) - before) / 2 * size / len(pids)
            yield probe
            for client in clients:
                client.expect("QUIT", 221)
    return step


def times_woken(pid: int) -> int:
    """How often a process has waited for something so far."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt"))


@contextlib.contextmanager
def short_sessions(size: int):
    """A session behind netcat, with a pool for so many."""
    with running("netcat", "-max", str(size)) as server:
        def probe() -> float:
            return milliseconds(lambda: [short_session(server) for _ in range(30)]) / 30
        yield probe


def short_session(server: support.Server) -> None:
    with server.client() as client:
        client.expect("QUIT", 221)


@contextlib.contextmanager
def pressed(size: int):
    """The greeting behind netcat, while all but a few of so many sessions are taken: by one process that holds their
    locks, which costs us no memory."""
    taken = size - size // 16
    with running("netcat", "-max", str(size)) as server:
        short_session(server)           # makes the register
        entries = b"".join((b"10.0.%d.%d" % divmod(number, 250)).ljust(16, b"\0") for number in range(taken))
        file = os.open(server.spool / "sessions", os.O_RDWR)
        os.pwrite(file, entries, 0)
        for slot in range(taken):
            os.lseek(file, slot, 0)
            os.lockf(file, os.F_LOCK, 1)

        def greet() -> None:
            server.client().close()
        yield lambda: milliseconds(lambda: [greet() for _ in range(10)]) / 10
        os.close(file)


@contextlib.contextmanager
def one_mbox(size: int):
    """A message into one mbox, for each of so many sessions that have ten at the same moment."""
    name = "bancmbox%d" % size
    with system_users(name), running("prefork", "-store", "mbox", "-max", "64", accounts=None) as server:
        def probe() -> float:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(server.client()) for _ in range(size)]
                for client in clients:
                    client.expect("EHLO client.example", 250)
                return milliseconds(send_together, clients, name) / size / 10
        yield probe


def send_together(clients, name: str) -> None:
    envelope = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%s@%s>\r\nDATA\r\n" % (name.encode(), support.DOMAIN.encode())
    for _ in range(10):
        for client in clients:
            client.write(envelope)
        for client in clients:
            if [client.reply().code for _ in range(3)] != [250, 250, 354]:
                raise AssertionError("not taken")
            client.write(LETTER)
        for client in clients:
            client.reply()


# -- the queue ---------------------------------------------------------------------------------------

@contextlib.contextmanager
def waiting(size: int):
    """A Relay whose queue has so many messages that are not due, and a host that takes what is."""
    with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
        for number in range(size):
            relay.enqueue({"address": "x%d@sink.example" % number, "next": LATER}, age=10)
        yield relay


@contextlib.contextmanager
def new_message(size: int):
    """From the wake to the last note, for each of two hundred new messages."""
    with waiting(size) as relay:
        relay.start()
        store = QueueStore(str(relay.queue))
        send_new(relay, store, 1)
        yield lambda: milliseconds(send_new, relay, store, 200) / 200


def send_new(relay: Relay, store: QueueStore, count: int) -> None:
    ids = [relay.enqueue("new@sink.example") for _ in range(count)]
    for message_id in ids:
        store.wake(message_id)
    support.wait_for(lambda: not any(map(store.has, ids)), "new messages are sent", 120)


@contextlib.contextmanager
def relay_start(size: int):
    """From the relay's start to the end of its first new message."""
    with waiting(size) as relay:
        def probe() -> float:
            relay.enqueue("new@sink.example")
            found = milliseconds(lambda: (relay.start(), relay.wait_log("Completed", relay.made + 1)))
            relay.made += 1
            relay.stop()
            return found
        relay.made = 0
        yield probe


@contextlib.contextmanager
def removal(size: int):
    """`relay.py remove` of ten messages."""
    with waiting(size) as relay:
        def probe() -> float:
            ids = [relay.enqueue({"address": "x@sink.example", "next": LATER}) for _ in range(10)]
            return milliseconds(relay.command, "remove", *ids)
        yield probe


MANY = (10, 100000)
FEW = (2, 5)
ROWS = (
    Row("alias-netcat", "premier RCPT d'un alias, netcat", "ms", MANY, FEW, recipient(names, "last", "netcat"),
        recipient(names, "last")),
    Row("alias-prefork", "premier RCPT d'un alias, prefork", "ms", MANY, FEW, recipient(names, "last", "prefork"),
        recipient(names, "last")),
    Row("compte-netcat", "EHLO et AUTH, netcat", "ms", MANY, FEW, login("netcat")),
    Row("compte-prefork", "EHLO et AUTH, prefork", "ms", MANY, FEW, login("prefork")),
    Row("demarrage", "démarrage, prefork, alias et comptes", "ms", MANY, FEW, start(names, "prefork"), rounds=3),
    Row("liste", "RCPT d'une liste, par ses membres", "ms", (10, 1000), FEW, recipient(list_of, "list", "prefork"),
        recipient(list_of, "list")),
    Row("liste-redite", "dernier de tant de RCPT d'une liste de 100", "ms", (1, 1000), FEW, repeated("prefork"),
        repeated()),
    Row("listes-croisees", "RCPT de listes qui se contiennent", "ms", (3, 9), FEW,
        recipient(lists_of_each_other, "l0", "prefork"), recipient(lists_of_each_other, "l0")),
    Row("remise", "remise à une liste, par membre", "ms", (10, 200), FEW, delivery),
    Row("mbox", "un message dans une mbox, sessions ensemble", "ms", (1, 16), FEW, one_mbox),
    Row("nom", "VRFY d'un nom, comptes de la machine", "ms", (100, 100000), FEW, full_name),
    Row("morceaux", "mémoire d'une session, octets par BDAT", "Mo", (4000, 2), (400, 200), chunks, rounds=1),
    Row("repos-netcat", "réveils/s de sessions muettes, netcat", "", (4, 100), FEW, at_rest("netcat"), rounds=1),
    Row("repos-prefork", "réveils/s de sessions muettes, prefork", "", (4, 100), FEW, at_rest("prefork"), rounds=1),
    Row("max", "une session, netcat, -max", "ms", (32, 1000), (8, 16), short_sessions),
    Row("presse", "accueil, netcat, -max, presque pris", "ms", (128, 1000), (16, 32), pressed),
    Row("file", "un nouveau message, en attente", "ms", (0, 20000), FEW, new_message),
    Row("relais", "démarrage du relais, en attente", "ms", (0, 100000), FEW, relay_start, rounds=1),
    Row("suppression", "relay.py remove de dix, en attente", "ms", (0, 20000), FEW, removal, rounds=3),
)
