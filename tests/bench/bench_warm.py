"""How long warming takes as the store gets farther away, beside reading one session after another."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

from actors.cache import Cache
from actors.meter import Meter
from actors.ports import SessionBatch, SessionStore, StoreMeter
from actors.session_cache import SessionCacheActor, SessionCacheOptions
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from app.runtime import SystemChance, SystemClock, Tasks
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_warm import FirestoreWarmStore
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.store.sqlite_warm import SqliteWarmStore
from tests.bench import sessions
from tests.bench.kit import Awaited, Effort, Samples, Table, Values, rounds_on_loop, rows
from tests.bench.meters import NoMeter
from tests.emulator import EmulatorMissing, start_emulator
from tests.faultproxy import Fault, FaultProxy

MS, TRIPS, CALLS = "ms", "round trips", "store calls"
FOR_EVER: Final = 1 << 60
SQLITE: Final = "SQLite"


class FarSqlite(SqliteSessionStore):
    """SQLite as far away as a server: each read waits for `latency_s` first."""

    latency_s = 0.0

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().recent_sessions(shard, limit)

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().read_sessions(chats)


class FarSqliteImages(SqliteWarmStore):
    """The same of the warm image."""

    latency_s = 0.0

    async def read_image(self, name: str) -> StoredImage | None:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().read_image(name)

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().changed_sessions(shard, since, limit)


@dataclass(frozen=True, slots=True)
class Place:
    """A store at a distance that can be chosen; `open` and `images` give adapters of their own on one database."""

    name: str
    open: Callable[[float, StoreMeter], SessionStore]
    images: Callable[[float, StoreMeter], WarmStore]


def run(effort: Effort) -> Table:
    """Warm a session shard, in one query, and read the same sessions one by one."""
    samples, against = asyncio.run(_measure(effort))
    found = rows(samples, MS, against)
    ours = [row for row in found if row.against]
    calls = max(row.values[CALLS] for row in ours)
    trips = max(row.values[TRIPS] for row in ours if TRIPS in row.values and row.name.startswith(SQLITE))
    least = min(row.ratio for row in ours if row.ratio is not None)
    return Table(
        name="warm",
        title="Warming a session shard at a distance from its store",
        ratio_of=MS,
        rows=found,
        reading=f"Warming is {calls:.0f} call of the store, however many sessions: at most {trips:.1f} round trips"
        f" of wall time on SQLite, at best {least:.4f} of what one read after another takes. In the emulator's rows"
        " its own work outweighs the way to it.",
    )


async def _measure(effort: Effort) -> tuple[Samples, dict[str, str]]:
    contenders: dict[str, Awaited] = {}
    against: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(_sqlite(effort))]
        try:
            places.append(await stack.enter_async_context(_firestore(effort)))
        except EmulatorMissing as missing:
            effort.step(f"Firestore left out: {missing}")
        for place in places:
            for count, latency_ms in _distances(effort, place.name):
                case = f"{place.name}, {count} at {latency_ms} ms"
                one_by_one, warming = f"{case}: one by one", f"{case}: warming"
                contenders[one_by_one] = partial(_one_by_one, place, count, latency_ms)
                contenders[warming] = partial(_warming, place, count, latency_ms)
                against[warming] = one_by_one
        return await rounds_on_loop(contenders, effort.pick(1, 3), effort), against


def _distances(effort: Effort, place: str) -> Sequence[tuple[int, int]]:
    """Sessions and milliseconds; what takes over half a minute one by one is left out."""
    if effort.quick:
        return ((50, 0), (50, 20))
    near = ((50, 0), (50, 20), (50, 50), (500, 0), (500, 20))
    return (*near, (500, 50)) if place == SQLITE else near


# ---------------------------------------------------------------- contenders


async def _warming(place: Place, count: int, latency_ms: int) -> Values:
    meter = Meter()
    actor = SessionCacheActor(
        0,
        store=place.open(latency_ms / 1000, meter),
        images=place.images(latency_ms / 1000, meter),
        meter=meter,
        clock=SystemClock(),
        chance=SystemChance(),
        background=Tasks(),
        options=SessionCacheOptions(warm_sessions=count),
    )
    started = perf_counter()
    await actor.start()
    spent_ms = (perf_counter() - started) * 1000
    report = actor.warmer.last
    await actor.stop()
    assert report is not None
    assert (report.status, report.loaded) == ("warm", count), report
    return _values(spent_ms, latency_ms, report.store_reads)


async def _one_by_one(place: Place, count: int, latency_ms: int) -> Values:
    store = place.open(latency_ms / 1000, NoMeter())
    cache: Cache[int, bytes] = Cache(max_bytes=1 << 26, ttl_s=3600, weigh=len, clock=monotonic, name="bench")
    started = perf_counter()
    for chat in range(1, count + 1):
        for record in (await store.read_sessions((chat,))).sessions:
            cache.put(chat, record.body, record.version)
    spent_ms = (perf_counter() - started) * 1000
    await store.close()
    assert len(cache) == count, "a benchmark of loading must load"
    return _values(spent_ms, latency_ms, count)


def _values(spent_ms: float, latency_ms: int, calls: int) -> Values:
    trips = {TRIPS: spent_ms / latency_ms} if latency_ms else {}
    return {MS: spent_ms, CALLS: float(calls), **trips}


# ---------------------------------------------------------------- places


@asynccontextmanager
async def _sqlite(effort: Effort) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder, "bench.db"))
        kept = SqliteSessionStore(database, NoMeter())  # the last adapter would close the database
        await _seed(kept, effort)

        def far(latency_s: float, meter: StoreMeter) -> SessionStore:
            store = FarSqlite(database, meter)
            store.latency_s = latency_s
            return store

        def images(latency_s: float, meter: StoreMeter) -> WarmStore:
            store = FarSqliteImages(database, meter)
            store.latency_s = latency_s
            return store

        yield Place(SQLITE, far, images)
        await kept.close()


@asynccontextmanager
async def _firestore(effort: Effort) -> AsyncIterator[Place]:
    """Google's emulator behind a proxy that holds each call back."""
    with tempfile.TemporaryFile() as log:
        emulator = start_emulator(log)
        proxy = FaultProxy(emulator.host)
        await proxy.start()
        database = FirestoreDatabase(f"bench-{secrets.token_hex(8)}", emulator_host=proxy.host)
        await database.open()
        kept = FirestoreSessionStore(database, NoMeter())
        await _seed(kept, effort)
        await kept.recent_sessions(0, 500)  # the emulator's first query loads classes

        def far(latency_s: float, meter: StoreMeter) -> SessionStore:
            proxy.heal()
            if latency_s:
                proxy.inject(Fault("delay", times=FOR_EVER, seconds=latency_s))
            return FirestoreSessionStore(database, meter)

        yield Place("Firestore emulator", far, lambda _, meter: FirestoreWarmStore(database, meter))
        await kept.close()
        await proxy.stop()
        emulator.stop()


async def _seed(store: SessionStore, effort: Effort) -> None:
    count = max(count for count, _ in _distances(effort, SQLITE))
    for first in range(1, count + 1, 50):
        chats = range(first, min(first + 50, count + 1))
        await asyncio.gather(*(store.write_session(sessions.record(chat), "seed") for chat in chats))
