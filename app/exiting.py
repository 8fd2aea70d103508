"""One deadline for all that a process does on its way out, and one line on what it did not get to."""

import asyncio
from collections.abc import Awaitable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STOP_S: Final = 27.0
"""From the signal to the end of the last step. Modal grants a container 30 s, of which Python takes some for itself."""


class Exit:
    """The way out of a process: its steps share `within_s` seconds, which begin now."""

    def __init__(self, within_s: float = STOP_S) -> None:
        self._ends_at = asyncio.get_running_loop().time() + within_s
        self._left: list[str] = []

    def left_s(self, spare_s: float = 0.0) -> float:
        """Seconds until `spare_s` before the end, at least 0."""
        return max(0.0, self._ends_at - spare_s - asyncio.get_running_loop().time())

    async def step(self, what: str, work: Awaitable[object], *, spare_s: float = 0.0) -> None:
        """Do it, or cut it `spare_s` seconds before the end, which are for the steps after it."""
        try:
            async with asyncio.timeout_at(self._ends_at - spare_s):
                await work
        except TimeoutError:
            self.leave(what)

    def leave(self, what: str) -> None:
        """Note that this was not done."""
        self._left.append(what)

    def tell(self) -> None:
        """Say in one line what is left, if anything is: all of it is in the store, for the next start to take up."""
        if self._left:
            log.warning("left_to_next_start", what=self._left)
