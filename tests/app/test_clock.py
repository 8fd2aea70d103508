"""The coarse time of production: who renews it, what happens where nobody does, and that every place of L1 has it."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.actor import Actor
from actors.ports import COARSE_S
from app import wiring
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.runtime import SystemClock
from app.settings import Secret, Settings, SqliteAddress
from app.system import LocalSystem
from app.wiring import Placed


def test_nobody_is_told_a_coarse_time_that_nobody_renews() -> None:
    """Before the start and after the end it is infinity, also when the exact time is asked for."""

    async def play(_: VirtualLoop) -> list[float]:
        clock = SystemClock()
        clock.monotonic_s()
        told = [clock.coarse_s]
        clock.start()
        clock.start()
        clock.stop()
        clock.stop()
        clock.monotonic_s()
        await asyncio.sleep(3 * COARSE_S)  # a timer left behind would tick
        return [*told, clock.coarse_s]

    assert run_virtually(play) == [math.inf, math.inf]


def test_the_loop_renews_it_every_so_often() -> None:
    """Each COARSE_S it is another one, also when somebody has cancelled every task of the loop."""

    async def play(loop: VirtualLoop) -> list[float]:
        clock = SystemClock()
        clock.start()
        for task in asyncio.all_tasks(loop) - {asyncio.current_task(loop)}:
            task.cancel()
        seen = list[float]()
        for _ in range(20):
            await asyncio.sleep(COARSE_S)
            seen.append(clock.coarse_s)
        clock.stop()
        return seen

    seen = run_virtually(play)
    assert seen == sorted(set(seen))
    assert math.isfinite(seen[-1])


async def test_whoever_asks_for_the_exact_time_renews_it() -> None:
    """After a time in which the loop stood still, the first request that begins moves it on for all."""
    clock = SystemClock()
    clock.start()
    clock.coarse_s -= 3_600.0  # as if it had stood still for an hour
    now = clock.monotonic_s()
    assert clock.coarse_s == now
    clock.stop()


def _settings(folder: Path) -> Settings:
    return Settings(
        store=SqliteAddress(folder / "clock.db"), telegram_token=Secret("1:not-a-token"), shards=2
    )


PLACES: dict[str, Callable[[Settings], Placed]] = {
    "registry": wiring.placed_skill_registry,
    "shard": lambda settings: wiring.placed_session_cache(settings, 0),
    "agent": lambda settings: wiring.placed_chat_agent(settings, LocalSystem(settings).fleet),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_the_clock_of_a_container_ticks_from_open_to_stop(
    place: Callable[[Settings], Placed], tmp_path: Path
) -> None:
    """Else each hit of its L1 would ask for the exact time."""
    placed = place(_settings(tmp_path))
    clock = placed.actor.clock
    told = [clock.coarse_s]
    await placed.open()
    told.append(clock.coarse_s)
    await placed.stop()
    assert [math.isfinite(each) for each in [*told, clock.coarse_s]] == [False, True, False]


async def test_in_one_process_the_clock_of_all_actors_ticks_until_the_stop(tmp_path: Path) -> None:
    """Each start makes a clock of its own."""
    system = LocalSystem(_settings(tmp_path))
    for _ in range(2):
        await system.open()
        roles = (system._skills, *system._shards, system._agent)
        clocks = {role.actor.clock for role in roles if isinstance(role.actor, Actor)}
        ticking = [math.isfinite(clock.coarse_s) for clock in clocks]
        await system.stop()
        assert (ticking, [math.isfinite(clock.coarse_s) for clock in clocks]) == ([True], [False])
    await system.close()
