"""A queue of a test's own, messages put into it by hand, and the real relay at work on it.

    with Relay({"sink.example": sink.port}) as relay:
        message_id = relay.enqueue("x@sink.example")
        relay.start()
        relay.wait_log(message_id + " Completed")

The relay's clock is ahead of the world's by what `advance` has added up, its time limits are LIMITS, and
its other bounds BOUNDS where they differ.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import typing

from tests.helpers import mailboxes, support
from tests.lab.agent import Agent, socket_in

LIMITS = {"connect": 10, "greeting": 10, "command": 10, "data": 10, "block": 10, "end_of_data": 10, "quit": 2}
BOUNDS = {"lookups": {"PATIENT_LOOKUP": (1, 2, 20)}}
SENDER = "alice@" + support.DOMAIN
TEXT = b"Received: from [127.0.0.1] (helo=client.example.org)\n\tby d with esmtp (serveur)\n\tid x;\n\tdate\n" \
    b"From: alice\nSubject: essai\nMessage-ID: <essai@client>\n\nCorps.\n"
PROCESS = pathlib.Path(__file__).resolve().parent / "relay_process.py"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Relay:
    """See the module.  routes: {domain: port of 127.0.0.1}, the port 0 for what the DNS is to route;
    accounts: names with a mailbox; aliases: the text of an aliases file; limits, bounds: other values than those
    of smtp_client/bounds.py (see relay_process.narrow); agent_patch: for the delivery agent (see helpers/patching.py);
    settings: more SMTP_* variables."""

    def __init__(self, routes=None, accounts=("alice", "bob"), aliases: str = "", limits=None, bounds=None,
                 mail_port: int = 25, agent_patch=None, **settings):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="relais-essai-"))
        self.folder.chmod(0o755)
        self.spool, self.mail, self.log_path = (self.folder / name for name in ("spool", "mail", "log"))
        self.queue, self._offset = self.spool / "queue", self.folder / "offset"
        self.mark = "RELAIS_ESSAI=" + self.folder.name
        self.process: typing.Optional[subprocess.Popen] = None
        self._limits, self._bounds = {**LIMITS, **(limits or {})}, {**BOUNDS, **(bounds or {})}
        self._mail_port = mail_port
        self._made, self._ahead = 0, 0.0
        (self.queue / "tmp").mkdir(parents=True)
        self.mail.mkdir()
        self._offset.write_text("0")
        self.log_path.touch()
        if support.IS_ROOT:         # as serveur.sh leaves them
            for path in (self.spool, self.queue, self.queue / "tmp", self.log_path):
                support.shutil.chown(path, "mail", "mail")
        (self.folder / "aliases").write_text(aliases)
        for name in accounts:
            self.add_account(name)
        relays = ["%s=127.0.0.1:%d" % (domain, port) if port else domain for domain, port in (routes or {}).items()]
        variables = {"SMTP_DOMAIN": support.DOMAIN, "SMTP_SPOOL": str(self.spool), "SMTP_LOG": str(self.log_path),
                     "SMTP_STORE": str(self.mail), "SMTP_ALIASES": str(self.folder / "aliases"),
                     "SMTP_RELAY": " ".join(relays) or "nowhere.example=127.0.0.1:1", **settings}
        if support.IS_ROOT:
            variables["SMTP_AGENT"] = socket_in(self.folder)
        self.environment = support.marked_environment(self.mark, **variables)
        self.agent: typing.Optional[Agent] = None
        self._agent_patch = agent_patch

    def add_account(self, name: str) -> pathlib.Path:
        folder = self.mail / name
        folder.mkdir()
        if support.IS_ROOT:
            os.chown(folder, support.NOBODY, support.NOBODY)
        return folder

    # -- the queue --

    def enqueue(self, *recipients, sender: str = SENDER, text: bytes = TEXT, age: float = 0, **envelope) -> str:
        """Put a message into the queue as a session would; its id.  A recipient is an address, or a dictionary
        that says more.  age: for how many seconds it has been there."""
        self._made += 1
        message_id = "1xVmS1-%s-aa" % base62(self._made)
        full = [dict({"envelope_to": [entry["address"]], "mailbox": None, "state": "waiting", "tries": 0, "reply": "",
                      "next": 0}, **entry)
                for entry in ({"address": one} if isinstance(one, str) else one for one in recipients)]
        content = {"id": message_id, "received": time.time() + self._ahead - age, "sender": sender, "utf8": False,
                   "notified": False, "recipients": full, **envelope}
        (self.queue / (message_id + ".message")).write_bytes(text)
        new = self.queue / "tmp" / (message_id + ".envelope")
        new.write_text(json.dumps(content))
        new.rename(self.queue / new.name)
        return message_id

    def ids(self, aside: bool = False) -> typing.List[str]:
        """The messages in the queue, or those set aside."""
        folder = self.queue / "aside" if aside else self.queue
        return sorted(path.stem for path in folder.glob("*.envelope"))

    def envelope(self, message_id: str) -> dict:
        return json.loads((self.queue / (message_id + ".envelope")).read_text())

    def states(self, message_id: str) -> typing.Dict[str, str]:
        """{address: its state} of a message in the queue."""
        return {recipient["address"]: recipient["state"] for recipient in self.envelope(message_id)["recipients"]}

    def wait_empty(self, seconds: float = support.PATIENCE) -> None:
        """Wait until no message is in the queue (those aside don't count)."""
        support.wait_for(lambda: not self.ids(), "an empty queue (%s)" % self.folder, seconds)

    # -- the process --

    def start(self) -> "Relay":
        """Start it, and come back when it has looked into the queue."""
        if support.IS_ROOT and not self.agent:
            self.agent = Agent(self.folder, self.environment, self.folder / "output", self._agent_patch)
        with open(self.folder / "output", "ab") as output:
            started = self.log().count(" relay started:")
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-ES", str(PROCESS), str(self._offset), json.dumps(self._limits),
                 json.dumps(self._bounds), str(self._mail_port)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, cwd=self.folder,
                start_new_session=True)
        support.wait_for(lambda: self.process.poll() is not None or self.log().count(" relay started:") > started,
                         "the relay's start")
        if self.log().count(" relay started:") == started:
            raise AssertionError("the relay ended with %d: %s" % (self.process.returncode, self.output()))
        return self

    def stop(self, seconds: float = support.PATIENCE) -> int:
        """TERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """KILL, which it cannot foresee."""
        self.process.kill()
        self.process.wait()

    def wake(self, order: str = "") -> None:
        """Write a line into the FIFO, as a session does."""
        with open(self.queue / "wake", "w") as fifo:
            fifo.write(order + "\n")

    def advance(self, hours: float, wake: bool = True) -> None:
        """Let the relay's clock be so many hours further ahead, and let it notice."""
        self._ahead += hours * 3600
        new = self.folder / "offset.new"
        new.write_text(repr(self._ahead))
        new.rename(self._offset)
        if wake:
            self.wake()

    def command(self, *words: str, **more) -> subprocess.CompletedProcess:
        """Run relay.py as a person does, with our spool in SMTP_SPOOL."""
        environment = {**self.environment, **more}
        return subprocess.run([str(support.ROOT / "relay.py"), *words], capture_output=True, text=True, env=environment,
                              timeout=support.PATIENCE, cwd=self.folder)

    def output(self) -> str:
        return (self.folder / "output").read_text("utf-8", "replace")

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, kind, *_) -> None:
        support.end_marked(self.mark)
        if self.process:
            self.process.wait()
        if self.agent:
            self.agent.end()
        if kind:
            print("\n--- log of the relay\n%s---" % self.log(), file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            if self.output():
                print("\n--- terminal of the relay\n%s---" % self.output(), file=sys.stderr)
        support.shutil.rmtree(self.folder, ignore_errors=True)

    # -- what it did --

    def log(self) -> str:
        return self.log_path.read_text("latin-1") if self.log_path.exists() else ""

    def lines(self, message_id: str) -> typing.List[str]:
        """What the log tells of a message, without date and id."""
        return [line[37:] for line in self.log().splitlines() if line[20:36] == message_id]

    def wait_log(self, text: str, count: int = 1) -> None:
        support.wait_for(lambda: self.log().count(text) >= count, "%d x %r in the log" % (count, text))

    def messages(self, account: str) -> typing.List[mailboxes.StoredMessage]:
        return mailboxes.read_maildir(self.mail / account / "Maildir")


def base62(number: int) -> str:
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return digits
