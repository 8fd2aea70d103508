"""The ChatAgent: takes a chat's turns one after another, asks the model, commits, and delivers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import structlog

from actors.actor import Actor
from actors.agent_warming import AgentWarming
from actors.answering import Answering
from actors.coherence import CATALOG_EVERY_S
from actors.commands import Reply, encodable, gave_up
from actors.delivery import STORE_AWAY_S, Delivery, Outbox
from actors.insist import PATIENT_S, insist
from actors.meter import Meter
from actors.ports import Background, Chance, Clock, Model, Renderer, Telegram, TelegramError
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.ticker import Ticker
from contracts.base import Message
from contracts.chat import ChatRequest, TakeTurn, TurnsTaken
from contracts.codec import read_chat_request
from contracts.faults import Fault, LeaseLost
from contracts.sessions import (
    AdoptSession,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
)
from contracts.turns import Chunk
from contracts.warming import ActorStats

log = structlog.get_logger(__name__)

RENEW_S = 5.0  # a third of the lease, so that two renewals may be lost
TYPING_S = 4.0  # Telegram shows typing for at most 5 s
TYPING_AFTER_S = 0.3  # a quick answer needs no sign of life
LOST_TURNS = 3  # turns that another owner ended meanwhile; the chat's next one is still to be taken
RECORD_S = 2.0  # of the grace: to record the fate of the last message
CLOSE_S = 5.0  # connections that do not close end with the process

Claimed = TurnClaimed | OutboxClaimed


@dataclass(frozen=True, slots=True)
class ChatAgentOptions:
    """Seconds: what warming, one call's chain of turns, and the turns under way at the end may take."""

    warm_deadline_s: float = 5.0
    chain_budget_s: float = 4.0  # with a whole turn after it, still within the 60 s of a Modal input
    stop_grace_s: float = 20.0  # above the deadline of a message that is being sent, so that none is cut


class ChatAgent(Actor[ChatRequest]):
    """Answers chats. Its slice is the catalog, the prompt's prefix, and open connections."""

    name = "ChatAgent"
    reads = read_chat_request

    def __init__(
        self,
        *,
        skills: SkillRegistryRef,
        sessions: SessionsRef,
        agents: ChatAgentRef,
        telegram: Telegram,
        model: Model,
        renderer: Renderer,
        clock: Clock,
        chance: Chance,
        background: Background,
        options: ChatAgentOptions | None = None,
    ) -> None:
        super().__init__(clock=clock, meter=Meter())
        self._options = options or ChatAgentOptions()
        self._sessions, self._agents = sessions, agents
        self._telegram, self._model, self._renderer = telegram, model, renderer
        self._background = background
        self._chance = chance
        self._answering = Answering(
            skills=skills, model=model, clock=clock, background=background, count=self.count
        )
        self._delivery = Delivery(telegram=telegram, renderer=renderer, clock=clock)
        self._catalog = Ticker("renew catalog", self._answering.renew, CATALOG_EVERY_S, clock, chance)
        self._working: set[asyncio.Task[object]] = set()
        self._stop = asyncio.Event()
        self.warmer = self.warmer_of(
            AgentWarming(self._answering, telegram, model).plan,
            chance=chance,
            background=background,
            deadline_s=self._options.warm_deadline_s,
        )

    async def answer(self, request: ChatRequest) -> Message:
        """Answer a request; the whole protocol at once."""
        match request:
            case TakeTurn():
                return await self._take(request)

    def statistics(self) -> ActorStats:
        """What the agent tells of itself."""
        held = self._answering.cached()
        return msgspec.structs.replace(
            self.base_stats(),
            hits=held.hits + held.negative_hits + held.stale_hits,
            misses=held.misses,
            loads=held.loads,
            evictions=held.evictions,
            entries=held.entries + len(self._answering.catalog.skills),
            bytes=held.bytes + self._answering.prefix_bytes,
        )

    async def open(self) -> None:
        """Ask from time to time whether the catalog is the current one; see SKILL_STALE_S."""
        self._catalog.start()

    async def close(self) -> None:
        """Let running turns end within the grace, hand the others back, and close connections."""
        await self._catalog.stop()
        self._stop.set()
        self._delivery.end_by(self.clock.monotonic_s() + self._options.stop_grace_s - RECORD_S)
        if self._working:
            _, left = await asyncio.wait(self._working, timeout=self._options.stop_grace_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        closing = (self._telegram.close(), self._model.close(), self._answering.close())
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*closing)
        except TimeoutError:
            log.warning("close_timed_out", actor=self.name)

    # ------------------------------------------------------------ turns

    async def _take(self, ticket: TakeTurn) -> TurnsTaken:
        """Work the chat's mailbox until it is empty, held by another, or this call has run long enough."""
        chat, started, turns, lost = ticket.chat, self.clock.monotonic_s(), 0, 0
        shard, owner = self._sessions.of(chat), self._chance.token()  # another call is another owner
        claim = ClaimTurn(chat=chat, owner=owner, bot=ticket.bot, update=ticket.update)
        while not self._stop.is_set():
            claimed = await insist(self.clock, lambda: shard.ask(claim))  # noqa: B023 awaited here
            stopped_by = await self._claimed(claimed, shard)
            claim = _following(claim, claimed)
            if stopped_by == "lost" and lost < LOST_TURNS:
                lost += 1
                # As somebody new: who claims again under his name is told again to send what he has sent.
                claim = msgspec.structs.replace(claim, owner=self._chance.token())
                continue
            if stopped_by:
                return TurnsTaken(chat=chat, turns=turns + (stopped_by == "empty"), stopped_by=stopped_by)
            turns += 1
            if self.clock.monotonic_s() - started > self._options.chain_budget_s:
                self._background.spawn("next turns", lambda: self._agents.take_turn(chat))
                return TurnsTaken(chat=chat, turns=turns, stopped_by="budget")
        return TurnsTaken(chat=chat, turns=turns, stopped_by="stopping")

    async def _claimed(self, reply: Message, shard: SessionShardRef) -> str:
        """Work the claimed turn; gives why there is no further one, or an empty string if there may be."""
        match reply:
            case TurnClaimed() as turn:
                return await self._worked(shard, turn, self._turn(shard, turn))
            case OutboxClaimed() as turn:
                return await self._worked(shard, turn, self._deliver(shard, turn, turn.chunks))
            case NothingWaiting():
                return "none"
            case TurnHeld():
                return "held"
            case fault:
                log.warning("claim_failed", fault=repr(fault))
                return "fault"

    async def _worked(
        self, shard: SessionShardRef, turn: Claimed, work: Coroutine[object, object, str]
    ) -> str:
        """Do the work of a claimed turn; cut short, by a stop or a defect, the turn is handed back."""
        if self._stop.is_set():  # claimed while the agent stopped: its connections are closed
            work.close()
            self._hand_back(shard, turn)
            return "stopping"
        log.debug("turn_claimed", chat=turn.chat, update=turn.update, lease=turn.lease)
        task = asyncio.create_task(work, name=f"turn {turn.bot}:{turn.update}")
        self._working.add(task)
        try:
            return await task
        except BaseException as cut:
            self._hand_back(shard, turn)
            if isinstance(cut, asyncio.CancelledError) and self._stop.is_set():
                return "stopping"
            raise
        finally:
            self._working.discard(task)
            self._delivery.unrecorded.discard(turn.lease)

    async def _turn(self, shard: SessionShardRef, turn: TurnClaimed) -> str:
        if turn.gave_up:
            return await self._commit(shard, turn, gave_up(turn))
        if turn.incoming.migrate_to:
            return await self._migrate(shard, turn)
        reply = await self._reply(shard, turn)
        return "held" if reply is None else await self._commit(shard, turn, encodable(reply))

    async def _reply(self, shard: SessionShardRef, turn: TurnClaimed) -> Reply | None:
        """Make the reply while the lease is renewed; None when the lease was lost on the way."""
        making = asyncio.create_task(self._answering.reply(turn))
        try:
            async with self._renewing(shard, turn, making.cancel), self._typing(turn):
                await asyncio.wait({making})
        finally:
            making.cancel()
        return None if making.cancelled() else making.result()

    async def _commit(self, shard: SessionShardRef, turn: TurnClaimed, reply: Reply) -> str:
        commit = CommitTurn(
            chat=turn.chat,
            bot=turn.bot,
            update=turn.update,
            lease=turn.lease,
            append=reply.append,
            patch=reply.patch,
            clear=reply.clear,
            forget=reply.forget,
            chunks=self._chunks(reply),
            outcome=reply.outcome,
            reason=reply.reason,
        )
        async with self._renewing(shard, turn, lambda: None):
            committed = await insist(self.clock, lambda: shard.ask(commit), PATIENT_S)
        match committed:
            case TurnCommitted(chunks=(), waiting=waiting):
                return _go_on(waiting)
            case TurnCommitted(chunks=chunks):
                return await self._deliver(shard, turn, chunks)
            case fault:
                return self._not_committed(shard, turn, fault)

    def _not_committed(self, shard: SessionShardRef, turn: TurnClaimed, fault: Message) -> str:
        log.warning("commit_failed", chat=turn.chat, fault=repr(fault))
        if isinstance(fault, LeaseLost):
            return "lost"
        away = isinstance(fault, Fault) and fault.retry  # a store that refuses counts as an attempt
        self._hand_back(shard, turn, retry_after_s=STORE_AWAY_S if away else 0.0)
        return "fault"

    async def _deliver(self, shard: SessionShardRef, turn: Claimed, chunks: tuple[Chunk, ...]) -> str:
        outbox = Outbox(
            chat=turn.chat,
            bot=turn.bot,
            update=turn.update,
            lease=turn.lease,
            chunks=chunks,
            thread=turn.incoming.thread if isinstance(turn, TurnClaimed) else turn.thread,
        )
        async with self._renewing(shard, turn, lambda: None):
            recorded = await self._delivery.deliver(outbox, shard)
        if isinstance(recorded, DeliveryRecorded):
            self.count("turns")
            return _go_on(recorded.waiting)
        if isinstance(recorded, LeaseLost):
            return "lost"
        return "fault" if isinstance(recorded, Fault) else "held"

    async def _migrate(self, shard: SessionShardRef, turn: TurnClaimed) -> str:
        """Give a group's session to the supergroup that it became, then erase the old one."""
        new = turn.incoming.migrate_to
        adopt = AdoptSession(chat=new, session=turn.session)
        adopted = await insist(self.clock, lambda: self._sessions.of(new).ask(adopt))
        if isinstance(adopted, Fault):
            return self._not_committed(shard, turn, adopted)
        return await self._commit(shard, turn, Reply(forget=True, outcome="ignored", reason="migrated"))

    def _chunks(self, reply: Reply) -> tuple[Chunk, ...]:
        if not reply.text:
            return ()
        chunks = self._renderer.render(reply.text)
        return (*chunks[:-1], msgspec.structs.replace(chunks[-1], buttons=reply.buttons))

    def _hand_back(self, shard: SessionShardRef, turn: Claimed, *, retry_after_s: float = 0.0) -> None:
        release = ReleaseTurn(
            chat=turn.chat,
            lease=turn.lease,
            retry_after_s=retry_after_s,
            stopping=self._stop.is_set(),
            unsent=turn.lease not in self._delivery.unrecorded,
        )
        self._background.spawn("hand back", lambda: insist(self.clock, lambda: shard.ask(release)))

    @asynccontextmanager
    async def _renewing(
        self, shard: SessionShardRef, turn: Claimed, lost: Callable[[], object]
    ) -> AsyncIterator[None]:
        beat = asyncio.create_task(self._renew(shard, turn, lost))
        try:
            yield
        finally:
            beat.cancel()

    async def _renew(self, shard: SessionShardRef, turn: Claimed, lost: Callable[[], object]) -> None:
        renew = RenewLease(chat=turn.chat, lease=turn.lease)
        while True:
            await self.clock.sleep(RENEW_S)
            if isinstance(await insist(self.clock, lambda: shard.ask(renew)), LeaseLost):
                log.warning("lease_lost", chat=turn.chat, update=turn.update)
                lost()
                return

    @asynccontextmanager
    async def _typing(self, turn: TurnClaimed) -> AsyncIterator[None]:
        typing = asyncio.create_task(self._type(turn.chat, turn.incoming.thread))
        try:
            yield
        finally:
            typing.cancel()

    async def _type(self, chat: int, thread: int) -> None:
        pause_s = TYPING_AFTER_S
        while True:
            await self.clock.sleep(pause_s)
            try:
                await self._telegram.send_typing(chat, thread=thread)
            except TelegramError as error:
                log.info("typing_failed", error=str(error))
                return
            pause_s = TYPING_S


def _following(claim: ClaimTurn, claimed: Message) -> ClaimTurn:
    """The next claim of the call; it names the turn that is through, which the shard's other owner may not know."""
    if not isinstance(claimed, Claimed):
        return claim
    return msgspec.structs.replace(claim, bot=claimed.bot, update=claimed.update, done=True)


def _go_on(waiting: int) -> str:
    return "" if waiting > 0 else "empty"
