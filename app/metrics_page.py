"""How Prometheus reads what a process has counted, and what the actors tell of themselves."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.metrics import Counts, Durations, Metrics
from contracts.warming import ActorStats


def page_of(metrics: Metrics, actors: Sequence[ActorStats]) -> bytes:
    """The text, with these statistics of the actors."""
    return generate_latest(registry_of(metrics, actors))


def registry_of(metrics: Metrics, actors: Sequence[ActorStats] = ()) -> CollectorRegistry:
    """All families of one process."""
    registry = CollectorRegistry()
    registry.register(ActorsCollector(actors))
    registry.register(
        CountsCollector(
            "firstlight_updates", "Updates by kind and outcome.", ("kind", "outcome"), metrics.updates
        )
    )
    registry.register(
        CountsCollector(
            "firstlight_updates_unanswered",
            "Updates that get no turn, by verdict and reason.",
            ("verdict", "reason"),
            metrics.verdicts,
        )
    )
    registry.register(
        DurationsCollector(
            "firstlight_accept_seconds", "Time until an update was durably accepted.", metrics.accepts
        )
    )
    return registry


class ActorsCollector(Collector):
    """Shows the latest statistics of each actor as `firstlight_actor_*`."""

    def __init__(self, known: Sequence[ActorStats]) -> None:
        self.known = known

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


class CountsCollector(Collector):
    """Shows counts by their words as labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], counts: Counts) -> None:
        self._name, self._text, self._labels, self._counts = name, text, labels, counts

    def collect(self) -> Iterable[Metric]:
        """One sample for each combination that was seen."""
        counter = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for words, count in self._counts.seen.items():
            counter.add_metric(words, count)
        yield counter


class DurationsCollector(Collector):
    """Shows durations as a histogram."""

    def __init__(self, name: str, text: str, durations: Durations) -> None:
        self._name, self._text, self._durations = name, text, durations

    def collect(self) -> Iterable[Metric]:
        """Buckets that each hold all that is below them, as Prometheus has them."""
        noted = self._durations
        buckets = list(zip(map(floatToGoString, noted.bounds_s), accumulate(noted.counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=noted.sum_s)


# ---------------------------------------------------------------- helpers

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
