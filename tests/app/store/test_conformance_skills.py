"""What every store of skill statistics promises."""

import asyncio

import pytest

from actors.stores import SkillRun
from tests.app.store.backends import Backend


def run(number: int, *, skill: str = "brainstorming", succeeded: bool = True, ms: float = 10.0) -> SkillRun:
    """A run of a skill."""
    return SkillRun(skill=skill, run=f"run-{number}", succeeded=succeeded, duration_ms=ms)


async def test_runs_add_up(backend: Backend) -> None:
    """Count, successes, total, rate and mean follow from the runs that were recorded."""
    for number, succeeded in enumerate((True, False, True, True)):
        await backend.skills.record_run(run(number, succeeded=succeeded, ms=10.0 * number))
    stats = (await backend.skills.read_stats(["brainstorming"])).stats["brainstorming"]
    assert (stats.run_count, stats.success_count, stats.total_duration_ms) == (4, 3, 60.0)
    assert (stats.success_rate, stats.mean_duration_ms) == (0.75, 15.0)


async def test_last_run_is_store_time(backend: Backend) -> None:
    """A later run has a later time, and both are times of today and not of 1970."""
    await backend.skills.record_run(run(1))
    first = (await backend.skills.read_stats(["brainstorming"])).stats["brainstorming"].last_run_at
    await backend.skills.record_run(run(2))
    second = (await backend.skills.read_stats(["brainstorming"])).stats["brainstorming"].last_run_at
    assert 1_700_000_000 < first <= second


async def test_concurrent_runs_are_exact(backend: Backend) -> None:
    """Fifty runs reported at once are fifty runs."""
    await asyncio.gather(*(backend.skills.record_run(run(n, succeeded=n % 5 > 0)) for n in range(50)))
    stats = (await backend.skills.read_stats(["brainstorming"])).stats["brainstorming"]
    assert (stats.run_count, stats.success_count, stats.total_duration_ms) == (50, 40, 500.0)


async def test_a_run_counts_once(backend: Backend) -> None:
    """A run reported again, after a lost reply or at the same moment, counts once."""
    await backend.skills.record_run(run(1))
    await asyncio.gather(*(backend.skills.record_run(run(n % 2)) for n in range(6)))
    await backend.reopen()
    await backend.skills.record_run(run(0))
    assert (await backend.skills.read_stats(["brainstorming"])).stats["brainstorming"].run_count == 2


async def test_skills_that_never_ran_are_left_out(backend: Backend) -> None:
    """Absent is not zero: a skill without a document does not appear."""
    await backend.skills.record_run(run(1))
    batch = await backend.skills.read_stats(["absent", "brainstorming", "also-absent"])
    assert list(batch.stats) == ["brainstorming"]
    assert batch.set_aside == ()


@pytest.mark.parametrize("name", ["a b", "Ümläut", "技能", "quote'\"s", "100%", "x" * 64])
async def test_any_skill_name(backend: Backend, name: str) -> None:
    """A skill's name is a name, whatever stands in it."""
    await backend.skills.record_run(run(1, skill=name))
    assert [name] == list((await backend.skills.read_stats([name])).stats)


async def test_many_skills_in_one_read(backend: Backend) -> None:
    """More names than any store takes in one request are one call with all of them."""
    names = [f"skill-{number}" for number in range(600)]
    await asyncio.gather(*(backend.skills.record_run(run(1, skill=name)) for name in names[::10]))
    batch = await backend.skills.read_stats(names)
    assert set(names[::10]) == set(batch.stats)


async def test_no_names(backend: Backend) -> None:
    """Reading nothing gives nothing."""
    assert (await backend.skills.read_stats([])).stats == {}


async def test_meter_counts_calls(backend: Backend) -> None:
    """Each call is one call, with the documents that it gave."""
    await backend.skills.record_run(run(1))
    await backend.skills.record_run(run(2, skill="other"))
    assert (len(backend.meter.writes), len(backend.meter.reads)) == (2, 0)
    await backend.skills.read_stats(["brainstorming", "other", "absent"])
    assert backend.meter.reads == [2]


async def test_close_twice(backend: Backend) -> None:
    """Closing a store again does nothing."""
    await backend.skills.close()
    await backend.skills.close()
