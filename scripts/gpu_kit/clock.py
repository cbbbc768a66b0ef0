"""The time that a run may take."""

import time


class Clock:
    """Counts down from a number of seconds."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        """Seconds, 0 or more."""
        return max(0.0, self.end - time.monotonic())

    def limit(self, seconds):
        """At most so many seconds, and at most those that are left."""
        return min(seconds, self.left())
