"""Clients that no HTTP library would play: too slow, too much, twice, packed; judged by what crosses the socket."""

import asyncio
import gzip

import pytest

from app.web.webhook import SECRET_HEADER
from tests.app.web.web_kit import SECRET, WEBHOOK, Service, head, message, service

CHUNK = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"  # 64 KiB
ENOUGH = 64 * 1024 * 1024  # bytes; a client that gets rid of these is not being stopped
MOST_READ = 24 * 1024 * 1024  # bytes; our caps are 1.25 MiB, the rest is the kernel's buffers on both sides


async def _status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(10):
        line = await reader.readline()
    return int(line.split()[1]) if line else 0


async def _push(web: Service, opening: bytes, piece: bytes) -> tuple[int, int]:
    """Write pieces until the server stops us; gives the status and how many bytes got away."""
    async with web.socket() as (reader, writer):
        answer = asyncio.create_task(_status(reader))
        writer.write(opening)
        sent = 0
        try:
            while sent < ENOUGH:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except OSError:  # stopped
            pass
        return await answer, sent


async def test_100_mb_declared_is_refused_unread() -> None:
    """413 follows from the header; the client gets no further than the buffers."""
    async with service() as web:
        status, sent = await _push(web, head("Content-Length: 104857600"), b"a" * 65536)
        assert (status, web.accepted) == (413, [])
        assert sent < MOST_READ


async def test_a_length_over_the_cap_is_refused_before_the_body() -> None:
    """413 comes while not one byte of the body has been sent."""
    async with service() as web, web.socket() as (reader, writer):
        writer.write(head("Content-Length: 1048577"))
        assert await _status(reader) == 413


async def test_endless_chunks_stop_at_the_cap() -> None:
    """A body without a length is 413 as soon as it is over the cap."""
    async with service() as web:
        status, sent = await _push(web, head("Transfer-Encoding: chunked"), CHUNK)
        assert (status, web.accepted) == (413, [])
        assert sent < MOST_READ


async def test_a_stranger_is_not_listened_to() -> None:
    """401 follows from the headers; a stranger's endless body goes nowhere."""
    async with service() as web:
        opening = head("Transfer-Encoding: chunked").replace(SECRET.encode(), b"wrong")
        status, sent = await _push(web, opening, CHUNK)
        assert (status, web.accepted) == (401, [])
        assert sent < MOST_READ


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity"])
async def test_a_packed_body_is_never_unpacked(encoding: str) -> None:
    """Telegram packs nothing; 10 MB in 10 kB is refused by its header."""
    async with service() as web:
        bomb = gzip.compress(b"a" * 10_000_000)
        response = await web.post(bomb, {"Content-Encoding": encoding})
        assert (response.status, web.accepted) == (415, [])


async def test_a_slow_body_meets_its_deadline() -> None:
    """Whoever trickles a body gets 408 and is let go."""
    async with service(body_deadline_s=0.05) as web, web.socket() as (reader, writer):
        writer.write(head("Content-Length: 100") + b'{"update_id"')
        assert await _status(reader) == 408
        async with asyncio.timeout(5):
            await reader.read()
        assert (reader.at_eof(), web.accepted) == (True, [])


@pytest.mark.parametrize(
    "start", [b"", b"POST /webhook/telegram HTTP/1.1\r\nX-Slow: "], ids=["silent", "headers"]
)
async def test_slow_headers_meet_their_deadline(start: bytes) -> None:
    """A connection that never says a whole request is closed."""
    async with service(keepalive_s=0.05) as web, web.socket() as (reader, writer):
        writer.write(start)
        async with asyncio.timeout(5):
            assert await reader.read() == b""


@pytest.mark.parametrize("second", [SECRET, "wrong", ""])
async def test_a_repeated_secret_is_refused(second: str) -> None:
    """Two secrets are no secret, also when one or both are right."""
    async with service() as web, web.socket() as (reader, writer):
        writer.write(head(f"{SECRET_HEADER}: {second}", "Content-Length: 2") + b"{}")
        assert (await _status(reader), web.accepted) == (401, [])


async def test_an_absent_secret_is_refused() -> None:
    """401 without the header."""
    async with service() as web, web.socket() as (reader, writer):
        start = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(start.encode())
        assert (await _status(reader), web.accepted) == (401, [])


async def test_pipelined_updates_are_answered_in_order() -> None:
    """Two requests in one write: both accepted in order, both answered."""
    async with service() as web, web.socket() as (reader, writer):
        bodies = [b'{"update_id": 1}', b'{"update_id": 2}']
        writer.write(b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies))
        async with asyncio.timeout(5):
            answers = b""
            while answers.count(b"HTTP/1.1 200 OK") < 2:
                answers += await reader.read(4096)
        assert [m.update for m in web.accepted] == [1, 2]


@pytest.mark.parametrize(
    "body", [b"zz\r\nno chunk\r\n", b"5\r\nab"], ids=["no chunk size", "ends in a chunk"]
)
async def test_a_broken_body_is_nobody_elses_matter(body: bytes) -> None:
    """A body that breaks off or is no HTTP writes nothing, and the next client is served."""
    async with service() as web:
        async with web.socket() as (_, writer):
            writer.write(head("Transfer-Encoding: chunked") + body)
            writer.write_eof()
            await writer.drain()
        assert (await web.post(message())).status == 200
        assert len(web.accepted) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"zz\r\n",
    ],
)
async def test_who_speaks_no_http_is_a_line_in_the_log(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A scanner of ports fills the log with no traceback; one line says who it was and what was wrong."""
    async with service() as web, web.socket() as (reader, writer):
        writer.write(said)
        assert await _status(reader) == 400
    (record,) = caplog.records
    assert (None, "WARNING") == (record.exc_info, record.levelname)
    assert record.getMessage().startswith("Error handling request from 127.0.0.1: ")
    assert (True, 1) == (len(record.getMessage()) < 300, len(record.getMessage().splitlines()))
