"""How the web service starts and ends."""

import asyncio

import pytest
from aiohttp import web

from app.web.server import FIRST_WARM, WebServer
from tests.app.web.web_kit import message, service


async def test_a_taken_address_is_an_error_with_everything_put_back() -> None:
    """The start fails with OSError, and what had been started is ended."""
    ended: list[str] = []

    async def note(_app: web.Application) -> None:
        ended.append("ended")

    async with service() as running:
        app = web.Application()
        app.on_cleanup.append(note)
        with pytest.raises(OSError, match="in use"):
            await WebServer(app, "127.0.0.1", running.server.port).start()
    assert ended == ["ended"]


async def test_the_end_of_the_web_side_cuts_no_turn() -> None:
    """Turns under way are the agent's to end, within its own grace: a message may be on its way."""
    async with service() as running:
        running.agent.told_reply = asyncio.Event()
        await running.post(message(1))
        await running.server.stop()
        assert (len(running.tasks), len(running.tickets)) == (1, 1)
        running.agent.told_reply.set()


async def test_stopping_twice_is_stopping() -> None:
    """`stop` is idempotent."""
    async with service() as running:
        await running.server.stop()


async def test_a_defect_in_warming_keeps_nobody_from_serving() -> None:
    """The first warm ends all the same, and updates are accepted."""
    async with service(warm_failure=RuntimeError("defect")) as running:
        async with asyncio.timeout(5):
            await running.app[FIRST_WARM].ended.wait()
        assert (await running.post(message())).status == 200
