"""What a read and a new entry cost in L1, as ratios to a dict with an expiry check in the same run."""

import random
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic, perf_counter_ns

from actors.cache import Cache

KEYS = 1_000  # the warm sessions and skills of one actor: few enough that the processor's caches hold them
READS = 100_000
ROUNDS = 7  # interleaved, the best of each counts: other work on the machine only ever adds time
VALUE = b"v" * 512

Read = Callable[[str], object]
Write = Callable[[str], object]


class ExpiringDict:
    """The least that a cache can be: a dict and an expiry check."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, float]] = {}

    def get(self, key: str) -> bytes | None:
        """Give the value until it expires."""
        entry = self.entries.get(key)
        if entry is None or monotonic() >= entry[1]:
            return None
        return entry[0]

    def put(self, key: str) -> None:
        """Hold a value for an hour, for ever in memory."""
        self.entries[key] = (VALUE, monotonic() + 3600)


class HandLru:
    """What is usually written by hand: LRU by count with a time to live, no bytes, versions or counters."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Give the value until it expires and make it recent."""
        entry = self.entries.get(key)
        if entry is None or monotonic() >= entry[1]:
            return None
        self.entries.move_to_end(key)
        return entry[0]

    def put(self, key: str) -> None:
        """Hold a value for an hour; the coldest goes."""
        self.entries[key] = (VALUE, monotonic() + 3600)
        if len(self.entries) > KEYS:
            self.entries.popitem(last=False)


def firstlight_cache() -> Cache[str, bytes]:
    """Make a cache that the keys of the benchmark just fill."""
    probe: Cache[str, bytes] = Cache(max_bytes=1 << 20, ttl_s=3600, weigh=len, clock=monotonic, name="probe")
    probe.put(key_of(0), VALUE, 1)
    bound = KEYS * probe.stats().bytes
    return Cache(max_bytes=bound, ttl_s=3600, weigh=len, clock=monotonic, name="bench")


def key_of(index: int) -> str:
    """Make a key of constant length."""
    return f"session:{index:012d}"


def best_ns(contenders: dict[str, Read], keys: list[str]) -> dict[str, float]:
    """Give the nanoseconds a call of each contender over `keys`, the best of interleaved rounds."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            started = perf_counter_ns()
            for key in keys:
                call(key)
            best[name] = min(best[name], (perf_counter_ns() - started) / len(keys))
    return best


def hits() -> dict[str, float]:
    """Measure reads that all hit."""
    plain = dict.fromkeys(map(key_of, range(KEYS)), VALUE)
    expiring, lru, cache = ExpiringDict(), HandLru(), firstlight_cache()
    for key in plain:
        expiring.put(key)
        lru.put(key)
        cache.put(key, VALUE, 1)
    draw = random.Random(1)
    reads = [key_of(draw.randrange(KEYS)) for _ in range(READS)]
    found = best_ns(
        {"dict": plain.get, "dict + expiry": expiring.get, "LRU by hand": lru.get, "firstlight": cache.get},
        reads,
    )
    assert cache.stats().hits == ROUNDS * READS, "a benchmark of hits must hit"
    return found


def new_entries() -> dict[str, float]:
    """Measure writes of new keys, each of which evicts where there is a bound."""
    expiring, lru, cache = ExpiringDict(), HandLru(), firstlight_cache()
    keys = [key_of(index) for index in range(READS // 5)]  # each round starts with keys long evicted
    found = best_ns(
        {
            "dict + expiry": expiring.put,
            "LRU by hand": lru.put,
            "firstlight": lambda key: cache.put(key, VALUE, 1),
        },
        keys,
    )
    assert cache.stats().evictions == ROUNDS * len(keys) - KEYS, "a benchmark of evictions must evict"
    return found


def main() -> None:
    """Print both tables."""
    for title, found in (("hit", hits()), ("new entry, with eviction", new_entries())):
        print(f"\n{title:<26}{'ns':>8}{'to dict + expiry':>20}")
        for name, cost_ns in found.items():
            print(f"  {name:<24}{cost_ns:>8.0f}{cost_ns / found['dict + expiry']:>20.2f}")


if __name__ == "__main__":
    main()
