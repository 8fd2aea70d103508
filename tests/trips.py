"""Round trips as they were made: when each began and ended, and so which of them waited for which."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Trip(NamedTuple):
    """A call of something far away, in seconds of the machine's monotonic clock, which all processes share."""

    what: str
    began_s: float
    ended_s: float


class Trips(list[Trip]):
    """The trips of one place, in the order of their ends."""

    @contextmanager
    def made(self, what: str) -> Iterator[None]:
        """Note the trip that is made inside."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.append(Trip(what, began_s, time.monotonic()))


def in_a_row(trips: Iterable[Trip]) -> tuple[str, ...]:
    """The longest row of trips of which none began before the one before it had ended.

    That is how often the caller waited for the distance. Unlike a time it is the same on a busy machine.
    """
    row: list[Trip] = []
    for trip in sorted(trips, key=lambda trip: trip.ended_s):
        if not row or trip.began_s >= row[-1].ended_s:
            row.append(trip)
    return tuple(trip.what for trip in row)
