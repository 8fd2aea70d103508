"""Faults on demand: what Modal may do to an app on a bad day, for tests and for whoever wants to see it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.plane.containers import Container, State
from app.plane.errors import unavailable
from app.plane.pools import Pool

log = structlog.get_logger(__name__)

MOST_SCRIPTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Scripted:
    """What is to happen to one call."""

    delay_s: float = 0.0
    refused: bool = False
    lost_reply: bool = False


@dataclass(slots=True, eq=False)
class Faults:
    """Names are of functions as deployed, a class without its `.*`; an unknown one is a ValueError."""

    _running: dict[str, Container]
    _named: Callable[[str], list[Pool]]
    _script: dict[str, deque[Scripted]] = field(default_factory=dict)
    injected: dict[str, int] = field(default_factory=dict)
    """How many of each kind there were, so that a harness that injects nothing is seen."""

    def kill(self, container_id: str) -> None:
        """SIGKILL a container; what it runs is run again elsewhere."""
        self._count("kill")
        container = self._container(container_id)
        container.asked_to_end = True  # not a start that failed, if it was still starting
        container.kill()

    def preempt(self, container_id: str) -> None:
        """End a container as Modal does when it needs the machine: SIGINT, and SIGKILL when its grace is over."""
        self._count("preempt")
        container = self._container(container_id)
        container.pool.interrupt(container)

    def delay(self, name: str, delay_s: float, times: int = 1) -> None:
        """Have the next calls of a function taken that much later."""
        self._add(name, Scripted(delay_s=delay_s), times)

    def drop(self, name: str, times: int = 1) -> None:
        """Refuse the next calls as unavailable; the client tries again by itself."""
        self._add(name, Scripted(refused=True), times)

    def lose_reply(self, name: str, times: int = 1) -> None:
        """Take the next calls, and tell the client that they are lost: it calls again, so that they run twice."""
        self._add(name, Scripted(lost_reply=True), times)

    def refuse_capacity(self, name: str) -> None:
        """Start no container of a function until `grant_capacity`."""
        self._count("refuse_capacity")
        for pool in self._named(name):
            pool.function.capacity = False

    def grant_capacity(self, name: str) -> None:
        """End of `refuse_capacity`."""
        for pool in self._named(name):
            pool.function.capacity = True
            pool.reconcile()

    def double(self, name: str) -> None:
        """Start one container more than the settings want, over `max_containers` too, as a rolling deploy may."""
        self._count("double")
        for pool in self._named(name):
            if any(container.state is not State.GONE for container in pool.containers.values()):
                pool.start_one()

    def clear(self) -> None:
        """Forget what is scripted for calls that have not come."""
        self._script.clear()

    async def before(self, name: str) -> Scripted | None:
        """What was scripted for this call: waited for, or raised as UNAVAILABLE, or left to `after`."""
        waiting = self._script.get(name)
        if not waiting:
            return None
        scripted = waiting.popleft()
        if scripted.delay_s:
            self._count("delay")
            await asyncio.sleep(scripted.delay_s)
        if scripted.refused:
            self._count("drop")
            raise unavailable(f"a fault dropped this call of {name}")
        return scripted

    def after(self, name: str, scripted: Scripted | None) -> None:
        """Lose the reply of a call that was taken, where that was scripted."""
        if scripted is not None and scripted.lost_reply:
            self._count("lose_reply")
            raise unavailable(f"a fault lost the reply to this call of {name}")

    def _container(self, container_id: str) -> Container:
        if container_id not in self._running:
            raise ValueError(f"no container {container_id}: there are {sorted(self._running)}")
        return self._running[container_id]

    def _add(self, name: str, scripted: Scripted, times: int) -> None:
        self._named(name)  # an unknown name is an error of whoever scripts
        script = self._script.setdefault(name, deque(maxlen=MOST_SCRIPTED))
        script.extend([scripted] * times)

    def _count(self, kind: str) -> None:
        self.injected[kind] = self.injected.get(kind, 0) + 1
        log.info("fault_injected", kind=kind)
