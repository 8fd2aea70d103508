"""SQLite as far away as a server: each read waits first."""

import asyncio
from collections.abc import Sequence
from typing import Self

from actors.stores import SessionBatch, StoreMeter
from actors.warm_ports import SessionChanges, StoredImage
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.store.sqlite_warm import SqliteWarmStore


class FarSqlite(SqliteSessionStore):
    """Sessions."""

    latency_s = 0.0

    @classmethod
    def at(cls, database: SqliteDatabase, latency_s: float, meter: StoreMeter) -> Self:
        """An adapter at that distance."""
        made = cls(database, meter)
        made.latency_s = latency_s
        return made

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().recent_sessions(shard, limit)

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().read_sessions(chats)


class FarSqliteImages(SqliteWarmStore):
    """The warm image, and changes."""

    latency_s = 0.0

    @classmethod
    def at(cls, database: SqliteDatabase, latency_s: float, meter: StoreMeter) -> Self:
        """An adapter at that distance."""
        made = cls(database, meter)
        made.latency_s = latency_s
        return made

    async def read_image(self, name: str) -> StoredImage | None:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().read_image(name)

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Wait, then read."""
        await asyncio.sleep(self.latency_s)
        return await super().changed_sessions(shard, since, limit)
