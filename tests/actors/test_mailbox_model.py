"""A shard's mailboxes against a plain model: any order of requests, waits, restarts and failures keeps the truths."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from actors.mailbox import LEASE_S
from actors.turn_leases import MAX_ATTEMPTS
from actors.turns import CHUNK_STEPS, TURN_STEPS
from contracts.faults import BadRequest, LeaseLost, MailboxFull, StoreUnavailable
from contracts.sessions import (
    AcceptUpdate,
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
    SessionReply,
    SessionRequest,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
    TurnReleased,
    UpdateAccepted,
    UpdateDuplicate,
)
from contracts.turns import ChatMessage, Chunk, ChunkState, TurnState
from tests.actors.turn_kit import BOT, CHAT, World, said
from tests.actors.virtual_time import VirtualLoop

T = TypeVar("T")
Step = CommitTurn | MarkDelivered | BeginSending

LIMIT = 4
STRANGER = "a lease that nobody was given"
A_CHAT = st.sampled_from([CHAT, CHAT + 1])
AN_OWNER = st.sampled_from(["one", "two"])
A_TICKET = st.sampled_from([0, 0, 0, 0, 1, 2])  # how far back in those given; mostly the newest
A_FATE: st.SearchStrategy[ChunkState] = st.sampled_from(["sent", "sent", "planned", "unknown", "failed"])
A_METHOD = st.sampled_from(["append", "write_turn", "write_turn", "read_chat", "read_sessions"])
A_MISHAP: st.SearchStrategy[Literal["before", "after"]] = st.sampled_from(["before", "after"])
A_WAIT_S = st.sampled_from([1.0, 7.0, LEASE_S - 1, LEASE_S, 2 * LEASE_S])


@dataclass
class Turn:
    """An update that is durable: its state, its chunks' states, and how many leases on it were given."""

    number: int
    chat: int
    state: TurnState = "accepted"
    chunks: tuple[ChunkState, ...] = ()
    leases: int = 0

    @property
    def open(self) -> bool:
        """Whether it has no end yet."""
        return self.state in ("accepted", "committed")


@dataclass
class Ticket:
    """What an owner holds, or believes to hold."""

    chat: int
    number: int
    lease: str
    owner: str = ""
    until: float = 0.0


class MailboxesAgainstModel(RuleBasedStateMachine):
    """A shard on virtual time beside its model; the stored documents say what became of each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet = ExitStack()
        self.quiet.enter_context(
            capture_logs()
        )  # rendering what fails on purpose takes longer than the steps
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.world = World(mailbox_limit=LIMIT)
        self.turns: dict[int, Turn] = {}  # in the order of arrival
        self.tickets: list[Ticket] = []
        self.living: dict[int, Ticket] = {}
        self.busy_until: dict[int, float] = {}
        self.told: dict[tuple[int, int], str] = {}
        self.said: dict[int, list[str]] = {}
        self.known: set[int] = set()
        self.unbounded = 0
        self.failed = False
        self.run(self.world.boot())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call, and what it began beside it, to the end."""

        async def run() -> T:
            answer = await call
            while tasks := self.world.now.shard_background.tasks:
                await asyncio.wait(set(tasks))
            return answer

        return self.runner.run(run())

    def teardown(self) -> None:
        """End all tasks."""
        self.run(self.world.bury())
        self.runner.close()
        self.quiet.close()

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
        number, waiting = len(self.world.database.updates) + 1, len(self.waiting(chat))
        reply = self.accepted(number, chat)
        stored = f"{BOT}:{number}" in self.world.database.updates
        match reply:
            case UpdateAccepted():
                assert (stored, reply.waiting) == (True, waiting + 1)
                assert waiting < LIMIT or chat not in self.known
                self.known.add(chat)
                self.unbounded += waiting >= LIMIT
            case MailboxFull():
                assert (stored, waiting >= LIMIT or chat not in self.known) == (False, True)
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
        turn = self.turns[max(1, len(self.turns) - back)]
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
                assert self.now() < self.busy_until[chat]
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
        """A turn that is handed back is free at once, or after the wait; another's is not handed back."""
        ticket = self.ticket(back)
        held = self.living_lease(ticket.chat)
        reply = self.ask(ReleaseTurn(chat=ticket.chat, lease=ticket.lease, retry_after_s=retry_after_s))
        assert isinstance(reply, TurnReleased | StoreUnavailable)
        if held is not None and held.lease != ticket.lease:
            return
        self.living.pop(ticket.chat, None)
        waits = self.now() + retry_after_s
        old = self.busy_until.get(ticket.chat, 0.0)
        free = isinstance(reply, TurnReleased) and held is not None
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
        """What is durable is exactly what was accepted; each has at most one end."""
        database = self.world.database
        assert list(database.updates) == [f"{BOT}:{number}" for number in self.turns]
        assert max(database.ends.values(), default=0) <= 1
        assert self.world.now.shard_background.failures == []

    @invariant()
    def mailboxes_are_bounded(self) -> None:
        """Only a container that could not know the count lets one more in."""
        for chat in (CHAT, CHAT + 1):
            assert len(self.waiting(chat)) <= LIMIT + self.unbounded

    # ------------------------------------------------------------ asking

    def ask(self, request: SessionRequest) -> SessionReply:
        """Ask, and see that the stored turns took no step but those that the request may take."""
        before = self.world.now.store.injected.total()
        reply = self.run(self.world.ask(request))
        self.failed = self.world.now.store.injected.total() > before
        assert self.failed or not isinstance(reply, StoreUnavailable)
        self.observe(request)
        return reply

    def accepted(self, number: int, chat: int) -> SessionReply:
        """Bring an update."""
        return self.ask(AcceptUpdate(bot=BOT, update=number, incoming=said(f"text {number}", chat)))

    def take(self, request: Step) -> SessionReply:
        """Take a step of a turn: never in another's lease, and surely in one's own."""
        held, before = self.living_lease(request.chat), self.turns[request.update]
        was = before.state, before.chunks
        reply = self.ask(request)
        after = self.turns[request.update]
        ours = held is not None and (held.lease, held.number) == (request.lease, request.update)
        if was != (after.state, after.chunks):
            assert held is None or ours
        elif ours and not isinstance(reply, StoreUnavailable):
            assert not (isinstance(request, CommitTurn) and was[0] == "accepted")
        if ours and was[0] == "accepted" and isinstance(request, CommitTurn):
            assert isinstance(reply, TurnCommitted | StoreUnavailable)
        if isinstance(reply, TurnCommitted | DeliveryRecorded) and after.open:
            self.hold(
                Ticket(request.chat, request.update, request.lease, held.owner if held and ours else "")
            )
        elif not isinstance(reply, LeaseLost) and after.open:
            self.busy(request.chat)
        return reply

    def observe(self, request: SessionRequest) -> None:
        """Take over the stored states; turns change in the order of arrival, along their lives."""
        waiting = {chat: self.waiting(chat) for chat in (CHAT, CHAT + 1)}
        for turns in waiting.values():
            changed = [turn for turn in turns if self.changed(turn)]
            assert changed == turns[: len(changed)]
            for turn in changed:
                self.take_over(turn, request)
            assert all(not turn.open for turn in changed[:-1])
        for (number, index), _ in list(self.told.items()):
            if self.turns[number].chunks[index] == "planned":
                del self.told[number, index]

    def changed(self, turn: Turn) -> bool:
        """Whether the stored turn is another than the model's."""
        return (turn.state, turn.chunks) != (self.world.state(turn.number), self.stored_chunks(turn.number))

    def take_over(self, turn: Turn, request: SessionRequest) -> None:
        """Let the model's turn take the step that the stored one took."""
        state, chunks = (
            self.world.database.updates[f"{BOT}:{turn.number}"].state,
            self.stored_chunks(turn.number),
        )
        assert state in TURN_STEPS[turn.state]
        if isinstance(request, CommitTurn):
            assert (turn.number, turn.state) == (request.update, "accepted")
            assert chunks == ("sending", *["planned"] * (len(request.chunks) - 1))[: len(request.chunks)]
            self.said.setdefault(turn.chat, []).append(f"text {turn.number}")
        elif turn.state == "accepted":
            assert isinstance(request, ClaimTurn)
            assert (state, turn.leases >= MAX_ATTEMPTS) == ("dead_lettered", True)
        else:
            steps = {pair for pair in zip(turn.chunks, chunks, strict=True) if pair[0] != pair[1]}
            assert steps <= allowed(request)
            assert all(new in CHUNK_STEPS[old] for old, new in steps)
        turn.state, turn.chunks = state, chunks
        if not turn.open:
            self.living.pop(turn.chat, None)
            self.busy_until[turn.chat] = 0.0

    # ------------------------------------------------------------ leases and sending

    def given(self, reply: TurnClaimed | OutboxClaimed, owner: str, held: Ticket | None) -> None:
        """A turn was given: the first that waits, under the lease that lives, or a new one if none does."""
        turn = self.waiting(reply.chat)[0]
        assert turn.number == reply.update
        assert (turn.state == "accepted") == isinstance(reply, TurnClaimed)
        if held is not None and held.number == turn.number:
            assert reply.lease == held.lease
        if reply.lease not in [ticket.lease for ticket in self.tickets]:
            turn.leases += 1
        self.tickets.append(Ticket(reply.chat, reply.update, reply.lease, owner))
        self.hold(self.tickets[-1])

    def hold(self, ticket: Ticket) -> None:
        """The lease surely lives for its time from now on."""
        self.living[ticket.chat] = ticket
        ticket.until = self.now() + LEASE_S
        self.busy(ticket.chat)

    def busy(self, chat: int) -> None:
        """Somebody may have the turn for the time of a lease."""
        self.busy_until[chat] = max(self.busy_until.get(chat, 0.0), self.now() + LEASE_S)

    def living_lease(self, chat: int) -> Ticket | None:
        """The lease that surely lives."""
        held = self.living.get(chat)
        return held if held is not None and self.now() < held.until else None

    def hand_out_next(self, ticket: Ticket, reply: DeliveryRecorded) -> None:
        """The chunk to send next, if there is one, was handed out."""
        if reply.next >= 0:
            self.hand(ticket.number, reply.next, ticket.lease)

    def hand_out(self, number: int, lease: str, chunks: tuple[Chunk, ...]) -> None:
        """Those marked `sending` were handed out."""
        for index, chunk in enumerate(chunks):
            if chunk.state == "sending":
                self.hand(number, index, lease)

    def hand(self, number: int, index: int, lease: str) -> None:
        """A chunk goes to one owner alone, and stands as `sending` before it is sent."""
        assert self.turns[number].chunks[index] == "sending"
        assert self.world.turn(number).lease == lease
        assert self.told.setdefault((number, index), lease) == lease

    # ------------------------------------------------------------ looking

    def waiting(self, chat: int) -> list[Turn]:
        """The chat's turns without an end, in the order of arrival."""
        return [turn for turn in self.turns.values() if turn.chat == chat and turn.open]

    def ticket(self, back: int) -> Ticket:
        """One of those given, counted from the newest."""
        return self.tickets[max(0, len(self.tickets) - 1 - back)]

    def stored_chunks(self, number: int) -> tuple[ChunkState, ...]:
        """The states of a reply's chunks."""
        return tuple(chunk.state for chunk in self.world.turn(number).chunks)

    def now(self) -> float:
        """The loop's time."""
        return self.runner.get_loop().time()


def allowed(request: SessionRequest) -> set[tuple[ChunkState, ChunkState]]:
    """The steps of chunks that a request may take in a committed turn."""
    match request:
        case ClaimTurn():
            return {("planned", "sending"), ("sending", "unknown")}
        case MarkDelivered(state=state):
            return {("sending", state), ("planned", "sending")}
        case BeginSending():
            return {("planned", "sending")}
        case _:
            return set()


TestMailboxesAgainstModel = MailboxesAgainstModel.TestCase
TestMailboxesAgainstModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
