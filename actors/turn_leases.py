"""Who works on a chat's next turn: claimed by one owner at a time, renewed, handed back, taken over."""

import msgspec
import structlog

from actors import session_codec, turns
from actors.mailbox import LEASE_S, Lease, Mailbox, foreign
from actors.ports import Chance
from actors.stores import LeaseRecord, UpdateRecord
from actors.turn_store import TurnStore
from contracts.base import Message
from contracts.faults import LeaseLost
from contracts.sessions import (
    ClaimTurn,
    LeaseRenewed,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    TurnClaimed,
    TurnHeld,
    TurnReleased,
)
from contracts.turns import Incoming

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5  # a turn that took five owners down would take the next ones down too
_UNREADABLE = Incoming(kind="unreadable")


class TurnLeases:
    """The leases of a shard. They spare work; what keeps turns single is the version of the update."""

    def __init__(self, store: TurnStore, chance: Chance) -> None:
        self._store, self._chance = store, chance

    async def claim(self, request: ClaimTurn) -> Message:
        """Lease the chat's next turn: no store read on a warm chat; the lease is written beside the work.

        An owner holds one turn at a time, so that one who claims again has not got the first answer.
        """
        if self._is_through(request):
            return NothingWaiting(chat=request.chat)
        asked = self._store.mailboxes.is_doubted(request.chat)
        while True:
            box = await self._store.mailbox(request.chat)
            now = self._store.now()
            held, head = box.living_lease(now), box.head()
            if head is None:
                return NothingWaiting(chat=request.chat)
            if not asked and self._may_be_outdated(request, box, head):
                self._store.mailboxes.doubt(request.chat)
                asked = True
                continue
            if held is not None and held.owner == request.owner and held.update_key == head.key:
                reply = await self._again(box, head, held)
            elif held is not None or box.not_before > now:
                until = max(box.not_before, held.expires_at if held is not None else 0.0)
                return TurnHeld(chat=request.chat, retry_after_s=max(0.0, until - now))
            else:
                reply = await self._leased(box, head, request.owner)
            if reply is not None:
                return reply

    def _is_through(self, request: ClaimTurn) -> bool:
        """Whether the turn that the ticket is for ended here, and none is known that waits: it was handed over twice.

        What another container has accepted since has a ticket of its own.
        """
        if request.done or self._store.mailboxes.get(request.chat) is not None:
            return False
        return self._store.mailboxes.is_over(f"{request.bot}:{request.update}")

    async def renew(self, request: RenewLease) -> Message:
        """Keep the lease for another 15 s."""
        return await self._store.sure(request.chat, lambda read: self._renew(request, read=read))

    async def _renew(self, request: RenewLease, *, read: bool) -> Message:
        box = await self._store.mailbox(request.chat)
        if read and box.stored is not None and box.stored.lease == request.lease:
            self._take_stored(box, box.stored)
        lease = box.lease
        if lease is None or lease.id != request.lease:
            return LeaseLost(detail="another owner has the turn, or it has ended")
        lease.expires_at = self._store.now() + LEASE_S
        self._store.write_lease(request.chat, box, lease)
        return LeaseRenewed(lease_s=LEASE_S)

    async def release(self, request: ReleaseTurn) -> Message:
        """Let the next owner take the turn at once, or after the wait that is asked for, which the store keeps.

        The stored lease is read first: another owner's is not given up. That nothing was sent is known from
        then on, although the store may be away.
        """
        if request.unsent and (known := self._store.mailboxes.get(request.chat)) is not None:
            known.note_unsent(request.lease)
        box = await self._store.mailbox(request.chat)
        if request.unsent:
            box.note_unsent(request.lease)
        if _has(box, request.lease):
            self._let_go(box, request)
        self._store.mailboxes.doubt(request.chat)
        box = await self._store.mailbox(request.chat)
        if box.stored is not None and box.stored.lease == request.lease:
            self._let_go(box, request)
            await self._store.give_up_lease(request.chat, box.stored)
        return TurnReleased()

    def _let_go(self, box: Mailbox, request: ReleaseTurn) -> None:
        if box.lease is not None and request.retry_after_s > 0:
            box.attempts.pop(box.lease.update_key, None)  # waiting as told is no failed attempt
        elif box.lease is not None and request.stopping:
            box.attempts[box.lease.update_key] = box.lease.attempt - 1  # the turn did not stop its owner
        box.lease = None
        box.wait(request.retry_after_s, self._store.now())

    def owns(self, box: Mailbox, lease: str, update: UpdateRecord, *, read: bool) -> bool:
        """Whether the caller has the turn; a lease that this container never saw is adopted if nobody else has it.

        Of a mailbox just `read`, the stored lease decides: of two that two containers gave, only one is stored.
        """
        if box.lease is not None and box.lease.id == lease:
            return box.lease.update_key == update.key
        if box.head() is not update:
            return False
        if read and (box.stored is None or box.stored.lease == lease):
            return self.adopt(box, lease, update)
        return box.living_lease(self._store.now()) is None and self.adopt(box, lease, update)

    def adopt_unless_held(self, box: Mailbox, lease: str, update: UpdateRecord) -> None:
        """Take a lease over that stands in the stored turn."""
        if not _has(box, lease):
            self.adopt(box, lease, update)

    def adopt(self, box: Mailbox, lease: str, update: UpdateRecord) -> bool:
        """Take a lease over that another container gave; always true."""
        if box.stored is not None and box.stored.lease == lease:
            self._take_stored(box, box.stored)
            return True
        attempt = max(1, box.attempts.get(update.key, 1))
        box.lease = Lease(lease, "adopted", update.key, attempt, self._store.now() + LEASE_S, foreign=True)
        return True

    def _take_stored(self, box: Mailbox, stored: LeaseRecord) -> None:
        if not _has(box, stored.lease):
            box.lease = foreign(stored, self._store.now())

    def _may_be_outdated(self, request: ClaimTurn, box: Mailbox, head: UpdateRecord) -> bool:
        """Whether another container may have moved on what this one knows: then one look at the store decides."""
        key = f"{request.bot}:{request.update}" if request.update else ""
        if key and not self._store.mailboxes.is_over(key) and (request.done or key not in box.records):
            return True
        held = box.living_lease(self._store.now())
        if held is None:  # a turn is taken over only from an owner whom the store takes for dead, too
            return (
                box.lease is not None or head.state == "committed" or (key in box.records and key != head.key)
            )
        return held.foreign or held.owner == request.owner

    # ------------------------------------------------------------ beginning

    async def _leased(self, box: Mailbox, head: UpdateRecord, owner: str) -> Message | None:
        """Begin the turn under a new lease, which is given up when beginning fails."""
        lease = self._lease(box, head, owner)
        try:
            return await self._begin(box, head, lease)
        except BaseException:
            if box.lease is lease:
                box.lease = None
            if head.state == "committed":  # a fresh turn's lease may be given again meanwhile, and used
                box.note_unsent(lease.id)
            box.attempts[head.key] = lease.attempt - 1  # a store that is away is no fault of the turn
            raise

    async def _again(self, box: Mailbox, head: UpdateRecord, lease: Lease) -> Message | None:
        """Give a lease again to the owner who holds it; what it was told to send, it has not been told."""
        turn = self._readable(head)
        if turn is None or head.state != "committed":
            return await self._begin(box, head, lease)
        if turn.lease != lease.id:  # written late, over the lease of the one who is sending
            return TurnHeld(chat=head.chat, retry_after_s=max(0.0, lease.expires_at - self._store.now()))
        await self._store.confirm(box, head)
        # An earlier claim under it may have failed late; from now on its owner sends.
        box.unsent = tuple(each for each in box.unsent if each != lease.id)
        return self._outbox(head, turn, lease)

    def _lease(self, box: Mailbox, head: UpdateRecord, owner: str) -> Lease:
        attempt = box.attempts.get(head.key, 0) + 1
        box.attempts[head.key] = attempt
        box.lease = Lease(self._chance.token(), owner, head.key, attempt, self._store.now() + LEASE_S)
        return box.lease

    async def _begin(self, box: Mailbox, head: UpdateRecord, lease: Lease) -> Message | None:
        """Begin the turn at the mailbox's head; None when it ended here and the next one is due."""
        turn = self._readable(head)
        if turn is None:
            blank = turns.TurnRecord(incoming=_UNREADABLE)
            await self._store.end(box, head, blank, "dead_lettered", "unreadable record")
            return None
        if head.state == "committed":
            return await self._resume(box, head, turn, lease)
        gave_up = f"{MAX_ATTEMPTS} attempts ended without an answer" if lease.attempt > MAX_ATTEMPTS else ""
        if lease.attempt > MAX_ATTEMPTS + 1:  # the notice took an owner down as well
            await self._store.end(box, head, turn, "dead_lettered", gave_up)
            return None
        return await self._fresh(box, head, turn, lease, gave_up)

    async def _fresh(
        self, box: Mailbox, head: UpdateRecord, turn: turns.TurnRecord, lease: Lease, gave_up: str
    ) -> TurnClaimed:
        held = await self._store.sessions.read(head.chat)
        self._store.write_lease(head.chat, box, lease)
        return TurnClaimed(
            chat=head.chat,
            bot=head.bot,
            update=head.update,
            lease=lease.id,
            incoming=turn.incoming,
            session=self._store.session_of(head.chat, held),
            version=held.version,
            attempt=lease.attempt,
            lease_s=LEASE_S,
            gave_up=gave_up,
        )

    async def _resume(
        self, box: Mailbox, head: UpdateRecord, turn: turns.TurnRecord, lease: Lease
    ) -> OutboxClaimed | None:
        """Go on with a reply that an earlier owner left: what it was sending is unknown, the rest is sent.

        The new lease is written into the turn and fences the earlier owner off.
        """
        if turn.lease in box.unsent:
            box.note_unsent(turn.lease)  # the write below may fail, and leave it as it stands
            turn = turns.unsent(turn)
        turn = turns.after_crash(turn)
        turn, following = turns.begin_next(msgspec.structs.replace(turn, lease=lease.id))
        if following < 0:
            state, reason = turns.outcome(turn)
            await self._store.end(box, head, turn, state, reason)
            return None
        record = turns.step(head, turn, "committed")
        written = await self._store.write(record, operation=f"{lease.id}:resume")
        box.replace(msgspec.structs.replace(record, version=written.update_version))
        return self._outbox(head, turn, lease)

    def _outbox(self, head: UpdateRecord, turn: turns.TurnRecord, lease: Lease) -> OutboxClaimed:
        return OutboxClaimed(
            chat=head.chat,
            bot=head.bot,
            update=head.update,
            lease=lease.id,
            chunks=turn.chunks,
            lease_s=LEASE_S,
            thread=turn.incoming.thread,
        )

    def _readable(self, record: UpdateRecord) -> turns.TurnRecord | None:
        try:
            return turns.unpack(record)
        except session_codec.UNREADABLE as error:
            self._store.count("updates_set_aside")
            log.error("update_set_aside", update=record.key, error=str(error))
            return None


def _has(box: Mailbox, lease: str) -> bool:
    return box.lease is not None and box.lease.id == lease
