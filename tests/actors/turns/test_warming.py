"""Warming passes: deadline, joining, force, retries, and the truth table of their status."""

import asyncio
from itertools import pairwise

import pytest

from actors.stores import StoreDenied, StoreDown, StoreError, StoreExhausted
from actors.warming import LAST_RETRY_S, REFUSED_S, Plan, Tally, Warmer, WarmFailed
from contracts.warming import WarmStatus
from tests.actors.fakes import KitBackground, SeededChance, VirtualClock

DEADLINE_S = 5.0


def warmer(plan: Plan, background: KitBackground | None = None) -> Warmer:
    """A warmer of this plan."""
    return Warmer(
        plan,
        actor="Test",
        shard=3,
        clock=VirtualClock(),
        chance=SeededChance(),
        background=background or KitBackground(),
        deadline_s=DEADLINE_S,
    )


class Passes:
    """A plan that takes a second and counts; `failures` are raised by its first passes."""

    def __init__(self, *failures: Exception, took_s: float = 1.0) -> None:
        self.failures, self.took_s, self.ran = list(failures), took_s, 0
        self.at: list[float] = []

    async def __call__(self, tally: Tally) -> None:
        self.ran += 1
        self.at.append(asyncio.get_running_loop().time())
        tally.requested = 2
        await asyncio.sleep(self.took_s)
        if self.failures:
            raise self.failures.pop(0)
        tally.loaded = 2


@pytest.mark.parametrize(
    ("requested", "loaded", "skipped", "errors", "status"),
    [
        (0, 0, 0, 0, "warm"),
        (5, 5, 0, 0, "warm"),
        (5, 6, 0, 0, "warm"),
        (5, 4, 1, 0, "partial"),
        (5, 4, 0, 1, "partial"),
        (5, 4, 0, 0, "partial"),
        (5, 5, 0, 1, "partial"),
        (5, 0, 5, 0, "cold"),
        (5, 0, 0, 5, "cold"),
        (0, 0, 0, 1, "cold"),
    ],
)
async def test_status(requested: int, loaded: int, skipped: int, errors: int, status: WarmStatus) -> None:
    """`warm`: all that was planned is loaded; `partial`: some of it; `cold`: nothing of it."""
    tally = Tally(VirtualClock(), requested=requested, loaded=loaded, skipped=skipped)
    for _ in range(errors):
        tally.fail("x")
    assert tally.status() == status


async def test_a_pass_under_way_is_joined() -> None:
    """Ten who ask at once share one pass and its report."""
    plan = Passes()
    under_way = warmer(plan)
    reports = await asyncio.gather(*(under_way.run() for _ in range(10)))
    assert (plan.ran, len(set(map(id, reports)))) == (1, 1)


async def test_force_starts_afresh_after_the_one_under_way() -> None:
    """Its own pass begins after it was asked for, never beside another one."""
    plan = Passes()
    under_way = warmer(plan)
    first = asyncio.create_task(under_way.run())
    await asyncio.sleep(0.5)
    forced = await under_way.run(force=True)
    assert (plan.ran, plan.at[1] - plan.at[0], await first is not forced) == (2, 1.0, True)


async def test_many_who_force_share_the_pass_that_has_not_begun() -> None:
    """However many, one runs and one waits; each gets a pass that began after it had asked."""
    plan = Passes()
    under_way = warmer(plan)
    first = asyncio.create_task(under_way.run())
    await asyncio.sleep(0.5)
    reports = await asyncio.gather(*(under_way.run(force=True) for _ in range(200)))
    assert (2, 1) == (plan.ran, len(set(map(id, reports))))
    assert await first is not reports[0]


async def test_who_forces_while_a_forced_pass_runs_gets_the_next() -> None:
    """The one that waited has begun by then, also for who asks in the moment between the two."""
    plan, began = Passes(), list[tuple[float, float]]()
    under_way = warmer(plan)

    async def force(at_s: float) -> None:
        await asyncio.sleep(at_s)
        asked_at, ran = asyncio.get_running_loop().time(), plan.ran
        await under_way.run(force=True)
        began.append((asked_at, plan.at[ran]))

    await asyncio.gather(*(force(at_s) for at_s in (0.0, 0.5, 1.0, 1.5, 2.0)))
    assert all(asked_at <= began_at for asked_at, began_at in began)
    assert 1.0 == min(later - earlier for earlier, later in pairwise(plan.at))
    assert plan.ran <= 4


async def test_a_stop_ends_the_pass_that_waits() -> None:
    """Nothing of it runs later."""
    plan = Passes()
    under_way = warmer(plan)
    passes = [asyncio.create_task(under_way.run(force=True)) for _ in range(3)]
    await asyncio.sleep(0.5)
    await under_way.stop()
    outcomes = await asyncio.gather(*passes, return_exceptions=True)
    assert [asyncio.CancelledError] * 3 == [type(outcome) for outcome in outcomes]
    await asyncio.sleep(5.0)
    assert 1 == plan.ran


async def test_a_caller_who_gives_up_leaves_the_pass_running() -> None:
    """Who joined still gets the report."""
    plan = Passes()
    under_way = warmer(plan)
    impatient = asyncio.create_task(under_way.run())
    await asyncio.sleep(0.5)
    patient = asyncio.create_task(under_way.run())
    impatient.cancel()
    assert (await patient).status == "warm"


async def test_the_deadline_ends_a_pass() -> None:
    """I6: a plan that hangs delays nobody beyond it, and the report says what is missing and why."""
    background = KitBackground()
    under_way = warmer(Passes(took_s=10_000.0), background)
    report = await under_way.run()
    assert (report.status, report.failed, report.duration_ms) == ("cold", 2, DEADLINE_S * 1000)
    assert report.errors == ("deadline of 5 s passed",)
    assert under_way.degraded == "deadline of 5 s passed"
    await under_way.stop()


@pytest.mark.parametrize("error", [StoreDown("away"), WarmFailed("away", retry=True)])
async def test_what_can_come_back_is_tried_again_until_it_is_warm(error: StoreError | WarmFailed) -> None:
    """In the background, ever more slowly, and no longer than needed."""
    background, plan = KitBackground(), Passes(*[error] * 9)
    under_way = warmer(plan, background)
    assert (await under_way.run()).status == "cold"
    await asyncio.sleep(1_000.0)
    assert under_way.last is not None
    assert (under_way.last.status, under_way.degraded, plan.ran) == ("warm", "", 10)
    assert (
        max(later - earlier for earlier, later in zip(plan.at, plan.at[1:], strict=False))
        <= LAST_RETRY_S * 1.2 + 1
    )
    assert not background.tasks


async def test_over_quota_the_next_pass_waits_for_a_minute() -> None:
    """Warming again is optional, so it does not spend what turns need (C5)."""
    background, plan = KitBackground(), Passes(StoreExhausted("over quota"), StoreDown("away"))
    under_way = warmer(plan, background)
    await under_way.run()
    await asyncio.sleep(1_000.0)
    assert plan.at[1] - plan.at[0] >= LAST_RETRY_S * 0.8
    assert under_way.degraded == ""


@pytest.mark.parametrize("error", [WarmFailed("no", retry=False), ValueError("defect")])
async def test_what_will_not_change_is_not_tried_again(error: Exception) -> None:
    """The report stands, and nothing goes on in the background."""
    background, plan = KitBackground(), Passes(error)
    under_way = warmer(plan, background)
    report = await under_way.run()
    assert (report.status, report.shard, len(report.errors)) == ("cold", 3, 1)
    await asyncio.sleep(1_000.0)
    assert (plan.ran, len(background.tasks)) == (1, 0)


async def test_a_store_that_refuses_is_asked_at_a_steady_pace_until_it_does_not() -> None:
    """C3: an operator grants it again, and a container that is not ready gets no request that finds out."""
    background, plan = KitBackground(), Passes(*[StoreDenied("no")] * 30)
    under_way = warmer(plan, background)
    await under_way.run()
    assert under_way.denied
    await asyncio.sleep(1_000.0)
    assert (31, False, 0) == (plan.ran, under_way.denied, len(background.tasks))
    pauses = [later - earlier for earlier, later in pairwise(plan.at)]
    assert REFUSED_S * 0.8 <= min(pauses)
    assert max(pauses) <= REFUSED_S * 1.2 + 1


async def test_a_refused_request_is_no_reason_to_pass_once_another_is_answered() -> None:
    """The slice is whole: only what the requests tell has changed."""
    background, plan = KitBackground(), Passes()
    under_way = warmer(plan, background)
    await under_way.run()
    under_way.refused()
    under_way.refused()
    under_way.denied = False
    await asyncio.sleep(1_000.0)
    assert (1, 0) == (plan.ran, len(background.tasks))


async def test_retries_end_when_what_is_left_will_not_change() -> None:
    """A store that comes back with poison in it is not read again for ever."""
    background, plan = KitBackground(), Passes(StoreDown("away"), WarmFailed("no", retry=False))
    under_way = warmer(plan, background)
    await under_way.run()
    await asyncio.sleep(1_000.0)
    assert (plan.ran, len(background.tasks)) == (2, 0)


async def test_stop_ends_the_pass_and_the_retries() -> None:
    """Nothing runs afterwards."""
    background, plan = KitBackground(), Passes(StoreDown("away"))
    under_way = warmer(plan, background)
    await under_way.run()
    await asyncio.sleep(0.1)
    await under_way.stop()
    await asyncio.sleep(100.0)
    assert (plan.ran, len(background.tasks)) == (1, 0)
