"""The L1 cache: what an actor answers from without asking the store, never older than a stated bound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from actors.cache_entry import JITTER, Entry, Floor
from actors.cache_shelf import Shelf
from actors.cache_values import CacheStats, Versioned
from actors.flight import FlightError, SingleFlight
from actors.ports import COARSE_S, Monotonic

__all__ = ["Cache", "LoadOvertaken", "Loader"]

K = TypeVar("K", bound=int | str)
V = TypeVar("V")

Loader = Callable[[K], Awaitable[Versioned[V]]]
"""Reads one key from the store within a deadline of its own; raises if it can't, as absence is an answer."""

MAX_TRIES: Final = 3
"""Loader calls for one load: each write during a load can outdate it, and a reader's wait must end."""

RETRY_S: Final = 1.0
"""Pause after a failed refresh, doubled with each further one, so that reads do not hammer a sick store."""

RETRY_CAP_S: Final = 30.0
"""Longest pause between failed refreshes: a store that came back is noticed within it."""


class LoadOvertaken(FlightError):
    """Writes outdated every result of a load; the key is busy, ask again."""

    retry = True


class Cache(Shelf[K, V]):
    """A cache for one event loop: bounded in bytes, single-flight, stale-while-revalidate, version guard.

    Values are bytes, tuples or frozen Structs, so that no reader can change what another gets.
    A value is fresh for `ttl_s` (plus or minus 10 %, by key), then stale for `stale_s`, then gone; an absence
    is held for `negative_ttl_s` (same jitter). Ages count from the moment the loader was called.
    When it is full the key goes that was not used for long (`Shelf`); with `worth`, the one of the least worth among
    a few such. `weigh` gives a value's bytes; `max_loads` bounds the loads under way.

    A hit reads the clock's `coarse_s`, all else its `monotonic_s`: a value may be a hit for COARSE_S too long, which
    `max_age_s` covers, and while nobody renews `coarse_s` each read asks for the exact time (decision 0017).
    """

    __slots__ = (
        "_expirations",
        "_flights",
        "_hits",
        "_load_failures",
        "_loads",
        "_misses",
        "_negative_hits",
        "_stale_hits",
        "name",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        ttl_s: float,
        negative_ttl_s: float = 30.0,
        stale_s: float = 0.0,
        weigh: Callable[[V], int],
        clock: Monotonic,
        worth: Callable[[K], float] | None = None,
        name: str,
        max_loads: int = 1_000,
    ) -> None:
        super().__init__(
            max_bytes=max_bytes,
            ttl_s=ttl_s,
            negative_ttl_s=negative_ttl_s,
            stale_s=stale_s,
            weigh=weigh,
            clock=clock,
            worth=worth,
        )
        self.name = name
        self._flights: SingleFlight[K, Versioned[V]] = SingleFlight(max_running=max_loads, name=name)
        self._hits = 0.0  # whole to 2**53; adding to an int of that size costs a hit 10 ns more
        self._stale_hits = self._negative_hits = self._misses = 0
        self._loads = self._load_failures = self._expirations = 0

    @property
    def max_age_s(self) -> float:
        """The staleness bound: no value is served at a greater age, in seconds."""
        return self._ttl_s * (1.0 + JITTER) + max(self._stale_s, COARSE_S)

    def get(self, key: K, refresh: Loader[K, V] | None = None) -> Versioned[V] | None:
        """Give the value, or its known absence (`value` None), or None when nothing is known; never waits.

        A stale value is given at once, and `refresh` starts to renew it beside the caller, in the running
        loop; without `refresh` it is served until its end. What is given is frozen and costs no allocation.
        """
        try:
            entry = self._entries[key]  # cheaper than `.get` on a hit; a miss pays for a load anyway
        except KeyError:
            self._misses += 1
            return None
        if self._clock.coarse_s < entry.fresh_until:
            self._hits += 1.0
            entry.used = self._age
            return entry.given
        return self._get_late(key, entry, refresh)

    async def get_or_load(self, key: K, loader: Loader[K, V]) -> Versioned[V]:
        """Give what `get` gives, else what `load` gives; raises as `load`."""
        entry = self.get(key, loader)
        return entry if entry is not None else await self.load(key, loader)

    async def load(self, key: K, loader: Loader[K, V]) -> Versioned[V]:
        """Join the key's load or start one, whatever is held; counts as no read.

        The load outlives its readers: it runs in a task of its own and publishes also when all are cancelled.
        Raises the loader's error to every reader (an error is never held, and never an absence),
        TooManyFlights, LoadOvertaken, FlightCancelled, or FlightsClosed after `close`.
        """
        loaded = await self._flights.wait(self._flights.running(key) or self._start(key, loader))
        held = self.peek(key)  # written between the load's end and this reader's turn
        return held if held is not None and held.version > loaded.version else loaded

    def stats(self) -> CacheStats:
        """Count what happened so far and what is held now."""
        return CacheStats(
            hits=int(self._hits),
            stale_hits=self._stale_hits,
            negative_hits=self._negative_hits,
            misses=self._misses,
            loads=self._loads,
            load_failures=self._load_failures,
            evictions=self._evictions,
            expirations=self._expirations,
            rejected=self._rejected,
            oversized=self._oversized,
            entries=len(self._entries),
            bytes=self._bytes,
        )

    async def close(self, deadline_s: float = 5.0) -> int:
        """Cancel the loads and wait for their end; gives how many outlived the deadline. Idempotent.

        What is held stays readable, so that a warm image can still be written.
        """
        return await self._flights.close(deadline_s)

    def _get_late(self, key: K, entry: Entry[V], refresh: Loader[K, V] | None) -> Versioned[V] | None:
        """Answer by the exact time from an entry that is absent or stale, expired, or fresh after all."""
        self._renew(entry)
        now, fresh_until = self._clock.monotonic_s(), self._fresh_until(key, entry)
        if now >= fresh_until + self._stale_for(entry):
            self._drop(key)
            self._expirations += 1
            self._misses += 1
            return None
        entry.used = self._age
        if entry.given.value is None:
            self._negative_hits += 1
        elif now < fresh_until:
            self._hits += 1.0
            entry.fresh_until = fresh_until  # the hits to come need not look again
        else:
            self._stale_hits += 1
            if refresh is not None and now >= entry.refresh_at:
                self._refresh(key, refresh)
        return entry.given

    def _refresh(self, key: K, loader: Loader[K, V]) -> None:
        """Start a load that nobody waits for, unless one runs; without room a later read tries again."""
        if key not in self._floors and self._flights.has_room():
            self._start(key, loader)

    def _start(self, key: K, loader: Loader[K, V]) -> asyncio.Task[Versioned[V]]:
        held = self.peek(key)
        floor = Floor(held.version if held is not None else 0)
        task = self._flights.start(key, lambda: self._load(key, loader, floor))
        self._floors[key] = floor  # from here on, writes of the key bind the load
        task.add_done_callback(lambda ended: self._load_ended(key, floor, ended))
        return task

    async def _load(self, key: K, loader: Loader[K, V], floor: Floor) -> Versioned[V]:
        """Call the loader until its result is not older than what was written meanwhile, and publish it."""
        for _ in range(MAX_TRIES):
            self._loads += 1
            read_at, lowest, floor.void = self._clock.monotonic_s(), floor.version, False
            loaded = await loader(key)
            if _stands(loaded, floor, lowest):
                self._publish(key, loaded, read_at)
                return loaded
            self._rejected += 1
            held = self.peek(key)
            if held is not None:  # at the floor or above: nothing below it gets in while the load runs
                self._defer_refresh(key)
                return held
        raise LoadOvertaken(f"{self.name}: {MAX_TRIES} loads of a key were overtaken by writes")

    def _publish(self, key: K, loaded: Versioned[V], read_at: float) -> None:
        self._hold(key, self._entries.get(key), loaded, self._size(key, loaded.value), read_at)

    def _load_ended(self, key: K, floor: Floor, task: asyncio.Task[Versioned[V]]) -> None:
        if self._floors.get(key) is floor:
            del self._floors[key]
        if task.cancelled() or task.exception() is not None:
            self._load_failures += 1
            self._defer_refresh(key)

    def _defer_refresh(self, key: K) -> None:
        """Keep a stale entry from being refreshed again at once."""
        entry = self._entries.get(key)
        if entry is None:
            return
        pause_s = min(RETRY_S * 2.0 ** min(entry.failures, 10), RETRY_CAP_S)
        entry.refresh_at = self._clock.monotonic_s() + pause_s
        entry.failures += 1


def _stands(loaded: Versioned[V], floor: Floor, lowest: int) -> bool:
    """Say whether a result is as new as all that is known; an absence needs no version if no write came."""
    if floor.void:
        return False
    return loaded.version >= floor.version or (loaded.value is None and floor.version == lowest)
