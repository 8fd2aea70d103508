"""A shard's mailboxes against a plain model: any order of requests, waits, restarts and failures keeps the truths."""

import asyncio
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from actors.mailbox import LEASE_S
from contracts.faults import BadRequest, LeaseLost, MailboxFull, StoreUnavailable
from contracts.sessions import (
    AcceptUpdates,
    BeginSending,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    LeaseRenewed,
    LoadSession,
    MarkDelivered,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    SessionLoaded,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
    TurnReleased,
    UpdateAccepted,
    UpdateDuplicate,
    UpdatesAccepted,
)
from contracts.turns import ChatMessage, Chunk, ChunkState
from tests.actors.mailbox_model import LIMIT, ModelledMailboxes, Turn, update
from tests.actors.turn_kit import BOT, CHAT

STRANGER = "a lease that nobody was given"
A_CHAT = st.sampled_from([CHAT, CHAT + 1])
AN_OWNER = st.sampled_from(["one", "two"])
A_TICKET = st.sampled_from([0, 0, 0, 0, 1, 2])  # how far back in those given; mostly the newest
A_FATE: st.SearchStrategy[ChunkState] = st.sampled_from(["sent", "sent", "planned", "unknown", "failed"])
A_METHOD = st.sampled_from(["append", "append_all", "write_turn", "write_turn", "read_chat", "read_sessions"])
A_MISHAP: st.SearchStrategy[Literal["before", "after"]] = st.sampled_from(["before", "after"])
A_WAIT_S = st.sampled_from([1.0, 7.0, LEASE_S - 1, LEASE_S, 2 * LEASE_S])


class MailboxesAgainstModel(ModelledMailboxes):
    """All that may happen to a mailbox, and what has to hold after each of it."""

    # ------------------------------------------------------------ what may happen around

    @rule(method=A_METHOD, mishap=A_MISHAP)
    def store_fails_next(self, method: str, mishap: Literal["before", "after"]) -> None:
        """The next such call does nothing, or does it and the answer is lost."""
        self.world.now.store.fail(method, mishap)

    @rule(seconds=A_WAIT_S)
    def wait(self, seconds: float) -> None:
        """Leases run out."""
        self.run(asyncio.sleep(seconds))

    @rule()
    def restart(self) -> None:
        """The container is killed; a new one knows what is stored."""
        self.world.now.kill()
        self.run(self.world.boot())
        self.known.clear()

    # ------------------------------------------------------------ requests

    @initialize()
    def one_is_claimed(self) -> None:
        """Each history begins with updates that wait, and an owner who has the first."""
        for chat in (CHAT, CHAT, CHAT + 1):
            self.accept(chat)
        self.claim(CHAT, "one", None)

    @rule(chat=A_CHAT)
    def accept(self, chat: int) -> None:
        """A new update joins the end of its chat's mailbox, or is surely not there, or the store has to say."""
        number, waiting = self.new_number(), len(self.waiting(chat))
        known = chat in self.known
        self.answered(self.accepted(number, chat), number, chat, waiting, known=known)

    @rule(chats=st.lists(A_CHAT, min_size=2, max_size=4), twice=st.booleans())
    def accept_all(self, chats: list[int], twice: bool) -> None:
        """Of a group each fares as if it had come alone, in its order; a store that fails, fails all of them."""
        arriving = [(self.new_number(), chat) for chat in chats]
        waiting = {chat: len(self.waiting(chat)) for chat in chats}
        known = frozenset(self.known)
        arriving += arriving[:twice]
        reply = self.ask(AcceptUpdates(updates=tuple(update(*each) for each in arriving)))
        assert isinstance(reply, UpdatesAccepted | StoreUnavailable)
        replies = reply.results if isinstance(reply, UpdatesAccepted) else [reply] * len(arriving)
        for (number, chat), result in zip(arriving, replies, strict=True):
            if number in self.turns:  # the first once more
                assert isinstance(result, UpdateDuplicate | StoreUnavailable)
                continue
            self.answered(result, number, chat, waiting[chat], known=chat in known)
            waiting[chat] += number in self.turns

    def answered(self, reply: object, number: int, chat: int, waiting: int, *, known: bool) -> None:
        """See that a new update's answer is true; `waiting` were before it, `known` to the container or not."""
        stored = f"{BOT}:{number}" in self.world.database.updates
        match reply:
            case UpdateAccepted():
                assert (stored, reply.waiting) == (True, waiting + 1)
                assert waiting < LIMIT or not known
                self.known.add(chat)
                self.unbounded += waiting >= LIMIT
            case MailboxFull():
                assert (stored, waiting >= LIMIT or not known) == (False, True)
            case _:
                assert isinstance(reply, StoreUnavailable)
                self.known.discard(chat)
                self.unbounded += stored and waiting >= LIMIT
        if stored:
            self.turns[number] = Turn(number, chat)

    @precondition(lambda self: bool(self.turns))
    @rule(back=st.integers(0, 5))
    def accept_again(self, back: int) -> None:
        """An update that is durable is a duplicate for ever, whatever became of it."""
        turn = list(self.turns.values())[-min(len(self.turns), back + 1)]
        reply = self.accepted(turn.number, turn.chat)
        full = len(self.waiting(turn.chat)) >= LIMIT or turn.chat not in self.known
        assert isinstance(reply, UpdateDuplicate | StoreUnavailable) or (
            full and isinstance(reply, MailboxFull)
        )

    @rule(chat=A_CHAT, owner=AN_OWNER, cause=st.none() | st.integers(0, 2))
    def claim(self, chat: int, owner: str, cause: int | None) -> None:
        """A turn is given to one owner at a time, and it is the first one in the order of arrival."""
        held = self.living_lease(chat)
        named = 0 if cause is None else max(0, len(self.turns) - cause)
        reply = self.ask(ClaimTurn(chat=chat, owner=owner, bot=BOT, update=named))
        if held is not None and held.owner not in (owner, ""):
            assert isinstance(reply, TurnHeld | StoreUnavailable)
        match reply:
            case NothingWaiting():
                assert self.waiting(chat) == []
            case TurnHeld():
                assert self.now() < max(self.busy_until.get(chat, 0.0), self.waits_until.get(chat, 0.0))
            case TurnClaimed():
                self.given(reply, owner, held)
                assert reply.incoming.text == f"text {reply.update}"
                assert [each.text for each in reply.session.messages] == self.said.get(chat, [])
            case OutboxClaimed():
                self.given(reply, owner, held)
                self.hand_out(reply.update, reply.lease, reply.chunks)
            case _:
                assert isinstance(reply, StoreUnavailable)
                self.busy(chat)

    @precondition(lambda self: bool(self.tickets))
    @rule(back=A_TICKET)
    def renew(self, back: int) -> None:
        """Whoever has the turn keeps it; whoever lost it to another is told so."""
        ticket = self.ticket(back)
        held = self.living_lease(ticket.chat)
        reply = self.ask(RenewLease(chat=ticket.chat, lease=ticket.lease))
        if held is not None:
            lost = LeaseLost if held.lease != ticket.lease else LeaseRenewed
            assert isinstance(reply, lost | StoreUnavailable)
        if isinstance(reply, LeaseRenewed):
            self.hold(ticket)

    @precondition(lambda self: bool(self.tickets))
    @rule(back=A_TICKET, retry_after_s=st.sampled_from([0.0, 0.0, 20.0]))
    def release(self, back: int, retry_after_s: float) -> None:
        """A turn that is handed back is free at once, or after the wait, also when its shard is killed meanwhile."""
        ticket = self.ticket(back)
        held = self.living_lease(ticket.chat)
        reply = self.ask(ReleaseTurn(chat=ticket.chat, lease=ticket.lease, retry_after_s=retry_after_s))
        assert isinstance(reply, TurnReleased | StoreUnavailable)
        if held is not None and held.lease != ticket.lease:
            return
        self.living.pop(ticket.chat, None)
        waits = self.now() + retry_after_s
        self.waits_until[ticket.chat] = max(waits, self.waits_until.get(ticket.chat, 0.0))
        old = self.busy_until.get(ticket.chat, 0.0)
        free = isinstance(reply, TurnReleased) and held is not None
        if free:
            self.waits[ticket.number] = max(waits, self.waits.get(ticket.number, 0.0))
        self.busy_until[ticket.chat] = waits if free else max(old, waits)

    @precondition(lambda self: bool(self.tickets))
    @rule(back=A_TICKET, chunks=st.integers(0, 3), strange=st.integers(0, 5))
    def commit(self, back: int, chunks: int, strange: int) -> None:
        """A turn commits for whoever has it, once."""
        ticket = self.ticket(back)
        lease = ticket.lease if strange else STRANGER
        reply = self.take(
            CommitTurn(
                chat=ticket.chat,
                bot=BOT,
                update=ticket.number,
                lease=lease,
                append=(ChatMessage(role="user", text=f"text {ticket.number}"),),
                chunks=tuple(Chunk(text=f"chunk {index}") for index in range(chunks)),
            )
        )
        assert isinstance(reply, TurnCommitted | LeaseLost | StoreUnavailable)
        if isinstance(reply, TurnCommitted):
            self.hand_out(ticket.number, lease, reply.chunks)

    @precondition(lambda self: bool(self.tickets))
    @rule(back=A_TICKET, index=st.none() | st.integers(0, 2), fate=A_FATE)
    def delivered(self, back: int, index: int | None, fate: ChunkState) -> None:
        """What became of a chunk is recorded for whoever sends, and the next one is handed out."""
        ticket = self.ticket(back)
        states = self.turns[ticket.number].chunks
        aim = index if index is not None else states.index("sending") if "sending" in states else 0
        reply = self.take(
            MarkDelivered(
                chat=ticket.chat, bot=BOT, update=ticket.number, lease=ticket.lease, index=aim, state=fate
            )
        )
        assert isinstance(reply, DeliveryRecorded | LeaseLost | BadRequest | StoreUnavailable)
        if isinstance(reply, DeliveryRecorded):
            assert reply.ended == (not self.turns[ticket.number].open)
            self.hand_out_next(ticket, reply)

    @precondition(lambda self: bool(self.tickets))
    @rule(back=A_TICKET)
    def begin_sending(self, back: int) -> None:
        """A chunk that was surely not sent is handed out again to whoever has the turn."""
        ticket = self.ticket(back)
        states = self.turns[ticket.number].chunks
        if "planned" not in states or "sending" in states:
            return
        index = states.index("planned")
        reply = self.take(
            BeginSending(chat=ticket.chat, bot=BOT, update=ticket.number, lease=ticket.lease, index=index)
        )
        assert isinstance(reply, DeliveryRecorded | LeaseLost | StoreUnavailable)
        if isinstance(reply, DeliveryRecorded):
            self.hand_out_next(ticket, reply)

    @rule(chat=A_CHAT)
    def load(self, chat: int) -> None:
        """The session is what the committed turns left, each of them once, in their order."""
        reply = self.ask(LoadSession(chat=chat))
        if isinstance(reply, SessionLoaded):
            assert [each.text for each in reply.session.messages] == self.said.get(chat, [])
        else:
            assert isinstance(reply, StoreUnavailable)

    # ------------------------------------------------------------ what always holds

    @invariant()
    def every_update_is_in_one_state(self) -> None:
        """What is durable is exactly what was accepted, in each chat in that order; each has at most one end."""
        database = self.world.database
        assert len(database.updates) == len(self.turns)
        for chat in (CHAT, CHAT + 1):
            stored = [key for key, record in database.updates.items() if record.chat == chat]
            assert stored == [f"{BOT}:{turn.number}" for turn in self.turns.values() if turn.chat == chat]
        assert max(database.ends.values(), default=0) <= 1
        assert self.world.now.shard_background.failures == []

    @invariant()
    def mailboxes_are_bounded(self) -> None:
        """Only a container that could not know the count lets one more in."""
        for chat in (CHAT, CHAT + 1):
            assert len(self.waiting(chat)) <= LIMIT + self.unbounded


TestMailboxesAgainstModel = MailboxesAgainstModel.TestCase
TestMailboxesAgainstModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
