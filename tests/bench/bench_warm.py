"""How long a start takes as the store gets farther away: from a warm image, without one, and one session at a time."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, thread_time
from typing import Final

import msgspec

from actors import image
from actors.cache import Cache
from actors.image import Row
from actors.meter import Meter
from actors.session_cache import SessionCacheActor, SessionCacheOptions
from actors.stores import SessionStore, StoreMeter
from actors.warm_ports import StoredImage, WarmStore
from app.runtime import SystemChance, SystemClock, Tasks
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from contracts.warming import WarmSource
from tests.bench import sessions
from tests.bench.far_firestore import far_firestore
from tests.bench.far_sqlite import FarSqlite, FarSqliteImages
from tests.bench.kit import Awaited, Effort, Samples, Table, Values, rounds_on_loop, rows
from tests.bench.kit import Row as TableRow
from tests.bench.meters import NoMeter
from tests.emulator import EmulatorMissing

MS, TRIPS, CALLS, DOCUMENTS, STALL = "ms", "round trips", "store calls", "documents", "longest stall, CPU ms"
SETTLED_S: Final = 4.5  # Firestore's mark lags 4 s behind: what is newer would be asked for again
SQLITE: Final = "SQLite"
IMAGED: Final = "from the image"
COUNTS: Final = (50, 500, 5_000)  # sessions; each number has a shard of its own
READ_ONE_BY_ONE: Final = 500  # at most: above that the rest is reckoned
KILLED: Final = (
    len(COUNTS) + 1
)  # the shard that left an image and was killed after more changes than a start asks for
ONE_BY_ONE_S: Final = 10.0  # at most, of waiting for the store
REHEARSALS: Final = 20
ONCE_S: Final = 5.0  # what waits longer is measured in the first round, and stands for the others


@dataclass(frozen=True, slots=True)
class Killed:
    """A shard of so many sessions, of which so many changed between its image and its end, and its store's distance."""

    count: int
    changed: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """A store: of a shard and a distance in ms, `open` and `images` give adapters of their own."""

    name: str
    open: Callable[[int, int, StoreMeter], SessionStore]
    images: Callable[[int, int, StoreMeter], WarmStore]


def run(effort: Effort) -> Table:
    """Start a session shard with and without an image, and read the same sessions one by one."""
    samples, against = asyncio.run(_measure(effort))
    found = rows(samples, MS, against)
    imaged = [row for row in found if row.name.endswith(IMAGED)]
    documents = max(row.values[DOCUMENTS] for row in imaged)
    stall = max(row.values[STALL] for row in imaged if _place(row) == SQLITE)
    killed = next(row for row in found if row.name.endswith("since"))
    return Table(
        name="warm",
        title="Starting a session shard at a distance from its store (sessions of about 1 kB)",
        ratio_of=MS,
        rows=found,
        reading=f"{_farthest(effort)} ms away, a shard starts from its image within {_trips(imaged, effort)} round"
        f" trips of wall time, with at most {documents:.0f} documents, however many sessions, and on SQLite it never"
        f" keeps its loop for longer than {stall:.1f} ms of CPU. After a kill, with {_killed(effort).changed} sessions"
        f" changed since the image, it asks once more: {killed.values[TRIPS]:.1f} round trips on SQLite, and"
        f" {killed.values[DOCUMENTS]:.0f} documents. Reading one by one is measured up to {READ_ONE_BY_ONE} sessions"
        f" and {ONE_BY_ONE_S:.0f} s (once, where it takes more than {ONCE_S:.0f} s), and reckoned beyond. The emulator"
        " keeps no index, and looks through all sessions of a project for those that changed: each shard has a"
        " project of its own, and still that search, not the way, is most of what it adds for 5,000. Its distance is"
        " added to the bytes of an open connection, in a process of its own.",
    )


def _farthest(effort: Effort) -> int:
    return max(latency_ms for _, latency_ms in _distances(effort))


def _trips(imaged: Sequence[TableRow], effort: Effort) -> str:
    """The most round trips of each place, from as far away as is measured."""
    most: dict[str, float] = {}
    for row in imaged:
        if row.name.endswith(f" at {_farthest(effort)} ms: {IMAGED}"):
            most[_place(row)] = max(most.get(_place(row), 0.0), row.values[TRIPS])
    return " and ".join(f"{trips:.1f} ({place})" for place, trips in most.items())


def _place(row: TableRow) -> str:
    return row.name.partition(",")[0]


async def _measure(effort: Effort) -> tuple[Samples, dict[str, str]]:
    contenders: dict[str, Awaited] = {}
    against: dict[str, str] = {}
    read = OneByOne()
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(_sqlite(effort))]
        try:
            places.append(await stack.enter_async_context(_firestore(effort)))
        except EmulatorMissing as missing:
            effort.step(f"Firestore left out: {missing}")
        for place in places:
            for count, latency_ms in _distances(effort):
                case = f"{place.name}, {count} at {latency_ms} ms"
                one_by_one, imaged = f"{case}: one by one", f"{case}: {IMAGED}"
                contenders[one_by_one] = partial(read, place, count, latency_ms)
                contenders[imaged] = partial(_starting, place, _shard(count), count, latency_ms, "image")
                against[imaged] = one_by_one
                if count == COUNTS[0]:
                    query = f"{case}: without an image"
                    contenders[query] = partial(_starting, place, len(COUNTS), count, latency_ms, "query")
                    against[query] = one_by_one
            killed = _killed(effort)
            case = f"{place.name}, {killed.count} at {killed.latency_ms} ms"
            behind = f"{case}: from the image, {killed.changed} changed since"
            contenders[behind] = partial(
                _starting, place, KILLED, killed.count, killed.latency_ms, "image", reads=3
            )
            against[behind] = f"{case}: one by one"
        for place in places:
            await _rehearse(place, effort)
        return await rounds_on_loop(contenders, effort.pick(1, 3), effort), against


async def _rehearse(place: Place, effort: Effort) -> None:
    """Start unmeasured: the emulator compiles its code as it runs, which is no cost of a start."""
    for count in sorted({count for count, _ in _distances(effort)}):
        for _ in range(effort.pick(1, REHEARSALS)):
            await _starting(place, _shard(count), count, 0, "image")


def _distances(effort: Effort) -> Sequence[tuple[int, int]]:
    """Sessions and milliseconds."""
    if effort.quick:
        return ((50, 0), (50, 20))
    return tuple((count, latency_ms) for count in COUNTS for latency_ms in (0, 20, 50))


def _killed(effort: Effort) -> Killed:
    return effort.pick(Killed(50, 20, 20), Killed(COUNTS[-1], 200, 50))


# ---------------------------------------------------------------- contenders


async def _starting(
    place: Place, shard: int, count: int, latency_ms: int, source: WarmSource, reads: int = 2
) -> Values:
    actor = _actor(place, shard, latency_ms, recent=count)
    stalls = asyncio.create_task(_longest_stall())
    await asyncio.sleep(0)
    started = perf_counter()
    await actor.start()
    spent_ms = (perf_counter() - started) * 1000
    stalls.cancel()
    report = actor.warmer.last
    await actor.stop()
    assert report is not None
    assert (report.status, report.source, report.loaded) == ("warm", source, count), report
    assert source == "query" or report.store_reads == reads, report
    stall = {STALL: await stalls}
    return _values(spent_ms, latency_ms, report.store_reads) | {DOCUMENTS: float(report.documents)} | stall


async def _longest_stall() -> float:
    """The most that this thread worked between two looks at the clock, in ms of CPU, until it is cancelled."""
    longest_s, before = 0.0, thread_time()
    try:
        while True:
            await asyncio.sleep(0.001)  # to spin would keep the store's thread from its work
            longest_s, before = max(longest_s, thread_time() - before), thread_time()
    except asyncio.CancelledError:
        return longest_s * 1000


class OneByOne:
    """Reads sessions one after another."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], float] = {}  # ms a session, by place, sessions and distance

    async def __call__(self, place: Place, count: int, latency_ms: int) -> Values:
        """What it takes for so many at that distance: measured, reckoned, or known from an earlier round."""
        latency_s = max(latency_ms / 1000, 0.001)
        read = min(count, READ_ONE_BY_ONE, int(ONE_BY_ONE_S / latency_s))
        case = (place.name, read, latency_ms)
        if case not in self._known or read * latency_s <= ONCE_S:
            self._known[case] = await _read_one_by_one(place, _shard(count), read, latency_ms) / read
        return _values(self._known[case] * count, latency_ms, count) | {DOCUMENTS: float(count)}


async def _read_one_by_one(place: Place, shard: int, count: int, latency_ms: int) -> float:
    store, chats = place.open(shard, latency_ms, NoMeter()), _chats(count, shard)
    cache: Cache[int, bytes] = Cache(
        max_bytes=1 << 26, ttl_s=3600, weigh=len, clock=SystemClock(), name="bench"
    )
    started = perf_counter()
    for chat in chats:
        for record in (await store.read_sessions((chat,))).sessions:
            cache.put(chat, record.body, record.version)
    spent_ms = (perf_counter() - started) * 1000
    await store.close()
    assert len(cache) == len(chats), "a benchmark of loading must load"
    return spent_ms


def _values(spent_ms: float, latency_ms: int, calls: int) -> dict[str, float]:
    trips = {TRIPS: spent_ms / latency_ms} if latency_ms else {}
    return {MS: spent_ms, CALLS: float(calls), **trips}


def _actor(place: Place, shard: int, latency_ms: int, recent: int) -> SessionCacheActor:
    meter = Meter()
    return SessionCacheActor(
        shard,
        store=place.open(shard, latency_ms, meter),
        images=place.images(shard, latency_ms, meter),
        meter=meter,
        clock=SystemClock(),
        chance=SystemChance(),
        background=Tasks(),
        options=SessionCacheOptions(warm_sessions=recent, warm_deadline_s=60.0),
    )


def _shard(count: int) -> int:
    """With an image; behind them come the one without, and the one that was killed."""
    return COUNTS.index(count)


def _chats(count: int, shard: int) -> range:
    first = 1 + 100_000 * shard
    return range(first, first + count)


# ---------------------------------------------------------------- places


@asynccontextmanager
async def _sqlite(effort: Effort) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder, "bench.db"))
        kept = SqliteSessionStore(database, NoMeter())  # the last adapter would close the database
        place = Place(
            SQLITE,
            lambda _, latency_ms, meter: FarSqlite.at(database, latency_ms / 1000, meter),
            lambda _, latency_ms, meter: FarSqliteImages.at(database, latency_ms / 1000, meter),
        )
        await _seed(place, effort)
        yield place
        await kept.close()


@asynccontextmanager
async def _firestore(effort: Effort) -> AsyncIterator[Place]:
    distances_ms = sorted({latency_ms for _, latency_ms in _distances(effort)})
    async with far_firestore(distances_ms, range(KILLED + 1)) as there:
        place = Place("Firestore emulator", there.store, there.images)
        await _seed(place, effort)
        await there.exercise(_shard(max(count for count, _ in _distances(effort))))
        yield place


async def _seed(place: Place, effort: Effort) -> None:
    """Write the sessions and their images, as if all of them had been in L1."""
    killed, written = _killed(effort), dict[int, list[Row]]()
    counts = {_shard(count): count for count, _ in _distances(effort)} | {KILLED: killed.count}
    for shard, count in counts.items():
        effort.step(f"{place.name}: {count} sessions and their image")
        written[shard] = await _write(place, count, shard)
    await asyncio.sleep(SETTLED_S)
    for shard, records in written.items():
        await _write_image(place.images(shard, 0, NoMeter()), shard, records)
    await _write(place, COUNTS[0], len(COUNTS))
    await _change(place, written[KILLED][: killed.changed], KILLED)


async def _write(place: Place, count: int, shard: int) -> list[Row]:
    store, chats = place.open(shard, 0, NoMeter()), _chats(count, shard)
    written, talk = list[Row](), sessions.Talk()
    for first in range(0, count, 20):
        made = [talk.record(chat, shard) for chat in chats[first : first + 20]]
        versions = await asyncio.gather(*(store.write_session(record, "seed") for record in made))
        written += [Row(each.chat, new, 0, 0.0, each.body) for each, new in zip(made, versions, strict=True)]
    await store.close()
    return written


async def _change(place: Place, rows: Sequence[Row], shard: int) -> None:
    """Write these sessions anew, past their image."""
    store, talk = place.open(shard, 0, NoMeter()), sessions.Talk()
    for row in rows:
        record = msgspec.structs.replace(talk.record(row.chat, shard), version=row.version)
        await store.write_session(record, "changed")
    await store.close()


async def _write_image(images: WarmStore, shard: int, written: list[Row]) -> None:
    packed = list(image.pack_blobs(written))
    manifest = image.Manifest(
        actor=SessionCacheActor.name,
        shard=shard,
        shards=1,
        generation=1,
        watermark=(await images.changed_sessions(shard, 0, 1)).watermark,
        made_at=SystemClock().unix_s(),
        blobs=tuple(note for note, _ in packed),
    )
    stored = StoredImage(manifest=image.pack_manifest(manifest), blobs=tuple(blob for _, blob in packed))
    await images.write_image(f"{SessionCacheActor.name}:{shard}", stored)
    await images.close()
