"""An event loop whose time jumps to the next timer when nothing else can run: hours of waiting in no time."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StandsStill(Exception):
    """Nothing can run and no timer is set: somebody waits for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on virtual time, from 1,000 s on; no threads, no sockets of others."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class _Jumping(selectors.DefaultSelector):
    """Does not wait: moves the time on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise StandsStill("nothing can run, and no timer is set")
        self.now += max(timeout, 0.0)
        return ready


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own with virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
