"""An asyncio event loop on virtual time: when nothing is ready, its clock jumps to the next timer."""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

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


class VirtualLoop(asyncio.BaseEventLoop):
    """Timers, tasks and futures, without sockets, threads or signals: the same program runs the same way twice.

    `tasks` are those that have not ended, `failures` what asyncio would have logged: exceptions that nobody
    took. `created` hears of each new task and the context that it runs in.
    """

    def __init__(self, most_steps: int = MOST_STEPS_AT_ONCE) -> None:
        self._lives, self._most_steps = False, most_steps
        super().__init__()
        self.failures: list[str] = []
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.created: Callable[[NumberedTask, contextvars.Context], None] = lambda _task, _context: None
        self._now = 0.0
        self._due: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------ running

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until the future is done; raises Deadlock or Spin when it never will be."""
        main = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        self._lives = True
        asyncio._set_running_loop(self)
        try:
            while not main.done():
                self._run_ready()
                if not main.done():
                    self._jump()
        finally:
            asyncio._set_running_loop(None)
            self._lives = False
        return main.result()

    def _run_ready(self) -> None:
        """Run what is ready, and what becomes ready by that, all of it at one moment."""
        steps = 0
        while self._due:
            handle = self._due.popleft()
            if not handle.cancelled():
                handle._run()
            steps += 1
            if steps > self._most_steps:
                raise Spin(f"{steps} callbacks at {self._now:.3f} s")

    def _jump(self) -> None:
        """Move on to the next timer, and to those of the same moment."""
        while self._timers and not self._due:
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                _, _, timer = heapq.heappop(self._timers)
                if not timer.cancelled():
                    self._due.append(timer)
        if not self._due:
            raise Deadlock(f"nothing is due after {self._now:.3f} s")

    def is_running(self) -> bool:
        """Whether `run_until_complete` runs."""
        return self._lives

    # ------------------------------------------------------------ callbacks

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Run it at this moment, after what is ready already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._due.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it at that virtual time; of two at the same time the one asked for first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio tells of a cancelled timer; it is dropped when its time comes."""

    call_soon_threadsafe = call_soon
    """There is one thread."""

    def run_in_executor(  # type: ignore[override]
        self, executor: None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Task[T]":
        """Do it a little later in this thread, the only one: it takes no time."""
        del executor
        return self.create_task(_done(func, *args))

    # ------------------------------------------------------------ tasks and futures

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

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody took."""
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")


def run_virtually(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, most_steps: int = MOST_STEPS_AT_ONCE
) -> T:
    """Run a program on a virtual loop of its own; whatever it leaves running is cancelled at its end."""
    loop = VirtualLoop(most_steps)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(_cancel(loop.tasks))
        loop.close()


async def _done(func: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    return func(*args)


async def _cancel(tasks: dict[asyncio.Task[Any], None]) -> None:
    """Cancel until all have ended; a task may have to be asked more than once."""
    for _ in range(100):
        waiting = [task for task in tasks if task is not asyncio.current_task()]
        if not waiting:
            return
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=1.0)
