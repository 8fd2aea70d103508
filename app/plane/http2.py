"""HTTP/2 for peers that call (RFC 9113): what they send becomes requests, and replies go out as far as they take them.

A reply that fits is one write, so that its peer wakes up once for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

import structlog

from app.plane.fields import Reader
from app.plane.frames import (
    Code,
    Flag,
    Frames,
    Kind,
    Setting,
    Violation,
    frame,
    number,
    read_number,
    read_settings,
    settings,
    unpadded,
)

log = structlog.get_logger(__name__)

MIB: Final = 1 << 20
MOST_BODY: Final = 32 * MIB  # of one request; Modal's client sends at most half of it, and the rest as blobs
MOST_STREAMS: Final = 1_000  # of one peer at once; its client lets more calls wait
MOST_BLOCK: Final = 1 << 16  # of one request's header fields
MOST_PIECES: Final = 64  # of such a block; five hold the largest, and those without a byte would never end
WINDOW_MOST: Final = (1 << 31) - 1
WINDOW_FIRST: Final = (1 << 16) - 1  # a connection's before anybody grants more
SEND_S: Final = 60.0  # for a peer that takes nothing more of a reply; it holds the reply's memory
CLOSE_S: Final = 1.0  # for what was written to go out before the connection is cut

Answer = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request, which is whole, and the way back."""

    __slots__ = ("_connection", "_parts", "_size", "fields", "id", "replied", "task", "too_large", "window")

    def __init__(
        self, connection: "Connection", stream: int, fields: dict[bytes, bytes], window: int
    ) -> None:
        self._connection = connection
        self.id, self.fields, self.window = stream, fields, window
        self._parts: list[bytes] = []
        self._size = 0
        self.too_large = False
        self.replied = False
        self.task: asyncio.Task[None] | None = None

    @property
    def body(self) -> bytes:
        """What came with the fields; empty when it was too large."""
        return b"".join(self._parts)

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(data)
        self._parts.append(data)
        if self._size > MOST_BODY:
            self.too_large = True
            self._parts.clear()

    async def send(self, *, head: bytes = b"", data: bytes = b"", tail: bytes | None = b"") -> None:
        """Fields, data, and the fields that end the stream, or None where the data ends it."""
        self.replied = True
        if not data or self._connection.room(self) >= len(data):
            self._connection.write(self, head, data, tail)
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._send_in_pieces(head, data, tail)
        except TimeoutError:
            self._connection.leave("it takes no more of a reply")

    async def _send_in_pieces(self, head: bytes, data: bytes, tail: bytes | None) -> None:
        sent = 0
        while sent < len(data):
            piece = data[sent : sent + await self._connection.wait_for_room(self)]
            sent += len(piece)
            self._connection.write(self, head, piece, tail if sent == len(data) else b"")
            head = b""


class Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, answer: Answer, peers: "set[Connection]") -> None:
        """It is among the peers from its beginning to its end."""
        self._answer, self._peers = answer, peers
        self._frames, self._reader = Frames(), Reader()
        self._exchanges: dict[int, Exchange] = {}
        self._last = 0
        self._unfinished: tuple[int, int, bytes, int] | None = None  # stream, flags, fields so far, pieces
        self._consumed = 0
        self._window, self._stream_window, self._most_frame = WINDOW_FIRST, WINDOW_FIRST, 1 << 14
        self._writable = True
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._takers: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.DATA: self._take_data,
            Kind.HEADERS: self._take_headers,
            Kind.CONTINUATION: self._take_continuation,
            Kind.RST_STREAM: self._take_reset,
            Kind.SETTINGS: self._take_settings,
            Kind.PUSH_PROMISE: self._take_promise,
            Kind.PING: self._take_ping,
            Kind.WINDOW_UPDATE: self._take_window,
        }

    # ------------------------------------------------------------ the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say at once what may come: so much that nobody waits for more to be granted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._peers.add(self)
        granted = {Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS, Setting.INITIAL_WINDOW_SIZE: 2 * MOST_BODY}
        self._write(
            frame(Kind.SETTINGS, 0, 0, settings(granted))
            + frame(Kind.WINDOW_UPDATE, 0, 0, number(WINDOW_MOST - WINDOW_FIRST))
        )

    def data_received(self, data: bytes) -> None:
        """Take what came; a peer that breaks the rules is told so and left."""
        try:
            for kind, flags, stream, payload in self._frames.feed(data):
                if self._unfinished and kind != Kind.CONTINUATION:
                    raise Violation(Code.PROTOCOL_ERROR, "a header block has no end")
                take = self._takers.get(kind)
                if take is not None:
                    take(stream, flags, payload)
        except Violation as wrong:
            self.leave(str(wrong), wrong.code)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable = True
        self._changed.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody waits for the answers any more."""
        self._peers.discard(self)
        self._cancel()
        self._lost.set()

    async def close(self) -> None:
        """Cancel what runs, let what was written go out, and cut the connection."""
        await asyncio.gather(*self._cancel(), return_exceptions=True)
        self._end(Code.NO_ERROR)
        await self._lost.wait()

    # ------------------------------------------------------------ an exchange's side

    def leave(self, why: str, code: Code = Code.ENHANCE_YOUR_CALM) -> None:
        """Have nothing more to do with it."""
        log.warning("peer_left", why=why)
        self._end(code)

    def room(self, exchange: Exchange) -> int:
        """How many bytes of data may be written now."""
        return min(exchange.window, self._window, self._most_frame) if self._writable else 0

    async def wait_for_room(self, exchange: Exchange) -> int:
        """The same, once there is some."""
        while (room := self.room(exchange)) <= 0:
            self._changed.clear()
            await self._changed.wait()
        return room

    def write(self, exchange: Exchange, head: bytes, data: bytes, tail: bytes | None) -> None:
        """Write frames that there is room for."""
        parts = []
        if head:
            parts.append(frame(Kind.HEADERS, Flag.END_HEADERS, exchange.id, head))
        if data:
            exchange.window -= len(data)
            self._window -= len(data)
            parts.append(frame(Kind.DATA, Flag.END_STREAM if tail is None else 0, exchange.id, data))
        if tail:
            parts.append(frame(Kind.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, exchange.id, tail))
        self._write(b"".join(parts))

    # ------------------------------------------------------------ helpers: what a frame does

    def _take_headers(self, stream: int, flags: int, payload: bytes) -> None:
        block = unpadded(flags, payload)
        if flags & Flag.PRIORITY:
            block = block[5:]
        if flags & Flag.END_HEADERS:
            self._take_block(stream, flags, block)
        else:
            self._unfinished = (stream, flags, block, 1)

    def _take_continuation(self, stream: int, flags: int, payload: bytes) -> None:
        if self._unfinished is None or self._unfinished[0] != stream:
            raise Violation(Code.PROTOCOL_ERROR, "a header block is continued that was not begun")
        _, first, block, pieces = self._unfinished
        block += payload
        if len(block) > MOST_BLOCK:
            raise Violation(Code.ENHANCE_YOUR_CALM, "a header block is too large")
        if pieces >= MOST_PIECES:
            raise Violation(Code.ENHANCE_YOUR_CALM, "a header block has too many pieces")
        self._unfinished = (stream, first, block, pieces + 1)
        if flags & Flag.END_HEADERS:
            self._unfinished = None
            self._take_block(stream, first, block)

    def _take_block(self, stream: int, flags: int, block: bytes) -> None:
        try:
            fields = self._reader.read(block)
        except ValueError as wrong:
            raise Violation(Code.COMPRESSION_ERROR, str(wrong)) from None
        if stream > self._last:
            self._open(stream, fields)
        exchange = self._exchanges.get(stream)
        if exchange is not None and flags & Flag.END_STREAM:
            self._begin(exchange)

    def _open(self, stream: int, fields: dict[bytes, bytes]) -> None:
        if not stream % 2:
            raise Violation(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        self._last = stream
        if len(self._exchanges) < MOST_STREAMS:
            self._exchanges[stream] = Exchange(self, stream, fields, self._stream_window)
        else:
            self._write(frame(Kind.RST_STREAM, 0, stream, number(Code.REFUSED_STREAM)))

    def _take_data(self, stream: int, flags: int, payload: bytes) -> None:
        self._consume(len(payload))
        exchange = self._exchanges.get(stream)
        if exchange is None or exchange.task is not None:
            return  # it was ended meanwhile
        exchange.add(unpadded(flags, payload))
        if flags & Flag.END_STREAM or exchange.too_large:
            self._begin(exchange)

    def _take_reset(self, stream: int, _: int, __: bytes) -> None:
        exchange = self._exchanges.pop(stream, None)
        if exchange is not None and exchange.task is not None:
            exchange.task.cancel()

    def _take_settings(self, _: int, flags: int, payload: bytes) -> None:
        if flags & Flag.ACK:
            return
        told = read_settings(payload)
        window = told.get(Setting.INITIAL_WINDOW_SIZE, self._stream_window)
        grown = window - self._stream_window
        if max((window, *(each.window + grown for each in self._exchanges.values()))) > WINDOW_MOST:
            raise Violation(Code.FLOW_CONTROL_ERROR, "a window is too large")
        for exchange in self._exchanges.values():
            exchange.window += grown
        self._stream_window = window
        self._most_frame = told.get(Setting.MAX_FRAME_SIZE, self._most_frame)
        self._changed.set()
        self._write(frame(Kind.SETTINGS, Flag.ACK, 0))

    def _take_promise(self, _: int, __: int, ___: bytes) -> None:
        raise Violation(Code.PROTOCOL_ERROR, "clients do not push")

    def _take_ping(self, _: int, flags: int, payload: bytes) -> None:
        if not flags & Flag.ACK:
            self._write(frame(Kind.PING, Flag.ACK, 0, payload))

    def _take_window(self, stream: int, _: int, payload: bytes) -> None:
        """A window that grows too large ends what it is of: a stream, or the connection (RFC 9113, section 6.9.1)."""
        more, exchange = read_number(payload), self._exchanges.get(stream)
        if not stream:
            self._window += more
        elif exchange is not None and exchange.window + more > WINDOW_MOST:
            self._reset(stream, Code.FLOW_CONTROL_ERROR)
        elif exchange is not None:
            exchange.window += more
        if self._window > WINDOW_MOST:
            raise Violation(Code.FLOW_CONTROL_ERROR, "a window is too large")
        self._changed.set()

    def _reset(self, stream: int, code: Code) -> None:
        self._take_reset(stream, 0, b"")
        self._write(frame(Kind.RST_STREAM, 0, stream, number(code)))

    # ------------------------------------------------------------ helpers

    def _begin(self, exchange: Exchange) -> None:
        if exchange.task is None:
            exchange.task = asyncio.get_running_loop().create_task(self._run(exchange))

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._answer(exchange)
        finally:
            self._exchanges.pop(exchange.id, None)

    def _consume(self, size: int) -> None:
        """Grant again what came, in large steps: each grant is a frame that the peer has to read."""
        self._consumed += size
        if self._consumed > WINDOW_MOST // 2:
            self._write(frame(Kind.WINDOW_UPDATE, 0, 0, number(self._consumed)))
            self._consumed = 0

    def _cancel(self) -> list[asyncio.Task[None]]:
        tasks = [exchange.task for exchange in self._exchanges.values() if exchange.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def _end(self, code: Code) -> None:
        self._write(frame(Kind.GOAWAY, 0, 0, number(self._last) + number(code)))
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(
                CLOSE_S, self._transport.abort
            )  # of a peer that does not read

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
