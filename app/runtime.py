"""This process's time, randomness and background tasks, as the actors' ports ask for them."""

import asyncio
import gc
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

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
    """The port Clock by this machine's clocks; those that L1 asks at each read are called without a detour."""

    monotonic_s = staticmethod(time.monotonic)
    unix_s = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


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
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def _run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Exception:  # the stated outcome: nobody awaits this task, so that its failure is logged here
            log.exception("background_failed", task=name)
