"""Confirmation: what the store says has not changed lives on, and nothing else does."""

import pytest

from actors.cache_entry import JITTER, spread
from tests.actors.cache_kit import NEGATIVE_TTL_S, TTL_S, ManualClock, held, make_cache

HALF_S = TTL_S / 2


async def test_a_confirmed_value_is_as_fresh_as_if_it_had_been_read_then() -> None:
    """It is a hit, not a stale one, for a whole lifetime more and not a moment longer."""
    clock = ManualClock()
    cache = make_cache(clock, stale_s=0.0)
    cache.put(1, b"a", 1)
    clock.now += HALF_S
    cache.confirm(clock.now)
    clock.now += TTL_S * spread(1) - 0.001
    assert cache.get(1) is not None
    clock.now += 0.002
    assert cache.get(1) is None
    assert (cache.stats().hits, cache.stats().stale_hits, cache.stats().expirations) == (1, 0, 1)


async def test_confirmed_again_and_again_a_value_never_ends() -> None:
    """However long nobody asks for it."""
    clock = ManualClock()
    cache = make_cache(clock, stale_s=0.0)
    cache.put(1, b"a", 1)
    for _ in range(100):
        clock.now += HALF_S
        cache.confirm(clock.now)
    assert held(cache) == (b"a", 1)


@pytest.mark.parametrize("read_after", [True, False])
async def test_only_what_was_read_since_is_confirmed(read_after: bool) -> None:
    """Of what was read earlier, some change may have been missed."""
    clock = ManualClock()
    cache = make_cache(clock, stale_s=0.0)
    since = clock.now + (0.0 if read_after else 1.0)
    cache.put(1, b"a", 1)
    clock.now += HALF_S
    cache.confirm(clock.now, since)
    clock.now += HALF_S * (1 + 2 * JITTER) + 1.0
    assert (held(cache) is not None) == read_after
    assert (cache.peek_since(1, since) is not None) == read_after


async def test_an_earlier_confirmation_makes_nothing_older() -> None:
    """A value that was read after it keeps its own time."""
    clock = ManualClock()
    cache, before = make_cache(clock, stale_s=0.0), clock.now
    clock.now += HALF_S
    cache.put(1, b"a", 1)
    cache.confirm(before)
    clock.now += TTL_S * spread(1) - 0.001
    assert held(cache) == (b"a", 1)
    clock.now += 0.002
    assert held(cache) is None


async def test_absences_are_not_confirmed() -> None:
    """They end with their own short time."""
    clock = ManualClock()
    cache = make_cache(clock)
    cache.put_absent(1, 1)
    clock.now += NEGATIVE_TTL_S / 2
    cache.confirm(clock.now)
    clock.now += NEGATIVE_TTL_S
    assert held(cache) is None
    assert cache.peek_since(1, 0.0) is None


async def test_a_seeded_value_is_as_old_as_its_reading() -> None:
    """The time that a warming pass took counts."""
    clock = ManualClock()
    cache, asked = make_cache(clock, stale_s=0.0), clock.now
    clock.now += HALF_S
    cache.seed([(1, b"a", 1)], read_at=asked)
    clock.now += HALF_S * (1 + 2 * JITTER)
    assert held(cache) is None
