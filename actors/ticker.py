"""Work that is done every so often beside the requests, until its owner stops."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from actors.ports import Chance, Clock

log = structlog.get_logger(__name__)


class Ticker:
    """Does `work` every `every_s` seconds, or a little sooner: containers that start together drift apart.

    `work` answers for the failures that it expects.
    """

    def __init__(
        self, name: str, work: Callable[[], Awaitable[object]], every_s: float, clock: Clock, chance: Chance
    ) -> None:
        self._name, self._work, self._every_s = name, work, every_s
        self._clock, self._chance = clock, chance
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with a pause; idempotent."""
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name=self._name)

    async def stop(self) -> None:
        """End what runs; idempotent."""
        ticking, self._ticking = self._ticking, None
        if ticking is not None:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._every_s * self._chance.uniform(0.8, 1.0))
            try:
                await self._work()
            except Exception:  # the stated outcome of a defect: logged, and the next tick comes all the same
                log.exception("tick_failed", work=self._name)
