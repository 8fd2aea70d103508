"""A shard's mailboxes over the store: read when they are not known whole, written one at a time, never guessed."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from actors import session_codec, turns
from actors.cache_values import Versioned
from actors.mailbox import LEASE_S, Lease, Mailbox, Mailboxes
from actors.ports import Background, Clock
from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionRecord,
    SessionStore,
    StoreError,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from contracts.base import Message
from contracts.faults import BadRequest, LeaseLost
from contracts.turns import Session, TurnState

log = structlog.get_logger(__name__)


class Sessions(Protocol):
    """What turns need of the shard's sessions."""

    @property
    def doubts(self) -> int:
        """How often a session was unlearned; what was read before the last time may be outdated."""

    async def read(self, chat: int) -> Versioned[bytes]:
        """The chat's session, from L1 or the store; raises StoreError."""

    def learn(self, session: SessionRecord) -> None:
        """Take over a session that was durably written or read; version 0 is one that is absent."""

    def unlearn(self, chat: int) -> None:
        """Drop a session whose write may or may not have happened."""

    def told(self, chat: int, revision: int) -> None:
        """Take note of the stored session's revision: one that is held at another is dropped."""


class TurnStore:
    """What happened in the store is noted in the mailbox; what may have happened makes it suspect."""

    def __init__(
        self,
        shard: int,
        *,
        store: SessionStore,
        sessions: Sessions,
        mailboxes: Mailboxes,
        clock: Clock,
        background: Background,
        count: Callable[[str], None],
    ) -> None:
        self.shard, self.mailboxes, self.sessions, self.count = shard, mailboxes, sessions, count
        self._store, self._clock, self._background = store, clock, background

    def now(self) -> float:
        """Monotonic seconds, as leases in memory count them."""
        return self._clock.monotonic_s()

    def unix_s(self) -> float:
        """Unix seconds by this container's clock, for what is counted in hours."""
        return self._clock.unix_s()

    # ------------------------------------------------------------ reading

    async def mailbox(self, chat: int) -> Mailbox:
        """The chat's mailbox, read from the store if this container does not know all of it."""
        box = self.mailboxes.get(chat)
        if box is not None and box.whole:
            return box
        async with self.mailboxes.gates.passage(chat):
            box = self.mailboxes.get(chat)
            if box is not None and box.whole:
                return box
            doubts, doubted = self.sessions.doubts, self.mailboxes.doubts(chat)
            return self._take_over(chat, await self._store.read_chat(chat), doubts, doubted)

    async def sure(self, chat: int, attempt: Callable[[bool], Awaitable[Message]]) -> Message:
        """Give what `attempt` answers; what memory alone refuses is tried once more after reading the store.

        The shard's other owner may have done what this container has not seen. `attempt` is told whether
        the mailbox that it looks at is read from the store.
        """
        doubted = self.mailboxes.is_doubted(chat)
        try:
            reply = await attempt(doubted)
        except VersionConflict as conflict:
            if doubted or conflict.what != "update":
                raise
            reply = LeaseLost(detail="another owner moved the turn on")
        if doubted or not isinstance(reply, LeaseLost | BadRequest):
            return reply
        self.mailboxes.doubt(chat)
        return await attempt(True)

    async def learn(self, chats: Sequence[int]) -> tuple[int, ...]:
        """Read the mailboxes of these chats together, but for those in use this moment; gives whose were read."""
        with self.mailboxes.gates.convoy_where_open(chats) as convoy:
            free, doubts = convoy.inside(), self.sessions.doubts
            doubted = {chat: self.mailboxes.doubts(chat) for chat in free}
            states = await self._store.read_chats(free) if free else {}
            for chat, state in states.items():
                self._take_over(chat, state, doubts, doubted[chat])
        return tuple(states)

    def _take_over(self, chat: int, state: ChatState, doubts: int, doubted: int) -> Mailbox:
        """Take over what was read, with the doubts in sessions and in the mailbox of before the reading."""
        for poison in state.set_aside:
            self.count("updates_set_aside")
            log.warning("record_set_aside", file=poison.file, reason=poison.reason)
        if doubts == self.sessions.doubts:
            self._learn_session(chat, state)
        elif state.session is not None:
            self.sessions.told(chat, state.session.revision)
        return self.mailboxes.load(chat, state.open_updates, state.lease, self.now(), doubts=doubted)

    def _learn_session(self, chat: int, state: ChatState) -> None:
        if state.session is not None:
            self.sessions.learn(state.session)
        elif not state.set_aside:  # what could not be read is not absent
            self.sessions.learn(SessionRecord(chat=chat, shard=self.shard))

    def session_of(self, chat: int, held: Versioned[bytes]) -> Session:
        """Read a held session; an absent one is new, an unreadable one is set aside and begun anew."""
        if held.value is None:
            return Session(chat=chat, created_at=self._clock.unix_s())
        try:
            return session_codec.unpack(held.value)
        except session_codec.UNREADABLE as error:
            self.count("sessions_set_aside")
            log.error("session_set_aside", chat=chat, error=str(error))
            return Session(chat=chat, created_at=self._clock.unix_s())

    # ------------------------------------------------------------ writing

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update; of one that waits, the caller holds the chat's gate."""
        try:
            appended = await self._store.append(record)
        except BaseException:
            self.mailboxes.doubt(record.chat)  # it may have happened
            raise
        self._note(record, appended)
        return appended

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Create the updates by one call; of those that wait, the caller holds the chats' gates."""
        try:
            outcomes = await self._store.append_all(records)
        except BaseException:
            for record in records:
                self.mailboxes.doubt(record.chat)
            raise
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                self.mailboxes.doubt(record.chat)
            else:
                self._note(record, outcome)
        return outcomes

    def _note(self, record: UpdateRecord, appended: Appended) -> None:
        """Note what an append did."""
        if not appended.created:
            box = self.mailboxes.get(record.chat)
            if box is not None and record.key not in box.records:
                self.mailboxes.doubt(record.chat)  # another container accepted it, and its turn may be due
        elif record.open:
            stored = msgspec.structs.replace(record, version=appended.version)
            self.mailboxes.open(record.chat).append(stored, appended.waiting)
            self.sessions.told(record.chat, appended.revision)

    async def write(
        self, record: UpdateRecord, *, operation: str, session: SessionRecord | None = None
    ) -> TurnWritten:
        """Write a step of a turn, and its lease with it, renewed.

        Raises VersionConflict, and other StoreErrors after which it may have happened.
        """
        lease, renewed_at = self._lease_of(record), self.now()
        stored = lease.record(self._waits_s(record.chat)) if lease is not None else None
        write = TurnWrite(operation=operation, update=record, session=session, lease=stored)
        async with self.mailboxes.gates.passage(record.chat):
            try:
                written = await self._store.write_turn(write)
            except VersionConflict as conflict:
                if conflict.what == "update":
                    self._lose(record)
                raise
            except BaseException:
                self._unsure(write)
                raise
        if lease is not None:
            lease.expires_at = max(lease.expires_at, renewed_at + LEASE_S)
        if session is None:
            self.sessions.told(record.chat, written.revision)
        return written

    def _lease_of(self, record: UpdateRecord) -> Lease | None:
        """The lease under which the turn's step is taken; one that ends the turn needs none."""
        box = self.mailboxes.get(record.chat)
        lease = box.lease if box is not None and record.open else None
        return lease if lease is not None and lease.update_key == record.key else None

    async def confirm(self, box: Mailbox, record: UpdateRecord) -> None:
        """Write what is known once more: whoever is told to send must not be told so by an outdated memory."""
        written = await self.write(record, operation=f"{record.key}:confirm:{record.version}")
        box.replace(msgspec.structs.replace(record, version=written.update_version))

    async def end(
        self, box: Mailbox, record: UpdateRecord, turn: turns.TurnRecord, state: TurnState, reason: str
    ) -> None:
        """Give the turn its end."""
        ended = turns.step(record, turn, state, reason)
        written = await self.write(ended, operation=f"{turn.lease}:{record.key}:end:{record.version}")
        self.ended(box, msgspec.structs.replace(ended, version=written.update_version), written)

    def ended(self, box: Mailbox, record: UpdateRecord, written: TurnWritten) -> None:
        """Note an end that was written."""
        self.count(f"turns_{record.state}")
        self.mailboxes.end(box, record, written.waiting)

    async def erase_ended(self, chat: int) -> None:
        """Empty the texts of the chat's ended updates."""
        await self._store.erase_updates(chat)

    async def give_up_lease(self, chat: int, lease: LeaseRecord) -> None:
        """Tell other containers that the turn is free, at once or when its chat has waited as it was told to.

        How many owners it took down stays, or a deploy between two of them would begin the count anew.
        """
        box = self.mailboxes.get(chat)
        wait_s = self._waits_s(chat)
        attempt = box.attempts.get(lease.update_key, 0) if box is not None else 0
        nobody = msgspec.structs.replace(lease, owner="", attempt=attempt, wait_s=wait_s)
        await self._store.write_lease(chat, nobody if wait_s or attempt else None)

    def write_lease(self, chat: int, box: Mailbox, lease: Lease) -> None:
        """Tell other containers of the lease, beside the work; not any more once it was replaced or given up.

        It tells of no wait, which it might cut short or begin anew where it comes late.
        """

        async def write() -> None:
            if box.lease is lease:
                await self._store.write_lease(chat, lease.record())

        self._background.spawn("write lease", write)

    def _waits_s(self, chat: int) -> float:
        box = self.mailboxes.get(chat)
        return box.waits_s(self.now()) if box is not None else 0.0

    def _lose(self, record: UpdateRecord) -> None:
        """Another owner moved the update on: what is known here of the mailbox is outdated, the lease is void."""
        self.mailboxes.doubt(record.chat)
        box = self.mailboxes.get(record.chat)
        if box is not None and box.lease is not None and box.lease.update_key == record.key:
            box.lease = None

    def _unsure(self, write: TurnWrite) -> None:
        """The write may have happened: the next look asks the store."""
        record = write.update
        self.mailboxes.doubt(record.chat)
        box = self.mailboxes.get(record.chat)
        if box is not None and box.lease is not None and box.lease.update_key == record.key:
            box.lease.ending = box.lease.ending or not record.open
        if write.session is not None:
            self.sessions.unlearn(record.chat)
