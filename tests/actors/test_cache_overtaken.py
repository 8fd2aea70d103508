"""L1 when a key is written while it loads: the older version never wins."""

import asyncio

import pytest

from actors.cache import MAX_TRIES, LoadOvertaken
from tests.actors.cache_kit import GatedLoader, ManualClock, held, make_cache, read, room_for, settle, until


async def test_a_write_during_a_load_wins() -> None:
    """The load's older result neither replaces the newer value nor is given in its place."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.put(1, b"new", 6)
    loader.answer(b"old", 5)
    found = await reader
    assert (found.value, found.version) == (b"new", 6) == held(cache)
    assert (len(loader.keys), cache.stats().rejected) == (1, 1)


async def test_a_load_newer_than_the_write_during_it_wins() -> None:
    """The guard is about versions, not about who came first."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.put(1, b"mine", 6)
    loader.answer(b"theirs", 7)
    assert (await reader).version == 7
    assert held(cache) == (b"theirs", 7)


async def test_an_absence_read_before_a_write_does_not_hide_it() -> None:
    """A load that saw nothing, overtaken by a create, gives the created value."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.put(1, b"created", 1)
    loader.answer(None, 0)
    assert (await reader).value == b"created"
    assert held(cache) == (b"created", 1)


async def test_a_tombstone_during_a_load_ends_the_value_it_brings() -> None:
    """A delete during a load is not undone by what the load had read before."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.put_absent(1, 6)
    loader.answer(b"deleted", 5)
    assert (await reader).value is None
    assert held(cache) == (None, 6)


@pytest.mark.parametrize("how", ["removed", "evicted", "too large", "invalidated"])
async def test_a_newer_version_that_is_gone_again_still_binds_the_load(how: str) -> None:
    """The load reads again rather than give or hold a version older than one that was known during it."""
    cache, loader = make_cache(ManualClock(), max_bytes=room_for(4, 10)), GatedLoader()
    reader = read(cache, loader)
    await settle()
    if how == "invalidated":
        cache.invalidate(1, 6)
    else:
        cache.put(1, b"x" * (room_for(2, 0) if how == "too large" else 10), 6)
    if how == "removed":
        cache.remove(1)
    if how == "evicted":
        for key in range(11, 15):
            cache.put(key, b"x" * 10, 1)
    assert held(cache) is None
    loader.answer(b"old", 5)
    await settle()
    assert (held(cache), reader.done()) == (None, False)
    assert not cache.put(1, b"old", 5)
    loader.answer(b"new", 6)
    assert (await reader).value == b"new"
    assert cache.stats().loads == 2


async def test_the_floor_holds_before_the_loader_has_begun() -> None:
    """A write that comes after the reader and before the load's first step binds the load as well."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await asyncio.sleep(0)
    assert (len(loader.keys), cache.stats().misses) == (0, 1)
    cache.put(1, b"new", 6)
    cache.invalidate(1, 7)
    await settle()
    loader.answer(b"old", 5)
    await settle()
    loader.answer(b"newest", 7)
    assert (await reader).value == b"newest"


async def test_a_remove_during_a_load_makes_it_read_again() -> None:
    """What was read before a removal is neither held nor given after it: `forget` means forget."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.remove(1)
    loader.answer(b"forgotten", 5)
    await settle()
    loader.answer(None, 0)
    assert (await reader).value is None
    assert held(cache) == (None, 0)


async def test_an_absence_read_after_an_invalidation_is_believed() -> None:
    """A document deleted elsewhere has no version to show; a load that began after the news may say so."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.invalidate(1, 6)
    loader.answer(None, 0)
    await settle()
    assert not reader.done()
    loader.answer(None, 0)
    assert (await reader).value is None


async def test_a_load_that_is_overtaken_for_ever_ends() -> None:
    """A reader's wait is bounded also when every load is outdated, by an error that allows a retry."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    for _ in range(MAX_TRIES):
        await settle()
        cache.remove(1)
        loader.answer(b"x", 1)
    with pytest.raises(LoadOvertaken) as caught:
        await reader
    assert caught.value.retry
    assert (len(loader.keys), cache.stats().loads, cache.stats().load_failures) == (MAX_TRIES, MAX_TRIES, 1)


async def test_floors_are_dropped_when_their_load_ends() -> None:
    """What bound a load does not bind the key afterwards, so that floors never pile up."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    cache.put(1, b"new", 6)
    loader.answer(b"old", 5)
    await reader
    await settle()
    cache.remove(1)
    assert cache.put(1, b"restored", 2)


async def test_a_write_between_the_end_of_a_load_and_its_reader_wins() -> None:
    """A reader that has its turn after a write gets what was written."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    reader = read(cache, loader)
    await settle()
    loader.answer(b"old", 5)
    await until(lambda: held(cache) is not None)
    assert not reader.done()
    cache.put(1, b"new", 6)
    assert (await reader).value == b"new"


async def test_a_reader_after_an_invalidation_never_joins_a_load_that_has_ended() -> None:
    """In the very turn in which a load ended, a reader who comes after news of a change loads anew."""
    cache, loader = make_cache(ManualClock()), GatedLoader()
    first = read(cache, loader)
    await settle()
    loader.answer(b"old", 5)
    await until(lambda: held(cache) is not None)
    assert not first.done()
    assert cache.invalidate(1, 6)

    async def answer_later() -> None:
        await until(lambda: len(loader.waiting) == 1)
        loader.answer(b"new", 6)

    answering = asyncio.create_task(answer_later())
    second = await cache.get_or_load(1, loader)  # not in a task of its own: that would begin a turn later
    await answering
    assert [(await first).value, second.value] == [b"old", b"new"]
