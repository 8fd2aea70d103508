"""A store as the wiring sees it: opened once in a process, with an adapter for each actor's meter."""

from typing import Final, Protocol

from actors.stores import SessionStore, SkillStatsStore, StoreMeter
from actors.warm_ports import WarmStore
from app.lazily import load
from app.settings import FirestoreAddress, Settings, SqliteAddress
from contracts.skills import SetAside

_STORES: Final = {
    SqliteAddress: "app.store.sqlite_opening:open_from",
    FirestoreAddress: "app.store.firestore_opening:open_from",
}


class Database(Protocol):
    """A database and its adapters. The last adapter's `close` closes it."""

    async def open(self) -> None:
        """Connect on the running loop; raises StoreDenied when that can never work."""

    async def rehearse(self) -> None:
        """Have the first write done what only a first one does, and store nothing; raises StoreError."""

    def sessions(self, meter: StoreMeter) -> SessionStore:
        """The adapter of a SessionCacheActor."""

    def warm(self, meter: StoreMeter) -> WarmStore:
        """The adapter with which a SessionCacheActor starts warm."""

    def skills(self, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a SkillRegistryActor."""

    async def now(self) -> float:
        """Store time in Unix seconds, to compare what the store has dated with; raises StoreError."""

    async def missing_indexes(self) -> tuple[str, ...]:
        """The shipped indexes that the database lacks, by trying the queries that they serve; raises StoreError."""

    async def unreadable_updates(self, limit: int) -> tuple[SetAside, ...]:
        """Those of `limit` updates without an end that nobody can read, and so nobody ever works; raises StoreError."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


def choose(settings: Settings, *, read_only: bool = False) -> Database:
    """The database that the settings name; its libraries are imported here, and only they.

    `read_only` is for who looks and reads: opening it then makes and changes no file.
    """
    address = settings.require_store()
    database: Database = load(_STORES[type(address)])(address, settings, read_only=read_only)
    return database
