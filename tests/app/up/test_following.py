"""What is told of containers between two looks at them."""

import asyncio

import pytest

from app.up.following import changed, follow

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


async def test_it_is_told_until_it_is_stopped() -> None:
    """At once what is there, then what changes."""
    looks, told, stopped = iter([A, B]), list[tuple[str, str, str]](), asyncio.Event()

    def look() -> dict[str, tuple[str, str]]:
        seen = next(looks)
        if seen is B:
            stopped.set()
        return seen

    await follow(look, lambda *seen: told.append(seen), stopped)
    assert [("ta-1", "ChatAgent", "starting"), ("ta-1", "ChatAgent", "ready")] == told
