"""Sessions, mailboxes and updates in Firestore: every write is one commit without a read before it."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Final

from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SessionStore,
    StoreDown,
    StoreError,
    StoreMeter,
    Stray,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from app.store import firestore_docs as docs
from app.store.firestore_adapter import Adapter
from app.store.firestore_answers import Found, Unread, living
from app.store.firestore_client import Applied, FirestoreDatabase
from app.store.firestore_errors import AlreadyExists, PreconditionFailed
from app.store.firestore_plans import open_plan, place_of_stray, recent_plan, states_plan, stray_plan
from app.store.firestore_poison import Poison
from app.store.firestore_requests import Change, Search, When
from app.store.firestore_search import answer, find
from app.store.firestore_values import UnreadableDocument
from contracts.turns import TurnState

_TOGETHER_S: Final = 2.0
"""How long updates of a group are tried: the others' answers wait, and the gateway waits 5 s for them."""

_TORN_TRIES: Final = 5  # a busy chat is written to every 20 ms or so, the waves are a few apart
_ERASE_CHUNK: Final = 500  # writes a commit, as Firestore's quota page advises
_ERASE_ROUNDS: Final = 100  # 50,000 ended updates of one chat within their week of life; so that it ends


class FirestoreSessionStore(Adapter, SessionStore):
    """The SessionStore port on an open FirestoreDatabase.

    `unix_s` serves to date expiries, days ahead; updates of a group are tried for `together_s` seconds.
    """

    def __init__(
        self,
        database: FirestoreDatabase,
        meter: StoreMeter,
        *,
        unix_s: Callable[[], float] = time.time,
        together_s: float = _TOGETHER_S,
    ) -> None:
        super().__init__(database, meter)
        self._unix_s, self._together_s = unix_s, together_s

    # ------------------------------------------------------------ writing

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update and its ticket; an update that is there is a duplicate."""
        operation = secrets.token_hex(12)
        try:
            applied = await self._commit(docs.append_changes(record, operation, self._now()))
        except AlreadyExists as error:
            return await self._appended_before(record, operation) if error.unsure else Appended(created=False)
        waiting, revision = applied[1].results[:2] if record.open else (0, 0)
        return Appended(created=True, version=applied[0].version, waiting=waiting, revision=revision)

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Append each by a commit of its own, chats in parallel.

        In one commit, an update that is there or one busy mailbox would fail all of them.
        """
        until_s = asyncio.get_running_loop().time() + self._together_s
        chats: defaultdict[int, list[tuple[int, UpdateRecord]]] = defaultdict(list)
        for number, record in enumerate(records):
            chats[record.chat].append((number, record))
        done = await asyncio.gather(*(self._append_in_order(each, until_s) for each in chats.values()))
        outcomes = dict(chain.from_iterable(done))
        return [outcomes[number] for number in range(len(records))]

    async def _append_in_order(
        self, records: Sequence[tuple[int, UpdateRecord]], until_s: float
    ) -> list[tuple[int, Appended | StoreError]]:
        return [(number, await self._append_until(record, until_s)) for number, record in records]

    async def _append_until(self, record: UpdateRecord, until_s: float) -> Appended | StoreError:
        try:
            async with asyncio.timeout_at(until_s):
                return await self.append(record)
        except TimeoutError:
            return StoreDown(f"Firestore did not answer in {self._together_s:g} s")
        except StoreError as error:
            return error

    async def _appended_before(self, record: UpdateRecord, operation: str) -> Appended:
        """An attempt had no answer and the next one found the update: it is ours until somebody writes it on.

        Then its turn is at work elsewhere, and our version of it is gone: to the caller it is one that was there.
        """
        update, mailbox = await self._look(docs.update_path(record.key), docs.mailbox_path(record.chat))
        if not docs.has_operation(update, operation):
            return Appended(created=False)
        waiting = docs.read_waiting(mailbox) if record.open else 0
        return Appended(
            created=True,
            version=docs.version_of(update),
            waiting=waiting,
            revision=docs.read_revision(mailbox),
        )

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write update, session and mailbox in one commit; raises VersionConflict naming what had moved."""
        if not write.update.version:  # of no stored update; as a precondition it would create one
            raise VersionConflict("update")
        try:
            mailbox, update, *session = await self._commit(docs.turn_changes(write, self._now()))
        except PreconditionFailed as error:
            return await self._written_before(write, error)
        return TurnWritten(
            update_version=update.version,
            session_version=session[0].version if session else 0,
            waiting=max(mailbox.results[0], 0),
            revision=_revision(write, mailbox.results[1:]),
        )

    async def _written_before(self, write: TurnWrite, error: PreconditionFailed) -> TurnWritten:
        """Tell a repeated write, which has happened, from a conflict, and that one's cause."""
        chat, key = write.update.chat, write.update.key
        update, session, mailbox = await self._look(
            docs.update_path(key), docs.session_path(chat), docs.mailbox_path(chat)
        )
        if not docs.has_operation(update, write.operation):
            raise _conflict(write, update, session) from error
        return TurnWritten(
            update_version=docs.version_of(update),
            session_version=_session_version(write, session),
            waiting=docs.read_waiting(mailbox),
            revision=_revision(write, [docs.read_revision(mailbox)]),
            repeated=True,
        )

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write a session, or a tombstone for an empty body, at its next version."""
        try:
            applied, _ = await self._commit(docs.session_changes(session, operation, self._now()))
        except PreconditionFailed as error:
            (stored,) = await self._look(docs.session_path(session.chat))
            if not docs.has_operation(stored, operation):
                raise VersionConflict("session") from error
            return docs.version_of(stored)
        return applied.version

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the lease with the store's time, or give it up."""
        await self._commit([docs.lease_change(chat, lease)])

    # ------------------------------------------------------------ reading

    async def read_chat(self, chat: int) -> ChatState:
        """Read session and mailbox in one call and, only if updates wait, those in a second one.

        A session that can't be read comes as an empty one at its version, so that it can be replaced.
        """
        return (await self.read_chats((chat,)))[chat]

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        """Read these chats as `read_chat` reads one: two waves in all, in parallel chunks of 250 documents.

        A chat that was written to between the waves is read again: a turn with another moment's lease, or with
        none, would be taken over from an owner who is at work.
        """
        read: dict[int, ChatState] = {}
        for _ in range(_TORN_TRIES):
            read |= await self._read_untorn([chat for chat in dict.fromkeys(chats) if chat not in read])
            if all(chat in read for chat in chats):
                return read
        raise StoreDown("a chat was written to each time it was read")

    async def _read_untorn(self, chats: Sequence[int]) -> dict[int, ChatState]:
        paths = [path for chat in chats for path in (docs.session_path(chat), docs.mailbox_path(chat))]
        found = await self._get(paths)
        heads = [_Head(chat, found) for chat in chats]
        keys = [key for head in heads for key in head.tickets]
        waiting = (await self._get([docs.update_path(key) for key in keys])).documents if keys else {}
        return {head.chat: head.state(waiting) for head in heads if not head.is_torn(waiting)}

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Read these sessions in one parallel wave, tombstones and unreadable ones as empty ones."""
        poison = Poison()
        paths = [docs.session_path(chat) for chat in chats]
        found = await self._database.get_all(paths, self._meter, _keep_session)
        sessions = tuple(_kept(path, each, poison) for path, each in found.documents.items())
        return SessionBatch(sessions=sessions, set_aside=poison.found)

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Give the newest sessions of the shard; without its index, by a wider query that needs none."""
        sessions, poison = await find(self._database, recent_plan(shard, limit), self._meter)
        return SessionBatch(sessions=sessions, set_aside=poison.found)

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        """Give the shard's updates without an end; without its index, by a wider query that needs none."""
        updates, _ = await find(self._database, open_plan(shard, limit, after), self._meter)
        return updates

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        """Give updates in one of these states; without its index, by a wider query that needs none."""
        if not states:
            return ()
        updates, _ = await find(self._database, states_plan(states, limit), self._meter)
        return updates

    async def open_shards(self, limit: int) -> Sequence[int]:
        """Read nothing of the open updates but their shards; equality alone needs no index."""
        search = Search(collection=docs.UPDATES, limit=limit, equal={"open": True}, only=("shard",))
        found = await self._database.query(search, self._meter, living(docs.read_shard))
        return tuple(each if isinstance(each, int) else -1 for each in found.documents.values())

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        """Read nothing of the updates but whose they are; without the index, by a wider query that needs none."""
        plan = stray_plan(shards, limit, after)
        found = (await answer(self._database, plan, self._meter)).found
        return sorted(filter(plan.keep, Poison().sound(found.documents)), key=place_of_stray)[:limit]

    # ------------------------------------------------------------ ends

    async def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates, 500 in a commit."""
        equal = {"chat": chat, "open": False, "erased": False}
        search = Search(collection=docs.UPDATES, limit=_ERASE_CHUNK, equal=equal, only=("__name__",))
        erased = 0
        for _ in range(_ERASE_ROUNDS):
            found = await self._database.query(search, self._meter)
            if not found.documents:
                break
            erased += await self._erase(list(found.documents))
        return erased

    async def _erase(self, paths: Sequence[str]) -> int:
        emptied = {"body": b"", "erased": True}
        changes = [Change(document=path, fields=emptied, when=When.PRESENT) for path in paths]
        try:
            await self._commit(changes)
        except PreconditionFailed as error:
            raise StoreDown("one of the updates has just expired") from error
        return len(paths)

    async def purge(self, limit: int) -> int:  # noqa: ARG002  # the port's
        """Do nothing: the TTL policy on `expires_at` deletes, and reads leave out what is past it."""
        return 0

    # ------------------------------------------------------------ helpers

    async def _commit(self, changes: Sequence[Change]) -> tuple[Applied, ...]:
        return await self._database.commit(changes, self._meter)

    async def _get(self, paths: Sequence[str]) -> Found:
        return await self._database.get_all(paths, self._meter)

    async def _look(self, *paths: str) -> list[Any | None]:
        found = await self._get(paths)
        return [found.documents.get(path) for path in paths]

    def _now(self) -> datetime:
        return docs.utc(self._unix_s())


class _Head:
    """A chat's session and mailbox, read; its waiting updates are still to be read."""

    def __init__(self, chat: int, found: Found) -> None:
        self.chat, self._poison, self._read_at_us = chat, Poison(), found.read_at_us
        path = docs.mailbox_path(chat)
        mailbox = found.documents.get(path)
        tell = partial(self._poison.set_aside, path)
        self.tickets = self._poison.guard(path, mailbox, lambda _, it: docs.read_tickets(it, tell)) or ()
        self._lease = self._poison.guard(path, mailbox, lambda _, it: docs.read_lease(it, found.read_at_us))
        path = docs.session_path(chat)
        session = found.documents.get(path)
        self._session = _session(path, session, self._poison) if session is not None else None

    def is_torn(self, updates: Mapping[str, Any]) -> bool:
        """Whether one of the updates was written after the mailbox was read."""
        own = (updates.get(docs.update_path(key)) for key in self.tickets)
        return any(docs.version_of(update) > self._read_at_us for update in own)

    def state(self, updates: Mapping[str, Any]) -> ChatState:
        """What the port gives."""
        in_order = {path: updates.get(path) for path in map(docs.update_path, self.tickets)}
        records = self._poison.readable(in_order, docs.read_update)
        return ChatState(
            session=self._session,
            open_updates=tuple(record for record in records if record.open),
            lease=self._lease,
            set_aside=self._poison.found,
        )


def _session(path: str, document: Any, poison: Poison) -> SessionRecord:
    return _kept(path, _keep_session(path, document, 0), poison)


def _keep_session(path: str, document: Any, _: int) -> SessionRecord | Unread:
    try:
        return docs.read_session(path, document)
    except UnreadableDocument as error:
        return Unread(reason=str(error), instead=docs.blank_session(path, document))


def _kept(path: str, kept: SessionRecord | Unread, poison: Poison) -> SessionRecord:
    """The session, or the empty one that stands for one which can't be read."""
    if isinstance(kept, SessionRecord):
        return kept
    poison.set_aside(path, kept.reason)
    blank: SessionRecord = kept.instead
    return blank


def _conflict(write: TurnWrite, update: Any | None, session: Any | None) -> VersionConflict | StoreDown:
    if docs.version_of(update) != write.update.version:
        return VersionConflict("update")
    if write.session is not None and docs.version_of(session) != write.session.version:
        return VersionConflict("session")
    return StoreDown("the commit was refused, yet everything is at the version it wants: contended")


def _revision(write: TurnWrite, told: Sequence[int]) -> int:
    """The session's revision: of this write, which names it itself, or as the mailbox told it."""
    if write.session is not None:
        return docs.revision_of(write.session, write.operation)
    return told[0]


def _session_version(write: TurnWrite, session: Any | None) -> int:
    """The version that an earlier try gave the session; once it was written again, the one before that."""
    if write.session is None:
        return 0
    is_ours = docs.has_operation(session, write.operation)
    return docs.version_of(session) if is_ours else write.session.version
