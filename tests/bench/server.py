"""The servers of the benchmarks, each a program of its own: `python -m tests.bench.server '{...}'`.

It prints its port, then for each line on its standard input a line of what it has used; its end ends the server.
`bare` is the least that aiohttp can be, `serve` the service, `parked` the service whose accepted turns
nobody takes up, `telegram` a Bot API that takes every message.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import process_time
from typing import Final, Literal

import msgspec
import uvloop
from aiohttp import web

from actors.refs import ChatAgentRef
from app.fleet import AGENT
from app.observability import configure_logging
from app.runtime import settle_memory
from app.service import Service
from app.settings import Secret, Settings, SqliteAddress
from app.web.server import WebServer
from tests.bench import bare

BOT: Final = 4242
TOKEN: Final = f"{BOT}:a-token-of-the-benchmarks-only"
SECRET: Final = "a-secret-of-the-benchmarks-only"

Kind = Literal["bare", "serve", "parked", "telegram"]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which server, on which event loop, with its database in `folder` and the Bot API at `telegram`."""

    kind: Kind
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    folder: str = "."
    telegram: str = ""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What the server has used since its start, and how many messages it took (`telegram` only)."""

    cpu_s: float
    messages: int = 0


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server that listens."""

    port: int
    messages: Callable[[], int] = int


def settings_of(folder: str, telegram: str) -> Settings:
    """The settings of a service with a database of its own on a free port of loopback."""
    return Settings(
        store=SqliteAddress(Path(folder, "bench.db")),
        port=0,
        telegram_token=Secret(TOKEN),
        webhook_secret=Secret(SECRET),
        telegram_api_url=telegram,
    )


class Nobody:
    """The port Transport to an agent that is not there: what it is told is dropped."""

    async def ask(self, frame: bytes) -> bytes:
        """Nothing."""
        return b""

    async def tell(self, frame: bytes) -> None:
        """Nothing."""

    async def warm(self, frame: bytes = b"") -> bytes:
        """Nothing."""
        return b""

    async def stats(self) -> bytes:
        """Nothing."""
        return b""


@asynccontextmanager
async def _bare(_: Wish) -> AsyncIterator[Running]:
    async with _listening(bare.application()) as port:
        yield Running(port=port)


@asynccontextmanager
async def _serve(wish: Wish) -> AsyncIterator[Running]:
    configure_logging("info")
    service = Service(settings_of(wish.folder, wish.telegram))
    if wish.kind == "parked":
        service.system.fleet.agent = ChatAgentRef(AGENT, Nobody())
    await service.start()
    settle_memory()  # as `firstlight serve` does
    yield Running(port=int(service.url.rpartition(":")[2]))
    await service.stop()


@asynccontextmanager
async def _telegram(_: Wish) -> AsyncIterator[Running]:
    taken = 0
    ids = itertools.count(1)

    async def answer(request: web.Request) -> web.Response:
        nonlocal taken
        method = request.match_info["method"]
        if method == "sendMessage":
            taken += 1
        return web.json_response({"ok": True, "result": _results(method, next(ids))})

    app = web.Application()
    app.router.add_post("/bot{token}/{method}", answer)
    async with _listening(app) as port:
        yield Running(port=port, messages=lambda: taken)


def _results(method: str, number: int) -> object:
    match method:
        case "getMe":
            return {"id": BOT, "is_bot": True, "first_name": "Bench", "username": "bench_bot"}
        case "sendMessage":
            return {"message_id": number, "date": 1767225600, "chat": {"id": 1, "type": "private"}}
        case _:
            return True


@asynccontextmanager
async def _listening(app: web.Application) -> AsyncIterator[int]:
    server = WebServer(app, "127.0.0.1", 0)
    await server.start()
    yield server.port
    await server.stop()


_KINDS: Final[dict[Kind, Callable[[Wish], AbstractAsyncContextManager[Running]]]] = {
    "bare": _bare,
    "serve": _serve,
    "parked": _serve,
    "telegram": _telegram,
}


async def run(wish: Wish) -> None:
    """Serve until standard input ends."""
    async with _KINDS[wish.kind](wish) as running:
        print(running.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            used = Used(cpu_s=process_time(), messages=running.messages())
            print(msgspec.json.encode(used).decode(), flush=True)


if __name__ == "__main__":
    wished = msgspec.json.decode(sys.argv[1], type=Wish)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if wished.loop == "uvloop" else None) as runner:
        runner.run(run(wished))
