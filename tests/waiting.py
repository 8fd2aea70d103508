"""Waits for what tells nobody when it comes: state of other tasks and processes that can only be looked at."""

import asyncio
from collections.abc import Callable
from typing import Final

SOON_S: Final = 30.0  # it may take a cold process, on a busy machine
EVERY_S: Final = 0.005


async def until(true: Callable[[], object], within_s: float = SOON_S) -> None:
    """Wait for it; a busy machine makes it late, and a defect makes it never: that raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - it rings no bell
            await asyncio.sleep(EVERY_S)
