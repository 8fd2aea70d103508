"""L1 loads: one for many readers, failures that stay failures, bounds, and the end."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest

from actors.cache import Cache
from actors.cache_values import Versioned
from actors.flight import FlightCancelled, FlightsClosed, TooManyFlights
from tests.actors.cache_kit import (
    FRESH_S,
    GatedLoader,
    ManualClock,
    StoreDown,
    held,
    make_cache,
    read,
    settle,
    stale_cache,
)


async def test_a_thousand_readers_cause_one_load_although_the_first_gives_up() -> None:
    """The load outlives its leader: one store read answers every reader that is left."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    readers = [read(cache, loader) for _ in range(1_000)]
    await settle()
    readers[0].cancel()
    readers[500].cancel()
    await settle()
    loader.answer(b"x", 1)
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, asyncio.CancelledError)] == [
        0,
        500,
    ]
    assert outcomes.count(Versioned(b"x", 1)) == 998
    stats = cache.stats()
    assert (loader.keys, stats.loads, stats.misses, stats.hits) == ([1], 1, 1_000, 0)


async def test_a_load_whose_readers_are_all_gone_still_publishes() -> None:
    """The store has been asked, so the next reader finds the answer."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    reader.cancel()
    await settle()
    loader.answer(b"x", 1)
    await settle()
    assert held(cache) == (b"x", 1)


async def test_a_hit_needs_no_loader_and_no_loop_turn() -> None:
    """A held value is given without a load, and without letting anything else run in between."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    cache.put(1, b"x", 1)
    turns: list[None] = []
    asyncio.get_running_loop().call_soon(turns.append, None)
    assert await cache.get_or_load(1, loader) == cache.peek(1)
    assert (turns, loader.keys) == ([], [])


async def test_keys_load_beside_one_another() -> None:
    """A slow key makes readers of that key wait, and no others."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    slow, quick = read(cache, loader, 1), read(cache, loader, 2)
    await settle()
    loader.waiting.reverse()
    loader.answer(b"quick", 1)
    assert (await quick).value == b"quick"
    assert not slow.done()
    await cache.close()
    with pytest.raises(FlightsClosed):
        await slow


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (StoreDown("down"), StoreDown),
        (TimeoutError(), TimeoutError),
        (asyncio.CancelledError(), FlightCancelled),
    ],
    ids=["down", "deadline", "cancelled"],
)
async def test_a_failed_load_reaches_every_reader_and_is_never_an_absence(
    error: BaseException, seen: type[Exception]
) -> None:
    """All waiting readers get the error, nothing is held, and the next reader asks the store again."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    readers = [read(cache, loader) for _ in range(3)]
    await settle()
    loader.fail(error)
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [seen] * 3
    assert (held(cache), len(cache), cache.stats().load_failures) == (None, 0, 1)
    again = read(cache, loader)
    await settle()
    loader.answer(b"x", 1)
    assert (await again).value == b"x"


async def test_an_absence_is_loaded_once() -> None:
    """What the store does not have is remembered as absent, and answered without asking again."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    loader.answer(None, 0)
    assert (await reader).value is None
    assert (await cache.get_or_load(1, loader)).value is None
    assert (loader.keys, cache.stats().negative_hits) == ([1], 1)


async def test_a_giant_reaches_its_readers_without_being_kept() -> None:
    """A value too large for L1 is still an answer."""
    cache, loader = make_cache(ManualClock(), max_bytes=10_000), GatedLoader()
    readers = [read(cache, loader) for _ in range(2)]
    await settle()
    loader.answer(b"x" * 10_000, 1)
    assert [len((await reader).value or b"") for reader in readers] == [10_000] * 2
    assert (held(cache), cache.stats().oversized) == (None, 1)


async def test_a_mutable_value_from_a_loader_is_an_error() -> None:
    """A loader that breaks the contract is told, and nothing is held."""
    cache: Cache[int, Any] = Cache(
        max_bytes=10_000, ttl_s=1, weigh=len, clock=ManualClock(), name="any", stale_s=0
    )

    async def careless(key: int) -> Versioned[Any]:
        return Versioned([key], 1)

    with pytest.raises(TypeError):
        await cache.get_or_load(1, careless)
    assert len(cache) == 0


async def test_loads_are_bounded_and_a_refresh_gives_way() -> None:
    """At the bound a cold read gets a retryable error, and a stale read its stale value."""
    clock, loader = ManualClock(), GatedLoader()
    cache = make_cache(clock, max_loads=1)
    cache.put(1, b"old", 5)
    clock.now += FRESH_S
    running = read(cache, loader, 2)
    await settle()
    with pytest.raises(TooManyFlights) as caught:
        await cache.get_or_load(3, loader)
    assert caught.value.retry
    assert (await cache.get_or_load(1, loader)).value == b"old"
    assert loader.keys == [2]
    loader.answer(b"x", 1)
    await running
    await settle()
    await cache.get_or_load(1, loader)
    await settle()
    assert loader.keys == [2, 1]
    assert (await cache.close(), cache.stats().load_failures) == (0, 1)


async def test_close_ends_loads_and_refreshes_and_keeps_what_is_held() -> None:
    """After `close` no load runs or starts, readers know why, and the values can still be listed."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    cold = read(cache, loader, 2)
    await settle()
    assert await cache.close() == 0
    assert all(answer.cancelled() for answer in loader.waiting)
    with pytest.raises(FlightsClosed):
        await cold
    with pytest.raises(FlightsClosed):
        await cache.get_or_load(3, loader)
    assert (await cache.get_or_load(1, loader)).value == b"old"
    assert (cache.items(), len(loader.keys)) == ([(1, b"old", 5)], 2)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()


async def test_a_failure_that_nobody_waits_for_is_counted_and_not_shouted() -> None:
    """A failed refresh shows in the counters, not as `exception was never retrieved`."""
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    await settle()
    loader.fail(StoreDown("down"))
    await settle()
    loader.waiting.clear()
    gc.collect()
    await settle()
    assert (complaints, cache.stats().load_failures) == ([], 1)
