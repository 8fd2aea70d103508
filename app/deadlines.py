"""Deadlines for calls that come in thousands: those that begin at about the same time share one timer of the loop.

`asyncio.timeout` makes and drops a timer for each call, which costs as much as the call's messages on the wire.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

PARTS: Final = 20  # a deadline comes up to a twentieth late, never early; so many timers are alive at once


class DeadlinePassed(TimeoutError):
    """A future had no result in time."""


class Deadline:
    """A bound in seconds for each of many waits."""

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self._newest: _Batch | None = None

    def wait(self) -> "Wait":
        """Use as `with deadline.wait():`; what is awaited inside is cancelled at the deadline: TimeoutError."""
        return Wait(self._batch())

    async def result(self, future: asyncio.Future[T]) -> T:
        """Give the future's result; at the deadline the future itself fails, with DeadlinePassed."""
        futures = self._batch().futures
        futures[future] = None
        try:
            return await future
        finally:
            futures.pop(future, None)

    def _batch(self) -> "_Batch":
        loop, batch = asyncio.get_running_loop(), self._newest
        if batch is None or batch.loop is not loop or loop.time() > batch.closes_at:
            batch = self._newest = _Batch(loop, self.after_s)
        return batch


class Wait:
    """One wait, to be entered once."""

    __slots__ = ("_batch", "_cancelling", "_late", "_task")

    def __init__(self, batch: "_Batch") -> None:
        self._batch, self._late = batch, False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "a deadline cancels a task"
        self._task, self._cancelling = task, task.cancelling()
        self._batch.waits[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._batch.waits.pop(self, None)
        if not self._late:
            return
        ours = self._task.uncancel() <= self._cancelling  # else somebody else cancelled the task as well
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """The deadline has come."""
        self._late = True
        self._task.cancel()


class _Batch:
    """The waits that began within a twentieth of their deadline, and the timer that they share."""

    __slots__ = ("closes_at", "futures", "loop", "waits")

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float) -> None:
        self.loop = loop
        self.waits: dict[Wait, None] = {}  # in the order in which they began, and so will they end
        self.futures: dict[asyncio.Future[Any], None] = {}
        self.closes_at = loop.time() + after_s / PARTS
        loop.call_at(self.closes_at + after_s, self._expire)

    def _expire(self) -> None:
        for wait in tuple(self.waits):
            wait.expire()
        for future in self.futures:
            if not future.done():
                future.set_exception(DeadlinePassed())
