"""An asyncio event loop on virtual time: when nothing is ready, its clock jumps to the next timer."""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

MOST_STEPS_AT_ONCE: Final = 1_000_000  # callbacks without time passing: by then something spins for ever


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set, and what was to be run has not ended."""


class Spin(RuntimeError):
    """Callbacks go on and on while no time passes."""


class NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number, so that sets of tasks are walked in the same order in each replay."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.AbstractEventLoop):
    """Timers, tasks and futures, without sockets, threads or signals: the same program runs the same way twice.

    `tasks` are those that have not ended, `failures` what asyncio would have logged: exceptions that nobody
    took. `created` hears of each new task and the context that it runs in.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.created: Callable[[NumberedTask, contextvars.Context], None] = lambda _task, _context: None
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)
        self._running = self._closed = False

    # ------------------------------------------------------------ running

    def run_until_complete(self, future: Awaitable[T]) -> T:
        """Run until the future is done; raises Deadlock or Spin when it never will be."""
        main = asyncio.ensure_future(future, loop=self)
        self._running = True
        asyncio._set_running_loop(self)
        try:
            while not main.done():
                self._step()
        finally:
            asyncio._set_running_loop(None)
            self._running = False
        return main.result()

    def _step(self) -> None:
        """Run what is ready, all of it at one moment, then move on to the next timer."""
        steps = 0
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
            steps += 1
            if steps > MOST_STEPS_AT_ONCE:
                raise Spin(f"{steps} callbacks at {self._now:.3f} s")
        self._jump()

    def _jump(self) -> None:
        while self._timers:
            when, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._now = max(self._now, when)
                self._ready.append(timer)
                return
        if not self._ready:
            raise Deadlock(f"nothing is due after {self._now:.3f} s")

    def is_running(self) -> bool:
        """Whether `run_until_complete` runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Forget what is left."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    # ------------------------------------------------------------ callbacks

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run it at this moment, after what is ready already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it in `delay` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it at that virtual time; of two at the same time the one asked for first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio tells of a cancelled timer; it is dropped when its time comes."""

    # ------------------------------------------------------------ tasks and futures

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> NumberedTask:
        """A task of this loop, in a copy of the caller's context if none is given."""
        context = contextvars.copy_context() if context is None else context
        task = NumberedTask(next(self._numbers), coro, loop=self, name=name, context=context)
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        self.created(task, context)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode measures real time."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody took."""
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a program on a virtual loop of its own; whatever it leaves running is cancelled at its end."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(_cancel(loop.tasks))
        loop.close()


async def _cancel(tasks: dict[asyncio.Task[Any], None]) -> None:
    """Cancel until all have ended; a task may have to be asked more than once."""
    for _ in range(100):
        waiting = [task for task in tasks if task is not asyncio.current_task()]
        if not waiting:
            return
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=1.0)
