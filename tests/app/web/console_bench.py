"""A console to test: its page, a simulated Telegram, and a small bot that answers without a network."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Outcome
from app.web.console import add_console

TEXT = "Good morning! Here is code and a link. <b>not bold</b>"
ENTITIES = [
    {"type": "bold", "offset": 0, "length": 13},
    {"type": "italic", "offset": 5, "length": 7},
    {"type": "code", "offset": 22, "length": 4},
    {"type": "text_link", "offset": 33, "length": 4, "url": "https://example.org/"},
]
STATS = {
    "SkillRegistryActor": {
        "entries": 12,
        "bytes": 48_200,
        "hits": 40,
        "misses": 0,
        "store_reads": {"calls": 0, "documents": 0},
        "store_writes": {"calls": 3, "documents": 3},
        "first_request": {"store_reads": 0, "documents": 0, "duration_ms": 0.4},
        "warm": {
            "status": "warm",
            "source": "files",
            "requested": 12,
            "loaded": 12,
            "store_reads": 1,
            "duration_ms": 8.2,
        },
    },
    "SessionCacheActor": {
        "entries": 50,
        "bytes": 255_000,
        "hits": 7,
        "misses": 1,
        "store_reads": {"calls": 1, "documents": 1},
        "warm": {
            "status": "partial",
            "source": "image",
            "requested": 51,
            "loaded": 50,
            "store_reads": 2,
            "duration_ms": 3.1,
        },
    },
    "ChatAgent": {"entries": 12, "bytes": 9_000, "degraded": "no model"},
}


class Bench:
    """What the tests hold: the simulator, the application, and how often the restart was asked for."""

    def __init__(self, *, can_restart: bool = True) -> None:
        self.telegram = TelegramSimulator()
        self.restarts = 0
        self.restart_may_end = asyncio.Event()
        self.restart_may_end.set()
        self.stats_fail = False
        self.url = ""
        self.app = web.Application()
        self.app.router.add_get("/health", self._health)
        add_console(
            self.app, self.telegram, stats=self._stats, restart=self._restart if can_restart else None
        )
        self.telegram.updates.connect(self._deliver)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "warm", "actors": dict.fromkeys(STATS, "warm")})

    async def _stats(self) -> dict[str, Any]:
        if self.stats_fail:
            raise TimeoutError
        return {"actors": STATS}

    async def _restart(self) -> None:
        self.restarts += 1
        await self.restart_may_end.wait()

    async def _deliver(self, body: bytes) -> Outcome:
        update = json.loads(body)
        query = update.get("callback_query")
        message = query["message"] if query else update["message"]
        chat = message["chat"]["id"]
        if query:
            await self.telegram.api.call(
                "answerCallbackQuery", {"callback_query_id": query["id"], "text": "ok"}
            )
            await self.telegram.api.call("sendMessage", {"chat_id": chat, "text": f"pressed {query['data']}"})
        elif message["text"] == "/wait":
            await self.telegram.api.call("sendChatAction", {"chat_id": chat, "action": "typing"})
        else:
            keyboard = {"inline_keyboard": [[{"text": "More", "callback_data": "more"}]]}
            await self.telegram.api.call(
                "sendMessage",
                {"chat_id": chat, "text": TEXT, "entities": ENTITIES, "reply_markup": keyboard},
            )
        return Outcome(True)


@asynccontextmanager
async def serving(bench: Bench, port: int = 0) -> AsyncIterator[Bench]:
    """The bench on a loopback port."""
    runner = web.AppRunner(bench.app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    bench.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield bench
    finally:
        await bench.telegram.stop()
        await runner.cleanup()
