"""The answer to an accepted update is whole HTTP, whatever HTTP its client speaks."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import formatdate

import msgspec
import pytest

from contracts.chat import TakeTurn
from tests.app.web.web_kit import BOT, SECRET, WEBHOOK, Service, message, service


@pytest.fixture
async def web() -> AsyncIterator[Service]:
    """The service with its usual rules."""
    async with service() as running:
        yield running


def request(version: str, *lines: str) -> bytes:
    """An update as raw bytes."""
    body = msgspec.json.encode(message())
    fixed = ("Host: x", f"X-Telegram-Bot-Api-Secret-Token: {SECRET}", "Content-Type: application/json")
    head = (f"POST {WEBHOOK} {version}", *fixed, f"Content-Length: {len(body)}", *lines, "", "")
    return "\r\n".join(head).encode() + body


async def test_it_tells_the_time(web: Service) -> None:
    """A server with a clock sends the date, of the second in which it answers (RFC 9110, 6.6.1)."""
    first = await web.post(message(1))
    web.clock.now += 5.0
    second = await web.post(message(2))
    now = int(web.clock.unix_s())
    assert [formatdate(now - 5, usegmt=True), formatdate(now, usegmt=True)] == [
        first.headers["Date"],
        second.headers["Date"],
    ]


async def test_a_connection_serves_one_update_after_another(web: Service) -> None:
    """Telegram keeps its connections, also with two requests in one packet."""
    async with web.socket() as (reader, writer):
        writer.write(request("HTTP/1.1") * 2)
        heads = [await reader.readuntil(b"\r\n\r\n") for _ in range(2)]
    assert [True, True] == [head.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n") for head in heads]


@pytest.mark.parametrize(("version", "line"), [("HTTP/1.0", "X: y"), ("HTTP/1.1", "Connection: close")])
async def test_who_wants_no_second_request_has_the_connection_closed(
    web: Service, version: str, line: str
) -> None:
    """Such a client reads until the end, so that an end there must be."""
    async with web.socket() as (reader, writer):
        writer.write(request(version, line))
        answer = await asyncio.wait_for(reader.read(), 5.0)
    assert answer.startswith(f"{version} 200 OK\r\n".encode())


async def test_no_ticket_waits_behind_a_slow_one(web: Service) -> None:
    """Updates that are accepted together are told together, even when the agents take for ever to take one."""
    web.agent.told_reply = asyncio.Event()
    await asyncio.gather(*(web.post(message(number, chat=number)) for number in range(1, 6)))
    for _ in range(5):
        await asyncio.sleep(0)
    told = sorted(web.tickets, key=lambda ticket: ticket.chat)
    assert [TakeTurn(chat=number, bot=BOT, update=number) for number in range(1, 6)] == told
