"""Many test files, each in a process of its own, two more at a time than there are processors: tests mostly wait.

    python3 -m tests.helpers.runner [-v] MODULE...          many
    python3 -m tests.helpers.runner -only MODULE REPORT     one, here; what it came to goes into the file REPORT

As root each has a network and a /run of its own (apart.sh), so that none meets the servers of another. Otherwise those
of ALONE run one by one after the rest. With TESTS_LONG all run one by one.
Of a file that fails, all that it wrote is shown; the last lines are unittest's own, with the sums, and so is the exit
status.
"""

import collections
import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import typing
import unittest

# What meets other servers of the same user: the next start of any of them ends what a killed one has left.
ALONE = (
    "tests.launcher.test_killed",
    "tests.launcher.test_pool",
    "tests.launcher.test_program_copy",
    "tests.launcher.test_stopping",
)
# What asks Debian's mirrors.
WITH_NETWORK = (
    "tests.launcher.test_fresh",
    "tests.launcher.test_netcat_package",
)
APART = ["unshare", "--net", "--mount", "--propagation", "slave", str(pathlib.Path(__file__).with_name("apart.sh"))]
COUNTS = ("failures", "errors", "skipped", "expected failures", "unexpected successes")
AT_ONCE = 1 if os.environ.get("TESTS_LONG") else min(4, (os.cpu_count() or 1) + 2)
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "serveur-smtp")


running: typing.Set[subprocess.Popen] = set()


class Outcome(typing.NamedTuple):
    """What a file's tests came to.  counts: by COUNTS; reasons: why tests were skipped; output: all that it wrote."""
    module: str
    tests: int
    counts: typing.Dict[str, int]
    reasons: typing.List[str]
    seconds: float
    output: str

    def is_good(self) -> bool:
        return not any(self.counts[name] for name in ("failures", "errors", "unexpected successes"))


def run_here(module: str, report: str) -> None:
    """In a process of its own: run one file, and write what it came to into the file `report`."""
    result = unittest.main(module=None, argv=["unittest", module], verbosity=2, exit=False).result
    counts = [len(found) for found in (result.failures, result.errors, result.skipped, result.expectedFailures,
                                       result.unexpectedSuccesses)]
    pathlib.Path(report).write_text(json.dumps([result.testsRun, counts, [why for _, why in result.skipped]]))


def run_apart(module: str) -> Outcome:
    """Run one file in a process of its own, and wait for it."""
    begun = time.monotonic()
    # Files, not pipes: whatever a test may leave behind keeps nobody waiting.
    with tempfile.NamedTemporaryFile("r") as report, tempfile.TemporaryFile() as written, \
            tempfile.TemporaryDirectory() as folder:
        apart = [*APART, folder] if has_namespaces() and not is_among(WITH_NETWORK, module) else []
        process = subprocess.Popen([*apart, sys.executable, "-m", "tests.helpers.runner", "-only", module, report.name],
                                   stdin=subprocess.DEVNULL, stdout=written, stderr=written)
        running.add(process)
        process.wait()
        running.discard(process)
        written.seek(0)
        told, output = report.read(), written.read().decode("utf-8", "replace")
    if told and not process.returncode:
        tests, counts, reasons = json.loads(told)
    else:
        tests, counts, reasons = 0, [0, 1, 0, 0, 0], []
        output += "%s: its process ended with %d\n" % (module, process.returncode)
    return Outcome(module, tests, dict(zip(COUNTS, counts)), reasons, time.monotonic() - begun, output)


@functools.lru_cache(maxsize=None)
def has_namespaces() -> bool:
    """Whether we may make some; some containers forbid it to their root."""
    with tempfile.TemporaryDirectory() as folder:
        return os.geteuid() == 0 and not subprocess.run([*APART, folder, "true"], capture_output=True).returncode


def run_all(modules: typing.Sequence[str]) -> typing.Iterator[Outcome]:
    """Run the files; yields what each came to, as it ends.  What took longest last time begins first."""
    known = read_durations()
    ordered = sorted(modules, key=lambda module: -known.get(module, 1e9))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as together:
        calls = [together.submit(run_apart, module) for module in ordered if not is_alone(module)]
        try:
            for call in concurrent.futures.as_completed(calls):
                yield call.result()
        except BaseException:           # Ctrl-C or TERM
            together.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    for module in filter(is_alone, ordered):
        yield run_apart(module)


def is_alone(module: str) -> bool:
    return not has_namespaces() and is_among(ALONE, module)


def is_among(names: typing.Sequence[str], module: str) -> bool:
    """Whether this is a file of `names`, or a class of one."""
    return any(module == name or module.startswith(name + ".") for name in names)


def read_durations() -> typing.Dict[str, float]:
    """{module: the seconds that it took last time}."""
    try:
        return json.loads((CACHE / "durations.json").read_text())
    except (OSError, ValueError):
        return {}


def keep_durations(outcomes: typing.Sequence[Outcome]) -> None:
    with contextlib.suppress(OSError):
        CACHE.mkdir(parents=True, exist_ok=True)
        durations = {**read_durations(), **{outcome.module: outcome.seconds for outcome in outcomes}}
        (CACHE / "durations.json").write_text(json.dumps(durations))


def show(outcome: Outcome, verbose: bool) -> None:
    """Tell of one file."""
    if verbose or not outcome.is_good():
        print(outcome.output)
    said = "%d tests" % outcome.tests if outcome.is_good() else "FAILED"
    print("%-45s %9s %7.1f s" % (outcome.module, said, outcome.seconds), flush=True)


def conclude(outcomes: typing.Sequence[Outcome], seconds: float) -> bool:
    """unittest's last lines, for all files together; whether all is well."""
    reasons = collections.Counter(reason for outcome in outcomes for reason in outcome.reasons)
    for reason, count in reasons.most_common():
        print("skipped %d: %s" % (count, reason))
    sums = {name: sum(outcome.counts[name] for outcome in outcomes) for name in COUNTS}
    told = ", ".join("%s=%d" % entry for entry in sums.items() if entry[1])
    is_good = all(outcome.is_good() for outcome in outcomes)
    print("-" * 70)
    print("Ran %d tests in %.3fs\n" % (sum(outcome.tests for outcome in outcomes), seconds))
    print(("OK" if is_good else "FAILED") + (" (%s)" % told if told else ""))
    return is_good


def main(words: typing.List[str]) -> int:
    if words[0] == "-only":
        run_here(*words[1:])
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun, outcomes = time.monotonic(), []
    for outcome in run_all([word for word in words if word != "-v"]):
        show(outcome, "-v" in words)
        outcomes.append(outcome)
    keep_durations(outcomes)
    return 0 if conclude(outcomes, time.monotonic() - begun) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
