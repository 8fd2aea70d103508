"""What the tests of several parts of the app talk to."""

from collections.abc import AsyncIterator

import pytest

from app.telegram.simulator import TelegramSimulator


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulated Telegram on loopback."""
    async with TelegramSimulator() as simulator:
        yield simulator
