#!/usr/bin/python3 -ES
"""What it costs to start Python, bare and with one module: medians in milliseconds.

Writes rapport/mesures/demarrage.json; the report draws its bars from that. Takes some ten seconds. The
commands take turns, so that whatever else the machine does weighs on all of them alike.
"""
import json
import os
import pathlib
import statistics
import sys
import time

PYTHON = "/usr/bin/python3"
ROUNDS = 60
MODULES = ("os", "re", "socket", "ssl", "argparse", "logging", "smtplib")
COMMANDS = {"python3 -ES": ["-ES", "-c", ""], "python3": ["-c", ""],
            **{f"-ES, {module}": ["-ES", "-c", f"import {module}"] for module in MODULES}}


def milliseconds(arguments):
    """How long one run of Python takes, from before the fork until it has ended."""
    begun = time.perf_counter()
    os.waitpid(os.posix_spawn(PYTHON, [PYTHON, *arguments], os.environ), 0)
    return (time.perf_counter() - begun) * 1000


def main():
    load = os.getloadavg()[0]
    taken = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            taken[name].append(milliseconds(arguments))
    medians = {name: round(statistics.median(times), 2) for name, times in taken.items()}
    version = ".".join(map(str, sys.version_info[:3]))
    text = json.dumps({"python": version, "cores": os.cpu_count(), "rounds": ROUNDS, "load": load,
                       "milliseconds": medians}, indent=1)
    (pathlib.Path(__file__).resolve().parent / "demarrage.json").write_text(text + "\n")


main()
