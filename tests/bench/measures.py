"""One figure of one server, measured once.  What repeats, interleaves and compares them is in campaign.py."""

import os
import statistics
import tempfile
import time
import typing

from tests.bench import load, submission, watch
from tests.bench.contestants import Contestant
from tests.helpers import mailboxes, support

FAILURE_CLIENTS, FAILURE_SESSIONS = 100, 2000
MEMORY_SESSIONS = 100
NAP = 0.2                   # seconds that what a measure leaves has to end


class Effort(typing.NamedTuple):
    """How much of everything: seconds of sessions; greetings; messages of 1 KiB and of 1 MiB; deliveries."""
    seconds: float
    greetings: int
    small: int
    large: int
    deliveries: int
    crowd: int


SHORT = Effort(seconds=0.25, greetings=5, small=30, large=4, deliveries=4, crowd=300)
FULL = Effort(seconds=1.2, greetings=25, small=250, large=15, deliveries=20, crowd=FAILURE_SESSIONS)


def settle(contestant: Contestant) -> None:
    """Until the server has delivered everything.  Its mailbox keeps it: an ext4 without a mainlog, as machines in
    the cloud have, looks through all files deleted in the last minutes before it makes one, up to 1 ms long."""
    support.wait_for(contestant.is_idle, "the end of its deliveries", 120)
    time.sleep(NAP)


def warm_up(contestant: Contestant) -> None:
    """A few messages, so that the Maildir is there and what a server makes once is made."""
    for _ in range(3 if contestant.account else 0):
        sender = load.Sender(contestant.port, contestant.recipient)
        sender.send(load.text_of(1024))
        sender.quit()
    if contestant.account:
        support.wait_for(lambda: len(mailboxes.read_maildir(contestant.maildir)) == 3, "the first messages in new/")
    settle(contestant)


def greeting(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
    """Milliseconds from connect to the greeting, in sessions one after another."""
    delays = [load.greeting_delay(contestant.port) for _ in range(effort.greetings)]
    return {"greeting_ms": statistics.median(delays) * 1000}


def sessions(size: int):
    """A measure: sessions a second from `size` clients at once."""
    def measure(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
        rate = load.Crowd(contestant.port, size).run_for(effort.seconds)
        return {"sessions_%d" % size: rate.a_second, "generator_%d" % size: rate.generator}
    return measure


def crowd(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
    """Failed sessions, from 100 clients at once."""
    return {"failed": load.Crowd(contestant.port, FAILURE_CLIENTS).run_sessions(effort.crowd)}


def messages(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
    """Messages a second in one session, of 1 KiB and of 1 MiB: until the last 250, and until all are in new/."""
    if not contestant.account:
        return {}
    found = {}
    for name, octets, count in (("small", 1024, effort.small), ("large", 1 << 20, effort.large)):
        accepted, stored = send_many(contestant, load.text_of(octets), count)
        found.update({name + "_accepted": count / accepted, name + "_stored": count / stored})
        settle(contestant)
    return found


def send_many(contestant: Contestant, text: bytes, count: int) -> typing.Tuple[float, float]:
    """Seconds until the last 250, and until all are in new/."""
    folder = watch.Folder(contestant.maildir / "new")
    sender = load.Sender(contestant.port, contestant.recipient)
    started = time.monotonic()
    for _ in range(count):
        sender.send(text)
    accepted = time.monotonic() - started
    folder.wait(count, 120)
    stored = time.monotonic() - started
    folder.close()
    sender.quit()
    return accepted, max(accepted, stored)


def delivery(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
    """Milliseconds from connect to the file in new/, one message of 1 KiB a session."""
    if not contestant.account:
        return {}
    folder = watch.Folder(contestant.maildir / "new")
    delays = []
    for _ in range(effort.deliveries):
        sender = load.Sender(contestant.port, contestant.recipient)
        sender.begin(load.text_of(1024))
        folder.wait(1, 60)
        delays.append(time.monotonic() - sender.started)
        sender.quit()
    folder.close()
    return {"delivery_ms": statistics.median(delays) * 1000}


def memory(contestant: Contestant, _: Effort) -> typing.Dict[str, float]:
    """KiB (PSS) a session that has said EHLO."""
    senders = [load.Sender(contestant.port, contestant.recipient) for _ in range(MEMORY_SESSIONS)]
    ports = {sender.local_port() for sender in senders}
    size = watch.session_memory(contestant.pid(), contestant.port, ports)
    for sender in senders:
        sender.quit()
    return {"memory_kib": size}


def whole_memory(contestant: Contestant, _: Effort) -> typing.Dict[str, float]:
    """KiB (PSS) of all of the server's processes, by session, when each has sent a message of 1 KiB and stays."""
    if not contestant.account:
        return {}
    senders = []
    for _ in range(MEMORY_SESSIONS):
        senders.append(load.Sender(contestant.port, contestant.recipient))
        senders[-1].send(load.text_of(1024))
    settle(contestant)
    size = watch.whole_memory(contestant.pid()) / MEMORY_SESSIONS
    for sender in senders:
        sender.quit()
    return {"whole_memory_kib": size}


def submissions(contestant: Contestant, effort: Effort) -> typing.Dict[str, float]:
    """Sessions a second, one after another: STARTTLS, AUTH PLAIN, and one message of 1 KiB."""
    with contestant.submitting() as port:
        if not port:
            return {}
        submitter = load.Submitter(port, contestant.recipient, submission.LOGIN, submission.PASSWORD)
        submitter.send(load.text_of(1024))
        count, started = 0, time.monotonic()
        while time.monotonic() < started + effort.seconds:
            submitter.send(load.text_of(1024))
            count += 1
        return {"submissions": count / (time.monotonic() - started)}


MEASURES = (greeting, sessions(1), sessions(4), sessions(16), sessions(64), messages, delivery, memory, whole_memory,
            submissions, crowd)


def raw_maildir(effort: Effort, folder: str) -> typing.Dict[str, float]:
    """The floor of a delivery: a file written, synced, renamed, and its folder synced; nothing else.  Below
    `folder`."""
    found = {}
    for name, octets, count in (("small", 1024, effort.small), ("large", 1 << 20, effort.large)):
        seconds = write_many(tempfile.mkdtemp(dir=folder), b"x" * octets, count)
        found[name + "_accepted"] = found[name + "_stored"] = count / seconds
    return found


def write_many(folder: str, text: bytes, count: int) -> float:
    """Seconds for `count` files."""
    for part in ("tmp", "new"):
        os.mkdir("%s/%s" % (folder, part))
    started = time.monotonic()
    for number in range(count):
        file = os.open("%s/tmp/%d" % (folder, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(file, text)
        os.fsync(file)
        os.close(file)
        os.rename("%s/tmp/%d" % (folder, number), "%s/new/%d" % (folder, number))
        new = os.open(folder + "/new", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(new)
        os.close(new)
    return time.monotonic() - started
