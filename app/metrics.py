"""What a process counts of its updates, in plain numbers and under names whose number is bounded."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

from app.lazily import load
from app.telegram.kinds import IGNORED_REASONS, KINDS, UNREADABLE_REASONS
from contracts.warming import ActorStats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ACCEPT_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
UPDATE_KINDS: Final = KINDS | {"unknown", "unreadable", "unread"}  # unread: refused before it was looked into
OUTCOMES: Final = frozenset(
    {
        "queue",
        "ignored",
        "refused",
        "quarantined",
        "duplicate",
        "mailbox_full",
        "unavailable",
        "unauthorized",
        "rejected",
        "defect",
    }
)
REASONS: Final = IGNORED_REASONS | UNREADABLE_REASONS | {"not_allowed", "too_long"}
OTHER: Final = "other"  # a label's value never comes from input, so that the number of series is bounded


class Counts:
    """How often each combination of words came, one of each vocabulary; one loop counts, so that none needs a lock."""

    def __init__(self, *vocabularies: frozenset[str]) -> None:
        self._vocabularies = vocabularies
        self.seen: dict[tuple[str, ...], int] = {}

    def count(self, *words: str) -> None:
        """One more; unknown words count as `other`."""
        if words not in self.seen:
            words = tuple(map(_known, words, self._vocabularies))
        self.seen[words] = self.seen.get(words, 0) + 1

    def of(self, *words: str) -> int:
        """How often it came."""
        return self.seen.get(words, 0)


class Durations:
    """How many durations were at most so long: a count for each of `bounds_s`, the last of which is infinite."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = (*bounds_s, math.inf)
        self.counts, self.sum_s = [0] * len(self.bounds_s), 0.0

    def note(self, seconds: float) -> None:
        """One more; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


class Metrics:
    """The counters of one process; `on_first_accept` hears the first accept's milliseconds."""

    def __init__(self, on_first_accept: Callable[[float], None] | None = None) -> None:
        self._on_first_accept = on_first_accept
        self.updates = Counts(UPDATE_KINDS, OUTCOMES)
        self.verdicts = Counts(OUTCOMES, REASONS)
        self.accepts = Durations(ACCEPT_BUCKETS_S)

    def update(self, kind: str, outcome: str) -> None:
        """Count an update; unknown words count as `other`."""
        self.updates.count(kind, outcome)

    def unanswered(self, verdict: str, reason: str) -> None:
        """Count an update that gets no turn; unknown words count as `other`."""
        self.verdicts.count(verdict, reason)

    def accepted(self, seconds: float) -> None:
        """Note how long a durable accept took."""
        self.accepts.note(seconds)
        if self._on_first_accept is not None:
            self._on_first_accept(seconds * 1000)
            self._on_first_accept = None

    def page(self, actors: Sequence[ActorStats]) -> bytes:
        """The text that Prometheus reads (`CONTENT_TYPE`), with these statistics of the actors.

        What writes it is imported by the first page, and not on the way to ready.
        """
        page: bytes = load("app.metrics_page:page_of")(self, actors)
        return page


def _known(word: str, words: frozenset[str]) -> str:
    return word if word in words else OTHER
