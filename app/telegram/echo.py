"""A Bot API on loopback, for a client of its own, that takes every message and hands it to nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from actors.ports import Telegram
from app.telegram.client import TelegramClient

TOKEN: Final = "1:rehearsal"  # noqa: S105 nobody's
_RESULT: Final = b'{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":1,"type":"private"}}}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_RESULT),
    _RESULT,
)


@asynccontextmanager
async def echo() -> AsyncIterator[Telegram]:
    """A client, and what answers it, until the end of the context; raises OSError without a loopback address."""
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = TelegramClient(TOKEN, f"http://127.0.0.1:{port}")
    try:
        yield client
    finally:
        await client.close()
        server.close()


class _Answering(asyncio.Protocol):
    """Answers each request; one ends with the brace that ends its JSON, and no header ends so."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._transport.write(_ANSWER)
