"""A Bot API on a real socket that misbehaves as its script says, connection by connection."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from contracts.base import Value


class Say(Value, frozen=True, kw_only=True):
    """Answer with these bytes; `cut` leaves out the last ones and closes."""

    status: int = 200
    body: bytes = b""
    headers: str = ""
    cut: int = 0


class Hang(Value, frozen=True):
    """Read the request and never answer."""


class Reset(Value, frozen=True, kw_only=True):
    """Reset the connection; `read` says whether the request is read before."""

    read: bool = True


Step = Say | Hang | Reset


def ok(result: Any) -> Say:
    """Give a success."""
    return Say(body=json.dumps({"ok": True, "result": result}).encode())


def no(code: int, description: str, **parameters: int) -> Say:
    """Give a refusal, with the same code in HTTP and in the answer."""
    answer = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
    return Say(status=code, body=json.dumps(answer).encode())


@dataclass
class Call:
    """A request that was read."""

    path: str
    params: dict[str, Any]


class ScriptedApi:
    """Takes one step of its script for each request; the last step is repeated."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = deque(steps)
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: list[Call] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until a fault or the client ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client hung up, or `stop` ends what hangs: both are part of the game
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        """End the connections that hang."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._steps[0] == Reset(read=False):
            self._next()
            writer.transport.abort()
            return False
        self.calls.append(await _read_call(reader))
        match self._next():
            case Hang():
                await asyncio.Event().wait()
            case Reset():
                writer.transport.abort()
            case Say() as say:
                writer.write(_response(say))
                await writer.drain()
                return not say.cut
        return False

    def _next(self) -> Step:
        return self._steps.popleft() if len(self._steps) > 1 else self._steps[0]


@asynccontextmanager
async def scripted_api(*steps: Step) -> AsyncIterator[ScriptedApi]:
    """Run a scripted Bot API on loopback."""
    api = ScriptedApi(steps)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield api
    finally:
        server.close()
        await api.stop()
        await server.wait_closed()


async def _read_call(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    content = await reader.readexactly(int(headers["content-length"]))
    assert headers["content-type"] == "application/json"
    return Call(path=lines[0].split(" ")[1], params=json.loads(content))


def _response(say: Say) -> bytes:
    body = say.body[: len(say.body) - say.cut]
    head = f"HTTP/1.1 {say.status} x\r\nContent-Length: {len(say.body)}\r\n{say.headers}\r\n"
    return head.encode() + body
