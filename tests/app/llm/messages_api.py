"""A Messages API on loopback that plays scripted answers and faults, one for each request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer

Event = dict[str, Any]
Play = Callable[[web.Request, asyncio.Event], Awaitable[web.StreamResponse]]

START: Final[Event] = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "test", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1, "cache_read_input_tokens": 30},
    },
}  # fmt: skip
STOP: Final[Event] = {"type": "message_stop"}
PING: Final[Event] = {"type": "ping"}


def text_events(*parts: str, index: int = 0) -> list[Event]:
    """A text block in parts."""
    block = {"type": "text", "text": ""}
    deltas = [{"type": "text_delta", "text": part} for part in parts]
    return _block(index, block, deltas)


def tool_events(name: str, *parts: str, index: int = 1, call: str = "toolu_1") -> list[Event]:
    """A call of a tool, its arguments in parts."""
    block = {"type": "tool_use", "id": call, "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return _block(index, block, deltas)


def end(reason: str | None = "end_turn") -> list[Event]:
    """How a stream ends."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}, STOP]


def error(kind: str, message: str = "no") -> Event:
    """An error, as an event or as a body."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def streams(*events: Event, stall: bool = False, cut: bool = False) -> Play:
    """Stream the events, then end, hang until the server closes, or cut the connection."""

    async def play(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        if stall:
            await closing.wait()
        if cut and request.transport:
            request.transport.close()
        return response

    return play


def says(*parts: str, reason: str = "end_turn") -> Play:
    """A whole answer of text."""
    return streams(START, *text_events(*parts), *end(reason))


def answers(
    status: int, kind: str = "api_error", message: str = "no", headers: dict[str, str] | None = None
) -> Play:
    """A status with an error as its body."""

    async def play(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        return web.json_response(error(kind, message), status=status, headers=headers)

    return play


def raw(body: bytes, content_type: str = "text/event-stream") -> Play:
    """A 200 with this body."""

    async def play(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return play


async def hangs(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
    """Never give as much as a status line."""
    await closing.wait()
    return web.Response()


async def drops(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


class MessagesApi:
    """Plays `script` in order, the last play again and again; keeps what was asked and how."""

    def __init__(self, script: Sequence[Play]) -> None:
        self.script = list(script)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.looked_up: list[str] = []
        self.connections: set[Any] = set()
        self.mute = False
        self.closing = asyncio.Event()
        self.url = ""

    async def messages(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.connections.add(request.transport)
        play = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await play(request, self.closing)

    async def model(self, request: web.Request) -> web.StreamResponse:
        self.looked_up.append(request.match_info["model"])
        self.connections.add(request.transport)
        if self.mute:
            await self.closing.wait()
        described = {"type": "model", "id": "test", "display_name": "T", "created_at": "2026-01-01T00:00:00Z"}
        return web.json_response(described)


@asynccontextmanager
async def messages_api(*script: Play) -> AsyncIterator[MessagesApi]:
    """Serve a script on loopback, on a port of the system's choice."""
    api = MessagesApi(script or [says("ok")])
    app = web.Application()
    app.router.add_post("/v1/messages", api.messages)
    app.router.add_get("/v1/models/{model}", api.model)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    api.url = str(server.make_url("/")).rstrip("/")
    try:
        yield api
    finally:
        api.closing.set()
        await server.close()


def _block(index: int, block: Event, deltas: list[Event]) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]
