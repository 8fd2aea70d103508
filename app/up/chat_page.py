"""The chat page over the simulated Telegram, as `firstlight dev` has it, in front of containers."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from app.telegram.simulator import TelegramSimulator
from app.web.answers import as_json
from app.web.console import add_console
from app.web.health import Statistics, health_of
from app.web.server import WebServer

HOST = "127.0.0.1"


class ChatPage:
    """Serves it on any free port of loopback."""

    def __init__(self, simulator: TelegramSimulator, known: Callable[[], Awaitable[Statistics]]) -> None:
        async def stats() -> dict[str, Any]:
            return {"actors": msgspec.to_builtins(await known())}

        async def health(_: web.Request) -> web.StreamResponse:
            return as_json(health_of(await known()))

        page = web.Application()
        page.router.add_get("/health", health)  # the page's panel asks its own address
        add_console(page, simulator, stats=stats)
        self._server = WebServer(page, HOST, 0)

    async def start(self) -> str:
        """Listen, and give the page's address."""
        await self._server.start()
        return f"http://{HOST}:{self._server.port}/"

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        await self._server.stop()
