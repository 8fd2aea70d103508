"""Starts that fail or take too long: how soon the next one comes, and who is told."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from modal_proto import api_pb2

from app.plane.calls import Status, failed
from app.plane.containers import State
from tests.app.plane.pools.kit import TICK_S, Puppet, Ward, status

SLOW_TO_START = api_pb2.Function(function_name="some", startup_timeout_secs=1, timeout_secs=100)
BACKOFF: Any = {"crash_first_s": 0.5, "crash_most_s": 4.0, "crash_gives_up": 9}
DOUBLED = [0.5, 1.0, 2.0, 4.0, 4.0]


async def test_a_start_that_takes_too_long_makes_the_next_one_wait() -> None:
    """Each waits twice as long as the one before, up to the bound, and one at a time starts."""
    ward = Ward(SLOW_TO_START, **BACKOFF)
    ward.call()
    await ward.passes(20)
    pauses = [later.began - late.killed_at for late, later in pairwise(ward.started[:6])]
    assert DOUBLED == pauses
    assert {1 + TICK_S} == {late.killed_at - late.began for late in ward.started[:6]}
    assert 1 == ward.pool.most_seen


async def test_a_start_that_fails_makes_the_next_one_wait() -> None:
    """The same for a process that ends before it is ready."""
    ward = Ward(**BACKOFF)
    ward.call()
    ended = []
    for pause_s in DOUBLED:
        ended.append(ward.started[-1])
        ward.started[-1].die(1)
        await ward.passes(pause_s - TICK_S)
        assert [] == ward.alive
        await ward.passes(TICK_S)
    assert 6 == len(ward.started)
    assert DOUBLED == [later.began - failed.began for failed, later in pairwise(ward.started)]


async def _fails(ward: Ward, container: Puppet) -> None:
    await ward.passes(TICK_S)
    container.die(1)


async def _is_late(ward: Ward, container: Puppet) -> None:
    await ward.passes(1 + TICK_S)
    assert container.killed_at


@pytest.mark.parametrize(
    ("fault", "told"),
    [(_fails, "it ended with code 1"), (_is_late, "some was not ready within its startup timeout of 1 s")],
)
async def test_after_some_starts_that_fail_who_waits_is_told(
    fault: Callable[[Ward, Puppet], Awaitable[None]], told: str
) -> None:
    """The last failure is the answer, and then nobody waits and nothing starts."""
    ward = Ward(SLOW_TO_START, **BACKOFF | {"crash_gives_up": 2})
    call = ward.call()
    await fault(ward, ward.started[0])
    await ward.passes(0.5)
    assert status(call) is None
    await fault(ward, ward.started[1])
    assert (Status.GENERIC_STATUS_INIT_FAILURE, told) == (status(call), call.answer.result.exception)
    await ward.passes(10)
    assert 2 == len(ward.started)


async def test_who_waits_for_what_can_not_start_gets_no_further_attempt() -> None:
    """Its retries are for what its code does."""
    ward = Ward(api_pb2.Function(retry_policy=api_pb2.FunctionRetryPolicy(retries=3)), crash_gives_up=1)
    call = ward.call()
    ward.started[0].failure = failed(Status.GENERIC_STATUS_FAILURE, "no way to start")
    ward.started[0].die(1)
    assert (Status.GENERIC_STATUS_FAILURE, 0) == (status(call), call.attempt)
    await ward.passes(10)
    assert 1 == len(ward.started)


async def test_containers_that_started_together_fail_as_one() -> None:
    """However long each of them took to fail: only a start after the last counted failure counts again."""
    ward = Ward(**BACKOFF)
    for _ in range(3):
        ward.call()
    first, second, third = ward.started
    await ward.passes(0.25)
    first.die(1)
    second.die(1)
    await ward.passes(0.75)
    third.die(1)
    assert 1 == ward.pool.failures
    await ward.passes(0.25)
    for again in ward.alive:
        again.die(1)
        await ward.passes(0.25)
    assert 2 == ward.pool.failures


async def test_a_container_that_is_ready_ends_the_row_of_failures() -> None:
    """The next failure is a first one again."""
    ward = Ward(**BACKOFF)
    ward.call()
    ward.started[0].die(1)
    await ward.passes(0.5)
    ward.started[1].die(1)
    await ward.passes(1)
    (ready,) = ward.ready()
    ready.die(1)
    assert ward.alive, "one that was ready may be replaced at once"
    ward.alive[0].die(1)
    await ward.passes(0.5)
    assert 1 == len(ward.alive)


async def test_a_deploy_ends_the_pause() -> None:
    """What failed was the code before."""
    ward = Ward(**BACKOFF | {"crash_first_s": 4.0})
    ward.call()
    ward.started[0].die(1)
    await ward.passes(TICK_S)
    assert [] == ward.alive
    ward.deploy()
    assert [2] == [container.version for container in ward.alive]
    await ward.passes(TICK_S)
    ward.alive[0].die(1)
    await ward.passes(4)
    assert (1, 1) == (ward.pool.failures, len(ward.alive))


async def test_an_old_container_that_fails_is_not_held_against_the_new_ones() -> None:
    """It still starts when another version comes, and only theirs counts."""
    ward = Ward(**BACKOFF)
    ward.call()
    (old,) = ward.started
    ward.deploy()
    await ward.passes(TICK_S)
    assert State.STARTING is old.state
    old.die(1)
    assert (0, [2]) == (ward.pool.failures, [container.version for container in ward.alive])


async def test_inputs_wait_for_containers_that_are_ready_when_others_fail_to_start() -> None:
    """New containers that can not start take no answer from old ones that work."""
    ward = Ward(**BACKOFF | {"crash_gives_up": 1})
    first = ward.call()
    (works,) = ward.ready()
    assert first is await ward.runs(works)
    second = ward.call()
    ward.started[1].die(1)
    assert status(second) is None
    ward.answer(works, first)
    ward.answer(works, await ward.runs(works))
    assert Status.GENERIC_STATUS_SUCCESS == status(second)


async def test_a_container_that_was_told_to_end_has_not_failed_to_start() -> None:
    """Whoever ended it did not find a defect of its code."""
    ward = Ward(**BACKOFF)
    ward.call()
    ward.pool.interrupt(ward.started[0])
    ward.started[0].die(1)
    assert (0, 1) == (ward.pool.failures, len(ward.alive))
