"""The queue and a clock that is wrong: behind, ahead, or put right while messages wait; and what is set aside for
long."""

import time
import unittest

from tests.helpers import support
from tests.lab.relay import Relay
from tests.lab.sink import Sink

TEN_YEARS = 87600                   # in hours
HOUR = 3600


class ClockTest(unittest.TestCase):

    def test_deferred_while_the_clock_was_ahead(self):
        with Sink() as sink, Relay({"sink.example": sink.port}) as relay:
            relay.enqueue({"address": "x@sink.example", "tries": 1, "next": time.time() + TEN_YEARS * HOUR})
            relay.start()
            relay.wait_empty()
            self.assertEqual(len(sink.messages), 1)

    def test_set_back_while_the_relay_runs(self):
        with Sink({"rcpt": "450 later"}) as sink, Relay({"sink.example": sink.port}) as relay:
            relay.start()
            relay.advance(TEN_YEARS)
            message_id = relay.enqueue("x@sink.example")
            relay.wake()
            relay.wait_log(message_id + " == x@sink.example")
            relay.advance(-TEN_YEARS)
            relay.wait_log(message_id + " == x@sink.example", 2)

    def test_received_before_the_clock_was_right(self):
        """A message of 1970 that is deferred once isn't given up: it has been tried for a moment."""
        with Sink({"rcpt": "450 later"}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue("x@sink.example", received=5.0)
            relay.start()
            support.wait_for(lambda: relay.envelope(message_id)["recipients"][0]["tries"], "the note of the attempt")
            relay.advance(0.25)
            relay.wait_log(message_id + " Completed")
            first, second, *_ = relay.lines(message_id)
            self.assertIn(" == ", " " + first)
            self.assertIn(" == ", " " + second)
            self.assertIn("** x@sink.example: retry timeout exceeded", relay.log())


class AsideTest(unittest.TestCase):

    def test_gone_after_a_week(self):
        """A bounce that nobody takes is kept for seven days, as Exim keeps what is frozen."""
        with Sink({"rcpt": "550 no"}) as sink, Relay({"sink.example": sink.port}) as relay:
            message_id = relay.enqueue("x@sink.example", sender="")
            relay.start()
            support.wait_for(lambda: relay.ids(aside=True) == [message_id], "the message set aside")
            self.restart(relay, 6.9 * 24)
            self.assertEqual(relay.ids(aside=True), [message_id])
            self.restart(relay, 0.2 * 24)
            self.assertEqual(list((relay.queue / "aside").iterdir()), [])
            self.assertEqual(relay.lines(message_id)[-2:], ["cancelled by timeout_frozen_after", "Completed"])

    @staticmethod
    def restart(relay, hours):
        relay.stop()
        relay.advance(hours, wake=False)
        relay.start()
        # What is asked of it is done after its first look.
        other = relay.enqueue("y@sink.example", sender="")
        relay.wake()
        relay.wait_log(other + " Frozen")
        relay.command("remove", other)


if __name__ == "__main__":
    unittest.main()
