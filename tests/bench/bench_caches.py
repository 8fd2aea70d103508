"""What a read and a new entry cost in L1 and in the caches that others use, as ratios in the same run."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from time import process_time_ns
from typing import Any, Final

from app.lazily import load
from app.runtime import SystemClock
from tests.bench.bench_cache import KEYS, NS, VALUE, ExpiringDict, firstlight_cache, key_of, ticking
from tests.bench.kit import Contender, Effort, Table, Values, rounds, rows

READS: Final = 20_000
HOUR_S: Final = 3600
OURS, PLAIN, TTL_CACHE = "firstlight", "dict + expiry", "cachetools.TTLCache"

Calls = tuple[Callable[[str], Any], Callable[[str], Any]]
"""How a cache gets and sets by key; what gives an awaitable is awaited."""


def run(effort: Effort) -> Table:
    """Read keys that are all there, then set keys that are new; a package that is not installed is left out."""
    contenders: dict[str, Contender] = {}
    with ticking() as (clock, runner):  # its end ends what the caches leave running
        for name, make in _caches(clock).items():
            try:
                get, put = make()
            except ModuleNotFoundError as missing:
                effort.step(f"{name} left out: {missing}")
                continue
            contenders[f"get: {name}"] = partial(_cost, runner, get, put, _hits())
            contenders[f"set: {name}"] = partial(_cost, runner, put, put, _new())
        samples = rounds(contenders, effort.pick(3, 11), effort)
    found = rows(samples, NS, {name: _baseline(name) for name in contenders if name != _baseline(name)})
    return Table(
        name="caches",
        title=f"L1 beside other caches, in nanoseconds a call ({KEYS:,} keys)",
        ratio_of=NS,
        rows=found,
        reading=_reading({row.name: row.values[NS] for row in found}),
    )


def _reading(ns: dict[str, float]) -> str:
    ours = ns[f"get: {OURS}"]
    text = f"A hit of L1 costs {ours / ns[f'get: {PLAIN}']:.2f} times a dict with an expiry check"
    if (theirs := ns.get(f"get: {TTL_CACHE}")) is None:
        return f"{text}."
    return f"{text}, and a {TTL_CACHE} (of cachetools {version('cachetools')}) {theirs / ours:.1f} times a hit of L1."


# ---------------------------------------------------------------- caches


def _plain() -> Calls:
    cache = ExpiringDict()
    return cache.get, cache.put


def _ours(clock: SystemClock) -> Calls:
    cache = firstlight_cache(clock)
    return cache.get, lambda key: cache.put(key, VALUE, 1)


def _cachetools(kind: str, **more: Any) -> Calls:
    cache = load(f"cachetools:{kind}")(KEYS, **more)
    return cache.get, lambda key: cache.__setitem__(key, VALUE)


def _theine() -> Calls:
    cache, ttl = load("theine:Cache")(KEYS), load("datetime:timedelta")(seconds=HOUR_S)
    return cache.get, lambda key: cache.set(key, VALUE, ttl)


def _cashews() -> Calls:
    cache = load("cashews:Cache")()
    cache.setup("mem://", size=KEYS)
    return cache.get, lambda key: cache.set(key, VALUE, expire=HOUR_S)


def _aiocache() -> Calls:
    cache = load("aiocache:SimpleMemoryCache")()  # without a bound
    return cache.get, lambda key: cache.set(key, VALUE, ttl=HOUR_S)


def _caches(clock: SystemClock) -> dict[str, Callable[[], Calls]]:
    return {
        PLAIN: _plain,
        OURS: partial(_ours, clock),
        "cachetools.LRUCache": partial(_cachetools, "LRUCache"),
        TTL_CACHE: partial(_cachetools, "TTLCache", ttl=HOUR_S),
        "theine": _theine,
        "cashews": _cashews,
        "aiocache": _aiocache,
    }


# ---------------------------------------------------------------- helpers


def _hits() -> list[str]:
    draw = random.Random(1)
    return [key_of(draw.randrange(KEYS)) for _ in range(READS)]


def _new() -> list[str]:
    return [key_of(index) for index in range(READS // 5)]  # each round starts with keys long evicted


def _cost(
    runner: asyncio.Runner, call: Callable[[str], Any], put: Callable[[str], Any], keys: list[str]
) -> Values:
    return runner.run(_measured(call, put, keys))


async def _measured(call: Callable[[str], Any], put: Callable[[str], Any], keys: list[str]) -> Values:
    waits = False
    for index in range(KEYS):
        given = put(key_of(index))
        if waits := isinstance(given, Awaitable):
            await given
    started = process_time_ns()
    if waits:
        for key in keys:
            await call(key)
    else:
        for key in keys:
            call(key)
    return {NS: (process_time_ns() - started) / len(keys)}


def _baseline(name: str) -> str:
    return f"{name.partition(':')[0]}: {PLAIN}"
