"""Schedules: a task for each scheduled function, which calls it when its time has come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from grpclib.exceptions import GRPCError

from app.plane.calls import Call
from app.plane.pools import Pool
from app.plane.timing import pause_s

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Schedules:
    """One task for each function that has a schedule."""

    call: Callable[[Pool], Call]
    """Calls a pool's function without arguments; raises RESOURCE_EXHAUSTED."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def plan(self, pool: Pool) -> None:
        """Start anew: a deploy resets periods, as Modal's does."""
        self.drop(pool.function.id)
        schedule = pool.definition.schedule
        if schedule.WhichOneof("schedule_oneof") is None:
            return
        self._tasks[pool.function.id] = asyncio.create_task(
            self._run(pool, schedule), name=f"schedule {pool.name}"
        )

    def drop(self, function_id: str) -> None:
        """Call it no more."""
        task = self._tasks.pop(function_id, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Call nothing more."""
        for function_id in list(self._tasks):
            self.drop(function_id)

    async def _run(self, pool: Pool, schedule: Any) -> None:
        last: Call | None = None
        while True:
            await asyncio.sleep(pause_s(schedule))
            if last is not None and not last.done:
                log.warning("schedule_skipped", function=pool.name, reason="the run before has no answer yet")
                continue
            try:
                last = self.call(pool)
            except GRPCError as refused:
                log.warning("schedule_skipped", function=pool.name, reason=refused.message)
