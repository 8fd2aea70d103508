"""The web application, and the server that `serve`, `dev` and the gateway start it in."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from actors.ports import Background, Clock
from app.fleet import Fleet
from app.intake import Callbacks, UpdateIntake
from app.metrics import Metrics
from app.telegram.addressing import BotIdentity
from app.web.admin import Admin
from app.web.answers import Handler
from app.web.health import FirstWarm, Health, StatsView
from app.web.http_log import http_log
from app.web.webhook import PATH, Webhook, WebhookRules

OTHER_BODIES_MOST: Final = 64 * 1024  # bytes; only the webhook takes more, by its own rule
KEEPALIVE_S: Final = 75.0  # also how long a connection may take over its request's headers
HANDLERS_S: Final = 5.0  # a running accept ends within its own deadline
BACKLOG: Final = 1024  # connections: Telegram opens 100 at most, others may be many
FIRST_WARM: Final = web.AppKey("first_warm", FirstWarm)
WEBHOOK: Final = web.AppKey("webhook", Webhook)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """What the application is made of; without an admin token the /admin routes do not exist."""

    fleet: Fleet
    rules: WebhookRules
    identity: Callable[[], BotIdentity | None]
    background: Background
    metrics: Metrics
    clock: Clock
    callbacks: Callbacks | None = None
    admin_token: bytes | None = None
    lazy_warm: bool = False  # ask the actors to warm with the first request instead of at the start
    warm_deadline_s: float = 30.0


def create_app(parts: WebParts) -> web.Application:
    """The application; it asks every actor to warm. Who made the background drains it: turns may run in it."""
    app = web.Application(client_max_size=OTHER_BODIES_MOST)
    app[FIRST_WARM] = first_warm = FirstWarm(parts.fleet, parts.warm_deadline_s)
    app[WEBHOOK] = webhook = _webhook(parts)
    app.router.add_post(PATH, webhook.handle, expect_handler=webhook.expect)
    app.add_routes(Health(StatsView(parts.fleet, parts.clock), first_warm, parts.metrics).routes())
    if parts.admin_token:
        app.add_routes(Admin(parts.fleet, parts.admin_token).routes())
    app.cleanup_ctx.append(_lifetime(first_warm, _when_to_warm(app, parts)))
    return app


class WebServer:
    """One application on one address; port 0 takes any free one."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        keepalive_s: float = KEEPALIVE_S,
        listener: socket.socket | None = None,
    ) -> None:
        self._app, self._host, self._port, self._listener = app, host, port, listener
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_log(),
            keepalive_timeout=keepalive_s,
            auto_decompress=False,  # a bomb is refused by its header, never inflated
            lingering_time=0.0,  # `answers.refuse` lingers, with a bound in bytes
            shutdown_timeout=HANDLERS_S,
        )

    async def start(self) -> None:
        """Listen; raises OSError when the address is taken, with everything put back."""
        await self._runner.setup()
        _shorten(self._app, self._runner.server)
        try:
            await self._site().start()
        except OSError:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Stop listening and finish the requests that run; idempotent."""
        await self._runner.cleanup()

    @property
    def listening(self) -> bool:
        """Whether it has an address yet."""
        return bool(self._runner.addresses)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._runner.addresses[0][1])

    def _site(self) -> web.BaseSite:
        if self._listener is not None:
            return web.SockSite(self._runner, self._listener)
        return web.TCPSite(self._runner, self._host, self._port)


def listen(host: str, port: int) -> socket.socket:
    """Take the address before anything else is begun; raises OSError when that can't be.

    Who connects meanwhile waits in the kernel until the server is there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


# ---------------------------------------------------------------- helpers


def _shorten(app: web.Application, server: web.Server | None) -> None:
    """Give updates to the webhook at once, past the router, which takes a fifth of what aiohttp does for a request.

    The application answers all other requests; and these as well, where it has middlewares, or the client
    expects to be told to go on.
    """
    if server is None or WEBHOOK not in app or app.middlewares:
        return
    webhook, routed = app[WEBHOOK], server.request_handler

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if _is_update(request) and isinstance(request, web.Request):
            return webhook.handle(request)
        return routed(request)

    server.request_handler = handle


def _is_update(request: web.BaseRequest) -> bool:
    return (
        request.raw_path == PATH and request.method == hdrs.METH_POST and hdrs.EXPECT not in request.headers
    )


def _webhook(parts: WebParts) -> Webhook:
    intake = UpdateIntake(
        bot=parts.rules.bot,
        allowed_users=parts.rules.allowed_users,
        accept_deadline_s=parts.rules.accept_deadline_s,
        fleet=parts.fleet,
        identity=parts.identity,
        background=parts.background,
        metrics=parts.metrics,
        clock=parts.clock,
        callbacks=parts.callbacks,
    )
    return Webhook(parts.rules, intake, parts.metrics, parts.clock)


def _when_to_warm(app: web.Application, parts: WebParts) -> asyncio.Event:
    now = asyncio.Event()
    if not parts.lazy_warm:
        now.set()
        return now

    @web.middleware
    async def wake(request: web.Request, handler: Handler) -> web.StreamResponse:
        now.set()
        return await handler(request)

    app.middlewares.append(wake)
    return now


def _lifetime(first_warm: FirstWarm, now: asyncio.Event) -> Callable[[web.Application], AsyncIterator[None]]:
    async def warm() -> None:
        await now.wait()
        await first_warm.run()

    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        warming = asyncio.create_task(warm(), name="first warm")
        yield
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)

    return lifetime
