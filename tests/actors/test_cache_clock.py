"""L1 by a coarse clock: a hit asks for no exact time, and no value is served beyond its stated age all the same."""

import math

import pytest

from actors.cache import Cache
from actors.cache_entry import spread
from actors.ports import COARSE_S
from tests.actors.cache_kit import TTL_S, ManualClock, make_cache

KEYS = range(200)


class CountingClock(ManualClock):
    """Counts who asks for the exact time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def monotonic_s(self) -> float:
        self.asked += 1
        return super().monotonic_s()


def filled(clock: ManualClock) -> Cache[int, bytes]:
    """A cache without a stale time that holds all keys."""
    cache = make_cache(clock, stale_s=0.0)
    for key in KEYS:
        cache.put(key, b"x", 1)
    return cache


def served(cache: Cache[int, bytes]) -> list[int]:
    """Which keys a read gives."""
    return [key for key in KEYS if cache.get(key) is not None]


def test_a_hit_asks_for_no_exact_time() -> None:
    """However often a fresh value is read; a miss neither."""
    clock = CountingClock()
    cache = filled(clock)
    asked = clock.asked
    assert [cache.get(1) is not None for _ in range(100)] == [True] * 100
    assert cache.get(-1) is None
    assert clock.asked == asked
    assert (cache.stats().hits, cache.stats().misses) == (100, 1)


@pytest.mark.parametrize("lag_s", [0.0, COARSE_S, -math.inf], ids=["exact", "late", "not renewed"])
def test_nothing_is_served_at_the_stated_age_whatever_the_coarse_time_is(lag_s: float) -> None:
    """`max_age_s` holds while the coarse time is as late as it may be, and while nobody renews it."""
    clock = ManualClock()
    clock.lag_s = lag_s
    cache = filled(clock)
    clock.now += cache.max_age_s
    assert served(cache) == []


def test_a_late_coarse_time_serves_a_value_too_long_by_no_more_than_it_is_late() -> None:
    """Also a value whose exact end is known from an earlier look."""
    clock = ManualClock()
    cache = filled(clock)
    ends = {key: clock.now + TTL_S * spread(key) for key in KEYS}
    clock.now = min(ends.values()) - 0.001
    assert served(cache) == list(KEYS)
    clock.lag_s = COARSE_S
    for _ in range(3_000):
        clock.now += 0.01
        late = [key for key in served(cache) if clock.now >= ends[key] + COARSE_S]
        assert late == []
    assert served(cache) == []


def test_while_nobody_renews_the_coarse_time_each_read_asks_for_the_exact_one() -> None:
    """A value ends at its very end, and is counted as a hit until then."""
    clock = CountingClock()
    clock.lag_s = -math.inf
    cache, asked = filled(clock), clock.asked
    clock.now += TTL_S * spread(1) - 0.001
    assert cache.get(1) is not None
    assert clock.asked == asked + 1
    clock.now += 0.002
    assert cache.get(1) is None
    assert (cache.stats().hits, cache.stats().expirations) == (1, 1)


def test_the_stated_age_covers_the_key_that_lives_longest() -> None:
    """One whose jitter is nearly all that there is, looked at just before its end, then read by a late coarse time."""
    clock = ManualClock()
    cache, key = make_cache(clock, stale_s=0.0), max(range(5_000), key=spread)
    cache.put(key, b"x", 1)
    begun = clock.now
    clock.now += TTL_S * spread(key) - 0.001
    assert cache.get(key) is not None
    clock.lag_s = COARSE_S
    clock.now += COARSE_S
    assert cache.get(key) is not None
    clock.now = begun + cache.max_age_s
    assert cache.get(key) is None


def test_a_value_in_the_last_tenth_of_its_life_is_looked_at_once() -> None:
    """What jitter grants it is worked out then, and the hits after that ask for no exact time."""
    clock = CountingClock()
    cache, key = make_cache(clock), max(range(5_000), key=spread)
    cache.put(key, b"x", 1)
    clock.now += TTL_S
    asked = clock.asked
    assert [cache.get(key) is not None for _ in range(10)] == [True] * 10
    assert clock.asked == asked + 1
