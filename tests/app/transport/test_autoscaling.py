"""The autoscaler of a pool, by each of the names that Modal's client has had for it."""

from types import SimpleNamespace
from typing import Any

import pytest

from app.transport.autoscaling import autoscaler_of


class Pool:
    """The settings of one pool."""

    def __init__(self) -> None:
        self.set = {"min_containers": 1, "max_containers": 3}

    async def settings(self) -> Any:
        """As a new client reads them."""
        return SimpleNamespace(**self.set)

    async def update(self, **wanted: int) -> Any:
        """As both override them; an old one also answers with what is in force then."""
        self.set |= wanted
        return await self.settings()


def new_client(pool: Pool) -> tuple[Any, Any]:
    """A method with `autoscaler`, and an instance that has none."""
    autoscaler = SimpleNamespace(
        settings=SimpleNamespace(aio=pool.settings), update=SimpleNamespace(aio=pool.update)
    )
    return SimpleNamespace(autoscaler=autoscaler), SimpleNamespace()


def old_client(pool: Pool) -> tuple[Any, Any]:
    """A method whose `update_autoscaler` is no instance's, and an instance with its own."""
    other = SimpleNamespace(aio=Pool().update)
    return (
        SimpleNamespace(update_autoscaler=other),
        SimpleNamespace(update_autoscaler=SimpleNamespace(aio=pool.update)),
    )


@pytest.mark.parametrize("client", [new_client, old_client])
async def test_a_pool_is_read_and_overridden_by_either_client(client: Any) -> None:
    """What is overridden is in force, what is not stays, and reading changes nothing."""
    pool = Pool()
    autoscaler = autoscaler_of(*client(pool))
    assert (1, 3) == _numbers(await autoscaler.settings())
    await autoscaler.update(min_containers=2)
    assert (2, 3) == _numbers(await autoscaler.settings())
    assert {"min_containers": 2, "max_containers": 3} == pool.set


async def test_an_old_server_or_function_has_its_own() -> None:
    """There is no instance beside it."""
    pool = Pool()
    server = SimpleNamespace(update_autoscaler=SimpleNamespace(aio=pool.update))
    await autoscaler_of(server).update(max_containers=5)
    assert 5 == pool.set["max_containers"]


def _numbers(settings: Any) -> tuple[int, int]:
    return settings.min_containers, settings.max_containers
