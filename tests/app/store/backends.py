"""The stores that the conformance suite runs over: each opens on fresh, empty data."""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from actors.stores import SessionStore, SkillStatsStore, StoreMeter
from actors.warm_ports import BLOBS_MOST, WarmStore
from app.chaos.firestore_link import linked
from app.chaos.firestore_model import FirestoreModel
from app.chaos.memory_database import MemoryDatabase
from app.chaos.memory_store import MemorySessionStore, MemorySkillStatsStore, MemoryWarmStore
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_skills import FirestoreSkillStatsStore
from app.store.firestore_warm import FirestoreWarmStore
from app.store.sqlite import SqliteDatabase, SqliteSessionStore, SqliteSkillStatsStore
from app.store.sqlite_warm import SqliteWarmStore

EMULATORS_BLOBS = 3
"""The emulator takes 4 MiB a message, unlike Firestore, which takes 10 MiB."""


class CountingMeter(StoreMeter):
    """Keeps the documents of each call, in the order of the calls."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.writes: list[int] = []

    def read(self, documents: int) -> None:
        self.reads.append(documents)

    def write(self, documents: int) -> None:
        self.writes.append(documents)


Stores = tuple[SessionStore, SkillStatsStore, WarmStore]
OpenStores = Callable[[StoreMeter], Awaitable[Stores]]


class Backend:
    """The stores over the same data; `meter` counts the calls of all; `blobs_most` of 1 MB fit into a commit."""

    def __init__(self, open_stores: OpenStores, blobs_most: int) -> None:
        self._open_stores = open_stores
        self.blobs_most = blobs_most
        self.meter = CountingMeter()

    async def open(self) -> None:
        """Open the stores."""
        self.sessions, self.skills, self.warm = await self._open_stores(self.meter)

    async def reopen(self) -> None:
        """Close the stores and open new ones over the same data, as a restarted process does."""
        await self.close()
        await self.open()

    async def close(self) -> None:
        """Close the stores; the data stays."""
        await self.sessions.close()
        await self.skills.close()
        await self.warm.close()


class Ground(NamedTuple):
    """Where a backend may put its data: an empty folder, or the emulator (started, or the test skipped)."""

    folder: Path
    emulator_host: Callable[[], str]


@asynccontextmanager
async def sqlite(ground: Ground) -> AsyncIterator[Backend]:
    """Stores over one file in an empty folder."""

    async def open_stores(meter: StoreMeter) -> Stores:
        database = SqliteDatabase(ground.folder / "firstlight.db")
        skills, warm = SqliteSkillStatsStore(database, meter), SqliteWarmStore(database, meter)
        return SqliteSessionStore(database, meter), skills, warm

    async with _opened(open_stores) as backend:
        yield backend


@asynccontextmanager
async def memory(ground: Ground) -> AsyncIterator[Backend]:
    """Stores over the simulation's own database, which stays while they are closed and opened again."""
    database = MemoryDatabase(time.time)

    async def open_stores(meter: StoreMeter) -> Stores:
        skills, warm = MemorySkillStatsStore(database, meter), MemoryWarmStore(database, meter)
        return MemorySessionStore(database, meter), skills, warm

    async with _opened(open_stores) as backend:
        yield backend


@asynccontextmanager
async def firestore(ground: Ground) -> AsyncIterator[Backend]:
    """Stores over a project of the emulator that no other test uses."""
    host, project = ground.emulator_host(), f"test-{secrets.token_hex(8)}"

    async def open_stores(meter: StoreMeter) -> Stores:
        database = FirestoreDatabase(project, emulator_host=host)
        await database.open()
        skills, warm = FirestoreSkillStatsStore(database, meter), FirestoreWarmStore(database, meter)
        return FirestoreSessionStore(database, meter), skills, warm

    async with _opened(open_stores, EMULATORS_BLOBS) as backend:
        yield backend


@asynccontextmanager
async def modelled(ground: Ground) -> AsyncIterator[Backend]:
    """Firestore's stores over the simulation's model of it, which stays while they are closed and opened again."""
    dial = linked(FirestoreModel(_unhurried()))

    async def open_stores(meter: StoreMeter) -> Stores:
        database = FirestoreDatabase("modelled")
        database.connect(dial)
        skills, warm = FirestoreSkillStatsStore(database, meter), FirestoreWarmStore(database, meter)
        return FirestoreSessionStore(database, meter), skills, warm

    async with _opened(open_stores) as backend:
        yield backend


def _unhurried() -> Callable[[], float]:
    """Give a clock of which no two looks fall into one millisecond, as no two commits of the service do."""
    last_s = 0.0

    def now() -> float:
        nonlocal last_s
        last_s = max(time.time(), last_s + 0.002)
        return last_s

    return now


@asynccontextmanager
async def _opened(open_stores: OpenStores, blobs_most: int = BLOBS_MOST) -> AsyncIterator[Backend]:
    backend = Backend(open_stores, blobs_most)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


BACKENDS: dict[str, Callable[[Ground], AbstractAsyncContextManager[Backend]]] = {
    "sqlite": sqlite,
    "memory": memory,
    "modelled": modelled,
    "firestore": firestore,
}
"""By name: opens a backend on fresh data; one that can't run here skips the test."""
