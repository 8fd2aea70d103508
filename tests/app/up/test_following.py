"""What is told of containers between two looks at them."""

import pytest

from app.up.following import changed

A, B = {"ta-1": ("ChatAgent", "starting")}, {"ta-1": ("ChatAgent", "ready")}


@pytest.mark.parametrize(
    ("known", "now", "told"),
    [({}, A, A), (A, A, {}), (A, B, B), (B, {}, {"ta-1": ("ChatAgent", "gone")}), ({}, {}, {})],
)
def test_each_change_is_told_once(
    known: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]], told: dict[str, tuple[str, str]]
) -> None:
    """New ones, other states, and those that are gone."""
    assert told == changed(known, now)
