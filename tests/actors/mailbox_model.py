"""A shard on virtual time beside a plain model of its mailboxes: who holds what, and which steps a turn may take."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from structlog.testing import capture_logs

from actors.mailbox import LEASE_S
from actors.turn_leases import MAX_ATTEMPTS
from actors.turns import CHUNK_STEPS, TURN_STEPS
from contracts.faults import LeaseLost, StoreUnavailable
from contracts.sessions import (
    AcceptUpdate,
    BeginSending,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    MarkDelivered,
    OutboxClaimed,
    SessionReply,
    SessionRequest,
    TurnClaimed,
    TurnCommitted,
)
from contracts.turns import Chunk, ChunkState, TurnState
from tests.actors.turn_kit import BOT, CHAT, World, said
from tests.actors.virtual_time import VirtualLoop

T = TypeVar("T")
Step = CommitTurn | MarkDelivered | BeginSending

LIMIT = 4


def update(number: int, chat: int) -> AcceptUpdate:
    """An update that somebody has written."""
    return AcceptUpdate(bot=BOT, update=number, incoming=said(f"text {number}", chat))


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


class ModelledMailboxes(RuleBasedStateMachine):
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
        self.waits_until: dict[int, float] = {}
        self.waits: dict[int, float] = {}
        self.told: dict[tuple[int, int], str] = {}
        self.said: dict[int, list[str]] = {}
        self.known: set[int] = set()
        self.numbers = self.unbounded = 0
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
        return self.ask(update(number, chat))

    def new_number(self) -> int:
        """The number of an update that has not been brought yet."""
        self.numbers += 1
        return self.numbers

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
        assert held is not None or self.now() >= self.waits.get(turn.number, 0.0)
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
