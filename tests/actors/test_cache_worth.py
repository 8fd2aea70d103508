"""Who leaves a full L1 that knows what its keys are worth: the least of the coldest, so that a scan is no harm."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.cache import Cache
from actors.cache_entry import ENTRY_BYTES
from actors.cache_shelf import LARGEST_SHARE
from actors.score import Scores
from tests.actors.cache_kit import ManualClock, make_cache, room_for

LENGTH = 100
ROOM = 150  # entries of LENGTH: enough for all 12 looks
BOUND = room_for(ROOM, LENGTH)
KEYS = st.integers(1, 2 * ROOM)
LENGTHS = st.sampled_from([LENGTH, LENGTH, 0, 9_000, BOUND])
WORTHS = st.sampled_from([0.0, 1.0, 2.0, 3.0])


class Kept:
    """What the model knows of an entry: its bytes, and the ages at which it was placed and used."""

    def __init__(self, size: int, placed: int) -> None:
        self.size = size
        self.placed = self.used = placed


class WorthAgainstModel(RuleBasedStateMachine):
    """The cache beside a plain dict, coldest first, that is rebuilt with each eviction."""

    def __init__(self) -> None:
        super().__init__()
        self.worths: dict[int, float] = {}
        self.cache = make_cache(ManualClock(), max_bytes=BOUND, worth=lambda key: self.worths.get(key, 0.0))
        self.model: dict[int, Kept] = {}
        self.age = self.newcomers = self.evicted = 0

    def model_bytes(self) -> int:
        """Sum up what the model holds."""
        return sum(kept.size for kept in self.model.values())

    def model_put(self, key: int, size: int) -> None:
        """Put into the model as the cache should."""
        held = self.model.get(key)
        if size > BOUND * LARGEST_SHARE:
            self.model.pop(key, None)
        elif held and self.model_bytes() - held.size + size <= BOUND:
            held.size, held.used = size, self.age
        else:
            self.model.pop(key, None)
            while self.model_bytes() + size > BOUND:
                self.model_evict()
            self.newcomers += 1
            if self.newcomers > (1 + len(self.model)) / 16:
                self.age, self.newcomers = self.age + 1, 0
            self.model[key] = Kept(size, self.age)

    def model_evict(self) -> None:
        """Of the coldest not used since, the first of the least worth goes; all others passed go to the end."""
        looks, passed, coldest = min(12, 1 + len(self.model) // 12), list[int](), list[int]()
        for key, kept in self.model.items():
            passed.append(key)
            if kept.used == kept.placed:
                coldest.append(key)
            if len(coldest) == looks:
                break
        goes = sorted(coldest or passed[:looks], key=lambda key: self.worths.get(key, 0.0))[0]
        for key in passed:
            kept = self.model.pop(key)
            kept.placed = kept.used
            if key != goes:
                self.model[key] = kept
        self.evicted += 1

    @initialize(worths=st.lists(WORTHS, min_size=ROOM, max_size=ROOM))
    def fill(self, worths: list[float]) -> None:
        """Begin full."""
        self.worths = dict(enumerate(worths, start=1))
        for key in self.worths:
            self.put(key, LENGTH)

    @rule(key=KEYS, length=LENGTHS)
    def put(self, key: int, length: int) -> None:
        """What is put is there, unless it is larger than anything may be; for its room the right ones went."""
        held = self.cache.put(key, b"x" * length, 1)
        self.model_put(key, room_for(1, length))
        assert (held, self.cache.peek(key) is not None) == (key in self.model, key in self.model)

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        """A read makes its key recent."""
        if self.cache.get(key) is not None:
            self.model[key].used = self.age

    @rule(key=KEYS, worth=WORTHS)
    def change(self, key: int, worth: float) -> None:
        """What counts is the worth at the moment of an eviction."""
        self.worths[key] = worth

    @rule(keys=st.lists(KEYS, max_size=6))
    def seed(self, keys: list[int]) -> None:
        """Seeding evicts nothing, whatever it is worth: what finds no room is left out."""
        for key in keys:
            size, held = ENTRY_BYTES + (1).__sizeof__() + LENGTH, self.model.get(key)
            rest = {other: kept for other, kept in self.model.items() if other != key}
            if self.model_bytes() - (held.size if held else 0) + size > BOUND:
                self.model = rest
            elif held:
                held.size = size
            else:
                self.model = {key: Kept(size, -1)} | rest
        self.cache.seed([(key, b"s" * LENGTH, 1) for key in keys])

    @invariant()
    def same_keys_in_the_same_order(self) -> None:
        """Nobody else has left, and the next to be looked at are the same."""
        stats = self.cache.stats()
        hottest_first = list(reversed(self.model.items()))
        spared = [key for key, kept in hottest_first if kept.used != kept.placed]
        assert self.cache.keys() == spared + [key for key, kept in hottest_first if kept.used == kept.placed]
        assert (stats.bytes, stats.evictions) == (self.model_bytes(), self.evicted)


TestWorthAgainstModel = WorthAgainstModel.TestCase
TestWorthAgainstModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("scanned", [1_000, 5_000])
def test_a_scan_pushes_out_few_who_come_back(scanned: int) -> None:
    """However long it is, 7 in 8 of those who wrote five times stay; without scores none of them does."""
    hot, scan = range(1, 101), range(1_000, 1_000 + scanned)
    scores = Scores()
    scored = make_cache(ManualClock(), max_bytes=BOUND, worth=scores.get)
    plain = make_cache(ManualClock(), max_bytes=BOUND)
    for now_s, chat in enumerate([*hot] * 5 + [*scan]):
        scores.touch(chat, float(now_s))
        for cache in (scored, plain):
            wanted(cache, chat)
    stayed, left = (len(set(hot) & set(cache.keys())) for cache in (scored, plain))
    assert stayed >= len(hot) * 7 / 8
    assert left == 0


def wanted(cache: Cache[int, bytes], chat: int) -> None:
    """Ask for the chat, and load it if it is not there."""
    if cache.get(chat) is None:
        cache.put(chat, b"x" * LENGTH, 1)
