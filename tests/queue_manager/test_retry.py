"""The retry rule (queue_manager/retry.py) for every moment, and what is due when (queue_manager/timers.py)."""

import unittest

from queue_manager import retry
from queue_manager.timers import Timers

TEN_YEARS = 87600                   # in hours
HOUR = 3600


class RuleTest(unittest.TestCase):

    def test_exims_rule(self):
        hours, age = [], 0.0
        while age < retry.GIVE_UP:
            age = retry.next_attempt(1000, 1000 + age) - 1000
            hours.append(age / HOUR)
        self.assertEqual(hours[:11], [.25, .5, .75, 1, 1.25, 1.5, 1.75, 2, 3, 4.5, 6.75])
        self.assertEqual(hours[-1], 96)
        self.assertTrue(all(later - hour <= 7.6 for hour, later in zip(hours, hours[1:])))

    def test_whatever_the_clock_says(self):
        """The next try lies ahead, and less far than what counts as a wrong clock's."""
        for received in (0, 10, 1e9, 2e9, 4e9):
            for now in (5, 1e9 - 1, 1e9 + 1, 1e9 + 90 * HOUR, 2e9, 4e9):
                ahead = retry.next_attempt(received, now) - now
                self.assertTrue(0 < ahead < retry.MOST_AHEAD, (received, now, ahead))

    def test_what_a_wrong_clock_noted(self):
        self.assertEqual(retry.due_time(1e9 + HOUR, 1e9), 1e9 + HOUR)
        self.assertEqual(retry.due_time(1e9 + TEN_YEARS * HOUR, 1e9), 1e9)

    def test_not_before_a_second_try(self):
        for is_so in (retry.is_over, retry.notice_is_due):
            self.assertFalse(is_so(0, 0, 1e9))
            self.assertTrue(is_so(0, 1, 1e9))
            self.assertFalse(is_so(1e9, 1, 0))

    def test_given_up_after_four_days_told_after_one(self):
        for is_so, hours in ((retry.is_over, 96), (retry.notice_is_due, 24)):
            self.assertFalse(is_so(1e9, 5, 1e9 + hours * HOUR - 1))
            self.assertTrue(is_so(1e9, 5, 1e9 + hours * HOUR))


class TimersTest(unittest.TestCase):

    def setUp(self):
        self.timers = Timers()
        for message, when in (("late", 30), ("early", 10), ("middle", 20)):
            self.timers.put(message, when)

    def test_in_order(self):
        self.assertEqual(self.timers.next_time(), 10)
        self.assertEqual(list(self.timers.take_due(20)), ["early", "middle"])
        self.assertEqual(self.timers.ids(), ["late"])
        self.assertEqual(list(self.timers.take_due(20)), [])
        self.assertEqual(self.timers.next_time(), 30)

    def test_put_again_counts_once(self):
        """Sooner or later: the last time holds, and what was due before is not due twice."""
        self.timers.put("early", 40)
        self.timers.put("late", 5)
        self.assertEqual(list(self.timers.take_due(35)), ["late", "middle"])
        self.assertEqual(list(self.timers.take_due(40)), ["early"])
        self.assertEqual(list(self.timers.take_due(1e9)), [])

    def test_dropped(self):
        self.timers.drop("early")
        self.timers.drop("nobody")
        self.assertNotIn("early", self.timers)
        self.assertEqual(list(self.timers.take_due(1e9)), ["middle", "late"])
        self.assertIsNone(self.timers.next_time())

    def test_clock_set_back(self):
        self.timers.correct(lambda when: min(when, 15))
        self.assertEqual(sorted(self.timers.take_due(15)), ["early", "late", "middle"])
        self.assertEqual(list(self.timers.take_due(1e9)), [])


if __name__ == "__main__":
    unittest.main()
