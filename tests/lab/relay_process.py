"""The real relay with a clock that is set and time limits that are short, also for the DNS: what tests/lab/relay.py starts.

    python3 -ES relay_process.py OFFSET LIMITS PORT

OFFSET is a file with the seconds by which the clock is ahead; LIMITS is JSON, {name of a Limits' field: seconds};
PORT is where mail hosts that the DNS names listen.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import relay                            # noqa: E402: the path comes first
from carrier import dns, routes         # noqa: E402
from carrier.connection import Limits   # noqa: E402


def main() -> int:
    offset, limits, port = sys.argv[1:]
    routes.SMTP_PORT = int(port)
    dns.SECONDS = 1
    short = Limits()
    short.__dict__.update(json.loads(limits))
    return relay.work(relay.read_settings([]), short, lambda: time.time() + float(pathlib.Path(offset).read_text()))


sys.exit(main())
