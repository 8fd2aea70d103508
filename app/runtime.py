"""This process's time, randomness and background tasks, as the actors' ports ask for them."""

import asyncio
import gc
import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from actors.ports import COARSE_S, Unreachable
from actors.stores import StoreError

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_TASKS = 10_000  # some 50 MB of waiting turns; more means that nothing moves any more


COLLECT_AFTER: Final = (10_000, 20, 50)
"""Containers made before the collector looks at the young ones, and rounds before it looks at older ones: cycles are
rare here, and what a request makes has gone by itself by then."""


def settle_memory() -> None:
    """Take what is in memory now for permanent; call it once a process, when it has warmed up.

    Modules and caches are some 100,000 objects that live as long as the process. To look through them again and
    again took a seventh of the CPU of an accepted update, and stopped the loop for tens of milliseconds. What is
    garbage by now stays, too: it is less than 3,000 objects, and to look for them takes 0.1 s on the way to ready.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class SystemClock:
    """The port Clock by this machine's clocks.

    From `start` to `stop` the event loop renews `coarse_s`, and so does everybody who asks for the exact time: each
    request does as it begins, so that what it reads from L1 is judged by a time no older than itself, also where the
    loop stood still before. Before and after, `coarse_s` is infinity, and L1 asks for the exact time at each read.
    """

    __slots__ = ("_timer", "coarse_s")

    unix_s = staticmethod(time.time)

    def __init__(self) -> None:
        self.coarse_s = (
            math.inf
        )  # read at each hit of L1: as an attribute it costs a third of what a call does
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Renew `coarse_s` in the running loop from here on; idempotent."""
        if self._timer is None:
            self._tick(asyncio.get_running_loop())

    def stop(self) -> None:
        """Leave off; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.coarse_s = None, math.inf

    def monotonic_s(self) -> float:
        """Seconds that never go backwards."""
        now = time.monotonic()
        if self._timer is not None:
            self.coarse_s = now
        return now

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """A timer of the loop's, not a task: nobody cancels it by cancelling all tasks."""
        self._timer = loop.call_later(COARSE_S, self._tick, loop)
        self.coarse_s = time.monotonic()


class SystemChance:
    """The port Chance by the operating system, asked each time: a restored snapshot repeats nothing."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def token(self) -> str:
        """128 random bits in hexadecimal."""
        return secrets.token_hex(16)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return self._random.uniform(low, high)


class Tasks:
    """The port Background by asyncio tasks of this loop, at most `most` at once.

    Each runs in a copy of the caller's context. Work beyond the bound, or after a drain, is dropped and
    logged: all that is spawned (turns, warming) is found again by the sweeper or asked for anew.
    """

    def __init__(self, most: int = MOST_TASKS) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self.cut: Counter[str] = Counter()  # by name, what a drain has cancelled

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` beside the caller; `name` stands in the log when it fails or is dropped."""
        if self._draining or len(self._tasks) >= self._most:
            log.warning("background_dropped", task=name, running=len(self._tasks), draining=self._draining)
            return
        task = asyncio.create_task(self._run(name, work), name=name)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def compute(self, work: Callable[[], T]) -> T:
        """Give what `work` gives, done in a thread; given up, it still comes to its end there."""
        return await asyncio.to_thread(work)

    async def drain(self, deadline_s: float) -> int:
        """Take nothing new, wait for what runs, cancel what is left; gives how many were cancelled."""
        self._draining = True
        running = self._tasks - {asyncio.current_task()}  # from inside: not for itself
        if not running:
            return 0
        _done, late = await asyncio.wait(running, timeout=deadline_s)
        for task in late:
            self.cut[task.get_name()] += 1
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def _run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except (Unreachable, StoreError) as away:  # no defect: it was asked for, and is found again
            log.warning("background_failed", task=name, error=str(away))
        except Exception:  # the stated outcome: nobody awaits this task, so that its failure is logged here
            log.exception("background_failed", task=name)


@dataclass(frozen=True, slots=True)
class World:
    """This process's time, chance and background work."""

    clock: SystemClock = field(default_factory=SystemClock)
    chance: SystemChance = field(default_factory=SystemChance)
    background: Tasks = field(default_factory=Tasks)
