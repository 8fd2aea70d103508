"""Takes one update in, however it arrived: judge it, make it durable, set its turn going."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from actors.ports import Background, Clock, TelegramError, Unreachable
from app.accepting import Accepting
from app.fleet import Fleet
from app.metrics import Metrics
from app.telegram.addressing import BotIdentity, IdentityNeeded
from app.telegram.updates import Unreadable, allowed, classify, quarantine_id
from contracts.faults import Fault, MailboxFull
from contracts.sessions import AcceptUpdate, UpdateAccepted, UpdateDuplicate
from contracts.turns import Incoming, Verdict

log = structlog.get_logger(__name__)

RAW_KEPT: Final = 64 * 1024  # bytes of a quarantined body: enough to see what it was
TEXT_MOST: Final = 32 * 1024
"""Bytes of UTF-8 in all that is kept of an update. Telegram's limit for a text is 4096 characters, at most 16 KiB.

A mailbox of 100 updates so holds at most 3.2 MiB, in the store and in a shard's memory.
"""

RETRY_AFTER_MOST_S: Final = 60  # Telegram obeys up to an hour; nobody should wait for that
ACCEPT_DEADLINE_S: Final = 5.0  # Telegram waits 60 s and tries again; its 40 connections must not fill up


class Callbacks(Protocol):
    """What the intake needs of a Telegram client."""

    async def answer_callback_query(self, query: str) -> bool:
        """Stop the button's spinner (`answerCallbackQuery`), if it is not too late; raises TelegramError."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an update: durable, or to be brought again after whole seconds (`full`: its chat waits)."""

    durable: bool
    full: bool = False
    retry_after_s: int = 0


class UpdateIntake:
    """The way of every update from its bytes to its chat's mailbox."""

    def __init__(
        self,
        *,
        bot: int,
        fleet: Fleet,
        identity: Callable[[], BotIdentity | None],
        background: Background,
        metrics: Metrics,
        clock: Clock,
        allowed_users: frozenset[int] | None = None,
        callbacks: Callbacks | None = None,
        accept_deadline_s: float = ACCEPT_DEADLINE_S,
    ) -> None:
        self._bot, self._fleet, self._identity, self._allowed_users = bot, fleet, identity, allowed_users
        self._background, self._metrics, self._clock = background, metrics, clock
        self._callbacks, self._accepting = callbacks, Accepting(fleet, accept_deadline_s)
        self._tickets: deque[AcceptUpdate] = deque()

    async def take(self, body: bytes) -> Taken:
        """Make the update durable, once; never raises, and never waits for the turn."""
        try:
            return await self._take(body)
        except Exception:  # the stated outcome of a defect: logged whole, and Telegram keeps the update
            log.exception("intake_defect")
            self._metrics.update("unread", "defect")
            return _again()

    async def _take(self, body: bytes) -> Taken:
        try:
            update = self._judge(body)
        except IdentityNeeded:  # until getMe was answered, nobody can tell whether a group speaks to us
            return _again()
        self._answer_callback(update)
        started = self._clock.monotonic_s()
        try:
            reply = await self._accepting.accept(update, len(body))
        except Unreachable as away:
            return self._unreachable(update, away)
        match reply:
            case UpdateAccepted():
                self._metrics.accepted(self._clock.monotonic_s() - started)
                return self._accepted(update)
            case UpdateDuplicate():
                return self._duplicate(update)
            case MailboxFull():
                self._count(update, "mailbox_full")
                return _again(reply.retry_after_s, full=True)
            case _:
                self._count(update, "unavailable")
                log.warning("accept_failed", update=update.update, reply=type(reply).__name__)
                return _again(reply.retry_after_s if isinstance(reply, Fault) else 0.0)

    # ------------------------------------------------------------ judge

    def _judge(self, body: bytes) -> AcceptUpdate:
        try:
            intake = classify(body, self._identity())
        except Unreadable as unreadable:
            return self._quarantined(quarantine_id(body), "unreadable", unreadable.reason, body)
        incoming = intake.incoming
        if intake.verdict == "quarantined":
            return self._quarantined(intake.update_id, incoming.kind, intake.reason, body)
        if _too_long(incoming):
            return self._quarantined(intake.update_id, incoming.kind, "too_long", body, incoming.chat)
        if intake.verdict != "queue":
            return self._unanswered(intake.update_id, incoming, intake.verdict, intake.reason)
        if not incoming.migrate_to and not allowed(
            incoming, self._allowed_users
        ):  # a notice is nobody's wish
            return self._unanswered(intake.update_id, incoming, "refused", "not_allowed")
        return AcceptUpdate(bot=self._bot, update=intake.update_id, incoming=incoming)

    def _unanswered(self, update: int, incoming: Incoming, verdict: Verdict, reason: str) -> AcceptUpdate:
        unsaid = msgspec.structs.replace(incoming, text="")  # what is not said to us, we do not keep
        return AcceptUpdate(bot=self._bot, update=update, incoming=unsaid, verdict=verdict, reason=reason)

    def _quarantined(self, update: int, kind: str, reason: str, body: bytes, chat: int = 0) -> AcceptUpdate:
        """Chat 0, which belongs to shard 0, where the body does not tell it; else /forget erases it with the chat."""
        return AcceptUpdate(
            bot=self._bot,
            update=update,
            incoming=Incoming(kind=kind, chat=chat),
            verdict="quarantined",
            reason=reason,
            raw=body[:RAW_KEPT],
        )

    # ------------------------------------------------------------ make durable

    def _answer_callback(self, update: AcceptUpdate) -> None:
        """Answer a pressed button at once, beside its acceptance: Telegram shows a spinner until then."""
        query, callbacks = update.incoming.callback, self._callbacks
        if query and callbacks is not None and update.verdict == "queue":
            self._background.spawn("answer callback", lambda: _answer(callbacks, query))

    # ------------------------------------------------------------ afterwards

    def _unreachable(self, update: AcceptUpdate, away: Unreachable) -> Taken:
        self._count(update, "unavailable")
        log.warning("accept_unreachable", update=update.update, error=str(away))
        return _again()

    def _accepted(self, update: AcceptUpdate) -> Taken:
        self._count(update, update.verdict)
        if update.verdict != "queue":
            self._metrics.unanswered(update.verdict, update.reason)
            return _DURABLE
        self._take_turn(update)
        return _DURABLE

    def _duplicate(self, update: AcceptUpdate) -> Taken:
        self._count(update, "duplicate")
        if update.verdict == "queue":
            self._take_turn(update)  # cheap, and the first delivery may have died before it did this
        return _DURABLE

    def _take_turn(self, update: AcceptUpdate) -> None:
        """Tell the agents soon: one task for all that is accepted in a turn of the loop, as a commit holds many."""
        self._tickets.append(update)
        if len(self._tickets) == 1:
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        tickets, self._tickets = self._tickets, deque()
        self._background.spawn("take turns", lambda: self._tell_all(tickets))

    async def _tell_all(self, tickets: deque[AcceptUpdate]) -> None:
        """Tell of them all; where the agents are far, each has a teller of its own and waits behind nobody."""
        if len(tickets) > 1:
            self._background.spawn("take turns", lambda: self._tell_all(tickets))
        while tickets:
            await self._tell(tickets.popleft())

    async def _tell(self, update: AcceptUpdate) -> None:
        try:
            await self._fleet.agent.take_turn(update.incoming.chat, update.bot, update.update)
        except Unreachable as away:  # the update is durable: the sweeper finds it
            log.warning("take_turn_unreachable", update=update.update, error=str(away))

    def _count(self, update: AcceptUpdate, outcome: str) -> None:
        self._metrics.update(update.incoming.kind, outcome)


# ---------------------------------------------------------------- helpers

_DURABLE: Final = Taken(durable=True)


def _again(after_s: float = 0.0, *, full: bool = False) -> Taken:
    return Taken(durable=False, full=full, retry_after_s=min(RETRY_AFTER_MOST_S, max(1, math.ceil(after_s))))


def _too_long(incoming: Incoming) -> bool:
    text = incoming.text + incoming.user_name + incoming.callback + incoming.chat_type
    return len(text) > TEXT_MOST // 4 and len(text.encode("utf-8", "surrogatepass")) > TEXT_MOST


async def _answer(callbacks: Callbacks, query: str) -> None:
    try:
        await callbacks.answer_callback_query(query)
    except TelegramError as failed:  # only the button's spinner depends on it
        log.warning("callback_unanswered", error=str(failed))
