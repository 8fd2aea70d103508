"""The chat page of `firstlight up`: what its panel asks is there."""

import aiohttp

from app.telegram.simulator import TelegramSimulator
from app.up.chat_page import ChatPage
from app.web.health import Statistics


async def _one_is_away() -> Statistics:
    return {"ChatAgent": "unreachable: no answer within 2 s"}


async def test_the_panel_finds_the_actors_health() -> None:
    """At the page's own address, where the browser asks; it said "unreachable" of actors that were well."""
    page = ChatPage(TelegramSimulator(), _one_is_away)
    url = await page.start()
    try:
        async with aiohttp.ClientSession(url) as http, http.get("/health") as health:
            told = await health.json()
        async with aiohttp.ClientSession(url) as http, http.get("/console/stats") as stats:
            assert {"actors": dict(await _one_is_away())} == await stats.json()
    finally:
        await page.stop()
    assert ("degraded", "unreachable") == (told["status"], told["actors"]["ChatAgent"]["status"])
