"""`POST /webhook/telegram`: refuse what is not Telegram's before it costs anything, and take the rest in."""

import asyncio
from typing import Final

import msgspec
from aiohttp import HttpVersion11, hdrs, web

from actors.ports import Clock
from app.intake import ACCEPT_DEADLINE_S, Taken, UpdateIntake
from app.metrics import Metrics
from app.web.answers import GONE, is_secret, refuse
from app.web.done import DoneAnswers

PATH: Final = "/webhook/telegram"
SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name (Bot API, setWebhook)


class WebhookRules(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the webhook listens to, for how long, and how much; times in seconds, sizes in bytes."""

    secret: bytes
    bot: int
    allowed_users: frozenset[int] | None = None
    body_most: int = 1024 * 1024  # a text update is below 20 kB
    body_deadline_s: float = 10.0  # Telegram sends a body in one go; a slow loris does not
    accept_deadline_s: float = ACCEPT_DEADLINE_S

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("a webhook without a secret lets anybody write updates")


class Refused(Exception):
    """The request is not looked into; `status` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Webhook:
    """The route's handler."""

    def __init__(self, rules: WebhookRules, intake: UpdateIntake, metrics: Metrics, clock: Clock) -> None:
        self._rules, self._intake, self._metrics = rules, intake, metrics
        self._done = DoneAnswers(clock)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 only when the update is durably accepted; 4xx when a retry can't help, else 429 or 503."""
        try:
            self._admit(request)
            body = await self._body(request)
        except Refused as refused:
            return await self._refuse(request, refused)
        taken = await self._intake.take(body)
        return self._done.to(request) if taken.durable else _again(taken)

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Tell a client to send its body (RFC 9110, 10.1.1), unless its head is reason enough to refuse it."""
        try:
            self._admit(request)
            if request.headers[hdrs.EXPECT].lower() != "100-continue":
                raise Refused(417)
        except Refused as refused:
            return await self._refuse(request, refused)
        if request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # so that aiohttp does not take the answer for begun
        return None

    async def _refuse(self, request: web.Request, refused: Refused) -> web.StreamResponse:
        self._metrics.update("unread", "unauthorized" if refused.status == 401 else "rejected")
        return await refuse(request, refused.status)

    def _admit(self, request: web.Request) -> None:
        headers = request.headers
        if not is_secret(request, SECRET_HEADER, self._rules.secret):
            raise Refused(401)
        if not _is_json(headers.get("Content-Type", "")) or "Content-Encoding" in headers:
            raise Refused(415)
        if (request.content_length or 0) > self._rules.body_most:
            raise Refused(413)

    async def _body(self, request: web.Request) -> bytes:
        content, body = request.content, bytearray()
        try:
            if content.is_eof():  # here already, as nearly always: no timer, and the buffer is below any cap
                return content.read_nowait()
            async with asyncio.timeout(self._rules.body_deadline_s):
                while chunk := await content.readany():
                    body += chunk
                    if len(body) > self._rules.body_most:
                        raise Refused(413)
        except TimeoutError:
            raise Refused(408) from None
        except GONE:
            raise Refused(400) from None
        return bytes(body)


def _again(taken: Taken) -> web.Response:
    return web.Response(status=429 if taken.full else 503, headers={"Retry-After": str(taken.retry_after_s)})


def _is_json(content_type: str) -> bool:
    if content_type == "application/json":
        return True
    return content_type.partition(";")[0].strip().lower() == "application/json"
