"""When each message that waits is due."""
import heapq


class Timers:
    """The ids of the messages that wait, by the seconds since 1970 at which they are due."""

    def __init__(self):
        self._when = {}
        self._heap = []

    def __contains__(self, message_id):
        return message_id in self._when

    def put(self, message_id, when):
        self._when[message_id] = when
        heapq.heappush(self._heap, (when, message_id))

    def drop(self, message_id):
        self._when.pop(message_id, None)

    def ids(self):
        return list(self._when)

    def take_due(self, now):
        """Take out and yield the ids of what is due."""
        while self._heap and self._heap[0][0] <= now:
            when, message_id = heapq.heappop(self._heap)
            if self._when.get(message_id) == when:
                del self._when[message_id]
                yield message_id

    def correct(self, due_time):
        """Ask due_time() of each time once more: the clock may have been set back."""
        for message_id, when in list(self._when.items()):
            if due_time(when) != when:
                self.put(message_id, due_time(when))

    def next_time(self):
        """When something is due next (it may have been dropped since), or None."""
        return self._heap[0][0] if self._heap else None
