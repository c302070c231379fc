"""A queue in which very many messages wait: what the relay and the person's list do about each is counted, and what
they keep of it."""

import contextlib
import io
import os
import pathlib
import tempfile
import tracemalloc
import unittest
from unittest import mock

from mailstore.envelope import Envelope, Recipient
from queue_manager.mailq import Command
from queue_manager.queue_store import QueueStore
from queue_manager.timers import Timers

FEW, MANY = 100, 2100
KEPT = 700                  # octets for a message that waits: 100 000 in 70 MB
LISTED = 300                # that list has in memory: ids


class QueueCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = QueueStore(folder.name + "/queue")
        self.store.make_folders()
        self.count = 0

    def fill(self, count: int) -> None:
        """So many messages in all."""
        for number in range(self.count, count):
            message_id = "1xVm8G-%06d-5m" % number
            address = "x%d@relay.example" % number
            folder = pathlib.Path(self.store.folder)
            (folder / (message_id + ".envelope")).write_text(
                Envelope(message_id, 1.0, "a@b.example", [Recipient(address, [address])]).to_json())
            (folder / (message_id + ".message")).write_text("Subject: x\n\ntext\n")
        self.count = count

    def growth(self, measure) -> float:
        """What measure() gives, for each message more."""
        found = []
        for count in (FEW, MANY):
            self.fill(count)
            found.append(measure())
        return (found[1] - found[0]) / (MANY - FEW)


class ListTest(QueueCase):

    def list(self) -> None:
        Command(self.store, None).list()

    def test_first_line(self):
        """It is there before a second message has been read."""
        self.fill(MANY)
        loaded, shown = [], []
        load = self.store.load
        self.store.load = lambda *arguments: loaded.append(arguments) or load(*arguments)
        with mock.patch("builtins.print", lambda text: shown.append(len(loaded))):
            self.list()
        self.assertEqual(shown, list(range(1, MANY + 1)))

    def test_memory(self):
        self.assertLess(self.growth(self.peak), LISTED)

    def peak(self) -> int:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            self.list()         # so that what is made once does not count
            tracemalloc.start()
            self.list()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def test_order(self):
        """Oldest first, those set aside among the others."""
        self.fill(5)
        self.store.set_aside("1xVm8G-000001-5m")
        self.store.set_aside("1xVm8G-000004-5m")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.list()
        lines = [line for line in output.getvalue().splitlines() if "1xVm8G" in line]
        self.assertEqual([line.split()[2][7:13] for line in lines], ["%06d" % number for number in range(5)])
        self.assertEqual(["frozen" in line for line in lines], [False, True, False, False, True])


class TimersTest(unittest.TestCase):
    """What the relay keeps of a message that waits."""

    def test_memory(self):
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        timers = Timers()
        for number in range(MANY):
            timers.put("1xVm8G-%06d-5m" % number, 1.0 + number)
        self.assertLess(tracemalloc.get_traced_memory()[0] / MANY, KEPT)


if __name__ == "__main__":
    unittest.main()
