"""L1 against a plain model: any order of reads, writes and passing time leaves both the same."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.cache_shelf import ENTRY_BYTES, LARGEST_SHARE, spread
from actors.cache_values import Seeded
from tests.actors.cache_kit import NEGATIVE_TTL_S, STALE_S, TTL_S, ManualClock, make_cache, room_for

KEYS = st.integers(1, 6)
VERSIONS = st.integers(0, 5)
LENGTHS = st.integers(0, 400)
STEPS_S = st.floats(0, TTL_S) | st.sampled_from([NEGATIVE_TTL_S, TTL_S, STALE_S])
BOUND = room_for(4, 100)
KEY_BYTES = (1).__sizeof__()


class Modelled:
    """One entry of the plain model."""

    def __init__(self, value: bytes | None, version: int, now: float) -> None:
        self.value = value
        self.version = version
        self.born = now

    def size(self) -> int:
        """Bytes that it takes."""
        return ENTRY_BYTES + KEY_BYTES + len(self.value or b"")

    def kind(self, key: int, now: float) -> str:
        """Name the counter of a read of it now."""
        lifetime = (TTL_S if self.value is not None else NEGATIVE_TTL_S) * spread(key)
        if self.value is None:
            return "negative_hits" if now < self.born + lifetime else "misses"
        if now < self.born + lifetime:
            return "hits"
        return "stale_hits" if now < self.born + lifetime + STALE_S else "misses"


class CacheAgainstModel(RuleBasedStateMachine):
    """The cache beside a list of entries, coldest first, that is searched and cut naively."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.cache = make_cache(self.clock, max_bytes=BOUND)
        self.model: dict[int, Modelled] = {}  # in order of recency, coldest first
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
        self.model.pop(key, None)
        entry = Modelled(value, version, self.clock.now)
        if entry.size() > int(BOUND * LARGEST_SHARE):
            self.counted["oversized"] += 1
            return False
        self.model[key] = entry
        while self.model_bytes() > BOUND:
            del self.model[next(iter(self.model))]
            self.counted["evictions"] += 1
        return True

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
        entry = self.model.pop(key, None)
        kind = entry.kind(key, self.clock.now) if entry is not None else "misses"
        self.counted[kind] += 1
        found = self.cache.get(key)
        if entry is None or kind == "misses":
            self.counted["expirations"] += entry is not None
            assert found is None
            return
        self.model[key] = entry
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
            entry = Modelled(b"s" * length, version, self.clock.now)
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

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        """Time passes."""
        self.clock.now += step_s

    @invariant()
    def same_entries_in_the_same_order(self) -> None:
        """What is listed is what the model serves, hottest first."""
        now = self.clock.now
        served = [
            (k, e.value, e.version) for k, e in reversed(self.model.items()) if e.kind(k, now) != "misses"
        ]
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
