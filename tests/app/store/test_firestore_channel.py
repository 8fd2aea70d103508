"""What a channel to Firestore tells its server when they meet."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Any, Final

from actors.warm_ports import BLOB_MOST, BLOBS_MOST
from app.store.firestore_channel import READ_AHEAD, Line, dial_emulator

PREFACE: Final = 24  # bytes of HTTP/2's greeting
HEAD: Final = 9  # bytes before each frame
INITIAL_WINDOW_SIZE: Final = 0x4
FIRST_WINDOW: Final = 65_535  # of a connection and of each stream, until something else is said
CONNECTION: Final = 0  # a stream's number
ANSWER_S: Final = 5.0  # of a loopback


class Frame(IntEnum):
    """Kinds of frames (RFC 9113, section 6)."""

    HEADERS = 0x1
    SETTINGS = 0x4
    WINDOW_UPDATE = 0x8


class Greeted:
    """A server that listens until the first call, and adds up the windows that it was given until then."""

    def __init__(self) -> None:
        self.windows = Counter[str](connection=FIRST_WINDOW, stream=FIRST_WINDOW)
        self.called = asyncio.Event()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read frames up to the first call's."""
        await reader.readexactly(PREFACE)
        writer.write(bytes([0, 0, 0, Frame.SETTINGS, 0, 0, 0, 0, 0]))
        while not self.called.is_set():
            head = await reader.readexactly(HEAD)
            body = await reader.readexactly(int.from_bytes(head[:3]))
            self._read(head[3], int.from_bytes(head[5:]), body)
        writer.close()

    def _read(self, kind: int, stream: int, body: bytes) -> None:
        match kind:
            case Frame.SETTINGS:
                told = {
                    int.from_bytes(body[at : at + 2]): body[at + 2 : at + 6] for at in range(0, len(body), 6)
                }
                if INITIAL_WINDOW_SIZE in told:
                    self.windows["stream"] = int.from_bytes(told[INITIAL_WINDOW_SIZE])
            case Frame.WINDOW_UPDATE if stream == CONNECTION:
                self.windows["connection"] += int.from_bytes(body)
            case Frame.HEADERS:
                self.called.set()


@asynccontextmanager
async def greeted() -> AsyncIterator[tuple[Greeted, str]]:
    """Give such a server, and where it listens."""
    server = Greeted()
    async with await asyncio.start_server(server.connected, "127.0.0.1", 0) as listening:
        yield server, f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_a_server_may_send_a_whole_image_at_once() -> None:
    """Whoever starts far from the store waits for one way there and back, however large the image is."""
    async with greeted() as (server, host):
        line = Line(dial_emulator(host)())
        call: Any = line.commit(b"")
        async with asyncio.timeout(ANSWER_S):
            await server.called.wait()
        call.cancel()
        await line.close(0.0)
    assert {"connection": READ_AHEAD, "stream": READ_AHEAD} == server.windows
    assert READ_AHEAD > (BLOBS_MOST + 1) * BLOB_MOST
