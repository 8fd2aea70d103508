"""Webhooks of other frameworks that do nothing durable: `python -m tests.bench.frameworks NAME`.

Each reads the update as its users do and answers 200. Prints its port, then for each line on its standard input a
line of what it has used; its end ends the server.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import process_time
from typing import Any, Final

import msgspec
import uvloop
from aiohttp import web

from app.lazily import load
from tests.bench.server import SECRET, TOKEN, Used

HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
PATH: Final = "/webhook/telegram"


def fastapi() -> Any:
    """FastAPI, its models checking what our own reader reads of an update."""
    api, field = load("fastapi:FastAPI")(), load("pydantic:Field")
    model, response = load("pydantic:BaseModel"), load("fastapi:Response")

    def shape(name: str, **fields: Any) -> Any:
        return load("pydantic:create_model")(name, __base__=model, **fields)

    user = shape("User", id=(int, ...), is_bot=(bool, False), first_name=(str, ""))
    chat = shape("Chat", id=(int, ...), type=(str, ""))
    message = shape(
        "Message", message_id=(int, ...), chat=(chat, ...), date=(int, 0), text=(str | None, None),
        sender=(user | None, field(None, alias="from")),
    )  # fmt: skip
    update = shape("Update", update_id=(int, ...), message=(message | None, None))

    async def hook(body: Any, secret: str = load("fastapi:Header")(alias=HEADER)) -> Any:
        return response(status_code=200 if secret == SECRET else 401)

    hook.__annotations__["body"] = update
    api.post(PATH)(hook)
    return api


def python_telegram_bot() -> Any:
    """python-telegram-bot behind Starlette, as its own example of a webhook has it; nobody takes the updates."""
    bot, read = load("telegram:Bot")(TOKEN), load("telegram:Update").de_json
    response = load("starlette.responses:Response")
    waiting: asyncio.Queue[Any] = asyncio.Queue()

    async def hook(request: Any) -> Any:
        if request.headers.get(HEADER) != SECRET:
            return response(status_code=401)
        await waiting.put(read(await request.json(), bot))
        waiting.get_nowait()
        return response()

    route = load("starlette.routing:Route")(PATH, hook, methods=["POST"])
    return load("starlette.applications:Starlette")(routes=[route])


def aiogram() -> Any:
    """aiogram under aiohttp, as its documentation of webhooks has it; its one handler does nothing."""
    dispatcher, bot = load("aiogram:Dispatcher")(), load("aiogram:Bot")(TOKEN)

    async def handle(message: Any) -> None:
        pass

    dispatcher.message.register(handle)
    app = web.Application()
    server = load("aiogram.webhook.aiohttp_server:SimpleRequestHandler")
    server(dispatcher=dispatcher, bot=bot, secret_token=SECRET).register(app, path=PATH)
    load("aiogram.webhook.aiohttp_server:setup_application")(app, dispatcher, bot=bot)
    return app


@asynccontextmanager
async def by_uvicorn(application: Any) -> AsyncIterator[int]:
    """Serve it on the port that is given."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = load("uvicorn:Config")(application, log_level="error", lifespan="off", access_log=False)
    server = load("uvicorn:Server")(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    yield int(listener.getsockname()[1])
    server.should_exit = True
    await serving


@asynccontextmanager
async def by_aiohttp(application: Any) -> AsyncIterator[int]:
    """The same for an application of aiohttp's."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


SERVERS: Final[dict[str, Callable[[], AbstractAsyncContextManager[int]]]] = {
    "fastapi": lambda: by_uvicorn(fastapi()),
    "python-telegram-bot": lambda: by_uvicorn(python_telegram_bot()),
    "aiogram": lambda: by_aiohttp(aiogram()),
}


async def run(name: str) -> None:
    """Serve until standard input ends."""
    async with SERVERS[name]() as port:
        print(port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(msgspec.json.encode(Used(cpu_s=process_time())).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1]))
