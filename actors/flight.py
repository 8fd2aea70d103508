"""Single-flight: all who want the same thing at the same time share one running task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class FlightError(Exception):
    """A shared task gave no result for a reason of its own, not of the work.

    FlightError
    ├── TooManyFlights   retry      the bound of running tasks is reached; nothing was started
    ├── FlightCancelled  retry      the work cancelled itself; its readers were not cancelled
    ├── LoadOvertaken    retry      a cache load was overtaken by writes again and again (`actors.cache`)
    └── FlightsClosed    no retry   the owner stops
    """

    retry = False


class TooManyFlights(FlightError):
    """As many tasks run as may; those that run go on."""

    retry = True


class FlightCancelled(FlightError):
    """The work ended as cancelled although nobody here had cancelled it."""

    retry = True


class FlightsClosed(FlightError):
    """`close` was called: nothing new starts, and what ran was cancelled."""


class SingleFlight(Generic[K, T]):
    """Runs at most one task a key and at most `max_running` together, for the event loop that starts them.

    The task belongs to nobody who waits for it: any of them may be cancelled, also the one who started it,
    and the rest still get its result. How long it may run is for the work itself to bound.
    """

    __slots__ = ("_closed", "_max_running", "_name", "_running")

    def __init__(self, *, max_running: int, name: str) -> None:
        self._max_running = max_running
        self._name = name
        self._running: dict[K, asyncio.Task[T]] = {}  # also what keeps the loop from forgetting them
        self._closed = False

    def __len__(self) -> int:
        """Count the tasks that run."""
        return len(self._running)

    def running(self, key: K) -> asyncio.Task[T] | None:
        """Give the key's task while it can still be joined."""
        task = self._running.get(key)
        return None if task is None or task.done() else task

    def has_room(self) -> bool:
        """Say whether `start` would start."""
        return not self._closed and len(self._running) < self._max_running

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Start the key's task, which must not be running; raises TooManyFlights or FlightsClosed."""
        if self._closed:
            raise FlightsClosed(f"{self._name} is closed")
        if len(self._running) >= self._max_running:
            raise TooManyFlights(f"{self._name} already runs {self._max_running} loads")
        task = asyncio.create_task(work(), name=f"{self._name}-flight")
        self._running[key] = task
        task.add_done_callback(lambda ended: self._land(key, ended))
        return task

    async def wait(self, task: asyncio.Task[T]) -> T:
        """Give the task's result or raise its error; cancelling the caller leaves the task alone."""
        await asyncio.wait((task,))
        if not task.cancelled():
            return task.result()
        raise FlightsClosed(f"{self._name} is closed") if self._closed else FlightCancelled(self._name)

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the key's running task, or for one started now; raises what `start` and `wait` raise."""
        return await self.wait(self.running(key) or self.start(key, work))

    async def close(self, deadline_s: float = 5.0) -> int:
        """Cancel what runs and wait for its end; gives how many had not ended at the deadline. Idempotent.

        The deadline is there because work can swallow its cancellation; an exit hook has 30 s for everything.
        """
        self._closed = True
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if not tasks:
            return 0
        _, left = await asyncio.wait(tasks, timeout=deadline_s)
        return len(left)

    def _land(self, key: K, task: asyncio.Task[T]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # retrieved here, because nobody may be waiting any more
