"""What a read and a new entry cost in L1, as ratios to a dict with an expiry check in the same run."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic, process_time_ns

from actors.cache import Cache
from app.runtime import SystemClock
from tests.bench.kit import Contender, Effort, Table, Values, rounds, rows

KEYS = 1_000  # the warm sessions and skills of one actor: few enough that the processor's caches hold them
READS = 100_000
NS = "ns"
VALUE = b"v" * 512


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


def firstlight_cache(clock: SystemClock) -> Cache[str, bytes]:
    """Make a cache that the keys of the benchmark just fill."""
    probe: Cache[str, bytes] = Cache(max_bytes=1 << 20, ttl_s=3600, weigh=len, clock=clock, name="probe")
    probe.put(key_of(0), VALUE, 1)
    bound = KEYS * probe.stats().bytes
    return Cache(max_bytes=bound, ttl_s=3600, weigh=len, clock=clock, name="bench")


@contextmanager
def ticking() -> Iterator[tuple[SystemClock, asyncio.Runner]]:
    """The clock of production, renewed by a loop that turns between two measurements."""
    with asyncio.Runner() as runner:
        clock = SystemClock()
        runner.run(_start(clock))
        yield clock, runner
        clock.stop()


def key_of(index: int) -> str:
    """Make a key of constant length."""
    return f"session:{index:012d}"


def run(effort: Effort) -> Table:
    """Measure reads that all hit, then new entries, each of which evicts where there is a bound."""
    times = effort.pick(3, 15)
    with ticking() as (clock, runner):
        contenders = {
            name: partial(_in_loop, runner, cost)
            for name, cost in {**_hits(clock), **_new_entries(clock)}.items()
        }
        samples = rounds(contenders, times, effort)
    found = rows(samples, NS, {name: _baseline(name) for name in contenders if name != _baseline(name)})
    by_name = {row.name: row for row in found}
    return Table(
        name="cache",
        title=f"L1 in nanoseconds a call ({KEYS:,} keys)",
        ratio_of=NS,
        rows=found,
        reading=f"A hit costs {by_name['hit: firstlight'].ratio or 0:.2f} times a dict with an expiry check,"
        f" a new entry with its eviction {by_name['new: firstlight'].ratio or 0:.1f} times one that never evicts;"
        " for that it is bounded in bytes, versioned and counted.",
    )


def _hits(clock: SystemClock) -> dict[str, Contender]:
    plain = dict.fromkeys(map(key_of, range(KEYS)), VALUE)
    expiring, lru, cache = ExpiringDict(), HandLru(), firstlight_cache(clock)
    for key in plain:
        expiring.put(key)
        lru.put(key)
        cache.put(key, VALUE, 1)
    draw = random.Random(1)
    reads = [key_of(draw.randrange(KEYS)) for _ in range(READS)]
    calls: dict[str, Callable[[str], object]] = {
        "dict + expiry": expiring.get,
        "dict": plain.get,
        "LRU by hand": lru.get,
        "firstlight": cache.get,
    }
    return {f"hit: {name}": partial(_cost, call, reads) for name, call in calls.items()}


def _new_entries(clock: SystemClock) -> dict[str, Contender]:
    expiring, lru, cache = ExpiringDict(), HandLru(), firstlight_cache(clock)
    keys = [key_of(index) for index in range(READS // 5)]  # each round starts with keys long evicted
    calls: dict[str, Callable[[str], object]] = {
        "dict + expiry": expiring.put,
        "LRU by hand": lru.put,
        "firstlight": lambda key: cache.put(key, VALUE, 1),
    }
    return {f"new: {name}": partial(_cost, call, keys) for name, call in calls.items()}


async def _start(clock: SystemClock) -> None:
    clock.start()


def _in_loop(runner: asyncio.Runner, cost: Contender) -> Values:
    async def measure() -> Values:
        await asyncio.sleep(0)  # what is due comes first
        return cost()

    return runner.run(measure())


def _cost(call: Callable[[str], object], keys: list[str]) -> Values:
    started = process_time_ns()
    for key in keys:
        call(key)
    return {NS: (process_time_ns() - started) / len(keys)}


def _baseline(name: str) -> str:
    return f"{name.partition(':')[0]}: dict + expiry"
