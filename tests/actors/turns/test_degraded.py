"""A shard whose store is away says so, and says when it is back."""

from contracts.faults import StoreUnavailable
from contracts.sessions import LoadSession, SweepTurns
from tests.actors.turn_kit import CHAT, World


async def test_a_store_that_is_away_degrades_the_shard(world: World) -> None:
    """What users get 503 for is on /health, in one line, until a store call succeeds again."""
    world.now.store.down = True
    assert isinstance(await world.accept(1), StoreUnavailable)
    away = (await world.shard.stats()).degraded
    world.now.store.down = False
    await world.accept(1)
    assert (away, (await world.shard.stats()).degraded) == ("StoreDown: before", "")


async def test_an_answer_from_memory_is_no_sign_of_the_store(world: World) -> None:
    """Only the store can show that it is back."""
    await world.say(1)
    await world.idle()
    world.now.store.down = True
    await world.accept(2)
    await world.ask(LoadSession(chat=CHAT))
    assert (await world.shard.stats()).degraded == "StoreDown: before"


async def test_a_sweep_finds_that_the_store_is_back(world: World) -> None:
    """A shard that nobody asks is not degraded for ever."""
    world.now.store.down = True
    await world.accept(1)
    world.now.store.down = False
    await world.ask(SweepTurns())
    assert (await world.shard.stats()).degraded == ""
