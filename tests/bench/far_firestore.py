"""Firestore's emulator as far away as a server, with a database of its own for each shard."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from actors.stores import SessionStore, StoreMeter
from actors.warm_ports import WarmStore
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_warm import FirestoreWarmStore
from tests.bench.far import far
from tests.bench.meters import NoMeter
from tests.emulator import start_emulator

EXERCISES: Final = 150  # by then one query costs it a third less CPU than after 40


class FarFirestore:
    """Adapters at a distance, on open connections.

    The emulator keeps no index: it answers a query by looking through all documents of the project's collection,
    where Firestore goes to those that are asked for. So each shard has a project of its own; in one together, a
    start of 50 sessions would wait until those of all others have been looked through, too.
    """

    def __init__(self, ways: dict[int, str], shards: Iterable[int]) -> None:
        self._ways = ways
        self._projects = {shard: f"bench-{secrets.token_hex(8)}" for shard in shards}
        self._databases: dict[tuple[int, int], FirestoreDatabase] = {}
        self._kept: list[SessionStore] = []

    async def open(self) -> None:
        """Connect each shard's database at each distance: to do so is no part of a start."""
        for latency_ms, host in self._ways.items():
            for shard, project in self._projects.items():
                database = FirestoreDatabase(project, emulator_host=host)
                await database.open()
                self._databases[shard, latency_ms] = database
                self._kept.append(self.store(shard, latency_ms, NoMeter()))  # the last adapter would close it
                await self.images(shard, latency_ms, NoMeter()).read_image("none")

    async def close(self) -> None:
        """Close all connections."""
        for store in self._kept:
            await store.close()

    def store(self, shard: int, latency_ms: int, meter: StoreMeter) -> SessionStore:
        """Sessions."""
        return FirestoreSessionStore(self._databases[shard, latency_ms], meter)

    def images(self, shard: int, latency_ms: int, meter: StoreMeter) -> WarmStore:
        """The warm image, and changes."""
        return FirestoreWarmStore(self._databases[shard, latency_ms], meter)

    async def exercise(self, shard: int) -> None:
        """Query this shard: the emulator loads and compiles its classes with its first queries."""
        store, images = self.store(shard, 0, NoMeter()), self.images(shard, 0, NoMeter())
        await store.recent_sessions(shard, 500)
        for _ in range(EXERCISES):
            await images.changed_sessions(shard, 0, 10)
        await images.close()


@asynccontextmanager
async def far_firestore(distances_ms: Sequence[int], shards: Iterable[int]) -> AsyncIterator[FarFirestore]:
    """Start the emulator, and a way to it for each distance, in processes of their own; raises EmulatorMissing.

    A way carries bytes and knows nothing of calls, so that what a call's flow control waits for is late, too.
    """
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        emulator = start_emulator(log)
        stack.callback(emulator.stop)
        ways = {each: stack.enter_context(far(emulator.host, each)) for each in distances_ms}
        place = FarFirestore(ways, shards)
        await place.open()
        yield place
        await place.close()
