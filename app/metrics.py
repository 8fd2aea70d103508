"""What Prometheus reads at /metrics: counts of this process, and what the actors tell of themselves."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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


class Metrics:
    """The counters of one process, on a registry of their own; `on_first_accept` hears the first one's milliseconds."""

    def __init__(self, on_first_accept: Callable[[float], None] | None = None) -> None:
        self._on_first_accept = on_first_accept
        self.registry = CollectorRegistry()
        self._actors = ActorsCollector()
        self.registry.register(self._actors)
        self._updates = _Counts(
            "firstlight_updates", "Updates by kind and outcome.", kind=UPDATE_KINDS, outcome=OUTCOMES
        )
        self.registry.register(self._updates)
        self._unanswered = _Counts(
            "firstlight_updates_unanswered",
            "Updates that get no turn, by verdict and reason.",
            verdict=OUTCOMES,
            reason=REASONS,
        )
        self.registry.register(self._unanswered)
        self._accept = _Durations(
            "firstlight_accept_seconds", "Time until an update was durably accepted.", ACCEPT_BUCKETS_S
        )
        self.registry.register(self._accept)

    def update(self, kind: str, outcome: str) -> None:
        """Count an update; unknown words count as `other`."""
        self._updates.count(kind, outcome)

    def unanswered(self, verdict: str, reason: str) -> None:
        """Count an update that gets no turn; unknown words count as `other`."""
        self._unanswered.count(verdict, reason)

    def accepted(self, seconds: float) -> None:
        """Note how long a durable accept took."""
        self._accept.note(seconds)
        if self._on_first_accept is not None:
            self._on_first_accept(seconds * 1000)
            self._on_first_accept = None

    def page(self, actors: Sequence[ActorStats]) -> bytes:
        """The text that Prometheus reads (`CONTENT_TYPE`), with these statistics of the actors."""
        self._actors.known = tuple(actors)
        return generate_latest(self.registry)


class ActorsCollector(Collector):
    """Shows the latest statistics of each actor as `firstlight_actor_*`."""

    known: tuple[ActorStats, ...] = ()

    def collect(self) -> Iterable[Metric]:
        """One family for each count, one sample for each actor and shard."""
        for name, text in _COUNTS.items():
            counter = CounterMetricFamily(f"firstlight_actor_{name}", text, labels=("actor", "shard"))
            for stats in self.known:
                counter.add_metric(_labels(stats), _count(stats, name))
            yield counter
        yield from (self._gauge(name, text) for name, text in _SIZES.items())
        yield self._warmed()
        yield self._started()
        yield self._events()

    def _gauge(self, name: str, text: str) -> Metric:
        gauge = GaugeMetricFamily(f"firstlight_actor_{name}", text, labels=("actor", "shard"))
        for stats in self.known:
            gauge.add_metric(_labels(stats), getattr(stats, name))
        return gauge

    def _warmed(self) -> Metric:
        text = "1 when the last warming pass loaded all that was planned."
        gauge = GaugeMetricFamily("firstlight_actor_warm", text, labels=("actor", "shard"))
        for stats in self.known:
            gauge.add_metric(_labels(stats), float(stats.warm is not None and stats.warm.status == "warm"))
        return gauge

    def _started(self) -> Metric:
        text = "Milliseconds that a phase of the container's start took."
        gauge = GaugeMetricFamily("firstlight_actor_cold_start_ms", text, labels=("actor", "shard", "phase"))
        for stats in self.known:
            for phase, ms in stats.cold_start.items():
                gauge.add_metric([*_labels(stats), phase], ms)
        return gauge

    def _events(self) -> Metric:
        text = "What else an actor counts, by name."
        counter = CounterMetricFamily("firstlight_actor_events", text, labels=("actor", "shard", "event"))
        for stats in self.known:
            for event, count in stats.counters.items():
                counter.add_metric([*_labels(stats), event], count)
        return counter


# ---------------------------------------------------------------- helpers


class _Counts(Collector):
    """A counter whose labels have fixed vocabularies, in plain numbers: one loop counts, so that none needs a lock."""

    def __init__(self, name: str, text: str, **vocabularies: frozenset[str]) -> None:
        self._name, self._text, self._vocabularies = name, text, vocabularies
        self._counts: dict[tuple[str, ...], int] = {}

    def count(self, *words: str) -> None:
        """One more; unknown words count as `other`."""
        if words not in self._counts:
            words = tuple(map(_known, words, self._vocabularies.values()))
        self._counts[words] = self._counts.get(words, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """One sample for each combination that was seen."""
        counter = CounterMetricFamily(self._name, self._text, labels=tuple(self._vocabularies))
        for words, count in self._counts.items():
            counter.add_metric(words, count)
        yield counter


class _Durations(Collector):
    """A histogram in plain numbers, for the same reason."""

    def __init__(self, name: str, text: str, bounds_s: Sequence[float]) -> None:
        self._name, self._text, self._bounds_s = name, text, (*bounds_s, math.inf)
        self._counts, self._sum_s = [0] * len(self._bounds_s), 0.0

    def note(self, seconds: float) -> None:
        """One more; a bound belongs to the bucket below it."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def collect(self) -> Iterable[Metric]:
        """Buckets that each hold all that is below them, as Prometheus has them."""
        buckets = list(zip(map(floatToGoString, self._bounds_s), accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum_s)


_COUNTS: Final[Mapping[str, str]] = {
    "hits": "Reads that L1 answered.",
    "misses": "Reads that L1 could not answer.",
    "loads": "Values loaded into L1.",
    "evictions": "Values that left L1 for space.",
    "store_reads": "Store reads that requests caused.",
    "store_writes": "Store writes that requests caused.",
    "background_reads": "Store reads of warming and refreshing.",
    "background_writes": "Store writes of the background.",
}
_SIZES: Final[Mapping[str, str]] = {"entries": "Values in L1.", "bytes": "Bytes in L1."}


def _count(stats: ActorStats, name: str) -> float:
    value = getattr(stats, name)
    return float(value if isinstance(value, int) else value.calls)


def _labels(stats: ActorStats) -> list[str]:
    return [stats.actor, "" if stats.shard is None else str(stats.shard)]


def _known(word: str, words: frozenset[str]) -> str:
    return word if word in words else OTHER
