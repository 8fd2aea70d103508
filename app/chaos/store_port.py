"""A container's way to the store: takes time, and fails in all the ways in which a remote store does."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

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
    StoreDenied,
    StoreDown,
    StoreError,
    StoreExhausted,
    Stray,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.world_store import WorldStore
from contracts.turns import TurnState

T = TypeVar("T")

DEADLINE_S: Final = 4.0  # as the real adapters': a call ends within it
WAY_S: Final = (0.002, 0.015)  # one way to the store


class IndexMissing(StoreDenied):
    """As the adapter's: the store says no to this query alone."""

    shut_out = False


class StoreLine:
    """Carries calls to the database, one container's or another's."""

    def __init__(self, database: WorldStore, faults: Faults, ledger: Ledger, dice: random.Random) -> None:
        self.database, self._faults, self._ledger, self._dice = database, faults, ledger, dice
        self.down_until_s = 0.0
        self.shares_commits = (
            dice.random() < 0.5 or database.shares_commits
        )  # SQLite's kind of store, or Firestore's

    async def call(
        self,
        container: Container,
        where: str,
        work: Callable[[], Awaitable[T]],
        *,
        session: int | None = None,
        turn: int | None = None,
    ) -> T:
        """Have `work` done by the store. `session` names the chat whose session it writes, `turn` whose turn."""
        fault = self._draw(session, query=where.startswith("shard:"))
        if fault or container.loop.time() < self.down_until_s:
            self._ledger.trouble(where)
        try:
            return await container.reach(
                self._carry(container, fault, where, work, session, turn), DEADLINE_S
            )
        except TimeoutError:
            self._lose(turn)
            raise StoreDown(f"no answer within {DEADLINE_S:g} s") from None
        except StoreError:
            self._ledger.trouble(where)
            self._lose(turn)
            raise
        finally:
            if fault:
                self._ledger.trouble(where)

    def _lose(self, turn: int | None) -> None:
        if turn is not None:
            self._ledger.causes.hit(turn, "record lost")

    def _draw(self, session: int | None, *, query: bool) -> str:
        fault = self._faults.draw("store")
        if fault == "store_no_index" and not query:
            return self._faults.not_applicable(fault)
        if fault == "store_contention" and (session is None or self.database.session(session) is None):
            return self._faults.not_applicable(fault)
        return fault

    async def _carry(
        self,
        container: Container,
        fault: str,
        where: str,
        work: Callable[[], Awaitable[T]],
        session: int | None,
        turn: int | None,
    ) -> T:
        """The call's way through the world, which no death of its container stops."""
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        await self._before(container, fault, session)
        if container.loop.time() < self.down_until_s:
            raise StoreDown("the store is out of order")
        done = await work()
        if fault:  # it takes effect now, perhaps long after its caller has given up
            self._ledger.trouble(where)
        if fault == "store_late":
            self._lose(turn)  # its caller gave up long ago, and maybe died since
        if fault == "store_killed_after":
            container.kill()
        if fault == "store_reply_lost":
            raise StoreDown("the connection was lost")
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        return done

    async def _before(self, container: Container, fault: str, session: int | None) -> None:
        """What happens on the way there."""
        match fault:
            case "store_unavailable":
                raise StoreDown("unavailable")
            case "store_denied":
                raise StoreDenied("permission denied")
            case "store_exhausted":
                raise StoreExhausted("over quota")
            case "store_no_index":
                raise IndexMissing("the query requires an index")
            case "store_slow":
                await asyncio.sleep(self._dice.uniform(0.5, DEADLINE_S - 0.1))
            case "store_hang":
                await asyncio.sleep(DEADLINE_S)
                raise StoreDown("gone")
            case "store_late":
                await asyncio.sleep(DEADLINE_S + self._dice.uniform(0.0, 20.0))
            case "store_contention" if session is not None:
                self._write_between(session)
            case "store_killed_before":
                container.kill()
        if not container.alive and self._dice.random() < 0.5:
            raise StoreDown("its caller died before the request was written")

    def _write_between(self, chat: int) -> None:
        """Another writer, an admin call say, changes the session."""
        held = self.database.session(chat)
        if held is not None:
            self.database.write_session(held, f"contention {held.version}")


class ShakySessions(SessionStore):
    """The port SessionStore of one container."""

    def __init__(self, line: StoreLine, container: Container, store: SessionStore) -> None:
        self._line, self._container, self._store = line, container, store

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update."""
        return await self._call(f"chat:{record.chat}", lambda: self._store.append(record))

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Create the updates, by one call or each by one of its own, as the stores do."""
        if self._line.shares_commits:
            return await self._call(f"shard:{records[0].shard}", lambda: self._store.append_all(records))
        chats: dict[int, list[int]] = {}
        for number, record in enumerate(records):
            chats.setdefault(record.chat, []).append(number)
        outcomes: dict[int, Appended | StoreError] = {}
        await asyncio.gather(*(self._append_in_order(each, records, outcomes) for each in chats.values()))
        return [outcomes[number] for number in range(len(records))]

    async def _append_in_order(
        self,
        numbers: Sequence[int],
        records: Sequence[UpdateRecord],
        outcomes: dict[int, Appended | StoreError],
    ) -> None:
        for number in numbers:
            try:
                outcomes[number] = await self.append(records[number])
            except StoreError as error:
                outcomes[number] = error

    async def read_chat(self, chat: int) -> ChatState:
        """Read the chat; what can't be read can't be written either, so that a record may be lost."""
        work = partial(self._store.read_chat, chat)
        return await self._line.call(self._container, f"chat:{chat}", work, turn=chat)

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        """Read these chats."""
        return await self._call("all", lambda: self._store.read_chats(chats))

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Read the sessions of these chats."""
        where = f"chat:{chats[0]}" if len(chats) == 1 else "all"
        return await self._call(where, lambda: self._store.read_sessions(chats))

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn."""
        session = write.session.chat if write.session is not None else None
        return await self._line.call(
            self._container,
            f"chat:{write.update.chat}",
            lambda: self._store.write_turn(write),
            session=session,
            turn=write.update.chat,
        )

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write the session at its version."""
        return await self._line.call(
            self._container,
            f"chat:{session.chat}",
            lambda: self._store.write_session(session, operation),
            session=session.chat,
        )

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the lease."""
        await self._line.call(
            self._container, f"chat:{chat}", lambda: self._store.write_lease(chat, lease), turn=chat
        )

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Read the shard's sessions written last."""
        return await self._call(f"shard:{shard}", lambda: self._store.recent_sessions(shard, limit))

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        """Read the shard's updates without an end."""
        return await self._call(f"shard:{shard}", lambda: self._store.open_updates(shard, limit, after))

    async def open_shards(self, limit: int) -> Sequence[int]:
        """Read whose open updates there are."""
        return await self._call("all", lambda: self._store.open_shards(limit))

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        """Read which open updates belong to shards that there are no more."""
        return await self._call("all", lambda: self._store.strays(shards, limit, after))

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        """Read updates in these states."""
        return await self._call("all", lambda: self._store.find_updates(states, limit))

    async def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates."""
        return await self._call(f"chat:{chat}", lambda: self._store.erase_updates(chat))

    async def purge(self, limit: int) -> int:
        """Drop what is past its expiry."""
        return await self._call("nowhere", lambda: self._store.purge(limit))

    async def close(self) -> None:
        """Give connections back."""
        await self._store.close()

    async def _call(self, where: str, work: Callable[[], Awaitable[T]]) -> T:
        return await self._line.call(self._container, where, work)


class ShakyWarm(WarmStore):
    """The port WarmStore of one container."""

    def __init__(self, line: StoreLine, container: Container, store: WarmStore) -> None:
        self._line, self._container, self._store = line, container, store

    async def read_image(self, name: str) -> StoredImage | None:
        """Read an image."""
        return await self._line.call(self._container, _shard_of(name), lambda: self._store.read_image(name))

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write an image at its version."""
        return await self._line.call(
            self._container, _shard_of(name), lambda: self._store.write_image(name, image)
        )

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Read the shard's sessions written after the mark `since`."""
        return await self._line.call(
            self._container, f"shard:{shard}", lambda: self._store.changed_sessions(shard, since, limit)
        )

    async def close(self) -> None:
        """Give connections back."""
        await self._store.close()


class ShakyStatistics(SkillStatsStore):
    """The port SkillStatsStore of one container."""

    def __init__(self, line: StoreLine, container: Container, store: SkillStatsStore) -> None:
        self._line, self._container, self._store = line, container, store

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Read the statistics of these skills."""
        return await self._line.call(self._container, "nowhere", lambda: self._store.read_stats(skills))

    async def record_run(self, run: SkillRun) -> None:
        """Count a run once."""
        await self._line.call(self._container, "nowhere", lambda: self._store.record_run(run))

    async def close(self) -> None:
        """Give connections back."""
        await self._store.close()


def _shard_of(image: str) -> str:
    """The place of an image's trouble, as the ledger names it."""
    return f"shard:{image.rpartition(':')[2]}"
