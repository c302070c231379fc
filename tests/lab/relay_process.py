"""The real relay with a clock that is set and bounds that are narrow: what tests/lab/relay.py starts.

    python3 -ES relay_process.py OFFSET LIMITS BOUNDS PORT

OFFSET is a file with the seconds by which the clock is ahead; LIMITS is JSON, {name of a Limits' field: seconds};
BOUNDS too: {name in smtp_client/bounds.py: value}, but for "shares", {name of one: {name of its field: value}}, and
"lookups", {name of one: its fields};
PORT is where mail hosts that the DNS names listen.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from smtp_client import bounds


def narrow(shares=(), lookups=(), **values) -> None:
    """Put other values into smtp_client/bounds.py, before anybody has read it."""
    for name, fields in dict(shares).items():
        bounds.SHARES[name] = bounds.SHARES[name]._replace(**fields)
    for name, fields in dict(lookups).items():
        setattr(bounds, name, bounds.Lookup(*fields))
    for name, value in values.items():
        if not hasattr(bounds, name):
            raise AttributeError(name)
        setattr(bounds, name, value)


def main() -> int:
    offset, limits, values, port = sys.argv[1:]
    narrow(**json.loads(values))
    import relay
    from smtp_client import routing as routes
    routes.SMTP_PORT = int(port)
    short = bounds.Limits()
    short.__dict__.update(json.loads(limits))
    return relay.work(relay.read_settings([]), short, lambda: time.time() + float(pathlib.Path(offset).read_text()))


sys.exit(main())
