"""What the tests of L1 share: a clock that tests move, small caches, a loader that answers when told to."""

import asyncio
from collections.abc import Callable

from actors.cache import Cache
from actors.cache_entry import ENTRY_BYTES, spread
from actors.cache_values import Versioned
from actors.ports import Monotonic

TTL_S = 100.0
NEGATIVE_TTL_S = 10.0
STALE_S = 50.0
ROOM = 1 << 20
FRESH_S = TTL_S * spread(1)  # how long key 1 is fresh

Reader = asyncio.Task[Versioned[bytes]]


class ManualClock(Monotonic):
    """A clock that stands still until a test moves it; its coarse time can lag behind, or not be renewed at all."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.lag_s = 0.0

    def monotonic_s(self) -> float:
        return self.now

    @property
    def coarse_s(self) -> float:
        return self.now - self.lag_s


def make_cache(
    clock: Monotonic,
    *,
    max_bytes: int = ROOM,
    stale_s: float = STALE_S,
    max_loads: int = 2_000,
    worth: Callable[[int], float] | None = None,
) -> Cache[int, bytes]:
    """Make a cache of bytes by number."""
    return Cache(
        max_bytes=max_bytes,
        ttl_s=TTL_S,
        negative_ttl_s=NEGATIVE_TTL_S,
        stale_s=stale_s,
        weigh=len,
        clock=clock,
        worth=worth,
        name="test",
        max_loads=max_loads,
    )


def make_untyped_cache(clock: Monotonic) -> Cache[str, object]:
    """Make a cache that lets a test put anything."""
    return Cache(max_bytes=ROOM, ttl_s=TTL_S, weigh=lambda value: 10, clock=clock, name="any")


def room_for(entries: int, value_bytes: int) -> int:
    """Give the bound that just holds so many entries with values of that size and small int keys."""
    return entries * (ENTRY_BYTES + (1).__sizeof__() + value_bytes)


class GatedLoader:
    """A store whose every read waits for the test to answer it, in the order of the calls."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.waiting: list[asyncio.Future[Versioned[bytes]]] = []

    async def __call__(self, key: int) -> Versioned[bytes]:
        self.keys.append(key)
        answer: asyncio.Future[Versioned[bytes]] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        return await answer

    def answer(self, value: bytes | None, version: int) -> None:
        """Let the oldest waiting read return this."""
        self.waiting.pop(0).set_result(Versioned(value, version))

    def fail(self, error: BaseException) -> None:
        """Let the oldest waiting read raise this."""
        self.waiting.pop(0).set_exception(error)


async def settle() -> None:
    """Let everything run that can run without the test doing something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn just until the condition holds, so that a test can act in that very turn."""
    for _ in range(10):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("what the test waited for did not come")


class StoreDown(Exception):
    """The store did not answer."""


def read(cache: Cache[int, bytes], loader: GatedLoader, key: int = 1) -> Reader:
    """Start a reader."""
    return asyncio.create_task(cache.get_or_load(key, loader))


def held(cache: Cache[int, bytes], key: int = 1) -> tuple[bytes | None, int] | None:
    """Give what the cache serves for the key."""
    entry = cache.peek(key)
    return None if entry is None else (entry.value, entry.version)


async def stale_cache(clock: ManualClock) -> Cache[int, bytes]:
    """Make a cache whose key 1 has just become stale at version 5."""
    cache = make_cache(clock)
    cache.put(1, b"old", 5)
    clock.now += FRESH_S
    return cache
