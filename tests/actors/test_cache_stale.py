"""L1 past its freshness: stale-while-revalidate, refreshes that fail, and their bound."""

import asyncio
from itertools import pairwise

import pytest

from actors.cache import RETRY_CAP_S, RETRY_S
from tests.actors.cache_kit import (
    FRESH_S,
    STALE_S,
    GatedLoader,
    ManualClock,
    StoreDown,
    held,
    make_cache,
    read,
    settle,
    stale_cache,
)


async def test_a_stale_value_is_given_at_once_and_renewed_once() -> None:
    """Readers of a stale value never wait, and cause one refresh together."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    found = [await cache.get_or_load(1, loader) for _ in range(10)]
    assert [entry.value for entry in found] == [b"old"] * 10
    await settle()
    assert loader.keys == [1]
    loader.answer(b"new", 6)
    await settle()
    assert held(cache) == (b"new", 6)
    stats = cache.stats()
    assert (stats.stale_hits, stats.hits, stats.misses, stats.loads) == (10, 0, 0, 1)


async def test_a_plain_get_renews_nothing() -> None:
    """Without a loader a stale value is given and no load starts."""
    cache = await stale_cache(ManualClock())
    assert cache.get(1) is not None
    assert cache.stats().loads == 0


async def test_a_failing_refresh_is_not_restarted_by_each_read() -> None:
    """After each failure the next refresh waits twice as long, up to the cap, however many reads come."""
    clock, loader = ManualClock(), GatedLoader()
    cache = make_cache(clock, stale_s=10_000.0)
    cache.put(1, b"old", 5)
    clock.now += FRESH_S
    failed_at: list[float] = []
    for _ in range(2_000):
        await cache.get_or_load(1, loader)
        await settle()
        if loader.waiting:
            failed_at.append(clock.now)
            loader.fail(StoreDown("down"))
            await settle()
        clock.now += 0.125
    pauses = [later - earlier for earlier, later in pairwise(failed_at)]
    assert pauses[:6] == [RETRY_S, 2, 4, 8, 16, RETRY_CAP_S]
    assert set(pauses[6:]) == {RETRY_CAP_S}
    assert cache.stats().load_failures == len(failed_at)


async def test_reads_right_after_a_failure_do_not_restart_the_refresh() -> None:
    """Not even in the loop turn between a refresh's failure and its booking does a read start another."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    await settle()
    loader.fail(StoreDown("down"))
    for _ in range(10):
        await cache.get_or_load(1, loader)
        await asyncio.sleep(0)
    assert loader.keys == [1]


async def test_stale_if_error_ends_at_its_bound() -> None:
    """A store that stays down is hidden for the stale time, and then the error surfaces."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    await settle()
    loader.fail(StoreDown("down"))
    await settle()
    clock.now += STALE_S - 0.001
    assert (await cache.get_or_load(1, loader)).value == b"old"
    await settle()
    clock.now += 0.001
    late = read(cache, loader)
    await settle()
    loader.fail(StoreDown("still down"))
    with pytest.raises(StoreDown, match="still down"):
        await late
    assert len(loader.keys) == 2, "the late reader joined the refresh that ran"


async def test_a_refresh_that_succeeds_ends_the_backoff() -> None:
    """After a success the next failure is the first again."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    for answer in ("fail", "ok", "fail"):
        await cache.get_or_load(1, loader)
        await settle()
        if answer == "ok":
            loader.answer(b"new", 6)
            await settle()
            clock.now += FRESH_S
        else:
            loader.fail(StoreDown("down"))
            await settle()
            clock.now += RETRY_S
    await cache.get_or_load(1, loader)
    await settle()
    assert len(loader.keys) == 4


async def test_a_refresh_may_find_that_the_document_is_gone() -> None:
    """An absence read by a refresh replaces the stale value, although it carries no version."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    await settle()
    loader.answer(None, 0)
    await settle()
    assert held(cache) == (None, 0)


async def test_a_refresh_that_reads_an_older_version_changes_nothing_and_backs_off() -> None:
    """A lagging replica neither turns the value back nor is asked again at each read."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    await cache.get_or_load(1, loader)
    await settle()
    loader.answer(b"older", 4)
    await settle()
    for _ in range(5):
        assert (await cache.get_or_load(1, loader)).value == b"old"
        await settle()
    assert (len(loader.keys), cache.stats().rejected) == (1, 1)


async def test_age_counts_from_when_the_store_was_asked() -> None:
    """A slow load does not make its value younger than it is."""
    clock, loader = ManualClock(), GatedLoader()
    cache = make_cache(clock)
    reader = read(cache, loader)
    await settle()
    clock.now += FRESH_S + 1
    loader.answer(b"x", 1)
    await reader
    cache.get(1)
    assert cache.stats().stale_hits == 1


async def test_a_confirmation_ends_the_backoff() -> None:
    """The store has answered: the next failure of a refresh is the first again."""
    clock, loader = ManualClock(), GatedLoader()
    cache = await stale_cache(clock)
    for confirmed in (False, False, True):
        if confirmed:
            cache.confirm(clock.now)
            assert not cache.is_due(1)
            await cache.get_or_load(1, loader)  # a hit
            clock.now += FRESH_S
        assert cache.is_due(1)
        await cache.get_or_load(1, loader)
        await settle()
        loader.fail(StoreDown("down"))
        await settle()
        assert not cache.is_due(1)
        clock.now += RETRY_S if confirmed else 2 * RETRY_S
    assert cache.is_due(1)
