"""The tests; `tests/run` runs them."""

import signal

# A TERM ends the tests as Ctrl-C does: what they have started is stopped and removed.
signal.signal(signal.SIGTERM, signal.default_int_handler)
