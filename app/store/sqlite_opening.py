"""A SQLite file as the wiring's Database."""

import time

from actors.stores import SessionStore, SkillStatsStore, StoreMeter
from actors.warm_ports import WarmStore
from app.settings import Settings, SqliteAddress
from app.store.sqlite import SqliteDatabase, SqliteSessionStore, SqliteSkillStatsStore
from app.store.sqlite_reads import unreadable_updates
from app.store.sqlite_rehearsal import lengthen_log, rehearse
from app.store.sqlite_warm import SqliteWarmStore
from contracts.skills import SetAside


class SqliteStores:
    """The adapters share the threads of one SqliteDatabase."""

    def __init__(self, address: SqliteAddress, *, read_only: bool = False) -> None:
        self._database = SqliteDatabase(address.path, read_only=read_only)

    async def open(self) -> None:
        """Open the file, or make it; raises StoreDenied for a path where that can't be, StoreDown for a locked one.

        For reading alone nothing is made: then StoreDenied also for a file that an earlier version has made.
        """
        await self._database.open()

    async def rehearse(self) -> None:
        """Write a turn and take it back; of what is stored only the number of the newest write is another."""
        await self._database.write(lengthen_log)
        await self._database.write(rehearse)

    def sessions(self, meter: StoreMeter) -> SessionStore:
        """The adapter of a SessionCacheActor."""
        return SqliteSessionStore(self._database, meter)

    def warm(self, meter: StoreMeter) -> WarmStore:
        """The adapter with which a SessionCacheActor starts warm."""
        return SqliteWarmStore(self._database, meter)

    def skills(self, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a SkillRegistryActor."""
        return SqliteSkillStatsStore(self._database, meter)

    async def now(self) -> float:
        """This machine's: who works on the file dates by it."""
        return time.time()

    async def missing_indexes(self) -> tuple[str, ...]:
        """None: the file's schema brings its indexes along."""
        return ()

    async def unreadable_updates(self, limit: int) -> tuple[SetAside, ...]:
        """Those of `limit` open rows, or rows in no known state, that are no update."""
        return await self._database.read(lambda connection: unreadable_updates(connection, limit))

    async def close(self) -> None:
        """Finish what waits and close the file; idempotent."""
        await self._database.close()


def open_from(address: SqliteAddress, settings: Settings, *, read_only: bool) -> SqliteStores:
    """The stores at `address`; nothing else of the settings matters."""
    del settings
    return SqliteStores(address, read_only=read_only)
