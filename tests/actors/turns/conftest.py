"""Tests of turns run on virtual time: a lease of 15 s runs out in no time, and who waits for ever is found."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.actors.turn_kit import World
from tests.actors.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualLoop]]:
    """Every test below this folder."""
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def told() -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of the log; to render a traceback would take longer than a test."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One container with a shard and an agent, started."""
    world = World()
    await world.boot()
    yield world
    await world.bury()
