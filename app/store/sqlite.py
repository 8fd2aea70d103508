"""The store ports over SQLite: sessions, mailboxes, updates and skill statistics in one file."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SkillRun,
    StatsBatch,
    StoreError,
    StoreMeter,
    Stray,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from app.store import sqlite_changes as changes
from app.store import sqlite_reads as reads
from app.store.sqlite_database import SqliteDatabase
from app.store.sqlite_writer import Commit
from contracts.turns import TurnState

__all__ = ["Adapter", "SqliteDatabase", "SqliteSessionStore", "SqliteSkillStatsStore"]

T = TypeVar("T")


class Adapter:
    """One actor's use of a shared database, with the actor's meter."""

    def __init__(self, database: SqliteDatabase, meter: StoreMeter) -> None:
        self._database = database
        self._meter = meter
        self._open = True
        database.share()

    async def close(self) -> None:
        """Release the database, which closes with its last user; idempotent."""
        if self._open:
            self._open = False
            await self._database.release()

    async def _read(self, query: Callable[[sqlite3.Connection], T], count: Callable[[T], int]) -> T:
        try:
            found = await self._database.read(query)
        except StoreError:
            self._meter.read(0)
            raise
        self._meter.read(count(found))
        return found

    async def _write(self, change: Callable[[Commit], T], count: Callable[[T], int]) -> T:
        try:
            written = await self._database.write(change)
        except StoreError:
            self._meter.write(0)
            raise
        self._meter.write(count(written))
        return written


class SqliteSessionStore(Adapter):
    """SessionStore over SQLite; `set_aside` counts unreadable rows met in lists of updates."""

    set_aside = 0

    async def append(self, record: UpdateRecord) -> Appended:
        """Insert the update; the chat's mailbox is its open updates in the order of their insertion."""
        try:
            appended = await self._database.append(record)
        except StoreError:
            self._meter.write(0)
            raise
        self._meter.write(appended.created)
        return appended

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Insert the updates in one commit, in their order."""
        try:
            outcomes = await self._database.append_all(records)
        except StoreError:
            self._meter.write(0)
            raise
        self._meter.write(sum(isinstance(outcome, Appended) and outcome.created for outcome in outcomes))
        return outcomes

    async def read_chat(self, chat: int) -> ChatState:
        """Read the chat in one snapshot."""
        return await self._read(
            lambda connection: reads.read_chat(connection, chat, self._database.now()), _documents
        )

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        """Read these chats in one snapshot."""
        return await self._read(
            lambda connection: reads.read_chats(connection, chats, self._database.now()),
            lambda found: sum(map(_documents, found.values())),
        )

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Read the sessions of these chats in one query, tombstones included, newest first."""
        return await self._read(lambda connection: reads.read_sessions(connection, chats), _batch_size)

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn in one commit."""
        documents = 1 if write.session is None else 2
        return await self._write(lambda commit: changes.write_turn(commit, write), lambda _: documents)

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write the session at its version; an empty body makes it a tombstone."""
        return await self._write(lambda commit: changes.write_session(commit, session, operation), _one)

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the lease, renewed now by this machine's clock."""
        return await self._write(lambda commit: changes.write_lease(commit, chat, lease), _one)

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Read the shard's sessions written last, without tombstones."""
        return await self._read(
            lambda connection: reads.recent_sessions(connection, shard, limit), _batch_size
        )

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        """Read the shard's updates without an end, oldest first; once `after` is dropped, from the oldest on."""
        return await self._updates(lambda connection: reads.open_updates(connection, shard, limit, after))

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        """Read updates of any shard in these states, oldest first."""
        return await self._updates(lambda connection: reads.find_updates(connection, states, limit))

    async def open_shards(self, limit: int) -> Sequence[int]:
        """Read whose open updates there are."""
        return await self._read(lambda connection: reads.open_shards(connection, limit), len)

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        """Read which open updates belong to shards that are no more; once `after` is dropped, from its shard on."""
        return await self._read(lambda connection: reads.strays(connection, shards, limit, after), len)

    async def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates."""
        return await self._write(lambda commit: changes.erase_updates(commit, chat), int)

    async def purge(self, limit: int) -> int:
        """Drop up to `limit` ended updates, tombstones and run ids past their expiry."""
        return await self._write(lambda commit: changes.purge(commit, limit), int)

    async def _updates(self, query: Callable[[sqlite3.Connection], reads.Updates]) -> Sequence[UpdateRecord]:
        updates, bad = await self._read(query, lambda found: len(found[0]) + len(found[1]))
        self.set_aside += len(bad)
        return updates


class SqliteSkillStatsStore(Adapter):
    """SkillStatsStore over SQLite."""

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Read the statistics of these skills in one query."""
        return await self._read(
            lambda connection: reads.read_stats(connection, skills),
            lambda found: len(found.stats) + len(found.set_aside),
        )

    async def record_run(self, run: SkillRun) -> None:
        """Count the run and remember its id, in one commit."""
        await self._write(lambda commit: changes.count_run(commit, run), int)


def _documents(chat: ChatState) -> int:
    found = (chat.session is not None) + (chat.lease is not None)
    return found + len(chat.open_updates) + len(chat.set_aside)


def _batch_size(batch: SessionBatch) -> int:
    return len(batch.sessions) + len(batch.set_aside)


def _one(_: object) -> int:
    return 1
