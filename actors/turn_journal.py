"""A shard's turns: accepted once, leased to one owner, committed in one step, delivered chunk by chunk."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from actors import session_codec, turns
from actors.cache_values import Versioned
from actors.mailbox import LEASE_S, Lease, Mailbox, Mailboxes
from actors.ports import (
    Background,
    Chance,
    Clock,
    SessionRecord,
    SessionStore,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from contracts.base import Message
from contracts.faults import BadRequest, LeaseLost, MailboxFull
from contracts.sessions import (
    AcceptUpdate,
    BeginSending,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    LeaseRenewed,
    MarkDelivered,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
    TurnReleased,
    UpdateAccepted,
    UpdateDuplicate,
)
from contracts.turns import Incoming, Session, TurnState

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5  # a turn that took five owners down would take the next ones down too
COMMIT_TRIES = 3  # C6: reload and reapply; the session's other writers are admin calls, rare
RAW_LIMIT = 64 * 1024  # FAULTS A4: a quarantined body is kept cut to 64 kB
_UNREADABLE = Incoming(kind="unreadable")


class Sessions(Protocol):
    """What the journal needs of the shard's sessions."""

    async def read(self, chat: int) -> Versioned[bytes]:
        """The chat's session, from L1 or the store; raises StoreError."""

    def learn(self, session: SessionRecord) -> None:
        """Take over a session that was durably written or read."""

    def unlearn(self, chat: int) -> None:
        """Drop a session whose write may or may not have happened."""


class TurnJournal:
    """Every step of a turn is durable before it is told; a step that may have happened is read again."""

    def __init__(
        self,
        shard: int,
        *,
        store: SessionStore,
        sessions: Sessions,
        mailboxes: Mailboxes,
        clock: Clock,
        chance: Chance,
        background: Background,
        count: Callable[[str], None],
        mailbox_limit: int,
    ) -> None:
        self._shard, self._mailbox_limit = shard, mailbox_limit
        self._store, self._sessions, self._mailboxes = store, sessions, mailboxes
        self._clock, self._chance, self._background = clock, chance, background
        self._count = count

    # ------------------------------------------------------------ accept

    async def accept(self, request: AcceptUpdate) -> Message:
        """Make the update durable: one store call; its mailbox is bounded."""
        record = self._record(request)
        if not record.open:
            appended = await self._store.append(record)
            return UpdateAccepted() if appended.created else self._duplicate()
        async with self._mailboxes.locked(record.chat):
            return await self._append(record)

    async def _append(self, record: UpdateRecord) -> Message:
        box = self._mailboxes.get(record.chat)
        if box is not None and record.key in box.records:
            return self._duplicate()
        if box is not None and box.waiting >= self._mailbox_limit:
            self._count("mailbox_full")
            return MailboxFull(detail=f"{box.waiting} updates wait in this chat")
        appended = await self._store.append(record)
        if not appended.created:
            return self._duplicate()
        stored = msgspec.structs.replace(record, version=appended.version)
        self._mailboxes.open(record.chat).append(stored, appended.waiting)
        return UpdateAccepted(waiting=appended.waiting)

    def _record(self, request: AcceptUpdate) -> UpdateRecord:
        turn = turns.TurnRecord(incoming=request.incoming, raw=request.raw[:RAW_LIMIT])
        queued = request.verdict == "queue"
        state: TurnState = "accepted" if request.verdict == "queue" else request.verdict
        return UpdateRecord(
            bot=request.bot,
            update=request.update,
            chat=request.incoming.chat,
            shard=self._shard,
            state=state,
            open=queued,
            reason=request.reason,
            body=turns.pack(turn),
        )

    def _duplicate(self) -> UpdateDuplicate:
        self._count("duplicates")
        return UpdateDuplicate()

    # ------------------------------------------------------------ claim

    async def claim(self, request: ClaimTurn) -> Message:
        """Lease the chat's next turn: no store read on a warm chat; the lease is written beside the work."""
        while True:
            box = await self._mailbox(request.chat)
            held = box.living_lease(self._now())
            if held is not None or box.not_before > self._now():
                return TurnHeld(chat=request.chat, retry_after_s=self._wait(box, held))
            head = box.head()
            if head is None:
                self._mailboxes.close_if_empty(request.chat)
                return NothingWaiting(chat=request.chat)
            reply = await self._leased(box, head, request.owner)
            if reply is not None:
                return reply

    async def _leased(self, box: Mailbox, head: UpdateRecord, owner: str) -> Message | None:
        """Begin the turn under a new lease, which is given up when beginning fails."""
        lease = self._lease(box, head, owner)
        try:
            return await self._begin(box, head, lease)
        except BaseException:
            if box.lease is lease:
                box.lease = None
            box.attempts[head.key] = lease.attempt - 1  # a store that is away is no fault of the turn
            raise

    async def _begin(self, box: Mailbox, head: UpdateRecord, lease: Lease) -> Message | None:
        """Begin the turn at the mailbox's head; None when it ended here and the next one is due."""
        turn = self._readable(head)
        if turn is None:
            await self._end(
                box, head, turns.TurnRecord(incoming=_UNREADABLE), "dead_lettered", "unreadable record"
            )
            return None
        if lease.attempt > MAX_ATTEMPTS and head.state == "accepted":
            await self._end(
                box, head, turn, "dead_lettered", f"{MAX_ATTEMPTS} attempts ended without an answer"
            )
            return None
        if head.state == "committed":
            return await self._resume(box, head, turn, lease)
        return await self._fresh(head, turn, lease)

    async def _fresh(self, head: UpdateRecord, turn: turns.TurnRecord, lease: Lease) -> TurnClaimed:
        held = await self._sessions.read(head.chat)
        self._write_lease(head.chat, lease)
        return TurnClaimed(
            chat=head.chat,
            bot=head.bot,
            update=head.update,
            lease=lease.id,
            incoming=turn.incoming,
            session=self.session_of(head.chat, held),
            version=held.version,
            attempt=lease.attempt,
            lease_s=LEASE_S,
        )

    async def _resume(
        self, box: Mailbox, head: UpdateRecord, turn: turns.TurnRecord, lease: Lease
    ) -> OutboxClaimed | None:
        """Go on with a reply that an earlier owner left: what it was sending is unknown, the rest is sent."""
        turn, following = turns.begin_next(turns.after_crash(turn))
        if following < 0:
            state, reason = turns.outcome(turn)
            await self._end(box, head, turn, state, reason)
            return None
        record = turns.step(head, turn, "committed")
        written = await self._write(record, operation=f"{lease.id}:resume")
        box.replace(msgspec.structs.replace(record, version=written.update_version))
        self._write_lease(head.chat, lease)
        return OutboxClaimed(
            chat=head.chat,
            bot=head.bot,
            update=head.update,
            lease=lease.id,
            chunks=turn.chunks,
            lease_s=LEASE_S,
        )

    def _lease(self, box: Mailbox, head: UpdateRecord, owner: str) -> Lease:
        attempt = box.attempts.get(head.key, 0) + 1
        box.attempts[head.key] = attempt
        box.lease = Lease(self._chance.token(), owner, head.key, attempt, self._now() + LEASE_S)
        return box.lease

    def _wait(self, box: Mailbox, held: Lease | None) -> float:
        until = max(box.not_before, held.expires_at if held is not None else 0.0)
        return max(0.0, until - self._now())

    def _readable(self, record: UpdateRecord) -> turns.TurnRecord | None:
        try:
            return turns.unpack(record)
        except session_codec.UNREADABLE as error:
            self._count("updates_set_aside")
            log.error("update_set_aside", update=record.key, error=str(error))
            return None

    # ------------------------------------------------------------ lease

    async def renew(self, request: RenewLease) -> Message:
        """Keep the lease for another 15 s."""
        box = await self._mailbox(request.chat)
        lease = self._owned(box, request.lease)
        if lease is None:
            return LeaseLost(detail="another owner has the turn, or it has ended")
        lease.expires_at = self._now() + LEASE_S
        self._write_lease(request.chat, lease)
        return LeaseRenewed(lease_s=LEASE_S)

    async def release(self, request: ReleaseTurn) -> Message:
        """Let the next owner take the turn at once, or after the wait that is asked for."""
        box = self._mailboxes.get(request.chat)
        if box is not None and box.lease is not None and box.lease.id == request.lease:
            box.lease = None
            box.not_before = self._now() + request.retry_after_s
            if request.retry_after_s > 0:
                box.attempts.pop(next(iter(box.records), ""), None)  # waiting as told is no failed attempt
            await self._store.write_lease(request.chat, None)
        return TurnReleased()

    def stranded(self, chat: int) -> bool:
        """Whether the chat's turn has no living owner, as far as this container knows."""
        box = self._mailboxes.get(chat)
        if box is None:
            return True
        return box.living_lease(self._now()) is None and box.not_before <= self._now()

    def _owned(self, box: Mailbox, lease: str) -> Lease | None:
        """The caller's lease; one that this container never saw is adopted when nobody else holds the turn."""
        if box.lease is not None and box.lease.id == lease:
            return box.lease
        head = box.head()
        if head is None or box.living_lease(self._now()) is not None:
            return None
        attempt = max(1, box.attempts.get(head.key, 1))
        box.lease = Lease(lease, "adopted", head.key, attempt, self._now() + LEASE_S)
        return box.lease

    def _write_lease(self, chat: int, lease: Lease) -> None:
        self._background.spawn("write lease", lambda: self._store.write_lease(chat, lease.record()))

    # ------------------------------------------------------------ commit

    async def commit(self, request: CommitTurn) -> Message:
        """Write session, turn and outbox at once; on a moved session, read it and apply the turn again."""
        box = await self._mailbox(request.chat)
        record = box.records.get(f"{request.bot}:{request.update}")
        if record is None:
            return LeaseLost(detail="the turn has ended")
        turn = turns.unpack(record)
        if record.state == "committed" and turn.lease == request.lease:
            return TurnCommitted(chunks=turn.chunks, waiting=box.waiting)
        if record.state != "accepted" or self._owned(box, request.lease) is None:
            return LeaseLost(detail="another owner has the turn")
        if request.forget:
            await self._store.erase_updates(request.chat)
        return await self._commit(box, record, turn, request)

    async def _commit(
        self, box: Mailbox, record: UpdateRecord, turn: turns.TurnRecord, request: CommitTurn
    ) -> Message:
        committed = self._committed(record, turn, request)
        for _ in range(COMMIT_TRIES):
            session = await self._session_after(request)
            try:
                written = await self._write(committed, operation=f"{request.lease}:commit", session=session)
            except VersionConflict as conflict:
                self._count("commit_conflicts")
                self._sessions.unlearn(request.chat)
                if conflict.what == "update":
                    self._mailboxes.drop(request.chat)
                    return LeaseLost(detail="another owner has finished the turn")
                continue
            return self._was_committed(box, committed, session, written)
        raise VersionConflict("session")

    def _was_committed(
        self, box: Mailbox, committed: UpdateRecord, session: SessionRecord | None, written: TurnWritten
    ) -> TurnCommitted:
        stored = msgspec.structs.replace(committed, version=written.update_version)
        if stored.open:
            box.replace(stored)
            box.count(written.waiting, written.update_version)
        else:
            self._ended(box, stored, written)
        if session is not None:
            self._sessions.learn(msgspec.structs.replace(session, version=written.session_version))
        return TurnCommitted(
            version=written.session_version, chunks=turns.unpack(committed).chunks, waiting=written.waiting
        )

    def _committed(self, record: UpdateRecord, turn: turns.TurnRecord, request: CommitTurn) -> UpdateRecord:
        incoming = msgspec.structs.replace(turn.incoming, text="") if request.forget else turn.incoming
        reply = turns.TurnRecord(incoming=incoming, chunks=request.chunks, lease=request.lease)
        reply, first = turns.begin_next(reply)
        if first < 0:
            return turns.step(record, reply, request.outcome, request.reason)
        return turns.step(record, reply, "committed", request.reason)

    async def _session_after(self, request: CommitTurn) -> SessionRecord | None:
        if not session_codec.touches_session(request):
            return None
        held = await self._sessions.read(request.chat)
        if request.forget and held.value is None:
            return None
        body = b""
        if not request.forget:
            session = session_codec.after_turn(self.session_of(request.chat, held), request)
            body = session_codec.pack(session, over=held.value or b"")
        return SessionRecord(chat=request.chat, shard=self._shard, body=body, version=held.version)

    # ------------------------------------------------------------ deliver

    async def delivered(self, request: MarkDelivered) -> Message:
        """Record a chunk's fate, and mark the next `sending` in the same write."""
        found = await self._sending(request)
        if isinstance(found, LeaseLost):
            return found
        box, record, turn = found
        if _already(turn, request):
            return DeliveryRecorded(next=_sending_now(turn), waiting=box.waiting)
        try:
            turn = turns.with_chunk(
                turn, request.index, request.state, message=request.message, reason=request.reason
            )
        except turns.IllegalStep as illegal:
            return BadRequest(detail=str(illegal))
        if request.state == "planned":
            return await self._step(box, record, turn, request.lease, request.index, following=-1)
        turn, following = turns.begin_next(turn)
        if following >= 0:
            return await self._step(box, record, turn, request.lease, request.index, following=following)
        state, reason = turns.outcome(turn)
        await self._end(box, record, turn, state, reason)
        return DeliveryRecorded(ended=True, waiting=box.waiting)

    async def begin_sending(self, request: BeginSending) -> Message:
        """Mark a planned chunk `sending`, durably, before it is sent again."""
        found = await self._sending(request)
        if isinstance(found, LeaseLost):
            return found
        box, record, turn = found
        try:
            turn = turns.with_chunk(turn, request.index, "sending")
        except turns.IllegalStep as illegal:
            return BadRequest(detail=str(illegal))
        return await self._step(box, record, turn, request.lease, request.index, following=request.index)

    async def _sending(
        self, request: MarkDelivered | BeginSending
    ) -> tuple[Mailbox, UpdateRecord, turns.TurnRecord] | LeaseLost:
        box = await self._mailbox(request.chat)
        record = box.records.get(f"{request.bot}:{request.update}")
        if record is None or record.state != "committed" or self._owned(box, request.lease) is None:
            return LeaseLost(detail="another owner has the turn, or it has ended")
        return box, record, turns.unpack(record)

    async def _step(
        self,
        box: Mailbox,
        record: UpdateRecord,
        turn: turns.TurnRecord,
        lease: str,
        index: int,
        *,
        following: int,
    ) -> DeliveryRecorded:
        state = turn.chunks[index].state
        stepped = turns.step(record, turn, "committed")
        written = await self._write(stepped, operation=f"{lease}:{index}:{state}:{record.version}")
        box.replace(msgspec.structs.replace(stepped, version=written.update_version))
        return DeliveryRecorded(next=following, waiting=box.waiting)

    async def _end(
        self, box: Mailbox, record: UpdateRecord, turn: turns.TurnRecord, state: TurnState, reason: str
    ) -> None:
        ended = turns.step(record, turn, state, reason)
        written = await self._write(ended, operation=f"{record.key}:end:{record.version}")
        self._ended(box, msgspec.structs.replace(ended, version=written.update_version), written)

    def _ended(self, box: Mailbox, record: UpdateRecord, written: TurnWritten) -> None:
        self._count(f"turns_{record.state}")
        box.end(record, written.waiting)
        self._mailboxes.close_if_empty(record.chat)

    # ------------------------------------------------------------ the store

    async def _mailbox(self, chat: int) -> Mailbox:
        """The chat's mailbox, read from the store if this container does not know all of it."""
        box = self._mailboxes.get(chat)
        if box is not None and box.whole:
            return box
        async with self._mailboxes.locked(chat):
            box = self._mailboxes.get(chat)
            return box if box is not None and box.whole else await self._read_mailbox(chat)

    async def _read_mailbox(self, chat: int) -> Mailbox:
        state = await self._store.read_chat(chat)
        for poison in state.set_aside:
            self._count("updates_set_aside")
            log.warning("record_set_aside", file=poison.file, reason=poison.reason)
        if state.session is not None:
            self._sessions.learn(state.session)
        return self._mailboxes.load(chat, state.open_updates, state.lease, self._now())

    async def _write(
        self, record: UpdateRecord, *, operation: str, session: SessionRecord | None = None
    ) -> TurnWritten:
        try:
            return await self._store.write_turn(
                TurnWrite(operation=operation, update=record, session=session)
            )
        except VersionConflict:
            if session is None:
                self._mailboxes.drop(record.chat)
            raise
        except BaseException:
            self._mailboxes.drop(record.chat)  # it may have happened: the next look asks the store
            if session is not None:
                self._sessions.unlearn(record.chat)
            raise

    def session_of(self, chat: int, held: Versioned[bytes]) -> Session:
        """Read a held session; an absent one is new, an unreadable one is set aside and begun anew."""
        if held.value is None:
            return Session(chat=chat, created_at=self._clock.unix_s())
        try:
            return session_codec.unpack(held.value)
        except session_codec.UNREADABLE as error:
            self._count("sessions_set_aside")
            log.error("session_set_aside", chat=chat, error=str(error))
            return Session(chat=chat, created_at=self._clock.unix_s())

    def _now(self) -> float:
        return self._clock.monotonic_s()


def _already(turn: turns.TurnRecord, request: MarkDelivered) -> bool:
    """Whether an earlier try of the same request, whose answer was lost, had been written."""
    return 0 <= request.index < len(turn.chunks) and turn.chunks[request.index].state == request.state


def _sending_now(turn: turns.TurnRecord) -> int:
    return next((index for index, chunk in enumerate(turn.chunks) if chunk.state == "sending"), -1)
