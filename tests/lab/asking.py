"""Asking the delivery agent as the service user, who may have been taken over, could."""

import pathlib
import subprocess
import typing

from tests.helpers import support

ASK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from mailstore.agent_client import Agent
try:
    file, _ = Agent(sys.argv[2])._ask(*sys.argv[3:], pieces=[sys.stdin.buffer.read()])
    sys.stdout.write("" if file is None else open(file).read())
except Exception as error:
    sys.exit(repr(error))
"""


def ask(socket: str, *words: typing.Union[str, pathlib.Path], text: str = "") -> typing.Optional[str]:
    """What is in the file whose descriptor the agent gives, "" if it gives none; None if it refuses. text: belongs to
    what is asked."""
    done = subprocess.run(["/usr/bin/python3", "-ESc", ASK, str(support.open_root()), socket, *map(str, words)],
                          user="mail", group="mail", extra_groups=[], capture_output=True, text=True, input=text,
                          cwd="/")
    return None if done.returncode else done.stdout
