"""Tests of pools run on virtual time: a timeout of minutes runs out in no time, and who waits for ever is found."""

from collections.abc import Callable, Mapping

from tests.actors.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualLoop]]:
    """Every test below this folder."""
    return {"virtual": VirtualLoop}
