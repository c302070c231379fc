"""The relay and a host that takes all it gets: python3 -m tests.bench.relay_rate [MESSAGES [OCTETS]]

Prints how many messages a second it is handed, over how many connections, from the relay's start to its
last note that a message is done; and how long a client of the listeners waits for its greeting, with a
relay that has nothing to do and with one at full speed.
"""

import contextlib
import statistics
import sys
import time
import typing

from tests.helpers import support
from tests.lab.relay import TEXT, Relay
from tests.lab.sink import Sink

RUNS = 5
GREETINGS = 200
FILLING = b"x" * 71 + b"\n"


def fill(relay: Relay, messages: int, octets: int) -> None:
    text = TEXT + FILLING * ((octets - len(TEXT)) // len(FILLING))
    for number in range(messages):
        relay.enqueue("u%d@sink.example" % number, text=text)


def rate(messages: int, octets: int) -> typing.Tuple[float, int]:
    """(messages a second, connections used) of one run."""
    with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
        fill(relay, messages, octets)
        started = time.monotonic()
        relay.start()
        relay.wait_empty(600)
        return messages / (time.monotonic() - started), sink.most_at_once


def greeting_delay(server: support.Server) -> float:
    """The median time from connecting to the greeting, in ms."""
    delays = []
    for _ in range(GREETINGS):
        started = time.monotonic()
        with contextlib.closing(server.client()):
            delays.append((time.monotonic() - started) * 1000)
        time.sleep(0.005)           # clients come one by one: a new netcat is ready for the next
    return statistics.median(delays)


def greeting_delays() -> typing.Tuple[float, float]:
    """The delay with an idle relay, and with a busy one and its host beside it on the same processors."""
    with support.Server() as server, Sink() as sink, Relay({"sink.example": sink.port}) as relay:
        server.start()
        idle = greeting_delay(server)
        fill(relay, 20000, 1024)
        relay.start()
        busy = greeting_delay(server)
        if not relay.ids():
            raise AssertionError("the relay was done before the greetings were")
        server.stop()
        return idle, busy


def main() -> None:
    messages, octets = (*map(int, sys.argv[1:3]), *(1000, 1024)[len(sys.argv) - 1:])[:2]
    rates, connections = zip(*(rate(messages, octets) for _ in range(RUNS)))
    print("relay: %d messages of %d octets to a fast host: %.0f a second (median of %d runs, %.0f to %.0f), "
          "%d connections at most" % (
              messages, octets, statistics.median(rates), RUNS, min(rates), max(rates), max(connections)))
    print("greeting: %.2f ms after connecting with an idle relay, %.2f ms with a relay at full speed"
          % greeting_delays())


if __name__ == "__main__":
    main()
