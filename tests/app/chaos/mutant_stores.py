"""Stores of a shard with one thing broken in each, and crews whose shards use them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from actors.meter import Meter
from actors.session_cache import SessionCacheOptions
from actors.stores import Appended, SessionBatch, SessionStore, StoreDown, TurnWrite, UpdateRecord
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from app.chaos.container import Container
from app.chaos.crew import Crew
from app.chaos.memory_database import MemoryDatabase
from app.chaos.store_port import ShakySessions, ShakyWarm


class TakesFailuresForAbsence(ShakySessions):
    """A read that fails says that there is nothing."""

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        try:
            return await super().read_sessions(chats)
        except StoreDown:
            return SessionBatch()

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        return SessionBatch()  # so that the reads above are needed


class AcknowledgesBeforeWriting(ShakySessions):
    """Says that an update is durable and writes it afterwards, if that works."""

    def __init__(self, container: Container, *parts: Any) -> None:
        super().__init__(parts[0], container, parts[1])
        self._home = container

    async def append(self, record: UpdateRecord) -> Appended:
        later = super().append
        self._home.background.spawn("append", lambda: later(record))
        return Appended(created=True, version=1, waiting=1)


class MakesUpSessions(ShakySessions):
    """Gives sessions a version that they never had."""

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        batch = await super().recent_sessions(shard, limit)
        made_up = (msgspec.structs.replace(each, version=each.version + 1_000_000) for each in batch.sessions)
        return SessionBatch(sessions=tuple(made_up))


class Trips(ShakySessions):
    """Has a defect of its own."""

    async def write_turn(self, write: TurnWrite) -> Any:
        if write.update.update % 50 == 0:
            raise KeyError("a defect")
        return await super().write_turn(write)


class NoImages(ShakyWarm):
    """Keeps no image and knows of no change, so that everything is read on demand."""

    async def read_image(self, name: str) -> StoredImage | None:
        return None

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        return SessionChanges()

    async def write_image(self, name: str, image: StoredImage) -> int:
        return image.version


class MovesItsMark(ShakyWarm):
    """Tells a mark up to which it has not read: it leaves out what has changed since the last one."""

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        changes = await super().changed_sessions(shard, since, limit)
        return msgspec.structs.replace(changes, sessions=(), reaches=since) if since else changes


class ForgetsBehind(ShakyWarm):
    """Nothing is wrong with it: after each image another owner forgets one of its chats."""

    async def write_image(self, name: str, image: StoredImage) -> int:
        version = await super().write_image(name, image)
        database, shard = self._line.database, int(name.rpartition(":")[2])
        assert isinstance(database, MemoryDatabase)
        stored = [each.record for each in database.tables.sessions.values()]
        living = [each for each in stored if each.body and each.shard == shard]
        for each in living[:1]:
            database.write_session(msgspec.structs.replace(each, body=b""), f"forget {version}")
        return version


class IgnoresTombstones(ForgetsBehind):
    """Does not tell which sessions were forgotten."""

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        changes = await super().changed_sessions(shard, since, limit)
        return msgspec.structs.replace(
            changes, sessions=tuple(each for each in changes.sessions if each.body)
        )


class WithStore(Crew):
    """Shards over another store."""

    store_class: type[ShakySessions] = ShakySessions
    warm_class: type[ShakyWarm] = ShakyWarm

    def sessions(self, container: Container, meter: Meter) -> SessionStore:
        return self.store_class(self.world.line, container, self.world.database.sessions(container, meter))

    def warm(self, container: Container, meter: Meter) -> WarmStore:
        return self.warm_class(self.world.line, container, self.world.database.warm(container, meter))


class Hasty(Crew):
    """Shards that acknowledge before they write."""

    def sessions(self, container: Container, meter: Meter) -> SessionStore:
        return AcknowledgesBeforeWriting(
            container, self.world.line, self.world.database.sessions(container, meter)
        )


class Boundless(Crew):
    """Shards whose mailboxes have no bound."""

    def options(self) -> SessionCacheOptions:
        return replace(super().options(), mailbox_limit=1_000_000)
