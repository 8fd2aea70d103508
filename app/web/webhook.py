"""`POST /webhook/telegram`: refuse what is not Telegram's, make the rest durable, answer."""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog
from aiohttp import web

from actors.ports import Background, Clock, TelegramError, Unreachable
from app.fleet import Fleet
from app.metrics import Metrics
from app.telegram.addressing import BotIdentity, IdentityNeeded
from app.telegram.updates import Unreadable, allowed, classify, quarantine_id
from app.web.answers import GONE, is_secret, refuse
from contracts.faults import Fault, MailboxFull
from contracts.sessions import AcceptUpdate, SessionReply, UpdateAccepted, UpdateDuplicate
from contracts.turns import Incoming, Verdict

log = structlog.get_logger(__name__)

PATH: Final = "/webhook/telegram"
SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name (Bot API, setWebhook)
RAW_KEPT: Final = 64 * 1024  # bytes of a quarantined body: enough to see what it was
TEXT_MOST: Final = 32 * 1024  # bytes of UTF-8; Telegram's own limit is 4096 characters, at most 16 KiB
RETRY_AFTER_MOST_S: Final = 60  # Telegram obeys up to an hour; nobody should wait for that


class WebhookRules(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the webhook listens to, for how long, and how much; times in seconds, sizes in bytes."""

    secret: bytes
    bot: int
    allowed_users: frozenset[int] | None = None
    body_most: int = 1024 * 1024  # a text update is below 20 kB
    body_deadline_s: float = 10.0  # Telegram sends a body in one go; a slow loris does not
    accept_deadline_s: float = 5.0  # Telegram waits 60 s and tries again; its 40 connections must not fill up

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("a webhook without a secret lets anybody write updates")


class Callbacks(Protocol):
    """What the webhook needs of a Telegram client."""

    async def answer_callback(self, callback: str) -> None:
        """Stop the button's spinner (`answerCallbackQuery`); raises TelegramError."""


class Refused(Exception):
    """The request is not looked into; `status` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Webhook:
    """The route's handler."""

    def __init__(
        self,
        *,
        rules: WebhookRules,
        fleet: Fleet,
        identity: Callable[[], BotIdentity | None],
        background: Background,
        metrics: Metrics,
        clock: Clock,
        callbacks: Callbacks | None = None,
    ) -> None:
        self._rules, self._fleet, self._identity = rules, fleet, identity
        self._background, self._metrics, self._clock = background, metrics, clock
        self._callbacks = callbacks

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 only when the update is durably accepted; 4xx when a retry can't help, else 429 or 503."""
        try:
            self._admit(request)
            body = await self._body(request)
        except Refused as refused:
            self._metrics.update("unread", "unauthorized" if refused.status == 401 else "rejected")
            return await refuse(request, refused.status)
        try:
            return await self._take(body)
        except Exception:  # the stated outcome of a defect: logged whole, and Telegram keeps the message
            log.exception("webhook_defect")
            self._metrics.update("unread", "defect")
            return self._later(503, 0)

    # ------------------------------------------------------------ before any cost

    def _admit(self, request: web.Request) -> None:
        headers = request.headers
        if not is_secret(request, SECRET_HEADER, self._rules.secret):
            raise Refused(401)
        if not _is_json(headers.get("Content-Type", "")) or "Content-Encoding" in headers:
            raise Refused(415)
        if (request.content_length or 0) > self._rules.body_most:
            raise Refused(413)

    async def _body(self, request: web.Request) -> bytes:
        content = request.content
        if content.is_eof():  # arrived together with the headers, as nearly always: no timer, no wait
            body_at_once = content.read_nowait()
            self._bound(len(body_at_once))
            return body_at_once
        try:
            async with asyncio.timeout(self._rules.body_deadline_s):
                body = bytearray()
                while chunk := await content.readany():
                    body += chunk
                    self._bound(len(body))
                return bytes(body)
        except TimeoutError:
            raise Refused(408) from None
        except GONE:
            raise Refused(400) from None

    def _bound(self, size: int) -> None:
        if size > self._rules.body_most:
            raise Refused(413)

    # ------------------------------------------------------------ the update

    async def _take(self, body: bytes) -> web.Response:
        try:
            update = self._read(body)
        except IdentityNeeded:  # until getMe was answered, nobody can tell whether a group speaks to us
            return self._later(503, 0)
        started = self._clock.monotonic_s()
        reply = await self._accept(update)
        match reply:
            case UpdateAccepted():
                self._metrics.accepted(self._clock.monotonic_s() - started)
                self._counted(update, update.verdict)
                if update.verdict == "queue":
                    self._go(update)
                else:
                    self._metrics.unanswered(update.verdict, update.reason)
                return web.Response()
            case UpdateDuplicate():
                self._counted(update, "duplicate")
                if update.verdict == "queue":
                    self._take_turn(update)  # cheap, and the first delivery may have died before it did this
                return web.Response()
            case MailboxFull():
                self._counted(update, "mailbox_full")
                return self._later(429, reply.retry_after_s)
            case _:
                self._counted(update, "unavailable")
                log.warning("accept_failed", update=update.update, reply=type(reply).__name__)
                return self._later(503, reply.retry_after_s if isinstance(reply, Fault) else 0)

    def _read(self, body: bytes) -> AcceptUpdate:
        try:
            intake = classify(body, self._identity())
        except Unreadable as unreadable:
            return self._quarantine(quarantine_id(body), "unreadable", unreadable.reason, body)
        incoming = intake.incoming
        if intake.verdict == "quarantined":
            return self._quarantine(intake.update_id, incoming.kind, intake.reason, body)
        if _too_long(incoming.text):
            return self._quarantine(intake.update_id, incoming.kind, "too_long", body)
        if intake.verdict != "queue":
            return self._unanswered(intake.update_id, incoming, intake.verdict, intake.reason)
        if not allowed(incoming, self._rules.allowed_users):
            return self._unanswered(intake.update_id, incoming, "refused", "not_allowed")
        return AcceptUpdate(bot=self._rules.bot, update=intake.update_id, incoming=incoming)

    def _unanswered(self, update: int, incoming: Incoming, verdict: Verdict, reason: str) -> AcceptUpdate:
        unsaid = msgspec.structs.replace(incoming, text="")  # what is not said to us, we do not keep
        return AcceptUpdate(
            bot=self._rules.bot, update=update, incoming=unsaid, verdict=verdict, reason=reason
        )

    def _quarantine(self, update: int, kind: str, reason: str, body: bytes) -> AcceptUpdate:
        return AcceptUpdate(
            bot=self._rules.bot,
            update=update,
            incoming=Incoming(kind=kind),  # chat 0, so that it belongs to shard 0
            verdict="quarantined",
            reason=reason,
            raw=body[:RAW_KEPT],
        )

    async def _accept(self, update: AcceptUpdate) -> SessionReply | None:
        try:
            async with asyncio.timeout(self._rules.accept_deadline_s):
                return await self._fleet.sessions.of(update.incoming.chat).ask(update)
        except (TimeoutError, Unreachable) as away:
            log.warning("accept_unreachable", update=update.update, error=str(away))
            return None

    # ------------------------------------------------------------ after the acceptance

    def _go(self, update: AcceptUpdate) -> None:
        self._take_turn(update)
        callback, callbacks = update.incoming.callback, self._callbacks
        if callback and callbacks is not None:
            self._background.spawn("answer callback", lambda: self._answer(callbacks, callback))

    def _take_turn(self, update: AcceptUpdate) -> None:
        self._background.spawn("take turn", lambda: self._tell(update))

    async def _tell(self, update: AcceptUpdate) -> None:
        try:
            await self._fleet.agent.take_turn(update.incoming.chat, update.bot, update.update)
        except Unreachable as away:  # the update is durable: the sweeper finds it
            log.warning("take_turn_unreachable", update=update.update, error=str(away))

    async def _answer(self, callbacks: Callbacks, callback: str) -> None:
        try:
            await callbacks.answer_callback(callback)
        except TelegramError as failed:  # only the button's spinner depends on it
            log.warning("callback_unanswered", error=str(failed))

    # ------------------------------------------------------------ answers and counts

    def _counted(self, update: AcceptUpdate, outcome: str) -> None:
        self._metrics.update(update.incoming.kind, outcome)

    def _later(self, status: int, retry_after_s: float) -> web.Response:
        seconds = min(RETRY_AFTER_MOST_S, max(1, math.ceil(retry_after_s)))
        return web.Response(status=status, headers={"Retry-After": str(seconds)})


# ---------------------------------------------------------------- helpers


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _too_long(text: str) -> bool:
    return len(text) > TEXT_MOST // 4 and len(text.encode("utf-8", "surrogatepass")) > TEXT_MOST
