"""A simulated container: its tasks, clocks and chance, and its death, of which nothing inside survives."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from actors.flight import FlightError
from actors.ports import COARSE_S, Background, Clock, TelegramError, Unreachable
from actors.stores import StoreError
from app.chaos.virtual_loop import NumberedTask, VirtualLoop
from app.telegram.simulator_ports import SeededChance

T = TypeVar("T")

EPOCH_S: Final = 1_800_000_000.0
"""The Unix time at which every simulation starts."""

MOST_TASKS: Final = 5_000  # of one container (I7): the crowd has some dozen chats
EXPECTED: Final = (StoreError, TelegramError, Unreachable, FlightError, TimeoutError)
"""What background work may fail with while faults are injected; anything else is a defect."""

HOME: contextvars.ContextVar["Container | None"] = contextvars.ContextVar("container", default=None)
"""The container that the running task belongs to; None outside of all, in the world."""


class Container:
    """Where an actor runs. Its ports lead to the world through `reach`, which a dead container can't use."""

    def __init__(
        self, name: str, loop: VirtualLoop, *, seed: int = 0, skew_s: float = 0.0, began_s: float = 0.0
    ) -> None:
        """`skew_s` is how wrong its Unix clock is, `began_s` what its monotonic clock showed at time 0."""
        self.name, self.loop, self.alive = name, loop, True
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.most_tasks = 0
        self.defects: list[str] = []
        self.died: Callable[[Container], None] = lambda _: None
        self.files = ExitStack()  # what the system closes when the container ends, however it ends
        self.clock = ContainerClock(self, skew_s, began_s)
        self.chance = SeededChance(seed)
        self.background = ContainerTasks(self)
        self._context = contextvars.copy_context()
        self._context.run(HOME.set, self)

    def run(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run work inside."""
        return self.loop.create_task(work, name=name, context=self._context.copy())

    def adopt(self, task: NumberedTask) -> None:
        """Take note of a task that was made inside."""
        self.tasks[task] = None
        self.most_tasks = max(self.most_tasks, len(self.tasks))
        task.add_done_callback(self._ended)

    async def reach(self, work: Coroutine[Any, Any, T], deadline_s: float) -> T:
        """Await work of the world; it goes on when this container gives up or dies. Raises TimeoutError."""
        if not self.alive:
            work.close()
            raise asyncio.CancelledError
        task = outside(self.loop, work)
        done, _ = await asyncio.wait((task,), timeout=deadline_s)
        if not self.alive:
            raise asyncio.CancelledError
        if not done:
            raise TimeoutError
        return task.result()

    def kill(self) -> None:
        """Stop everything at once; what its tasks still do while they unwind reaches nobody."""
        if not self.alive:
            return
        self.alive = False
        self.files.close()
        self.died(self)
        self._bury()

    def _bury(self) -> None:
        """Cancel until nothing is left: work may swallow a cancellation, but can't go anywhere."""
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            self.loop.call_later(0.001, self._bury)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)


class ContainerClock(Clock):
    """A container's clocks: the monotonic one goes right from any start, the Unix one may be off."""

    def __init__(self, container: Container, skew_s: float, began_s: float) -> None:
        self._container, self._skew_s, self._began_s = container, skew_s, began_s

    def monotonic_s(self) -> float:
        """Virtual seconds since this container's own zero."""
        return self._container.loop.time() + self._began_s

    @property
    def coarse_s(self) -> float:
        """As late as it may be, like a clock that is renewed every COARSE_S."""
        now = self.monotonic_s()
        return now - now % COARSE_S

    def unix_s(self) -> float:
        """The time that this container believes in."""
        return EPOCH_S + self._container.loop.time() + self._skew_s

    async def sleep(self, seconds: float) -> None:
        """Wait; a dead container does not wake up."""
        if not self._container.alive:
            raise asyncio.CancelledError
        await asyncio.sleep(seconds)


class ContainerTasks(Background):
    """The port Background inside a container; failures that are not expected are its defects."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._running: dict[asyncio.Task[None], None] = {}
        self._draining = False

    def spawn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` beside the caller."""
        if self._draining or not self._container.alive:
            return
        task = self._container.run(self._run(name, work), name)
        self._running[task] = None
        task.add_done_callback(lambda ended: self._running.pop(ended, None))

    async def compute(self, work: Callable[[], T]) -> T:
        """Give what `work` gives, a little later: in a simulation it takes no time."""
        await asyncio.sleep(0)
        return work()

    async def drain(self, deadline_s: float) -> int:
        """Wait for what runs, cancel what is left."""
        self._draining = True
        running = list(self._running)
        if not running:
            return 0
        _, late = await asyncio.wait(running, timeout=deadline_s)
        for task in late:
            task.cancel()
        return len(late)

    async def _run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except EXPECTED:
            return  # a fault was injected: the sweeper and the next turn are there for that
        except Exception as defect:  # noqa: BLE001 - the stated outcome: whatever it is, the run tells of it
            self._container.defects.append(f"{type(defect).__name__} in background work {name!r}: {defect}")


def outside(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run work of the world, which belongs to no container; its failure is the waiter's to take, if one waits."""
    context = contextvars.copy_context()
    context.run(HOME.set, None)
    task = loop.create_task(work, context=context)
    task.add_done_callback(_taken)
    return task


def settle(task: NumberedTask, context: contextvars.Context) -> None:
    """Give a new task to the container that it was made in; a virtual loop's `created`."""
    home = context.get(HOME)
    if home is not None:
        home.adopt(task)


def _taken(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
