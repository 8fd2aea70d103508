"""What reading sessions from a distant Firestore costs: Google's client, and documents straight to Structs."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter, process_time, thread_time
from typing import Final

import msgspec
from google.cloud.firestore import AsyncClient

from actors.stores import SessionRecord
from actors.warm_ports import StoredImage
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_attempts import Limits
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_docs import session_change
from app.store.firestore_warm import FirestoreWarmStore, image_changes
from tests.app.store.firestore_rig import google_client
from tests.bench.far import far
from tests.bench.kit import Awaited, Effort, Samples, Table, Values, rounds_on_loop, rows
from tests.bench.meters import NoMeter
from tests.emulator import EmulatorMissing, start_emulator

PROJECT: Final = "bench"
ROUND_TRIP_MS: Final = 40  # another region's, or a container's far from its database
BODY: Final = bytes(1_500)  # a session of a few messages: 5,000 fit into an image
IN_A_BLOB: Final = 600
PATIENT: Final = Limits(attempt_s=30.0, budget_s=60.0)  # the emulator takes seconds for thousands
MS, CPU, TRIPS, STALL = "ms", "CPU us/document", "round trips", "longest stall, CPU ms"
GOOGLES: Final = "get_all and to_dict"

_packed: Final = msgspec.msgpack.Encoder()
_unpacked: Final = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads the same sessions, all as far away from them."""

    google: AsyncClient
    sessions: FirestoreSessionStore
    warm: FirestoreWarmStore

    async def googles(self, count: int) -> int:
        """Google's own client, in one BatchGet."""
        names = [self.google.document(f"telegram_sessions/{chat}") for chat in range(1, count + 1)]
        return len([document.to_dict() async for document in self.google.get_all(names)])

    async def by_key(self, count: int) -> int:
        """In parallel chunks of 250."""
        return len((await self.sessions.read_sessions(range(1, count + 1))).sessions)

    async def recent(self, count: int) -> int:
        """In one query."""
        return len((await self.sessions.recent_sessions(0, count)).sessions)

    async def changed(self, count: int) -> int:
        """In one query."""
        return len((await self.warm.changed_sessions(0, 0, count)).sessions)

    async def image(self, count: int) -> int:
        """In as many documents as their bytes need, and decoded."""
        image = await self.warm.read_image(_image(count))
        assert image is not None
        return sum(len(_unpacked.decode(blob)) for blob in image.blobs)


def run(effort: Effort) -> Table:
    """Read 50, 500 and 5,000 sessions in each of the ways."""
    counts = effort.pick((50, 500), (50, 500, 5_000))
    try:
        samples = asyncio.run(_measure(counts, effort))
    except EmulatorMissing as missing:
        effort.step(f"left out: {missing}")
        samples = {}
    against = {name: f"{name.partition(':')[0]}: {GOOGLES}" for name in samples if GOOGLES not in name}
    found = Table(
        name="decode",
        title=f"Reading sessions from a Firestore that is {ROUND_TRIP_MS} ms away",
        ratio_of=CPU,
        rows=rows(samples, CPU, against),
        reading="Left out: there is no Firestore emulator here.",
    )
    return replace(found, reading=_reading(found, counts[-1])) if found.rows else found


def _reading(table: Table, most: int) -> str:
    changed, image = table.row(f"{most:,}: changed_sessions"), table.row(f"{most:,}: warm image")
    return (
        f"A session read as a document costs {changed.ratio or 0:.2f} of what Google's client takes for it, and as a"
        f" part of a warm image {image.ratio or 0:.3f}. {most:,} sessions are there after"
        f" {changed.values[TRIPS]:.1f} and {image.values[TRIPS]:.1f} round trips, and hold up the event loop for"
        f" {changed.values[STALL]:.1f} and {image.values[STALL]:.1f} ms of CPU at most."
    )


async def _measure(counts: tuple[int, ...], effort: Effort) -> Samples:
    contenders: dict[str, Awaited] = {}
    async with _readers(counts) as readers:
        ways: dict[str, Callable[[int], Awaitable[int]]] = {
            GOOGLES: readers.googles,
            "read_sessions": readers.by_key,
            "recent_sessions": readers.recent,
            "changed_sessions": readers.changed,
            "warm image": readers.image,
        }
        for count in counts:
            for name, way in ways.items():
                await way(count)  # the server's first query of a kind loads classes
                contenders[f"{count:,}: {name}"] = partial(_read, readers, way, count)
        return await rounds_on_loop(contenders, effort.pick(1, 3), effort)


async def _read(readers: Readers, way: Callable[[int], Awaitable[int]], count: int) -> Values:
    one_ms = min([await _one(readers) for _ in range(3)])
    cpu, started = process_time(), perf_counter()
    read = await way(count)
    spent_ms, cpu_s = (perf_counter() - started) * 1000, process_time() - cpu
    async with _ticking() as stalls:  # once more, because ticks cost CPU themselves
        await way(count)
    assert read == count, "a benchmark of reading must read"
    return {MS: spent_ms, CPU: cpu_s / count * 1e6, TRIPS: spent_ms / one_ms, STALL: max(stalls) * 1000}


async def _one(readers: Readers) -> float:
    started = perf_counter()
    await readers.by_key(1)
    return (perf_counter() - started) * 1000


@asynccontextmanager
async def _ticking() -> AsyncIterator[list[float]]:
    """Give how many seconds this thread worked between two ticks of a millisecond, while the block runs.

    Its own CPU time: that the machine had others to serve says nothing about who reads.
    """
    worked = [0.0]

    async def tick() -> None:
        last = thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = thread_time()
            worked.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    try:
        yield worked
        await asyncio.sleep(0.002)  # so that the last stall is seen
    finally:
        ticking.cancel()


# ---------------------------------------------------------------- what is read


@asynccontextmanager
async def _readers(counts: tuple[int, ...]) -> AsyncIterator[Readers]:
    with tempfile.TemporaryFile() as log:
        emulator = start_emulator(log)
    async with AsyncExitStack() as stack:
        stack.callback(emulator.stop)
        await _seed(emulator.host, counts)
        host = stack.enter_context(far(emulator.host, ROUND_TRIP_MS))
        database = FirestoreDatabase(PROJECT, emulator_host=host, limits=PATIENT)
        await database.open()
        stack.push_async_callback(database.close)
        google = await stack.enter_async_context(google_client(PROJECT, host))
        meter = NoMeter()
        yield Readers(google, FirestoreSessionStore(database, meter), FirestoreWarmStore(database, meter))


async def _seed(host: str, counts: tuple[int, ...]) -> None:
    database = FirestoreDatabase(PROJECT, emulator_host=host, limits=PATIENT)
    await database.open()
    chats, now = range(1, counts[-1] + 1), datetime.now(UTC)
    for first in chats[::500]:
        records = (SessionRecord(chat=chat, shard=0, body=BODY) for chat in chats[first - 1 : first + 499])
        await database.commit([session_change(each, "seed", now) for each in records], NoMeter())
    for count in counts:
        await _write_image(database, count)
    await database.close()


async def _write_image(database: FirestoreDatabase, count: int) -> None:
    """A document a commit, because the emulator takes 4 MiB in one."""
    entries = [(chat, BODY) for chat in range(1, count + 1)]
    blobs = [_packed.encode(entries[first : first + IN_A_BLOB]) for first in range(0, count, IN_A_BLOB)]
    image = StoredImage(manifest=b"manifest", blobs=tuple(blobs))
    for change in image_changes(_image(count), image, "seed"):
        await database.commit([change], NoMeter())


def _image(count: int) -> str:
    return f"Bench:{count}"
