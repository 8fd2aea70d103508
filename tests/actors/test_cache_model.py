"""L1 against a plain model: any order of reads, writes and passing time leaves both the same."""

import math
from copy import copy

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.cache_entry import ENTRY_BYTES, JITTER, spread
from actors.cache_shelf import LARGEST_SHARE
from actors.cache_values import Seeded
from actors.ports import COARSE_S
from tests.actors.cache_kit import NEGATIVE_TTL_S, STALE_S, TTL_S, ManualClock, make_cache, room_for

KEYS = st.integers(1, 6)
VERSIONS = st.integers(0, 5)
LENGTHS = st.integers(0, 400)
STEPS_S = st.floats(0, TTL_S) | st.sampled_from([NEGATIVE_TTL_S, TTL_S, STALE_S])
LAGS_S = st.sampled_from([0.0, COARSE_S / 2, COARSE_S, -math.inf])  # the last: nobody renews the coarse time
BOUND = room_for(4, 100)
KEY_BYTES = (1).__sizeof__()


class Modelled:
    """One entry of the plain model."""

    def __init__(self, value: bytes | None, version: int, now: float, placed: int) -> None:
        self.value = value
        self.version = version
        self.born = now
        self.surely_fresh = now + TTL_S * (1.0 - JITTER) if value is not None else -math.inf
        self.placed = self.used = placed

    def size(self) -> int:
        """Bytes that it takes."""
        return ENTRY_BYTES + KEY_BYTES + len(self.value or b"")

    def kind(self, key: int, now: float, coarse: float) -> str:
        """Name the counter of a read of it now, when the coarse time is what it is."""
        lifetime = (TTL_S if self.value is not None else NEGATIVE_TTL_S) * spread(key)
        if self.value is None:
            return "negative_hits" if now < self.born + lifetime else "misses"
        if coarse < self.surely_fresh:
            return "hits"
        if now < self.born + lifetime:
            self.surely_fresh = self.born + lifetime
            return "hits"
        return "stale_hits" if now < self.born + lifetime + STALE_S else "misses"

    def lives(self, key: int, now: float) -> bool:
        """Whether it is served at the exact time."""
        return copy(self).kind(key, now, now) != "misses"


class CacheAgainstModel(RuleBasedStateMachine):
    """The cache beside a list of entries, coldest first, that is searched and cut naively."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.cache = make_cache(self.clock, max_bytes=BOUND)
        self.model: dict[int, Modelled] = {}  # in the order of placing, coldest first
        self.age = 0
        self.counted = dict.fromkeys(("hits", "stale_hits", "negative_hits", "misses", "expirations"), 0)
        self.counted |= dict.fromkeys(("evictions", "rejected", "oversized"), 0)

    def model_bytes(self) -> int:
        """Sum up what the model holds."""
        return sum(entry.size() for entry in self.model.values())

    def model_put(self, key: int, value: bytes | None, version: int) -> bool:
        """Put into the model as the cache should."""
        if key in self.model and self.model[key].version > version:
            self.counted["rejected"] += 1
            return False
        entry, held = Modelled(value, version, self.clock.now, self.age), self.model.get(key)
        if entry.size() > int(BOUND * LARGEST_SHARE):
            self.model.pop(key, None)
            self.counted["oversized"] += 1
        elif held and self.model_bytes() - held.size() + entry.size() <= BOUND:
            entry.placed = held.placed
            self.model[key] = entry
        else:
            self.model.pop(key, None)
            self.model_evict(BOUND - entry.size())
            self.model[key] = entry
            self.age += 1  # of so few entries each newcomer is more than a sixteenth
            entry.placed = entry.used = self.age
        return self.model.get(key) is entry

    def model_evict(self, bound: int) -> None:
        """Let the first go that was not used at a later age than it was placed; the others go to the end."""
        while self.model_bytes() > bound:
            key = next(iter(self.model))
            entry = self.model.pop(key)
            if entry.used == entry.placed:
                self.counted["evictions"] += 1
            else:
                entry.placed = entry.used
                self.model[key] = entry

    @rule(key=KEYS, length=LENGTHS, version=VERSIONS)
    def put(self, key: int, length: int, version: int) -> None:
        """A value is held or refused as in the model."""
        expected = self.model_put(key, b"x" * length, version)
        assert self.cache.put(key, b"x" * length, version) == expected

    @rule(key=KEYS, version=VERSIONS)
    def put_absent(self, key: int, version: int) -> None:
        """An absence is held or refused as in the model."""
        assert self.cache.put_absent(key, version) == self.model_put(key, None, version)

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        """A read gives what the model has and is counted as exactly one kind."""
        entry = self.model.get(key)
        kind = entry.kind(key, self.clock.now, self.clock.coarse_s) if entry is not None else "misses"
        self.counted[kind] += 1
        found = self.cache.get(key)
        if entry is None or kind == "misses":
            self.counted["expirations"] += self.model.pop(key, None) is not None
            assert found is None
            return
        entry.used = self.age
        assert found is not None
        assert (found.value, found.version) == (entry.value, entry.version)

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        """A removed key is gone."""
        assert self.cache.remove(key) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS, version=VERSIONS)
    def invalidate(self, key: int, version: int) -> None:
        """Only what is older goes."""
        older = key in self.model and self.model[key].version < version
        if older:
            del self.model[key]
        assert self.cache.invalidate(key, version) == older

    @rule(seeds=st.lists(st.tuples(KEYS, LENGTHS, VERSIONS), max_size=6))
    def seed(self, seeds: list[tuple[int, int, int]]) -> None:
        """Seeding fills what room there is from the cold end and evicts nothing."""
        kept = newer = 0
        for key, length, version in seeds:
            held = self.model.get(key)
            entry = Modelled(b"s" * length, version, self.clock.now, -1)
            giant = entry.size() > int(BOUND * LARGEST_SHARE)
            free = BOUND - self.model_bytes() + (held.size() if held else 0)
            if held and held.version > version:
                newer += 1
                self.counted["rejected"] += 1
            elif giant or entry.size() > free:
                self.counted["oversized"] += giant
                self.model.pop(key, None)
            else:
                kept += 1
                entry.placed, entry.used = (held.placed, held.used) if held else (-1, -1)
                self.model = self.model | {key: entry} if held else {key: entry} | self.model
        outcome = self.cache.seed([(key, b"s" * length, version) for key, length, version in seeds])
        assert outcome == Seeded(kept=kept, newer=newer, no_room=len(seeds) - kept - newer)

    @rule()
    def confirm(self) -> None:
        """All values are as good as read now, also those that were past their end; absences are not."""
        self.cache.confirm(self.clock.now)
        for entry in self.model.values():
            if entry.value is not None:
                entry.born = self.clock.now

    @rule(lag_s=LAGS_S)
    def lag(self, lag_s: float) -> None:
        """The coarse time lags behind, or is not renewed at all."""
        self.clock.lag_s = lag_s

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        """Time passes."""
        self.clock.now += step_s

    @invariant()
    def same_entries_in_the_same_order(self) -> None:
        """What is listed is what the model serves, hottest first."""
        now = self.clock.now
        hottest_first = list(reversed(self.model.items()))
        order = sorted(hottest_first, key=lambda item: item[1].used == item[1].placed)
        served = [(k, e.value, e.version) for k, e in order if e.lives(k, now)]
        assert self.cache.items() == [entry for entry in served if entry[1] is not None]
        assert [key for key in range(1, 7) if self.cache.peek(key)] == sorted(key for key, _, _ in served)

    @invariant()
    def counters_are_true(self) -> None:
        """Every counter equals the model's, the bytes are the sum of what is held, the bound holds."""
        stats = msgspec.structs.asdict(self.cache.stats())
        assert {name: stats[name] for name in self.counted} == self.counted
        assert (stats["entries"], stats["bytes"]) == (len(self.model), self.model_bytes())
        assert len(self.cache) == len(self.model)
        assert self.model_bytes() <= BOUND


TestCacheAgainstModel = CacheAgainstModel.TestCase
TestCacheAgainstModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
