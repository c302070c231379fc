"""A run: all servers up, every figure of each in turn, several rounds, what fails noted and passed over."""

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import typing

from tests.bench import measures
from tests.bench.contestants import ALL, Contestant
from tests.bench.figures import Values, medians
from tests.helpers.accounts import system_users

SERVERS = tuple(ALL)
ROUNDS = 5


class Findings(typing.NamedTuple):
    """rounds: the values of each round; missing: {server: why it was left out}; machine: what it ran on;
    troubles: measures that failed; load: the machine's, by round, before it."""
    rounds: typing.List[Values]
    missing: typing.Dict[str, str]
    machine: str
    troubles: typing.List[str]
    load: typing.List[float]

    def medians(self) -> Values:
        return medians(self.rounds)


def run(servers: typing.Sequence[str], short: bool) -> Findings:
    """Measure these servers."""
    found = Findings([], {}, machine(), [], [])
    accounts = filter(None, map(account_of, servers))
    with system_users(*accounts), contextlib.ExitStack() as stack:
        started = {name: contestant for name in servers if (contestant := start(name, stack, found))}
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/home", prefix="banc-"))
        effort = measures.SHORT if short else measures.FULL
        for number in range(1 if short else ROUNDS):
            found.load.append(os.getloadavg()[0])
            values = measure_all(started, number, effort, found)
            found.rounds.append({**values, "raw": measures.raw_maildir(effort, folder)})
    return found


def account_of(name: str) -> str:
    return "banc" + name.replace("_", "") if ALL[name].takes_mail else ""


def machine() -> str:
    """Its Python is the one that the servers run under, whichever runs this."""
    linux = platform.release().partition("-")[0]
    python = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return "%d processeurs, Linux %s, %s" % (os.cpu_count(), linux, python)


def start(name: str, stack: contextlib.ExitStack, found: Findings) -> typing.Optional[Contestant]:
    """A server that runs and has been warmed up, None if there is none to be had here."""
    say("démarrage : %s" % name)
    try:
        contestant = ALL[name](account_of(name))
        stack.callback(contestant.stop)
        contestant.start()
        measures.warm_up(contestant)
        return contestant
    except (Exception, AssertionError) as error:
        found.missing[name] = str(error).strip()
        return None


def measure_all(started: typing.Dict[str, Contestant], number: int, effort: measures.Effort,
                found: Findings) -> Values:
    """One round: for each figure, every server in turn, each round beginning with another one."""
    values: Values = {name: {} for name in started}
    names = list(started)
    names = names[number % len(names):] + names[:number % len(names)]
    for measure in measures.MEASURES:
        for name in names:
            say("tour %d : %s, %s" % (number + 1, name, measure.__name__))
            try:
                values[name].update(measure(started[name], effort))
                measures.settle(started[name])
            except (OSError, EOFError, AssertionError) as error:
                found.troubles.append("%s, %s : %s" % (name, measure.__name__, error))
    return values


def say(text: str) -> None:
    if sys.stderr.isatty():
        print("\r\033[K" + text, end="", file=sys.stderr, flush=True)
