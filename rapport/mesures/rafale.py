#!/usr/bin/python3 -ES
"""How many of a volley of clients, all at once, are refused or reset, for each way of listening with netcat.

Writes rapport/mesures/rafale.json; the report draws its plot from that. Root only; takes five to ten minutes.
Everything happens on the loopback of a network namespace of its own, so that the kernel setting which is
tried, net.ipv4.tcp_migrate_req, is nobody else's.

Ways: "seul", one netcat in a loop; "bash", a pool that one bash looks after; "gardiens", serveur.sh's own
pool. A session is connect, greeting, QUIT, 221; a client that is refused does not try again. The volleys of a round
follow each other as soon as the last client of the one before is done.
"""
import json
import os
import pathlib
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MIGRATE = pathlib.Path("/proc/sys/net/ipv4/tcp_migrate_req")
PORT = 4567
POOL = 128
VOLLEYS = 3
ROUNDS = 3
CROWDS = (10, 50, 100, 200)
WAYS = (("seul", 1), ("bash", 1), ("gardiens", 0), ("gardiens", 1))
PATIENCE = 4                    # seconds for one client

LOOP = 'while :; do nc.traditional -n -l -p "$1" -e "$2"; done'
ONE_BASH = 'start() { nc.traditional -n -l -p "$1" -e "$2" & }; ' \
           'for ((i = 0; i < $3; i++)); do start "$@"; done; while wait -n; do start "$@"; done'


class Client:
    """One session, driven by a selector. `outcome`: None while it runs."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.outcome = None
        self.input = b""
        self.deadline = time.monotonic() + PATIENCE
        self.socket.connect_ex(("127.0.0.1", PORT))

    def go_on(self):
        """Do what can be done without waiting."""
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.outcome = {104: "reset", 111: "refused"}.get(error.errno, str(error))
            return
        self.input += data
        if b"\r\n221" in self.input and self.input.endswith(b"\n"):
            self.outcome = "served"
        elif self.input.startswith(b"421"):
            self.outcome = "sent away"
        elif not data:
            self.outcome = "closed"
        elif self.input.startswith(b"220") and self.input.count(b"\n") == 1:
            self.socket.send(b"QUIT\r\n")


def volleys(crowd):
    """Outcomes of VOLLEYS volleys of `crowd` clients: ({outcome: count}, seconds)."""
    outcomes = {}
    begun = time.monotonic()
    for _ in range(VOLLEYS):
        for outcome in volley(crowd):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes, time.monotonic() - begun


def volley(crowd):
    """The outcome of each of `crowd` clients that connect at the same moment."""
    selector = selectors.DefaultSelector()
    running = {Client() for _ in range(crowd)}
    for client in running:
        selector.register(client.socket, selectors.EVENT_READ, client)
    while running:
        for key, _ in selector.select(1):
            key.data.go_on()
        late = time.monotonic()
        for client in [c for c in running if c.outcome or c.deadline < late]:
            yield client.outcome or "no answer"
            selector.unregister(client.socket)
            client.socket.close()
            running.remove(client)


class Listening:
    """`way` of listening, for the time of a `with`."""

    def __init__(self, way, folder):
        self.way = way
        self.folder = folder

    def __enter__(self):
        handler = str(ROOT / "smtp_handler.py")
        environment = {**os.environ, "SMTP_DOMAIN": "binome.tp.info.unicaen.fr", "SMTP_SPOOL": f"{self.folder}/spool",
                       "SMTP_STORE": f"{self.folder}/mail", "SMTP_MAX": str(POOL)}
        command = {
            "seul": ["bash", "-c", LOOP, "-", str(PORT), handler],
            "bash": ["bash", "-c", ONE_BASH, "-", str(PORT), handler, str(2 * POOL)],
            "gardiens": [str(ROOT / "serveur.sh"), "-bind", "127.0.0.1", "-port", str(PORT), "-max", str(POOL),
                         "-spool", f"{self.folder}/spool", "-store", f"{self.folder}/mail"],
        }[self.way]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True,
                                        stderr=subprocess.DEVNULL)
        self._await(1 if self.way == "seul" else POOL)
        return self

    def _await(self, count):
        while listeners() < count:
            time.sleep(0.05)

    def __exit__(self, *_):
        if self.way == "gardiens":
            self.process.terminate()
            self.process.wait()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        while listeners():
            time.sleep(0.05)


def listeners():
    """How many sockets listen in this namespace."""
    return sum(line.split()[3] == "0A" for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])


def measure():
    """[{way, migrate, crowd, rounds: [{outcome: count}], lost: median share}]"""
    results = []
    folder = tempfile.mkdtemp(prefix="rafale-")
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/mail")
    os.mkdir(f"{folder}/spool")
    shutil.chown(f"{folder}/spool", "mail", "mail")
    try:
        for way, migrate in WAYS:
            for crowd in CROWDS:
                results.append(measure_one(way, migrate, crowd, folder))
    finally:
        shutil.rmtree(folder)
    return results


def measure_one(way, migrate, crowd, folder):
    rounds, rates = [], []
    for _ in range(ROUNDS):
        MIGRATE.write_text("0" if way == "gardiens" else str(migrate))
        with Listening(way, folder):
            MIGRATE.write_text(str(migrate))
            outcomes, seconds = volleys(crowd)
        rounds.append(outcomes)
        rates.append(outcomes.get("served", 0) / seconds)
    lost = [1 - (r.get("served", 0) + r.get("sent away", 0)) / (VOLLEYS * crowd) for r in rounds]
    print(way, migrate, crowd, [f"{share:.1%}" for share in lost], rounds[0], flush=True)
    return {"way": way, "migrate": migrate, "crowd": crowd, "rounds": rounds,
            "lost": statistics.median(lost), "least": min(lost), "most": max(lost),
            "served_a_second": round(statistics.median(rates), 1)}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if os.environ.get("RAFALE") != "1":
        script = f"ip link set lo up && RAFALE=1 exec {sys.executable} -ES {pathlib.Path(__file__).resolve()}"
        os.execvp("unshare", ["unshare", "-n", "bash", "-c", script])
    kernel = os.uname().release.partition("-")[0]
    text = json.dumps({"cores": os.cpu_count(), "kernel": kernel, "pool": POOL, "volleys": VOLLEYS,
                       "rounds": ROUNDS, "load": os.getloadavg()[0], "results": measure()}, indent=1)
    (HERE / "rafale.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
