"""The simulated Telegram with a bot, and a client that tries again at once."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import stamina

from app.telegram.simulator import TelegramSimulator
from tests.app.telegram.bot_kit import CHAT, Bot


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulator in whose one chat a person has said hello."""
    async with TelegramSimulator() as running:
        running.say(CHAT, "hello")
        yield running


@pytest.fixture
async def bot(telegram: TelegramSimulator) -> AsyncIterator[Bot]:
    """Its bot."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        yield Bot(http, telegram)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """A call that is tried again is tried at once, three times at most."""
    with stamina.set_testing(True, attempts=3):
        yield
