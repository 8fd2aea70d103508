"""A worker of the SQLite adapter that has no thread: it does its jobs when they are handed over, in the loop's time."""

import asyncio
from typing import TypeVar

from app.store.sqlite_worker import Worker

J = TypeVar("J")


class InlineWorker(Worker[J]):
    """Takes handfuls, shares commits and keeps deadlines as the thread does, in the same order at each replay."""

    def abandon(self) -> None:
        """End as by kill -9: what waits is not done, what comes is refused; idempotent."""
        if not self._closed:
            self._closed = True
            self._finish()

    async def close(self) -> None:
        """Finish what was handed over; idempotent."""
        if self._loop is not None:
            self._hand_over(self._loop)
        self.abandon()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """No thread."""

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        super()._hand_over(loop)
        while not self._closed and not self._inbox.empty():
            self._work(loop, self._take())
