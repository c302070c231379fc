"""What the programs of this machine are able to."""

import re
import subprocess
import typing

from tests.helpers import support


def version(name: str, option: str) -> typing.Tuple[int, ...]:
    """What a program says of itself with `option`: the first numbers with a point between them."""
    shown = subprocess.run([support.find_program(name), option], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.search(r"\d+(?:\.\d+)+", shown)[0].split(".")))
