"""The SkillRegistryActor counts runs exactly, and knows how old its numbers are."""

import asyncio
import math

import pytest

from actors.skill_registry import SkillRegistryOptions
from actors.stores import StoreDenied, StoreDown, StoreError
from contracts.base import Message
from contracts.faults import BadRequest, Fault, SkillNotFound, StoreRefused, StoreUnavailable
from contracts.skills import RunRecorded, SkillStats
from contracts.warming import StoreUse
from tests.actors.skill_kit import PATIENT, World
from tests.actors.skill_registry.asking import FIVE_RUNS, SIX_RUNS, run, skill


async def test_statistics_are_read_again_after_their_lifetime(world: World) -> None:
    """Within five minutes they come from L1, after at most five and a half from the store."""
    await world.actor.start()
    world.store.stats["tea"] = SIX_RUNS
    world.clock.advance(269)
    assert (await skill(world, "tea")).stats == FIVE_RUNS

    world.clock.advance(62)
    assert (await skill(world, "tea")).stats == SIX_RUNS
    assert (await world.ref.stats()).store_reads == StoreUse(calls=1, documents=1)


@pytest.mark.parametrize(
    ("failure", "options"),
    [
        (StoreDown("away"), PATIENT),
        (StoreDenied("no"), PATIENT),
        (None, SkillRegistryOptions(stats_deadline_s=0.02)),
    ],
)
async def test_old_statistics_are_better_than_none(world: World, failure: StoreError | None) -> None:
    """When the store fails or hangs, the last numbers known are given, up to an hour past their end."""
    await world.actor.start()
    world.store.failure = failure
    if failure is None:
        world.store.reading.close()
    world.clock.advance(1_000)
    late = await skill(world, "tea")
    world.clock.advance(4_000)
    later = await skill(world, "tea")

    assert (late.stats, late.stats_known) == (FIVE_RUNS, True)
    assert (later.stats, later.stats_known) == (SkillStats(), False)


async def test_a_store_that_fails_is_not_asked_by_every_request(world: World) -> None:
    """After a failure, stale numbers are given at once for a while."""
    await world.actor.start()
    world.store.failure = StoreDown("away")
    world.clock.advance(1_000)
    for _ in range(5):
        await skill(world, "tea")

    assert len(world.store.asked) == 2


async def test_many_who_ask_at_once_cost_one_read(world: World) -> None:
    """Single flight: the statistics of a skill are on their way once."""
    await world.actor.parse()
    world.store.reading.close()
    asking = [asyncio.create_task(skill(world, "tea")) for _ in range(20)]
    await world.store.reading.reached(1)
    await asyncio.sleep(0)  # the rest join
    world.store.reading.open()
    answers = await asyncio.gather(*asking)

    assert world.store.asked == [("tea",)]
    assert [answer.stats for answer in answers] == [FIVE_RUNS] * 20


# ---------------------------------------------------------------- runs


async def test_a_reported_run_is_in_the_next_answer(world: World) -> None:
    """G4: it is durable before the answer, by declared name, and the renewal waits for no request."""
    await world.actor.start()
    assert await world.ref.ask(run(" TEA ")) == RunRecorded(skill="tea")
    await world.background.drain(1.0)
    assert (await skill(world, "tea")).stats == SIX_RUNS
    stats = await world.ref.stats()

    assert (stats.store_reads, stats.store_writes) == (StoreUse(), StoreUse(calls=1, documents=1))
    assert stats.background_reads.calls == 2


async def test_the_same_run_counts_once(world: World) -> None:
    """A report that is sent again after a lost answer changes nothing."""
    await world.actor.start()
    for _ in range(3):
        assert await world.ref.ask(run()) == RunRecorded(skill="tea")
    assert (await skill(world, "tea")).stats == SIX_RUNS


async def test_a_thousand_reports_at_once_are_counted_exactly(world: World) -> None:
    """Count, success rate and mean of the next answer are those of all runs."""
    await world.actor.start()
    reports = [run("water", name=f"r{n}", duration_ms=n, succeeded=n % 4 > 0) for n in range(1000)]
    await asyncio.gather(*(world.ref.ask(report) for report in reports))
    stats = (await skill(world, "water")).stats

    assert (stats.run_count, stats.success_rate, stats.mean_duration_ms) == (1000, 0.75, 499.5)


@pytest.mark.parametrize("duration_ms", [-1.0, -0.001, math.nan, math.inf, -math.inf])
async def test_a_duration_that_no_run_can_have_is_refused(world: World, duration_ms: float) -> None:
    """One NaN would spoil the mean for ever; it reaches no store."""
    assert isinstance(await world.ref.ask(run(duration_ms=duration_ms)), BadRequest)
    assert (await world.ref.stats()).store_writes == StoreUse()


@pytest.mark.parametrize("name", ["", "x" * 201])
async def test_a_run_needs_an_id_within_its_bound(world: World, name: str) -> None:
    """Without an id the same run could count twice."""
    assert isinstance(await world.ref.ask(run(name=name)), BadRequest)


async def test_a_run_of_an_unknown_skill_is_not_counted(world: World) -> None:
    """No document is made for a name that somebody made up."""
    reply = await world.ref.ask(run("tae"))

    assert isinstance(reply, SkillNotFound)
    assert reply.suggestions == ("tea",)
    assert world.store.stats.keys() == {"tea"}


@pytest.mark.parametrize(
    ("failure", "fault", "options"),
    [
        (StoreDown("away"), StoreUnavailable(detail="away"), PATIENT),
        (StoreDenied("quota"), StoreRefused(detail="quota"), PATIENT),
        (
            None,
            StoreUnavailable(detail="the run was not counted within 0.02 s"),
            SkillRegistryOptions(write_deadline_s=0.02),
        ),
    ],
)
async def test_a_run_that_may_not_be_counted_is_answered_so(
    world: World, failure: StoreError | None, fault: Fault
) -> None:
    """The caller hears whether to report again, and the next answer asks the store what is true."""
    await world.actor.start()
    world.store.failure = failure
    if failure is None:
        world.store.writing.close()
    reply: Message = await world.ref.ask(run())
    world.store.failure = None
    world.store.stats["tea"] = SIX_RUNS  # it was written although the answer was lost

    assert reply == fault
    assert (await skill(world, "tea")).stats == SIX_RUNS


async def test_statistics_that_the_store_does_not_give_are_told_until_it_does(world: World) -> None:
    """A store that goes away while serving degrades the registry, although its skills are still answered."""
    await world.actor.start()
    world.clock.advance(3600.0)
    world.store.failure = StoreDown("away")
    await skill(world, "tea")
    assert (await world.ref.stats()).degraded == "StoreDown: away"
    world.store.failure = None
    world.clock.advance(3600.0)
    await skill(world, "tea")
    assert (await world.ref.stats()).degraded == ""
