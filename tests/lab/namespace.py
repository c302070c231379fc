"""Programs whose configuration has a fixed place see ours there, in a mount namespace of their own."""

import subprocess
import typing

from tests.helpers import support

# A place may be missing: /run is empty at each start of a machine.
MOUNT_AND_EXEC = """
while [ "$1" != -- ]; do [ -e "$2" ] || mkdir -p "$2"; mount --bind "$1" "$2" || exit 1; shift 2; done
shift; exec "$@"
"""
UNSHARE = ["unshare", "--mount", "--propagation", "slave"]


def command(places: typing.Dict[str, str], *program: str) -> typing.List[str]:
    """The command line that runs `program` where each path of `places` ({theirs: ours}) shows ours.  Root only."""
    pairs = [path for theirs, ours in places.items() for path in (ours, theirs)]
    return [*UNSHARE, "sh", "-c", MOUNT_AND_EXEC, "sh", *pairs, "--", *program]


def works() -> bool:
    """Whether a mount namespace may be made here; some containers forbid it to their root."""
    return support.IS_ROOT and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


needed = support.unittest.skipUnless(works(), "il faut être root et avoir droit à unshare --mount")
