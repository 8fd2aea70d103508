"""What is counted, under names whose number is bounded."""

import pytest

from app.metrics import Metrics
from app.metrics_page import registry_of
from contracts.warming import ActorStats


@pytest.mark.parametrize(
    ("kind", "outcome"), [("hologram", "queue"), ("message", "eaten"), ("CANARY", "CANARY")]
)
def test_a_label_never_comes_from_input(kind: str, outcome: str) -> None:
    """An unknown word counts as `other`."""
    metrics = Metrics()
    metrics.update(kind, outcome)
    metrics.unanswered("ignored", kind)
    page = metrics.page(()).decode()
    assert ("hologram" in page, "eaten" in page, "CANARY" in page) == (False, False, False)
    assert 'reason="other"' in page or kind == "message"


def test_two_services_count_apart() -> None:
    """Each has numbers of its own, so that tests and restarts do not add up."""
    first, second = Metrics(), Metrics()
    first.update("message", "queue")
    assert 'firstlight_updates_total{kind="message",outcome="queue"} 1.0' in first.page(()).decode()
    assert "firstlight_updates_total{" not in second.page(()).decode()


def test_durations_fall_into_buckets() -> None:
    """A bucket counts all that took at most its bound, as Prometheus reads it."""
    metrics = Metrics()
    for seconds in (0.0001, 0.0005, 0.003, 9.0):
        metrics.accepted(seconds)
    sample = registry_of(metrics).get_sample_value
    counts = {
        bound: sample("firstlight_accept_seconds_bucket", {"le": bound})
        for bound in ("0.0005", "0.0025", "0.005", "5.0", "+Inf")
    }
    assert {"0.0005": 2, "0.0025": 2, "0.005": 3, "5.0": 3, "+Inf": 4} == counts
    assert (4, 9.0036) == (sample("firstlight_accept_seconds_count"), sample("firstlight_accept_seconds_sum"))


def test_the_first_accept_is_told_once() -> None:
    """Whoever measures the container's start hears of the first one, in milliseconds."""
    heard: list[float] = []
    metrics = Metrics(heard.append)
    metrics.accepted(0.25)
    metrics.accepted(0.5)
    assert [250.0] == heard


def test_a_containers_start_is_shown_by_phase() -> None:
    """One sample for each phase of each actor that has a container of its own."""
    stats = ActorStats(actor="SessionCacheActor", shard=1, cold_start={"imports": 400.0, "warm": 25.5})
    page = Metrics().page((stats,)).decode()
    assert 'cold_start_ms{actor="SessionCacheActor",phase="warm",shard="1"} 25.5' in page
