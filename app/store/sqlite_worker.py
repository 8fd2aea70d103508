"""A thread that works for an event loop: calls go over in handfuls, and so do their outcomes."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Generic, TypeVar

from actors.stores import StoreDenied, StoreDown

J = TypeVar("J")

RunBatch = Callable[[Sequence[J]], Sequence[object]]
"""Does the jobs and gives an outcome for each, in their order: a value, or an exception to raise."""


_Call = tuple[Sequence[J], asyncio.Future[Sequence[object]]]
"""Jobs, and their outcomes, for which their caller waits."""


class _Handful(Generic[J]):
    """The calls of one turn of the event loop, with one timer for all of them."""

    __slots__ = ("calls", "jobs", "timer")

    def __init__(self, calls: list[_Call[J]], jobs: int, timer: asyncio.TimerHandle) -> None:
        self.calls, self.jobs, self.timer = calls, jobs, timer


class Worker(Generic[J]):
    """Runs jobs in one thread, everything that has come in since it last looked as one batch.

    It belongs to the event loop of its first call. The loop and the thread wake one another once for a
    batch, however many calls it holds, because each waking costs more than a job.
    """

    def __init__(
        self,
        name: str,
        run: RunBatch[J],
        finish: Callable[[], None],
        *,
        deadline_s: float,
        max_waiting: int,
        max_batch: int,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        """`rest` is called in the thread when a batch is done and no other waits; it must not raise."""
        self._name = name
        self._run = run
        self._finish = finish
        self._rest = rest
        self._deadline_s = deadline_s
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiting = 0
        self._arriving: list[_Call[J]] = []
        self._inbox: queue.SimpleQueue[_Handful[J] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def call(self, job: J) -> object:
        """Have the job done; raises its error, and what `call_all` raises."""
        (outcome,) = await self.call_all((job,))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def call_all(self, jobs: Sequence[J]) -> asyncio.Future[Sequence[object]]:
        """Hand jobs over, to be done in one batch; their future gives the outcomes, or StoreDown past the deadline.

        That stops no running job, but those whose caller was cancelled or timed out before their batch began
        are not done at all. Raises StoreDown when no more jobs may wait,
        StoreDenied on a second event loop, such as that of a process forked off.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._start(loop)
        if self._closed:
            raise StoreDown(f"{self._name}: closed")
        if self._waiting >= self._max_waiting:
            raise StoreDown(f"{self._name}: {self._max_waiting} calls wait already")
        future: asyncio.Future[Sequence[object]] = loop.create_future()
        self._waiting += len(jobs)
        if not self._arriving:
            loop.call_soon(self._hand_over, loop)
        self._arriving.append((jobs, future))
        return future

    async def close(self) -> None:
        """Finish what was handed over, within the deadline, and end the thread; idempotent."""
        if self._closed or self._loop is None:
            self._closed = True
            return
        self._hand_over(self._loop)
        self._closed = True
        self._inbox.put(None)
        with suppress(TimeoutError):  # a hung disk: the daemon thread ends with the process
            await asyncio.wait_for(self._ended.wait(), self._deadline_s)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise StoreDenied(f"{self._name} belongs to another event loop")
        self._loop = loop
        self._ended = asyncio.Event()
        self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; a simulation, which has none, works at each handing over instead."""
        # A daemon, so that a hung disk can't keep the process: what was acknowledged is committed anyway.
        threading.Thread(target=self._serve, args=(loop,), name=self._name, daemon=True).start()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        arriving, self._arriving = self._arriving, []
        for calls, jobs in _split(arriving, self._max_batch):
            timer = loop.call_later(self._deadline_s, self._expire, calls)
            self._inbox.put(_Handful(calls, jobs, timer))

    def _expire(self, calls: Iterable[_Call[J]]) -> None:
        for _, future in calls:
            if not future.done():
                future.set_exception(StoreDown(f"{self._name}: no answer within {self._deadline_s:g} s"))

    def _deliver(
        self, handfuls: Sequence[_Handful[J]], calls: Sequence[_Call[J]], outcomes: Sequence[object]
    ) -> None:
        for handful in handfuls:
            handful.timer.cancel()
            self._waiting -= handful.jobs
        ready = iter(outcomes)
        for jobs, future in calls:
            own = tuple(islice(ready, len(jobs)))
            if not future.done():  # else cancelled or timed out
                future.set_result(own)

    # ---- in the thread

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while handfuls := self._take():
            self._work(loop, handfuls)
        self._finish()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended.set)

    def _work(self, loop: asyncio.AbstractEventLoop, handfuls: Sequence[_Handful[J]]) -> None:
        calls = [call for handful in handfuls for call in handful.calls if not call[1].done()]
        outcomes = self._outcomes([job for jobs, _ in calls for job in jobs])
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._deliver, handfuls, calls, outcomes)
        if self._inbox.empty():
            self._rest()

    def _take(self) -> list[_Handful[J]]:
        """Wait for a handful and take those behind it, up to a batch; nothing means the end."""
        handful = self._inbox.get()
        handfuls: list[_Handful[J]] = []
        size = 0
        while handful is not None:
            handfuls.append(handful)
            size += handful.jobs
            if size >= self._max_batch:
                return handfuls
            try:
                handful = self._inbox.get_nowait()
            except queue.Empty:
                return handfuls
        if handfuls:
            self._inbox.put(None)  # the end comes after what was taken
        return handfuls

    def _outcomes(self, jobs: Sequence[J]) -> Sequence[object]:
        try:
            return self._run(jobs) if jobs else ()
        except Exception as defect:  # noqa: BLE001 a defect in one batch must not end the thread for all later ones
            return [RuntimeError(f"{self._name}: {defect!r}") for _ in jobs]


def _split(calls: Iterable[_Call[J]], most: int) -> Iterator[tuple[list[_Call[J]], int]]:
    """Cut the calls into handfuls, each closed by the call that brings it to so many jobs; gives how many it has."""
    handful, size = list[_Call[J]](), 0
    for call in calls:
        handful.append(call)
        size += len(call[0])
        if size >= most:
            yield handful, size
            handful, size = [], 0
    if handful:
        yield handful, size
