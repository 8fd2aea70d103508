"""A shard's turns: committed in one step, delivered chunk by chunk."""

from typing import Final

import msgspec

from actors import session_codec, turns
from actors.mailbox import Mailbox
from actors.stores import SessionRecord, TurnWritten, UpdateRecord, VersionConflict
from actors.turn_leases import TurnLeases
from actors.turn_store import TurnStore
from contracts.base import Message
from contracts.faults import BadRequest, LeaseLost
from contracts.sessions import (
    BeginSending,
    CommitTurn,
    DeliveryRecorded,
    MarkDelivered,
    SplitChunk,
    TurnCommitted,
)
from contracts.turns import TurnState

COMMIT_TRIES = 3  # reload and reapply; the session's other writers are admin calls, rare
OUTCOMES: Final = frozenset[TurnState]({"answered", "ignored", "refused", "dead_lettered"})

Sending = tuple[Mailbox, UpdateRecord, turns.TurnRecord]


class TurnJournal:
    """Every step of a turn is durable before it is told; a step that may have happened is read again."""

    def __init__(
        self,
        store: TurnStore,
        leases: TurnLeases,
        unsent_most_s: float = turns.UNSENT_MOST_S,
    ) -> None:
        self._store, self._leases, self._unsent_most_s = store, leases, unsent_most_s

    # ------------------------------------------------------------ commit

    async def commit(self, request: CommitTurn) -> Message:
        """Write session, turn and outbox at once; on a moved session, read it and apply the turn again."""
        if wrong := _malformed(request):
            return BadRequest(detail=wrong)
        return await self._store.sure(request.chat, lambda read: self._commit_known(request, read=read))

    async def _commit_known(self, request: CommitTurn, *, read: bool) -> Message:
        box = await self._store.mailbox(request.chat)
        record = box.records.get(f"{request.bot}:{request.update}")
        if record is None:
            return self._committed_before(box, request)
        turn = turns.unpack(record)
        if record.state == "committed" and turn.lease == request.lease:
            self._leases.adopt_unless_held(box, request.lease, record)
            await self._store.confirm(box, record)
            return TurnCommitted(chunks=turn.chunks, waiting=box.waiting)
        if record.state != "accepted" or not self._leases.owns(box, request.lease, record, read=read):
            return LeaseLost(detail="another owner has the turn")
        if request.forget:
            await self._store.erase_ended(request.chat)
        return await self._commit(box, record, turn, request)

    def _committed_before(self, box: Mailbox, request: CommitTurn) -> Message:
        if self._store.mailboxes.has_ended(request.lease, f"{request.bot}:{request.update}"):
            return TurnCommitted(waiting=box.waiting)
        return LeaseLost(detail="the turn has ended")

    async def _commit(
        self, box: Mailbox, record: UpdateRecord, turn: turns.TurnRecord, request: CommitTurn
    ) -> Message:
        committed = _committed(record, turn, request)
        for _ in range(COMMIT_TRIES):
            session = await self._session_after(request)
            try:
                written = await self._store.write(
                    committed, operation=f"{request.lease}:commit", session=session
                )
            except VersionConflict as conflict:
                self._store.count("commit_conflicts")
                self._store.sessions.unlearn(request.chat)
                if conflict.what == "update":
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
            self._store.ended(box, stored, written)
        if written.repeated:
            self._store.sessions.unlearn(committed.chat)  # another owner may have written another one
        elif session is not None:
            learned = msgspec.structs.replace(
                session, version=written.session_version, revision=written.revision
            )
            self._store.sessions.learn(learned)
        return TurnCommitted(
            version=written.session_version, chunks=turns.unpack(committed).chunks, waiting=written.waiting
        )

    async def _session_after(self, request: CommitTurn) -> SessionRecord | None:
        if not session_codec.touches_session(request):
            return None
        held = await self._store.sessions.read(request.chat)
        if request.forget and held.value is None:
            return None
        body = b""
        if not request.forget:
            session = session_codec.after_turn(self._store.session_of(request.chat, held), request)
            body = session_codec.pack(session, over=held.value or b"")
        return SessionRecord(chat=request.chat, shard=self._store.shard, body=body, version=held.version)

    # ------------------------------------------------------------ deliver

    async def delivered(self, request: MarkDelivered) -> Message:
        """Record a chunk's fate, and mark the next `sending` in the same write."""
        return await self._store.sure(request.chat, lambda read: self._delivered(request, read=read))

    async def _delivered(self, request: MarkDelivered, *, read: bool) -> Message:
        found = await self._sending(request, read=read)
        if isinstance(found, Message):
            return found
        box, record, turn = found
        box.wait(request.retry_after_s, self._store.now())
        if _already(turn, request):
            await self._store.confirm(box, record)
            return DeliveryRecorded(next=_sending_now(turn), waiting=box.waiting)
        try:
            turn = turns.with_chunk(
                turn, request.index, request.state, message=request.message, reason=request.reason
            )
        except turns.IllegalStep as illegal:
            return BadRequest(detail=str(illegal))
        if request.state == "planned":
            return await self._put_off(found, turn, request)
        turn, following = turns.begin_next(turn)
        if following >= 0:
            return await self._step(found, turn, request.index, following=following)
        return await self._through(box, record, turn)

    async def _through(self, box: Mailbox, record: UpdateRecord, turn: turns.TurnRecord) -> DeliveryRecorded:
        state, reason = turns.outcome(turn)
        await self._store.end(box, record, turn, state, reason)
        return DeliveryRecorded(ended=True, waiting=box.waiting)

    async def _put_off(
        self, found: Sending, turn: turns.TurnRecord, request: MarkDelivered
    ) -> DeliveryRecorded:
        """Have a chunk that was surely not sent wait for its next try; after a day there is none.

        A chat to which nothing can be sent must not keep its next message waiting for ever. Only the second try
        that failed so late is an end: what nobody could try, because all was down, is tried first, and Telegram
        may say then that it is to wait.
        """
        box, record, before = found
        now = self._store.unix_s()
        turn = turns.put_off(turn, now, self._unsent_most_s) if request.reason else turn
        unsent_s = turns.unsent_s(turn, now)
        if request.reason and before.tried_late:
            reason = f"surely not sent for {unsent_s / 3600:.0f} h: {request.reason}"
            return await self._through(
                box, record, turns.with_chunk(before, request.index, "failed", reason=reason)
            )
        stepped = await self._step(found, turn, request.index, following=-1)
        return msgspec.structs.replace(stepped, unsent_s=unsent_s)

    async def begin_sending(self, request: BeginSending) -> Message:
        """Mark a planned chunk `sending`, durably, before it is sent again; once more is no harm before it is sent."""
        return await self._store.sure(request.chat, lambda read: self._begin_sending(request, read=read))

    async def _begin_sending(self, request: BeginSending, *, read: bool) -> Message:
        found = await self._sending(request, read=read)
        if isinstance(found, Message):
            return found
        box, record, turn = found
        if _sending_now(turn) == request.index:
            await self._store.confirm(box, record)
            return DeliveryRecorded(next=request.index, waiting=box.waiting)
        try:
            turn = turns.with_chunk(turn, request.index, "sending")
        except turns.IllegalStep as illegal:
            return BadRequest(detail=str(illegal))
        return await self._step(found, turn, request.index, following=request.index)

    async def split(self, request: SplitChunk) -> Message:
        """Put pieces in the place of a chunk that is too long, durably, before the first of them is sent."""
        return await self._store.sure(request.chat, lambda read: self._split(request, read=read))

    async def _split(self, request: SplitChunk, *, read: bool) -> Message:
        found = await self._sending(request, read=read)
        if isinstance(found, Message):
            return found
        box, record, turn = found
        if _is_split(turn, request):
            await self._store.confirm(box, record)
            return DeliveryRecorded(next=request.index, waiting=box.waiting)
        try:
            turn = turns.in_pieces(turn, request.index, request.pieces)
        except turns.IllegalStep as illegal:
            return BadRequest(detail=str(illegal))
        return await self._step(found, turn, request.index, following=request.index, what=_cut(request))

    async def _sending(
        self, request: MarkDelivered | BeginSending | SplitChunk, *, read: bool
    ) -> Sending | DeliveryRecorded | LeaseLost:
        """The turn that the caller delivers: under the lease that stands in it, so that an earlier owner is out."""
        box = await self._store.mailbox(request.chat)
        key = f"{request.bot}:{request.update}"
        record = box.records.get(key)
        if record is None and self._store.mailboxes.has_ended(request.lease, key):
            return DeliveryRecorded(ended=True, waiting=box.waiting)
        if record is None or record.state != "committed":
            return LeaseLost(detail="the turn has ended, or is not committed")
        turn = turns.unpack(record)
        if turn.lease != request.lease:
            return LeaseLost(detail="another owner has the turn")
        if read:  # what is stored under this lease is the caller's, whatever lease was given here
            self._leases.adopt_unless_held(box, request.lease, record)
        elif not self._leases.owns(box, request.lease, record, read=False):
            return LeaseLost(detail="another owner has the turn")
        return box, record, turn

    async def _step(
        self, found: Sending, turn: turns.TurnRecord, index: int, *, following: int, what: str = ""
    ) -> DeliveryRecorded:
        box, record, _ = found
        stepped = turns.step(record, turn, "committed")
        operation = f"{turn.lease}:{index}:{what or turn.chunks[index].state}:{record.version}"
        written = await self._store.write(stepped, operation=operation)
        box.replace(msgspec.structs.replace(stepped, version=written.update_version))
        return DeliveryRecorded(next=following, waiting=box.waiting)


def _malformed(request: CommitTurn) -> str:
    if any(chunk.state != "planned" for chunk in request.chunks):
        return "the chunks of a commit are planned"
    if request.outcome not in OUTCOMES:
        return f"a turn can't be committed as {request.outcome}"
    return ""


def _committed(record: UpdateRecord, turn: turns.TurnRecord, request: CommitTurn) -> UpdateRecord:
    incoming = msgspec.structs.replace(turn.incoming, text="") if request.forget else turn.incoming
    gave_up = request.outcome == "dead_lettered"
    reply = turns.TurnRecord(incoming=incoming, chunks=request.chunks, lease=request.lease, gave_up=gave_up)
    reply, first = turns.begin_next(reply)
    if first < 0:
        return turns.step(record, reply, request.outcome, request.reason)
    return turns.step(record, reply, "committed", request.reason)


def _already(turn: turns.TurnRecord, request: MarkDelivered) -> bool:
    """Whether an earlier try of the same request, whose answer was lost, had been written."""
    return 0 <= request.index < len(turn.chunks) and turn.chunks[request.index].state == request.state


def _is_split(turn: turns.TurnRecord, request: SplitChunk) -> bool:
    """Whether an earlier try of the same request had been written: pieces are shorter than what they came of."""
    places = turn.chunks[request.index : request.index + len(request.pieces)] if request.index >= 0 else ()
    same = [chunk.text for chunk in places] == [piece.text for piece in request.pieces]
    return same and bool(places) and places[0].state == "sending"


def _cut(request: SplitChunk) -> str:
    """Name the cut: an outdated memory must not take the cut before it for its own, which leaves the same version."""
    return "+".join(str(len(piece.text)) for piece in request.pieces)


def _sending_now(turn: turns.TurnRecord) -> int:
    return next((index for index, chunk in enumerate(turn.chunks) if chunk.state == "sending"), -1)
