"""The console of `firstlight dev`: a chat page in the browser that talks through the simulated Telegram.

It is for the developer's own browser: only loopback host names are served (DNS rebinding) and only JSON from
the page itself is taken (cross-site requests).
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_checks import MAX_TEXT, utf16
from app.telegram.simulator_people import Button
from app.telegram.simulator_world import Change, Chat, ChatType

T = TypeVar("T")
Stats = Callable[[], Awaitable[dict[str, Any]]]
Restart = Callable[[], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_STREAMS = 32  # open pages; each holds one connection and one queue
MAX_BODY_BYTES = 65_536
STATS_DEADLINE_S = 5.0  # a panel that shows nothing beats one that waits
RESTART_DEADLINE_S = 60.0  # a cold start with its warming
RECONNECT = b"retry: 1000\n"  # milliseconds until a page whose stream ended asks again
KEEPALIVE_S = 15.0  # a comment on the stream, so that a dead page is noticed
HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
STATIC: Final = {
    "console.html": "text/html",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "console-message.js": "text/javascript",
    "console-panel.js": "text/javascript",
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person writes; the text as Telegram's apps allow it."""

    chat: int
    text: str


class Press(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person presses a button."""

    chat: int
    message_id: int
    text: str
    data: str


class OpenChat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person opens a new chat."""

    type: ChatType = "private"


def add_console(
    app: web.Application, simulator: TelegramSimulator, *, stats: Stats, restart: Restart | None = None
) -> None:
    """Serve the console at `/` and its routes under `/console/`; without `restart` the page offers none."""
    console = Console(simulator, stats, restart)
    gets: dict[str, Handler] = {
        "/": console.page,
        "/console/static/{name}": console.static,
        "/console/bootstrap": console.bootstrap,
        "/console/events": console.events,
        "/console/stats": console.stats,
    }
    posts: dict[str, Handler] = {
        "/console/say": console.say,
        "/console/press": console.press,
        "/console/chats": console.open_chat,
        "/console/restart": console.restart,
    }
    for path, handler in gets.items():
        app.router.add_get(path, _for_loopback(handler), allow_head=False)
    for path, handler in posts.items():
        app.router.add_post(path, _for_loopback(_for_own_page(handler)))
    app.on_shutdown.append(console.close)


class Console:
    """The console's requests; holds the open event streams."""

    def __init__(self, simulator: TelegramSimulator, stats: Stats, restart: Restart | None) -> None:
        self._simulator, self._stats, self._restart = simulator, stats, restart
        self._restarting = asyncio.Lock()
        self._streams: set[asyncio.Task[Any]] = set()

    async def page(self, _: web.Request) -> web.Response:
        return _file("console.html")

    async def static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        return _file(name)

    async def bootstrap(self, _: web.Request) -> web.Response:
        """What the page can offer: the bot's name, its commands, whether it can be restarted cold."""
        api = self._simulator.api
        offers = {"bot": api.bot, "commands": api.commands, "can_restart": self._restart is not None}
        return _json(offers)

    async def stats(self, _: web.Request) -> web.Response:
        """The actors' statistics, 503 while they do not answer."""
        try:
            async with asyncio.timeout(STATS_DEADLINE_S):
                return _json(await self._stats())
        except TimeoutError:
            return _json({"error": f"no statistics within {STATS_DEADLINE_S:.0f} s"}, 503)

    async def say(self, request: web.Request) -> web.Response:
        said = await _read(request, Say)
        if not 1 <= utf16(said.text.strip()) <= MAX_TEXT:
            raise web.HTTPBadRequest(text="a message has 1 to 4096 characters")
        self._open(said.chat)
        done = self._simulator.say(said.chat, said.text.strip())
        return _json({"update_id": done.update_id, "message_id": done.message_id})

    async def press(self, request: web.Request) -> web.Response:
        pressed = await _read(request, Press)
        self._open(pressed.chat)
        try:
            done = self._simulator.press(Button(pressed.chat, pressed.message_id, pressed.text, pressed.data))
        except KeyError:
            raise web.HTTPNotFound(text="that message is not there any more") from None
        return _json({"update_id": done.update_id, "message_id": done.message_id})

    async def open_chat(self, request: web.Request) -> web.Response:
        wanted = await _read(request, OpenChat)
        return _json(_chat(self._simulator.open_chat(wanted.type)))

    async def restart(self, _: web.Request) -> web.Response:
        """Restart the actors cold; 409 while that is under way already."""
        if self._restart is None:
            raise web.HTTPNotFound
        if self._restarting.locked():
            raise web.HTTPConflict(text="a restart is under way")
        async with self._restarting:
            try:
                async with asyncio.timeout(RESTART_DEADLINE_S):
                    await self._restart()
            except TimeoutError:
                return _json({"error": f"not up again within {RESTART_DEADLINE_S:.0f} s"}, 503)
        return _json({"restarted": True})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: `hello` with all chats, then every change; 503 when too many pages are open."""
        if len(self._streams) >= MAX_STREAMS:
            raise web.HTTPServiceUnavailable(text="too many consoles are open")
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            return await self._stream(request)
        finally:
            self._streams.discard(task)

    async def close(self, _: web.Application) -> None:
        """End the open streams, so that a server's stop need not wait for pages; they reconnect."""
        for task in list(self._streams):
            task.cancel()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with self._simulator.world.listening() as changes:
            event = RECONNECT + _event("hello", self._snapshot())
            while event:
                try:
                    await response.write(event)
                except ConnectionResetError:
                    break  # the page was closed
                event = await _next(changes)
        return response  # a page that fell behind reconnects and gets a new hello

    def _snapshot(self) -> dict[str, Any]:
        chats = self._simulator.world.chats.values()
        return {"chats": [_chat(each) | {"messages": list(each.messages)} for each in chats]}

    def _open(self, chat: int) -> None:
        if chat not in self._simulator.world.chats:
            raise web.HTTPNotFound(text="that chat is not there any more")


async def _next(changes: asyncio.Queue[Change | None]) -> bytes:
    """The next change as an event, a comment when there was none for a while, nothing after the last."""
    try:
        async with asyncio.timeout(KEEPALIVE_S):
            change = await changes.get()
    except TimeoutError:
        return b": still here\n\n"
    return b"" if change is None else _event(change.kind, change)


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _chat(chat: Chat) -> dict[str, Any]:
    return {"chat": chat.chat_id, "type": chat.type, "title": chat.title}


def _file(name: str) -> web.Response:
    body = (files("app.web") / "static" / name).read_bytes()
    return web.Response(body=body, content_type=STATIC[name], charset="utf-8", headers=HEADERS)


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json", headers=HEADERS)


async def _read(request: web.Request, kind: type[T]) -> T:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise web.HTTPBadRequest(text="not what this route takes") from None


def _for_loopback(handler: Handler) -> Handler:
    """Serve loopback host names only: a page elsewhere whose name points here is refused."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if _hostname(f"//{request.host}") not in HOSTS:
            raise web.HTTPForbidden(text="the console answers to localhost only")
        return await handler(request)

    return guarded


def _for_own_page(handler: Handler) -> Handler:
    """Take JSON from the console's own page only."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") != f"{request.scheme}://{request.host}":
            raise web.HTTPForbidden(text="the console takes requests of its own page only")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="the console takes JSON")
        return await handler(request)

    return guarded


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
