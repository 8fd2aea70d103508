"""Tells of containers as they come and go."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

LOOK_S: Final = 0.3  # what a person takes for at once; a container that starts takes as long


Look = Callable[[], Mapping[str, tuple[str, str]]]
"""By container: its pool's name and its state."""
Tell = Callable[[str, str, str], None]
"""Container, pool, and what it is now."""


async def follow(look: Look, tell: Tell, stopped: asyncio.Event) -> None:
    """Tell of every change between two looks, until stopped."""
    known: dict[str, tuple[str, str]] = {}
    while not stopped.is_set():
        now = dict(look())
        for name, (pool, state) in changed(known, now).items():
            tell(name, pool, state)
        known = now
        try:
            async with asyncio.timeout(LOOK_S):
                await stopped.wait()
        except TimeoutError:
            continue


def changed(
    known: Mapping[str, tuple[str, str]], now: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """The containers that are new, in another state, or gone."""
    gone = {name: (pool, "gone") for name, (pool, _) in known.items() if name not in now}
    return gone | {name: seen for name, seen in now.items() if known.get(name) != seen}
