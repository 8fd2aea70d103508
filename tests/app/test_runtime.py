"""Background work is held, bounded, heard of when it fails, and waited for at the end."""

import asyncio
import gc
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs

from actors.ports import Unreachable
from actors.stores import StoreDown
from app.runtime import SystemChance, SystemClock, Tasks


async def test_work_runs_beside_its_caller() -> None:
    """`spawn` returns at once, and the work is done by the end of a drain."""
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("done")

    tasks = Tasks()
    tasks.spawn("work", work)
    assert done == []
    gc.collect()  # the loop holds tasks weakly: somebody must hold this one
    assert await tasks.drain(1.0) == 0
    assert (done, len(tasks)) == (["done"], 0)


async def test_computing_is_done_off_the_loop() -> None:
    """In another thread, so that requests are served meanwhile; what it raises is the caller's."""
    tasks = Tasks()
    assert await tasks.compute(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await tasks.compute(lambda: 1 // 0)


async def test_a_failure_is_logged_with_its_name() -> None:
    """Nobody awaits the task, so that its failure must be heard of; others go on."""

    async def fail() -> None:
        raise ValueError("boom")

    tasks = Tasks()
    with capture_logs() as logs:
        tasks.spawn("warm again", fail)
        await tasks.drain(1.0)
    assert [(line["event"], line["task"]) for line in logs] == [("background_failed", "warm again")]


@pytest.mark.parametrize("away", [Unreachable("stopping"), StoreDown("locked")])
async def test_who_is_away_is_told_of_in_a_line(away: Exception) -> None:
    """A store that is locked, an actor that stops: the operator has no use for a traceback."""

    async def ask() -> None:
        raise away

    tasks = Tasks()
    with capture_logs() as logs:
        tasks.spawn("write lease", ask)
        await tasks.drain(1.0)
    told = {"event": "background_failed", "task": "write lease", "error": str(away), "log_level": "warning"}
    assert [told] == logs


async def test_what_does_not_end_is_cancelled_at_the_deadline() -> None:
    """`drain` says how many it had to cancel."""
    tasks = Tasks()
    tasks.spawn("for ever", asyncio.Event().wait)
    tasks.spawn("at once", lambda: asyncio.sleep(0))
    assert await tasks.drain(0.02) == 1
    assert len(tasks) == 0


@pytest.mark.parametrize("drained", [False, True])
async def test_what_is_too_much_or_too_late_is_dropped_and_told(drained: bool) -> None:
    """Beyond the bound, and after a drain, work is dropped with a warning; the sweeper finds it."""
    ran: list[int] = []

    async def work() -> None:
        ran.append(1)

    tasks = Tasks(most=1)
    if drained:
        await tasks.drain(0.1)
    else:
        tasks.spawn("holds the place", asyncio.Event().wait)
    with capture_logs() as logs:
        tasks.spawn("late", work)
    await tasks.drain(0.01)
    assert [(line["event"], line["task"]) for line in logs] == [("background_dropped", "late")]
    assert ran == []


async def test_work_may_drain_from_inside() -> None:
    """A task that stops the service does not wait for itself."""
    tasks = Tasks()
    cancelled: list[int] = []

    async def stop() -> None:
        cancelled.append(await tasks.drain(0.02))

    tasks.spawn("for ever", asyncio.Event().wait)
    tasks.spawn("stop", stop)
    for _ in range(100):
        if cancelled:
            break
        await asyncio.sleep(0.005)
    assert cancelled == [1]


async def test_clock_and_chance_are_the_systems() -> None:
    """Time goes forward, tokens differ and hold 128 bits, numbers stay between their bounds."""
    clock, chance = SystemClock(), SystemChance()
    before = clock.monotonic_s()
    await clock.sleep(0.001)
    assert clock.monotonic_s() > before
    assert clock.unix_s() > 1_700_000_000
    assert len({chance.token() for _ in range(100)}) == 100
    assert len(chance.token()) == 32
    assert all(2.0 <= chance.uniform(2.0, 3.0) <= 3.0 for _ in range(100))


def test_what_a_start_has_built_is_left_out_of_collections() -> None:
    """After settling, the collector holds nothing of before to look through, and comes seldom; all in this process."""
    program = (
        "import gc; from app.runtime import COLLECT_AFTER, settle_memory; settle_memory()\n"
        "print(gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 100, gc.get_threshold() == COLLECT_AFTER)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "True", "True"]
