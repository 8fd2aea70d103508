"""L1 without loads: what it holds, for how long, in how many bytes, and what it tells of that."""

import tracemalloc
from itertools import pairwise

import msgspec
import pytest

from actors.cache_entry import ENTRY_BYTES, JITTER, spread
from actors.cache_shelf import LARGEST_SHARE, SPARED_MOST
from actors.cache_values import Seeded
from tests.actors.cache_kit import (
    NEGATIVE_TTL_S,
    STALE_S,
    TTL_S,
    ManualClock,
    make_cache,
    make_untyped_cache,
    room_for,
)


def test_unknown_absent_and_present_are_three_answers() -> None:
    """A reader can tell `not cached` from `cached as absent` from a value."""
    cache = make_cache(ManualClock())
    cache.put_absent(1, 3)
    cache.put(2, b"two", 7)
    found = [cache.get(key) for key in range(3)]
    assert [entry and (entry.value, entry.version) for entry in found] == [None, (None, 3), (b"two", 7)]
    assert [cache.peek(key) for key in range(3)] == found


@pytest.mark.parametrize(
    ("age_s", "stats"),
    [
        (0.0, {"hits": 1}),
        (TTL_S * spread(1) - 0.001, {"hits": 1}),
        (TTL_S * spread(1), {"stale_hits": 1}),
        (TTL_S * spread(1) + STALE_S - 0.001, {"stale_hits": 1}),
        (TTL_S * spread(1) + STALE_S, {"misses": 1, "expirations": 1}),
    ],
)
def test_a_value_is_fresh_then_stale_then_gone(age_s: float, stats: dict[str, int]) -> None:
    """Each age of a value has its one kind of read, and the edges belong to the later kind."""
    clock = ManualClock()
    cache = make_cache(clock)
    cache.put(1, b"x", 1)
    clock.now += age_s
    found = cache.get(1)
    assert (found is None) == ("misses" in stats)
    counted = msgspec.structs.asdict(cache.stats())
    kinds = ("hits", "stale_hits", "negative_hits", "misses", "expirations")
    assert {kind: counted[kind] for kind in kinds if counted[kind]} == stats


def test_no_value_outlives_the_stated_bound() -> None:
    """`max_age_s` is an age at which no key serves anything, whatever its jitter."""
    clock = ManualClock()
    cache = make_cache(clock)
    for key in range(200):
        cache.put(key, b"x", 1)
    clock.now += cache.max_age_s
    assert [key for key in range(200) if cache.get(key) is not None] == []


def test_an_absence_lives_for_its_own_shorter_time() -> None:
    """A known absence is counted as such, is never stale, and ends after the negative lifetime."""
    clock = ManualClock()
    cache = make_cache(clock)
    cache.put_absent(1, 0)
    clock.now += NEGATIVE_TTL_S * spread(1) - 0.001
    assert cache.get(1) is not None
    clock.now += 0.001
    assert cache.get(1) is None
    stats = cache.stats()
    assert (stats.negative_hits, stats.misses, stats.expirations, stats.hits) == (1, 1, 1, 0)


def test_lifetimes_are_spread_out_and_repeatable() -> None:
    """Keys warmed together expire over the whole jitter, each at the same moment in every process."""
    factors = sorted(spread(key) for key in range(1_000))
    assert factors[0] >= 1 - JITTER
    assert factors[-1] <= 1 + JITTER
    assert factors[-1] - factors[0] > 1.9 * JITTER
    assert max(later - earlier for earlier, later in pairwise(factors)) < 0.1 * JITTER
    assert spread("telegram:42") == pytest.approx(0.911752, abs=1e-6)
    assert spread("\ud800") == spread("\ud800")


def test_the_coldest_goes_first_and_a_read_keeps_warm() -> None:
    """Eviction takes the least recently read or written entry."""
    cache = make_cache(ManualClock(), max_bytes=room_for(4, 10))
    for key in range(1, 5):
        cache.put(key, b"x" * 10, 1)
    cache.get(1)
    cache.put(2, b"y" * 10, 2)
    cache.peek(3)
    cache.put(5, b"x" * 10, 1)
    cache.put(6, b"x" * 10, 1)
    assert [key for key, _, _ in cache.items()] == [6, 5, 2, 1]
    assert cache.stats().evictions == 2


@pytest.mark.parametrize("age_s", [TTL_S * (1 + JITTER), 0.0])
def test_stale_and_absent_entries_are_kept_warm_by_reads_too(age_s: float) -> None:
    """A read of a stale value or of an absence makes it recent like any other read."""
    clock = ManualClock()
    cache = make_cache(clock, max_bytes=room_for(4, 0))
    if age_s:
        cache.put(1, b"", 1)
    else:
        cache.put_absent(1, 1)
    for key in (2, 3, 4):
        cache.put(key, b"", 1)
    clock.now += age_s
    cache.get(1)
    cache.put(5, b"", 1)
    assert cache.peek(1) is not None
    assert cache.peek(2) is None


def test_an_eviction_spares_a_bounded_number_of_used_entries() -> None:
    """However many were used since they came, one `put` takes a bounded time."""
    cache = make_cache(ManualClock(), max_bytes=room_for(600, 0))
    for key in range(600):
        cache.put(key, b"", 1)
    for key in range(600):
        cache.get(key)
    cache.put(600, b"", 1)
    assert [key for key in range(600) if cache.peek(key) is None] == [SPARED_MOST]
    assert cache.stats().evictions == 1


def test_uses_in_the_age_of_its_coming_spare_an_entry_nothing() -> None:
    """Who comes, is read a few times at once and never again leaves as if it had been read once."""
    cache = make_cache(ManualClock(), max_bytes=room_for(64, 0))
    for key in range(64):
        cache.put(key, b"", 1)
        cache.get(key)
        if key == 20:
            cache.get(1)
    for key in range(100, 164):
        cache.put(key, b"", 1)
    assert [key for key in range(64) if cache.peek(key) is not None] == [1]


def test_a_giant_is_not_kept_and_pushes_nothing_out() -> None:
    """A value over its share of the bound leaves the hot keys alone and is counted."""
    cache = make_cache(ManualClock(), max_bytes=100_000)
    cache.put(1, b"hot", 1)
    assert not cache.put(2, b"x" * int(100_000 * LARGEST_SHARE), 1)
    stats = cache.stats()
    assert (stats.oversized, stats.entries, stats.evictions) == (1, 1, 0)
    assert cache.get(1) is not None


def test_a_giant_still_drops_what_it_outdates() -> None:
    """A newer value that is too large to keep does not leave the older one to be served."""
    cache = make_cache(ManualClock(), max_bytes=100_000)
    cache.put(1, b"old", 1)
    cache.put(1, b"x" * 50_000, 2)
    assert cache.get(1) is None
    assert cache.stats().bytes == 0


def test_a_million_keys_stay_within_the_bound() -> None:
    """Neither keys nor absences nor expired entries grow past the byte bound."""
    clock = ManualClock()
    cache = make_cache(clock, max_bytes=room_for(100, 10))
    for key in range(20_000):
        clock.now += 1
        cache.put_absent(2 * key, 1)
        cache.put(2 * key + 1, b"x" * 10, 1)
    stats = cache.stats()
    assert 95 <= stats.entries <= 110
    assert stats.entries + stats.evictions == 40_000
    assert stats.bytes <= room_for(100, 10)


def test_bytes_tell_the_memory_that_is_used() -> None:
    """The bound is about memory: what the cache counts covers what it takes, and is no wild guess."""
    cache = make_cache(ManualClock(), max_bytes=1 << 24)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for key in range(10_000, 20_000):
        cache.put(key, bytes(100), key)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.7 < used / cache.stats().bytes < 1.1


def test_a_long_key_counts_with_its_bytes() -> None:
    """A key's own size is part of what is bounded."""
    cache = make_untyped_cache(ManualClock())
    cache.put("k" * 1_000, b"", 1)
    assert cache.stats().bytes == ENTRY_BYTES + ("k" * 1_000).__sizeof__() + 10


@pytest.mark.parametrize(
    ("version", "held"), [(1, (b"old", 5)), (4, (b"old", 5)), (5, (b"new", 5)), (6, (b"new", 6))]
)
def test_an_older_version_never_replaces_a_newer_one(version: int, held: tuple[bytes, int]) -> None:
    """`put` keeps the newest version, and says whether its own is held."""
    cache = make_cache(ManualClock())
    cache.put(1, b"old", 5)
    assert cache.put(1, b"new", version) == (version >= 5)
    entry = cache.peek(1)
    assert entry is not None
    assert (entry.value, entry.version) == held
    assert cache.stats().rejected == (version < 5)


def test_an_absence_obeys_the_version_guard_both_ways() -> None:
    """A tombstone does not hide a newer value, and an older value does not wake what a tombstone ended."""
    cache = make_cache(ManualClock())
    cache.put(1, b"x", 5)
    assert not cache.put_absent(1, 4)
    assert cache.put_absent(1, 6)
    assert not cache.put(1, b"x", 5)
    entry = cache.get(1)
    assert entry is not None
    assert entry.value is None
    assert cache.put(1, b"again", 7)


def test_the_same_version_starts_the_lifetime_afresh() -> None:
    """A value that was read again unchanged is as fresh as a new one."""
    clock = ManualClock()
    cache = make_cache(clock)
    cache.put(1, b"x", 5)
    clock.now += TTL_S * 0.8
    cache.put(1, b"x", 5)
    clock.now += TTL_S * 0.8
    cache.get(1)
    assert cache.stats().hits == 1


@pytest.mark.parametrize(("version", "dropped"), [(4, False), (5, False), (6, True)])
def test_invalidate_drops_only_what_is_older(version: int, dropped: bool) -> None:
    """News of a version drops what is older than it and nothing else."""
    cache = make_cache(ManualClock())
    cache.put(1, b"x", 5)
    assert cache.invalidate(1, version) == dropped
    assert (cache.peek(1) is None) == dropped
    assert not cache.invalidate(2, 9)


def test_remove_forgets_value_and_version() -> None:
    """After `remove` the key is unknown, and any version is welcome."""
    cache = make_cache(ManualClock())
    cache.put(1, b"x", 5)
    assert cache.remove(1)
    assert not cache.remove(1)
    assert cache.get(1) is None
    assert cache.put(1, b"y", 1)


def test_seed_says_what_became_of_every_entry() -> None:
    """Seeding counts what is held now, what was newer already and what found no room."""
    cache = make_cache(ManualClock(), max_bytes=room_for(8, 100))
    cache.put(1, b"live", 9)
    cache.put(2, b"old", 1)
    big = b"x" * room_for(4, 100)
    seeds = [(1, b"warm", 3), (2, b"warm", 3), (3, big, 1), *((key, b"w" * 100, 1) for key in range(10, 20))]
    assert cache.seed(seeds) == Seeded(kept=7, newer=1, no_room=5)
    stats = cache.stats()
    assert (stats.entries, stats.rejected, stats.oversized, stats.evictions) == (8, 1, 1, 0)


def test_seeded_entries_are_colder_than_live_ones_and_the_hottest_stay_longest() -> None:
    """Warming pushes nothing out, and what goes first afterwards is the coldest of what was seeded."""
    cache = make_cache(ManualClock(), max_bytes=room_for(5, 10))
    cache.put(1, b"x" * 10, 1)
    cache.put(2, b"x" * 10, 1)
    cache.seed([(11, b"s" * 10, 1), (1, b"s" * 10, 2), (12, b"s" * 10, 1), (13, b"s" * 10, 1)])
    assert [key for key, _, _ in cache.items()] == [2, 1, 11, 12, 13]
    cache.put(3, b"x" * 10, 1)
    assert [key for key, _, _ in cache.items()] == [3, 2, 1, 11, 12]


def test_a_seed_without_room_drops_the_older_value_it_knows_better_than() -> None:
    """A newer version that does not fit is loaded on demand; the older one is not served meanwhile."""
    cache = make_cache(ManualClock(), max_bytes=room_for(4, 10))
    for key in range(1, 5):
        cache.put(key, b"x" * 10, 1)
    assert cache.seed([(1, b"x" * 11, 2)]) == Seeded(no_room=1)
    assert cache.get(1) is None
    assert cache.stats().bytes == room_for(3, 10)


def test_items_survive_the_way_through_another_cache() -> None:
    """What one cache lists another takes, in the same order, without absences and what has expired."""
    clock = ManualClock()
    first, second = make_cache(clock), make_cache(clock)
    first.put(9, b"expired", 1)
    clock.now += first.max_age_s
    first.put(1, b"a", 4)
    first.put(2, b"b", 5)
    first.put_absent(3, 6)
    assert second.seed(first.items()).kept == 2
    assert second.items() == first.items() == [(2, b"b", 5), (1, b"a", 4)]
