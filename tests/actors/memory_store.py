"""A session store in memory with exact semantics, whose calls fail as a test says."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from actors.meter import Meter
from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SessionStore,
    StoreDown,
    StoreError,
    StoreTooLarge,
    Stray,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from contracts.turns import TurnState
from tests.actors.fakes import Life
from tests.actors.memory_database import MemoryDatabase

T = TypeVar("T")

STORE_DEADLINE_S = 9.0  # what an adapter allows a call that hangs

ANSWER_S = 1.0  # what a late answer takes

Mishap = Literal["before", "after", "hang", "hang applied", "late"]
"""A store call that fails: nothing done, done and the reply lost, and both of them only after the deadline.

Or one that is done, and answered late.
"""


class MemorySessionStore(SessionStore, WarmStore):
    """One container's connection to the database. `plan` scripts mishaps by method, `chaos` draws them."""

    def __init__(
        self,
        database: MemoryDatabase,
        meter: Meter | None = None,
        life: Life | None = None,
        *,
        chaos: Callable[[str], Mishap | None] = lambda _: None,
    ) -> None:
        self.database, self.meter = database, meter or Meter()
        self._life, self.chaos = life or Life(), chaos
        self.image_most = 1 << 60  # bytes of blobs that it takes
        self.plan: dict[str, deque[Mishap | None]] = defaultdict(deque)
        self.unstorable: dict[str, StoreError] = {}  # what becomes of updates of a group, by key
        self.down = False
        self.refusal: StoreError | None = None
        self.latency_s = 0.0
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.closed = False

    def fail(self, method: str, *mishaps: Mishap | None) -> None:
        """Have the next calls of a method fail; None is one that succeeds."""
        self.plan[method].extend(mishaps)

    # ------------------------------------------------------------ the port

    async def append(self, record: UpdateRecord) -> Appended:
        return await self._write("append", lambda: self._append(record))

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        def apply() -> Sequence[Appended | StoreError]:
            return [self.unstorable.get(record.key) or self._append(record) for record in records]

        return await self._write("append_all", apply)

    async def read_chat(self, chat: int) -> ChatState:
        return await self._read("read_chat", lambda: self._chat(chat))

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        return await self._read("read_chats", lambda: {chat: self._chat(chat) for chat in chats})

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        def apply() -> SessionBatch:
            found = [self.database.sessions[chat] for chat in chats if chat in self.database.sessions]
            poison = [self.database.poison[chat] for chat in chats if chat in self.database.poison]
            return SessionBatch(sessions=tuple(found), set_aside=tuple(poison))

        return await self._read("read_sessions", apply)

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        return await self._write("write_turn", lambda: self._turn(write))

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        def apply() -> int:
            current = self.database.session_version(session.chat)
            if self.database.operations.get(f"session {session.chat}") == operation:
                return current
            if current != session.version:
                raise VersionConflict("session")
            version = self.database.next_version()
            self.database.put_session(session, operation, version)
            return version

        return await self._write("write_session", apply)

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        def apply() -> None:
            if lease is None:
                self.database.leases.pop(chat, None)
            elif any(one.key == lease.update_key for one in self.database.open_of(chat)):
                self.database.put_lease(chat, lease)

        await self._write("write_lease", apply)

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        def apply() -> SessionBatch:
            living = [one for one in self.database.sessions.values() if one.shard == shard and one.body]
            recent = sorted(living, key=lambda one: -one.version)[:limit]
            return SessionBatch(sessions=tuple(recent), set_aside=tuple(self.database.poison.values()))

        return await self._read("recent_sessions", apply)

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        def apply() -> Sequence[UpdateRecord]:
            keys = list(self.database.updates)
            start = keys.index(after.key) + 1 if after is not None else 0
            rest = (self.database.updates[key] for key in keys[start:])
            return tuple(one for one in rest if one.open and one.shard == shard)[:limit]

        return await self._read("open_updates", apply)

    async def open_shards(self, limit: int) -> Sequence[int]:
        def apply() -> Sequence[int]:
            return tuple(one.shard for one in self.database.updates.values() if one.open)[:limit]

        return await self._read("open_shards", apply)

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        def place(one: Stray) -> tuple[int, int, int]:
            return one.shard, one.bot, one.update

        def apply() -> Sequence[Stray]:
            open_ones = (one for one in self.database.updates.values() if one.open and one.shard >= shards)
            found = (
                Stray(bot=one.bot, update=one.update, chat=one.chat, shard=one.shard) for one in open_ones
            )
            return sorted((one for one in found if after is None or place(one) > place(after)), key=place)[
                :limit
            ]

        return await self._read("strays", apply)

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        def apply() -> Sequence[UpdateRecord]:
            return tuple(one for one in self.database.updates.values() if one.state in states)[:limit]

        return await self._read("find_updates", apply)

    async def erase_updates(self, chat: int) -> int:
        def apply() -> int:
            ended = [one for one in self.database.updates.values() if one.chat == chat and not one.open]
            for one in ended:
                version = self.database.next_version()
                self.database.updates[one.key] = msgspec.structs.replace(one, body=b"", version=version)
            return len(ended)

        return await self._write("erase_updates", apply)

    async def purge(self, limit: int) -> int:
        return await self._write("purge", lambda: 0)

    async def read_image(self, name: str) -> StoredImage | None:
        return await self._read("read_image", lambda: self.database.images.get(name))

    async def write_image(self, name: str, image: StoredImage) -> int:
        def apply() -> int:
            stored = self.database.images.get(name)
            if (stored.version if stored is not None else 0) != image.version:
                raise VersionConflict("image")
            if sum(map(len, image.blobs)) > self.image_most:
                raise StoreTooLarge("more than this store takes")
            version = self.database.next_version()
            self.database.images[name] = msgspec.structs.replace(image, version=version)
            return version

        return await self._write("write_image", apply)

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        def apply() -> SessionChanges:
            readable = (
                one for one in self.database.sessions.values() if one.chat not in self.database.poison
            )
            mine = [one for one in readable if one.shard == shard]
            found = sorted((one for one in mine if one.version > since), key=lambda one: -one.version)
            reaches = found[limit - 1].version if len(found) > limit else since
            newest = self.database.newest()
            aside = tuple(self.database.poison.values())
            return SessionChanges(
                sessions=tuple(found[:limit]), reaches=reaches, watermark=newest, set_aside=aside
            )

        return await self._read("changed_sessions", apply)

    async def close(self) -> None:
        self.closed = True

    # ------------------------------------------------------------ how it answers

    async def _read(self, method: str, apply: Callable[[], T]) -> T:
        self.meter.read(1)
        return await self._call(method, apply)

    async def _write(self, method: str, apply: Callable[[], T]) -> T:
        self.meter.write(1)
        return await self._call(method, apply)

    async def _call(self, method: str, apply: Callable[[], T]) -> T:
        """Apply in one go, between two steps of the container's life."""
        self.calls[method] += 1
        await self._life.step()
        mishap = self._mishap(method)
        if mishap is not None:
            self.injected[f"store {mishap}"] += 1
        if mishap in ("before", "hang"):
            await self._fail(mishap)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        answer = apply()
        await self._life.step()
        if mishap is not None:
            await self._fail(mishap)
        return answer

    def _mishap(self, method: str) -> Mishap | None:
        if self.refusal is not None:
            raise self.refusal
        if self.down:
            return "before"
        return self.plan[method].popleft() if self.plan[method] else self.chaos(method)

    async def _fail(self, mishap: Mishap) -> None:
        if mishap == "late":
            return await asyncio.sleep(ANSWER_S)
        if mishap in ("hang", "hang applied"):
            await asyncio.sleep(STORE_DEADLINE_S)
            await self._life.step()
        raise StoreDown(mishap)

    def _append(self, record: UpdateRecord) -> Appended:
        if record.key in self.database.updates:
            return Appended(created=False)
        version = self.database.next_version()
        stored = msgspec.structs.replace(record, accepted_at=self.database.now())
        self.database.put_update(stored, "append", version)
        waiting = len(self.database.open_of(record.chat)) if record.open else 0
        revision = self.database.session_version(record.chat)
        return Appended(created=True, version=version, waiting=waiting, revision=revision)

    def _chat(self, chat: int) -> ChatState:
        aside = (self.database.poison[chat],) if chat in self.database.poison else ()
        return ChatState(
            session=self.database.sessions.get(chat),
            open_updates=tuple(self.database.open_of(chat)),
            lease=self.database.lease_of(chat),
            set_aside=aside,
        )

    def _turn(self, write: TurnWrite) -> TurnWritten:
        record, session = write.update, write.session
        stored = self.database.updates.get(record.key)
        if stored is None:
            raise VersionConflict("update")
        if self.database.operations[record.key] == write.operation:
            written = self._written(write, stored.version, self._session_version(write))
            return msgspec.structs.replace(written, repeated=True)
        if stored.version != record.version:
            raise VersionConflict("update")
        if session is not None and self.database.session_version(session.chat) != session.version:
            raise VersionConflict("session")
        version = self.database.next_version()
        self.database.put_update(record, write.operation, version)
        if record.open and write.lease is not None:
            self.database.put_lease(record.chat, write.lease)
        if session is not None:
            self.database.put_session(session, write.operation, version)
        return self._written(write, version, version)

    def _written(self, write: TurnWrite, update_version: int, session_version: int) -> TurnWritten:
        wrote_session = write.session is not None
        return TurnWritten(
            update_version=update_version,
            session_version=session_version if wrote_session else 0,
            waiting=len(self.database.open_of(write.update.chat)),
            revision=session_version if wrote_session else self.database.session_version(write.update.chat),
        )

    def _session_version(self, write: TurnWrite) -> int:
        if write.session is None:
            return 0
        is_ours = self.database.operations.get(f"session {write.update.chat}") == write.operation
        return self.database.session_version(write.update.chat) if is_ours else write.session.version
