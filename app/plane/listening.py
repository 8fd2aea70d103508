"""Listens for peers that speak HTTP/2, on a port or a path, and keeps their connections."""

import asyncio
import socket
from pathlib import Path

from app.plane.http2 import Answer, Connection


class Server:
    """Listens, and keeps its connections until it is closed."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._peers: set[Connection] = set()
        self._listening: asyncio.Server | None = None

    async def listen(self, where: socket.socket | Path) -> None:
        """Serve a socket that is bound, or a path."""
        loop = asyncio.get_running_loop()
        if isinstance(where, Path):
            self._listening = await loop.create_unix_server(self._accept, str(where))
        else:
            self._listening = await loop.create_server(self._accept, sock=where)

    async def close(self) -> None:
        """Serve nothing more: what runs is cancelled; idempotent."""
        if self._listening is not None:
            self._listening.close()
        await asyncio.gather(*(peer.close() for peer in list(self._peers)))

    def _accept(self) -> Connection:
        return Connection(self._answer, self._peers)
