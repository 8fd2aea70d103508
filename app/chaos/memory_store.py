"""The store ports over the data in memory: never fail, never wait."""

from collections.abc import Mapping, Sequence

from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SessionStore,
    SkillRun,
    SkillStatsStore,
    StatsBatch,
    StoreError,
    StoreMeter,
    Stray,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from app.chaos.memory_database import MemoryDatabase
from app.store.warm_images import check_image
from contracts.turns import TurnState


class _Adapter:
    """One actor's use of the data."""

    def __init__(self, database: MemoryDatabase, meter: StoreMeter) -> None:
        self._database, self._meter = database, meter

    async def close(self) -> None:
        """There is nothing to give back."""


class MemorySessionStore(_Adapter, SessionStore):
    """The port SessionStore; never fails, never waits."""

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update."""
        appended = self._database.append(record)
        self._meter.write(appended.created)
        return appended

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Create the updates."""
        appended = [self._database.append(record) for record in records]
        self._meter.write(sum(each.created for each in appended))
        return appended

    async def read_chat(self, chat: int) -> ChatState:
        """Read the chat."""
        state = self._database.read_chat(chat)
        self._meter.read(_documents(state))
        return state

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        """Read these chats in one call."""
        states = {chat: self._database.read_chat(chat) for chat in chats}
        if states:
            self._meter.read(sum(map(_documents, states.values())))
        return states

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Read the sessions of these chats."""
        return self._metered(self._database.read_sessions(chats))

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn."""
        self._meter.write(1 if write.session is None else 2)
        return self._database.write_turn(write)

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write the session at its version."""
        self._meter.write(1)
        return self._database.write_session(session, operation)

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the lease."""
        self._meter.write(1)
        self._database.write_lease(chat, lease)

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Read the shard's sessions written last."""
        return self._metered(self._database.recent_sessions(shard, limit))

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        """Read the shard's updates without an end."""
        return self._counted(self._database.open_updates(shard, limit, after))

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        """Read updates in these states."""
        return self._counted(self._database.find_updates(states, limit))

    async def open_shards(self, limit: int) -> Sequence[int]:
        """Read whose open updates there are."""
        found = [update.shard for update in self._database.open_ones()][:limit]
        self._meter.read(len(found))
        return found

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        """Read which open updates belong to shards that there are no more."""
        waiting = (each for each in self._database.open_ones() if each.shard >= shards)
        strays = (
            Stray(bot=each.bot, update=each.update, chat=each.chat, shard=each.shard) for each in waiting
        )
        behind = (each for each in strays if after is None or _by_shard(each) > _by_shard(after))
        found = sorted(behind, key=_by_shard)[:limit]
        self._meter.read(len(found))
        return found

    async def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates."""
        erased = self._database.erase_updates(chat)
        self._meter.write(erased)
        return erased

    async def purge(self, limit: int) -> int:
        """Drop what is past its expiry."""
        purged = self._database.purge(limit)
        self._meter.write(purged)
        return purged

    def _metered(self, batch: SessionBatch) -> SessionBatch:
        self._meter.read(len(batch.sessions))
        return batch

    def _counted(self, updates: list[UpdateRecord]) -> list[UpdateRecord]:
        self._meter.read(len(updates))
        return updates


class MemoryWarmStore(_Adapter, WarmStore):
    """The port WarmStore; refuses an image over the bounds, never fails otherwise, never waits."""

    async def read_image(self, name: str) -> StoredImage | None:
        """Read an image."""
        image = self._database.read_image(name)
        self._meter.read(_image_documents(image))
        return image

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write an image at its version."""
        check_image(name, image)
        self._meter.write(_image_documents(image))
        return self._database.write_image(name, image)

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Read the shard's sessions written after version `since`."""
        changes = self._database.changed_sessions(shard, since, limit)
        self._meter.read(len(changes.sessions))
        return changes


class MemorySkillStatsStore(_Adapter, SkillStatsStore):
    """The port SkillStatsStore; never fails, never waits."""

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Read the statistics of these skills."""
        found = self._database.read_stats(skills)
        self._meter.read(len(found.stats))
        return found

    async def record_run(self, run: SkillRun) -> None:
        """Count a run once."""
        self._meter.write(int(self._database.record_run(run)))


def _documents(state: ChatState) -> int:
    return (state.session is not None) + (state.lease is not None) + len(state.open_updates)


def _image_documents(image: StoredImage | None) -> int:
    return 1 + len(image.blobs) if image is not None else 0


def _by_shard(stray: Stray) -> tuple[int, str]:
    return stray.shard, stray.key
