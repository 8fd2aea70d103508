"""What is counted, under names whose number is bounded."""

import pytest

from app.metrics import Metrics


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
    """Each has a registry of its own, so that tests and restarts do not add up."""
    first, second = Metrics(), Metrics()
    first.update("message", "queue")
    assert 'firstlight_updates_total{kind="message",outcome="queue"} 1.0' in first.page(()).decode()
    assert "firstlight_updates_total{" not in second.page(()).decode()
