"""Sends a committed reply chunk by chunk, each recorded durably before the next is sent."""

import asyncio
from dataclasses import dataclass, replace

import msgspec
import structlog

from actors.insist import PATIENT_S, PAUSES_S, insist
from actors.ports import (
    CallRefused,
    ChatGone,
    Clock,
    NotSent,
    Renderer,
    Telegram,
    TelegramError,
    TextRefused,
    TextTooLong,
    ThreadGone,
    TokenRefused,
)
from actors.refs import SessionShardRef
from contracts.base import Value
from contracts.faults import Fault, LeaseLost, Unsupported
from contracts.sessions import (
    BeginSending,
    DeliveryRecorded,
    MarkDelivered,
    PatchSession,
    ReleaseTurn,
    SessionPatch,
    SplitChunk,
)
from contracts.turns import Chunk, ChunkState

log = structlog.get_logger(__name__)

LONGEST_WAIT_S = 5.0  # a longer wait is handed back, so that it holds no container
BACKOFF_S = (0.5, 1.0, 2.0)  # between tries of a chunk that was surely not sent and has no hint
RETRY_LATER_S = 10.0  # after those; the sweeper comes back to the chat
LATER_SHARE = (
    0.1  # of how long it fails already: a long outage costs few tries, and a tenth of it more at most
)
RETRY_LATEST_S = 300.0  # and never more than this
STORE_AWAY_S = 2.0  # a step of a turn that the store did not take is tried again by the sweeper after this
ALARM_RETRY_S = 60.0  # a token that is refused needs an operator
LEAST_S = 5.0  # Telegram answers within 1 s: with less left to go, a message is for the next owner to send
SEND_S = 90.0  # above the client's own deadline: only for one that does not keep it


@dataclass(frozen=True, slots=True)
class Outbox:
    """A committed turn to deliver, under a lease."""

    chat: int
    bot: int
    update: int
    lease: str
    chunks: tuple[Chunk, ...]
    thread: int = 0


class Sent(Value, frozen=True, kw_only=True):
    """What became of one try to send a chunk; `pieces` are what to send in its place, as it was too long."""

    state: ChunkState
    message: int = 0
    reason: str = ""
    retry_after_s: float = 0.0
    gone: bool = False
    pieces: tuple[Chunk, ...] = ()


class Delivery:
    """Delivers outboxes over the port Telegram.

    `unrecorded` are the leases under which a message may have been sent that the store does not know of: who is cut
    says of every other lease that nothing was. It is the caller's to discard those that it is through with.
    """

    def __init__(self, *, telegram: Telegram, renderer: Renderer, clock: Clock) -> None:
        self._telegram, self._renderer, self._clock = telegram, renderer, clock
        self._ends_at: float | None = None
        self.unrecorded: set[str] = set()

    def end_by(self, monotonic_s: float) -> None:
        """Send what can be sent until then; the rest goes back to the mailbox, for the next owner."""
        self._ends_at = monotonic_s

    async def deliver(self, outbox: Outbox, shard: SessionShardRef) -> DeliveryRecorded | Fault | None:
        """Send what is planned; gives the last record, the fault that stopped it, or None if handed back."""
        index = next((i for i, chunk in enumerate(outbox.chunks) if chunk.state == "sending"), -1)
        recorded: DeliveryRecorded | Fault | None = DeliveryRecorded()
        gone: Sent | None = None
        while index >= 0:
            sent = gone or await self._tried(outbox, index, shard)
            if not isinstance(sent, Sent):
                return sent
            if sent.pieces:
                split = await self._split(outbox, index, sent, shard)
                if not isinstance(split, Outbox):
                    return split
                outbox = split
                continue
            if sent.gone and gone is None:
                gone = sent
                await self._mark_dead(outbox.chat, shard)
            recorded = await self._record(outbox, index, sent, shard)
            if not isinstance(recorded, DeliveryRecorded):
                return recorded
            self.unrecorded.discard(outbox.lease)
            index = recorded.next
        return recorded

    async def _tried(
        self, outbox: Outbox, index: int, shard: SessionShardRef
    ) -> Sent | DeliveryRecorded | Fault | None:
        """Send a chunk until its fate is certain or unknown; a fault or None when it stays planned.

        A record: the turn was given up, as the chunk had not been sent for too long.
        """
        for pause_s in (*BACKOFF_S, None):
            if self._left_s() < LEAST_S:
                return await self._put_back(outbox, index, shard)
            self.unrecorded.add(outbox.lease)
            sent = await self._send(outbox.chat, outbox.chunks[index], outbox.thread)
            if sent.state not in ("sent", "unknown"):
                self.unrecorded.discard(outbox.lease)
            if sent.state != "planned":
                return sent
            recorded = await self._record(outbox, index, sent, shard)
            wait_s = max(sent.retry_after_s, pause_s or 0.0)
            if isinstance(recorded, Fault):
                return await self._give_up(outbox, recorded, wait_s, shard)
            if recorded.ended:
                return recorded
            if pause_s is None or wait_s > LONGEST_WAIT_S:
                await self._hand_back(outbox, wait_s or _later_s(recorded.unsent_s), shard)
                return None
            await self._clock.sleep(wait_s)
            begun = await self._begin(outbox, index, shard)
            if isinstance(begun, Fault):
                return await self._give_up(outbox, begun, 0.0, shard)
            if begun.next != index:
                return None
        return None

    async def _split(
        self, outbox: Outbox, index: int, sent: Sent, shard: SessionShardRef
    ) -> Outbox | DeliveryRecorded | Fault | None:
        """Have pieces stand in the chunk's place, the first marked `sending`; None when it was handed back."""
        split = SplitChunk(
            chat=outbox.chat,
            bot=outbox.bot,
            update=outbox.update,
            lease=outbox.lease,
            index=index,
            pieces=sent.pieces,
        )
        match _recorded(await insist(self._clock, lambda: shard.ask(split), PATIENT_S)):
            case Unsupported():  # an older shard, in a rolling deploy: a newer one may have taken an earlier try
                return await self._put_off(outbox, index, sent.reason, shard)
            case Fault() as fault:
                return await self._give_up(outbox, fault, 0.0, shard)
            case recorded if recorded.next != index:
                return recorded
        chunks = (*outbox.chunks[:index], *sent.pieces, *outbox.chunks[index + 1 :])
        return replace(outbox, chunks=chunks)

    async def _send(
        self, chat: int, chunk: Chunk, thread: int, *, follow: bool = True, formatted: bool = True
    ) -> Sent:
        """Try once; where a group became a supergroup, a topic is gone or entities are wrong: at once without it.

        Nothing was sent then, and with little time left it stays so, for the next owner.
        """
        if self._left_s() < LEAST_S:
            return Sent(state="planned")
        try:
            async with asyncio.timeout(min(SEND_S, self._left_s())):
                entities = chunk.entities if formatted else ()
                send = self._telegram.send_message
                message = await send(chat, chunk.text, entities, chunk.buttons, thread=thread)
        except (TelegramError, TimeoutError) as error:
            match error:
                case ChatGone(migrate_to=there) if there and follow:
                    return await self._send(there, chunk, 0, follow=False, formatted=formatted)
                case ThreadGone() if thread:
                    return await self._send(chat, chunk, 0, follow=follow, formatted=formatted)
                case TextTooLong():  # plain it is as long
                    return msgspec.structs.replace(_fate(error), pieces=self._renderer.halve(chunk))
                case TextRefused() if formatted:
                    return await self._send(chat, chunk, thread, follow=follow, formatted=False)
            return _fate(error)
        return Sent(state="sent", message=message)

    async def _record(
        self, outbox: Outbox, index: int, sent: Sent, shard: SessionShardRef
    ) -> DeliveryRecorded | Fault:
        mark = MarkDelivered(
            chat=outbox.chat,
            bot=outbox.bot,
            update=outbox.update,
            lease=outbox.lease,
            index=index,
            state=sent.state,
            message=sent.message,
            reason=sent.reason[:300],
            retry_after_s=sent.retry_after_s,
        )
        return _recorded(await insist(self._clock, lambda: shard.ask(mark), PATIENT_S))

    async def _begin(self, outbox: Outbox, index: int, shard: SessionShardRef) -> DeliveryRecorded | Fault:
        begin = BeginSending(
            chat=outbox.chat, bot=outbox.bot, update=outbox.update, lease=outbox.lease, index=index
        )
        return _recorded(await insist(self._clock, lambda: shard.ask(begin)))

    async def _mark_dead(self, chat: int, shard: SessionShardRef) -> None:
        """Note that the chat can't be written to; best effort, for operators: a message from it takes that back."""
        patch = PatchSession(chat=chat, patch=SessionPatch(dead=True))
        await insist(self._clock, lambda: shard.ask(patch))

    def _left_s(self) -> float:
        return SEND_S if self._ends_at is None else max(0.0, self._ends_at - self._clock.monotonic_s())

    async def _put_back(self, outbox: Outbox, index: int, shard: SessionShardRef) -> Fault | None:
        """Say that a chunk which is marked as being sent was not, and let another owner send it at once."""
        recorded = await self._record(outbox, index, Sent(state="planned"), shard)
        if isinstance(recorded, Fault):
            return await self._give_up(outbox, recorded, 0.0, shard)
        await self._hand_back(outbox, 0.0, shard)
        return None

    async def _put_off(
        self, outbox: Outbox, index: int, reason: str, shard: SessionShardRef
    ) -> DeliveryRecorded | Fault | None:
        """Let another owner read what stands at this place, and send it later; a record when that ended the turn."""
        recorded = await self._record(outbox, index, Sent(state="planned", reason=reason), shard)
        if isinstance(recorded, Fault):
            return await self._give_up(outbox, recorded, 0.0, shard)
        if recorded.ended:
            return recorded
        await self._hand_back(outbox, _later_s(recorded.unsent_s), shard)
        return None

    async def _give_up(self, outbox: Outbox, fault: Fault, wait_s: float, shard: SessionShardRef) -> Fault:
        """Say of a chunk that may stand as being sent that it was not; the store took no word on it for long."""
        if not isinstance(fault, LeaseLost):
            await self._hand_back(outbox, max(wait_s, STORE_AWAY_S), shard, unsent=True)
        return fault

    async def _hand_back(
        self, outbox: Outbox, wait_s: float, shard: SessionShardRef, *, unsent: bool = False
    ) -> None:
        release = ReleaseTurn(
            chat=outbox.chat,
            lease=outbox.lease,
            retry_after_s=wait_s,
            stopping=self._ends_at is not None,
            unsent=unsent,
        )
        await insist(self._clock, lambda: shard.ask(release), PATIENT_S if unsent else PAUSES_S)


def _fate(error: TelegramError | TimeoutError) -> Sent:
    """What became of a chunk by the error that its sending ended with."""
    match error:
        case NotSent(retry_after_s=retry_after_s):
            return Sent(state="planned", reason=str(error), retry_after_s=retry_after_s)
        case TokenRefused():
            log.error("telegram_token_refused", error=str(error))
            return Sent(state="planned", reason=str(error), retry_after_s=ALARM_RETRY_S)
        case ChatGone() | ThreadGone() | TextRefused() | CallRefused():
            reason = f"{type(error).__name__}: {error}"
            return Sent(state="failed", reason=reason, gone=isinstance(error, ChatGone))
        case _:
            return Sent(state="unknown", reason=str(error) or "no answer")


def _later_s(unsent_s: float) -> float:
    return min(max(RETRY_LATER_S, LATER_SHARE * unsent_s), RETRY_LATEST_S)


def _recorded(reply: object) -> DeliveryRecorded | Fault:
    if isinstance(reply, DeliveryRecorded | Fault):
        return reply
    return Fault(detail=f"unexpected answer {type(reply).__name__}")
