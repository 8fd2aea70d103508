"""The store of a simulation in a SQLite file: the adapter of a service, one database for each container."""

import random
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import msgspec

from actors.stores import (
    Appended,
    LeaseRecord,
    SessionRecord,
    SessionStore,
    SkillStatsStore,
    StoreError,
    StoreMeter,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from actors.warm_ports import StoredImage, WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.inline_worker import InlineWorker
from app.chaos.ledger import Ledger
from app.chaos.store_port import StoreLine
from app.chaos.watched_store import Witness
from app.store import sqlite_changes as changes
from app.store import sqlite_reads as reads
from app.store.sqlite import SqliteSessionStore, SqliteSkillStatsStore
from app.store.sqlite_database import DEADLINE_S, KEEP_S, TOMBSTONES_S, SqliteDatabase
from app.store.sqlite_schema import connect
from app.store.sqlite_warm import SqliteWarmStore
from app.store.sqlite_writer import Commit, GroupCommit

_UPDATE: Final = """SELECT bot, "update", chat, shard, state, open, reason, body, version, accepted_at
                    FROM updates WHERE bot = ? AND "update" = ?"""
_WAITING: Final = "SELECT chat FROM updates WHERE open = 1 GROUP BY chat ORDER BY min(seq)"


class SqliteWorldStore:
    """A WorldStore. The machine outlives its containers, so that no commit needs to be synced."""

    shares_commits = True

    def __init__(self, now: Callable[[], float], witness: Witness) -> None:
        self._now, self._witness = now, witness
        self._folder = TemporaryDirectory(prefix="firstlight-chaos-")
        self._path = Path(self._folder.name) / "world.db"
        self._databases: dict[Container, ContainerDatabase] = {}
        open_file = partial(connect, self._path, durable=False, deadline_s=DEADLINE_S)
        self._looking = open_file()  # held to the end: a file without any connection folds its log
        self._other = GroupCommit(open_file, str(self._path), KEEP_S, TOMBSTONES_S, now)

    def line(self, faults: Faults, ledger: Ledger, dice: random.Random) -> StoreLine:
        """The way to it: calls fail as a whole."""
        return StoreLine(self, faults, ledger, dice)

    def sessions(self, container: Container, meter: StoreMeter) -> SessionStore:
        """The adapter of a shard's owner."""
        return WatchedSessions(self._of(container), meter, self._witness)

    def warm(self, container: Container, meter: StoreMeter) -> WarmStore:
        """The adapter with which it starts warm."""
        return WatchedWarm(self._of(container), meter, self._witness)

    def skills(self, container: Container, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a registry."""
        return SqliteSkillStatsStore(self._of(container), meter)

    def waiting(self) -> list[int]:
        """The chats with open updates."""
        return [chat for (chat,) in self._looking.execute(_WAITING).fetchall()]

    def head(self, chat: int) -> UpdateRecord:
        """The oldest open update of a chat that has one."""
        return reads.read_chat(self._looking, chat, self._now()).open_updates[0]

    def session(self, chat: int) -> SessionRecord | None:
        """What is stored of the chat, a tombstone too."""
        return next(iter(reads.read_sessions(self._looking, (chat,)).sessions), None)

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write it at its version, by a connection of another program; raises VersionConflict."""
        change = partial(_write_session, session=session, operation=operation, witness=self._witness)
        (written,) = self._other((change,))
        if isinstance(written, StoreError):
            raise written
        return cast(int, written)

    def close(self) -> None:
        """Close the connections and remove the file."""
        for database in list(self._databases.values()):
            database.abandon()
        self._other.close()
        self._looking.close()
        self._folder.cleanup()

    def _of(self, container: Container) -> "ContainerDatabase":
        """The container's database; its connections end with the container."""
        database = self._databases.get(container)
        if database is None:
            database = self._databases[container] = ContainerDatabase(self._path, self._now)
            container.files.callback(self._databases.pop, container)
            container.files.callback(database.abandon)
        return database


class ContainerDatabase(SqliteDatabase):
    """A container's use of the file, without threads."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._hands: list[InlineWorker[Any]] = []
        super().__init__(path, durable=False, now=now, worker=self._hire)

    def abandon(self) -> None:
        """Leave the file as a process does that was killed; idempotent."""
        for worker in self._hands:
            worker.abandon()

    def _hire(self, *duties: Any, **bounds: Any) -> InlineWorker[Any]:
        self._hands.append(InlineWorker(*duties, **bounds))
        return self._hands[-1]


class WatchedSessions(SqliteSessionStore):
    """The adapter; the witness hears of turns and sessions inside their commits, of the rest just after."""

    def __init__(self, database: SqliteDatabase, meter: StoreMeter, witness: Witness) -> None:
        super().__init__(database, meter)
        self._witness = witness

    async def append(self, record: UpdateRecord) -> Appended:
        """Insert the update."""
        appended = await super().append(record)
        self._witness.appended(record, appended)
        return appended

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Insert the updates in one commit."""
        outcomes = await super().append_all(records)
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, Appended):
                self._witness.appended(record, outcome)
        return outcomes

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn in one commit."""
        change = partial(_write_turn, write=write, witness=self._witness)
        return await self._write(change, lambda _: 1 if write.session is None else 2)

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write the session at its version."""
        change = partial(_write_session, session=session, operation=operation, witness=self._witness)
        return await self._write(change, lambda _: 1)

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the lease."""
        await super().write_lease(chat, lease)
        self._witness.wrote_lease(chat, lease)


class WatchedWarm(SqliteWarmStore):
    """The adapter; the witness hears of images."""

    def __init__(self, database: SqliteDatabase, meter: StoreMeter, witness: Witness) -> None:
        super().__init__(database, meter)
        self._witness = witness

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write manifest and blobs in one commit."""
        version = await super().write_image(name, image)
        self._witness.wrote_image(name, image, version)
        return version


def _write_turn(commit: Commit, write: TurnWrite, witness: Witness) -> TurnWritten:
    before = _update(commit.connection, write.update)
    waiting = reads.read_chat(commit.connection, write.update.chat, commit.now).open_updates
    written = changes.write_turn(commit, write)
    if before is not None and not written.repeated:
        if write.lease is not None and write.update.open:
            witness.wrote_lease(write.update.chat, write.lease)
        witness.wrote_turn(before, next(iter(waiting), None), write, written.session_version)
    return written


def _write_session(commit: Commit, session: SessionRecord, operation: str, witness: Witness) -> int:
    version = changes.write_session(commit, session, operation)
    if version == commit.version:  # else it had been written before
        witness.wrote_session(session, version)
    return version


def _update(connection: sqlite3.Connection, update: UpdateRecord) -> UpdateRecord | None:
    """Look an update up, one that has ended too."""
    row = connection.execute(_UPDATE, (update.bot, update.update)).fetchone()
    if row is None:
        return None
    fields = dict(zip(UpdateRecord.__struct_fields__, row, strict=True))
    return msgspec.convert(fields | {"open": bool(fields["open"])}, UpdateRecord, builtin_types=(bytes,))
