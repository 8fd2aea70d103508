"""A bot's side of the simulated Telegram."""

from typing import Any

import aiohttp

from app.telegram.simulator import TelegramSimulator

CHAT = 7


class Bot:
    """A bot's side: calls methods over HTTP and gives the whole answer."""

    def __init__(self, http: aiohttp.ClientSession, telegram: TelegramSimulator) -> None:
        self.http = http
        self.base = f"{telegram.url}/bot{telegram.token}"

    async def call(self, method: str, **arguments: Any) -> Any:
        async with self.http.post(f"{self.base}/{method}", json=arguments) as answer:
            return await answer.json()
