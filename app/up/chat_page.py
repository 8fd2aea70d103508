"""The chat page over the simulated Telegram, as `firstlight dev` has it, in front of containers."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from app.telegram.simulator import TelegramSimulator
from app.web.console import add_console
from app.web.server import WebServer

HOST = "127.0.0.1"


class ChatPage:
    """Serves it on any free port of loopback."""

    def __init__(self, simulator: TelegramSimulator, stats: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        page = web.Application()
        add_console(page, simulator, stats=stats)
        self._server = WebServer(page, HOST, 0)

    async def start(self) -> str:
        """Listen, and give the page's address."""
        await self._server.start()
        return f"http://{HOST}:{self._server.port}/"

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        await self._server.stop()
