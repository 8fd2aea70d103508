"""What becomes of inputs: each is answered once, whatever happens to the containers that run it."""

import asyncio
import signal

import pytest
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane.calls import Call, Status
from app.plane.containers import State
from app.plane.queues import TAKE_S, Turn
from tests.app.plane.pools.kit import TICK_S, Puppet, Ward, by, status

DONE = Status.GENERIC_STATUS_SUCCESS
FAILED = Status.GENERIC_STATUS_FAILURE
TIMED_OUT = Status.GENERIC_STATUS_TIMEOUT
TERMINATED = Status.GENERIC_STATUS_TERMINATED
LOST = Status.GENERIC_STATUS_INTERNAL_FAILURE


def _function(most: int = 0, inputs: int = 0, **retry: float) -> api_pb2.Function:
    """A function with a timeout of 10 s."""
    function = api_pb2.Function(function_name="some", timeout_secs=10, max_concurrent_inputs=inputs)
    function.autoscaler_settings.max_containers = most
    function.retry_policy.CopyFrom(api_pb2.FunctionRetryPolicy(**retry))  # type: ignore[arg-type]
    return function


async def test_inputs_are_taken_in_their_order() -> None:
    """By the container that asks, or by the one that has asked for longest."""
    ward = Ward(_function(inputs=9))
    waiting = [ward.call(), ward.call()]
    (container,) = ward.ready()
    assert waiting == [await ward.runs(container), await ward.runs(container)]
    asked = ward.asks(container)
    await asyncio.sleep(0)
    assert ward.call() is await asked


async def test_who_asks_in_vain_is_told_to_ask_again() -> None:
    """Before its connection gives up."""
    ward = Ward()
    ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    assert Turn.LATER is await asyncio.wait_for(ward.asks(container), TAKE_S + 1)
    assert {} == ward.pool.queue.takers


async def test_everybody_who_waits_for_an_answer_gets_it_or_hears_in_time_that_there_is_none() -> None:
    """Of one call: who waits for less time than it takes is told so then, and the others when it is done."""
    ward = Ward()
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    long = [asyncio.create_task(call.wait(50)) for _ in range(2)]
    assert not await asyncio.wait_for(call.wait(5), 6)
    ward.answer(container, call)
    assert [True, True] == await asyncio.wait_for(asyncio.gather(*long), 1)
    assert [] == call.waiters


async def test_the_answer_of_a_killed_container_that_was_on_its_way_is_the_answer() -> None:
    """It came before the process was gone: the input does not run again."""
    ward = Ward()
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    container.kill()
    ward.answer(container, call)
    await ward.passes(1)
    assert (DONE, container.id, 1) == (status(call), by(call), len(ward.started))


async def test_an_answer_after_its_containers_end_is_dropped() -> None:
    """The input runs elsewhere by then, and that answer is its only one."""
    ward = Ward()
    call = ward.call()
    (first,) = ward.ready()
    await ward.runs(first)
    first.die(-9)
    ward.answer(first, call)
    assert status(call) is None
    (second,) = ward.ready()
    assert call is await ward.runs(second)
    ward.answer(first, call)
    assert status(call) is None
    ward.answer(second, call)
    ward.answer(second, call, FAILED)
    assert (DONE, second.id) == (status(call), by(call))


async def test_inputs_of_a_dead_container_come_first_and_in_their_order() -> None:
    """They have waited for longest."""
    ward = Ward(_function(most=1, inputs=3))
    lost = [ward.call() for _ in range(3)]
    later = ward.call()
    (container,) = ward.ready()
    assert lost == [await ward.runs(container) for _ in range(3)]
    container.die(-9)
    assert [*lost, later] == list(ward.pool.queue.waiting)


async def test_what_a_container_lets_go_of_because_it_ends_runs_elsewhere() -> None:
    """Its caller did not cancel it, and hears nothing of it."""
    ward = Ward()
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    ward.pool.interrupt(container)
    ward.answer(container, call, TERMINATED)
    assert status(call) is None
    (second,) = ward.ready()
    assert call is await ward.runs(second)


async def test_an_input_that_ends_its_containers_is_given_up() -> None:
    """After as many containers as the plane's bound says, and without the retries of its policy."""
    ward = Ward(_function(retries=5), redeliveries=2)
    call = ward.call()
    for _ in range(3):
        (container,) = ward.ready()
        await ward.runs(container)
        container.die(1)
    assert LOST == status(call)
    assert "3 containers ended under this input" == call.answer.result.exception


async def test_a_retry_outlives_a_container_and_a_container_no_retry() -> None:
    """Redeliveries take nothing from the attempts that a policy grants, nor the other way round."""
    ward = Ward(_function(retries=1), redeliveries=1)
    call = ward.call()
    (first,) = ward.ready()
    await ward.runs(first)
    ward.answer(first, call, FAILED)
    await ward.passes(TICK_S)
    assert call is await ward.runs(first)
    first.die(-9)
    (second,) = ward.ready()
    assert (1, 1) == ((await ward.runs(second)).attempt, call.losses)
    ward.answer(second, call, FAILED, attempt=1)
    assert (FAILED, 1) == (status(call), call.answer.retry_count)


async def test_retries_wait_as_their_policy_says() -> None:
    """Longer each time, up to the policy's bound."""
    ward = Ward(_function(retries=3, initial_delay_ms=1000, backoff_coefficient=2, max_delay_ms=3000))
    call = ward.call()
    (container,) = ward.ready()
    for attempt, delay_s in enumerate((1, 2, 3)):
        await ward.runs(container)
        ward.answer(container, call, FAILED, attempt)
        await ward.passes(delay_s - TICK_S)
        assert [] == list(ward.pool.queue.waiting)
        await ward.passes(TICK_S)
        assert [call] == list(ward.pool.queue.waiting)
    await ward.runs(container)
    ward.answer(container, call, FAILED, 3)
    assert FAILED == status(call)


async def test_an_input_over_its_timeout_is_cancelled_in_its_container() -> None:
    """Its caller is told at once; a container that lets go of it goes on, one that doesn't is killed."""
    ward = Ward(_function(most=1, inputs=2), cancel_s=5.0)
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    await ward.passes(9.75)
    assert (None, []) == (status(call), container.told_to_cancel)
    await ward.passes(0.25)
    assert (TIMED_OUT, [call.input_id]) == (status(call), container.told_to_cancel)
    ward.answer(container, call, TERMINATED)
    other = ward.call()
    await ward.runs(container)
    await ward.passes(10)
    assert (TIMED_OUT, State.READY) == (status(other), container.state)
    await ward.passes(5)
    assert [signal.SIGKILL] == container.signals


async def test_an_attempt_over_its_timeout_is_tried_again_elsewhere() -> None:
    """Not where the one before still runs: what cancels that one there would hit both."""
    ward = Ward(_function(most=1, inputs=2, retries=1), cancel_s=5.0)
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    asked = ward.asks(container)
    await ward.passes(12)
    assert (None, False) == (status(call), asked.done())
    ward.answer(container, call, TERMINATED)
    await ward.passes(TICK_S)
    assert call is await asked
    ward.answer(container, call, attempt=1)
    assert DONE == status(call)


async def test_the_answer_of_an_attempt_that_timed_out_is_dropped() -> None:
    """Another one runs elsewhere by then, has its whole time, and its answer counts."""
    ward = Ward(_function(retries=1), cancel_s=20.0)
    call = ward.call()
    (first,) = ward.ready()
    await ward.runs(first)
    await ward.passes(11)
    (second,) = ward.ready()
    assert call is await ward.runs(second)
    ward.answer(first, call)
    assert status(call) is None
    ward.answer(second, call, attempt=1)
    assert (DONE, second.id) == (status(call), by(call))


async def test_each_attempt_has_the_whole_timeout() -> None:
    """That of the one before does not run on."""
    ward = Ward(_function(retries=1))
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    await ward.passes(8)
    ward.answer(container, call, FAILED)
    await ward.passes(TICK_S)
    await ward.runs(container)
    await ward.passes(9)
    assert status(call) is None
    await ward.passes(1)
    assert TIMED_OUT == status(call)


async def test_a_killed_container_is_given_nothing_more() -> None:
    """Though it still asks until its process is gone."""
    ward, container, asked = await _asking()
    container.kill()
    call = ward.call()
    assert ([call], 0) == (list(ward.pool.queue.waiting), call.losses)
    asked.cancel()


async def test_a_call_cancelled_while_it_waits_is_given_to_nobody() -> None:
    """The next one is."""
    ward = Ward(_function(most=1))
    cancelled, call = ward.call(), ward.call()
    ward.pool.queue.cancel(cancelled, kill_container=False)
    (container,) = ward.ready()
    assert call is await ward.runs(container)
    assert TERMINATED == status(cancelled)


async def test_who_went_away_while_it_was_given_an_input_has_not_got_it() -> None:
    """A request that is cancelled in that very moment gives its input back."""
    ward, container, asked = await _asking()
    call = ward.call()
    asked.cancel()
    await asyncio.sleep(0)
    assert call is await asyncio.wait_for(ward.runs(container), 1)
    assert 2 == container.busy


async def test_a_container_that_dies_while_it_is_given_an_input_gives_it_back_once() -> None:
    """Its end and the end of its request both tell of it."""
    ward = Ward(_function(most=1, inputs=2))
    first = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    asked = ward.asks(container)
    await asyncio.sleep(0)
    second = ward.call()
    container.die(-9)
    asked.cancel()
    await asyncio.sleep(0)
    assert [first, second] == list(ward.pool.queue.waiting)


async def test_a_cancelled_call_is_answered_once_and_stopped() -> None:
    """Whatever its container still says of it."""
    ward = Ward(_function(retries=3), cancel_s=5.0)
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    ward.pool.queue.cancel(call, kill_container=False)
    assert (TERMINATED, [call.input_id]) == (status(call), container.told_to_cancel)
    ward.answer(container, call, FAILED)
    await ward.passes(10)
    assert (TERMINATED, 0, []) == (status(call), call.attempt, container.signals)


async def test_a_call_cancelled_with_its_container_ends_it() -> None:
    """And what else ran there runs elsewhere."""
    ward = Ward(_function(most=1, inputs=2))
    call, other = ward.call(), ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    await ward.runs(container)
    ward.pool.queue.cancel(call, kill_container=True)
    await ward.passes(TICK_S)
    assert (TERMINATED, State.GONE) == (status(call), container.state)
    (second,) = ward.ready()
    assert other is await ward.runs(second)


async def test_a_call_cancelled_between_its_attempts_is_not_tried_again() -> None:
    """It stands in no queue and no container then."""
    ward = Ward(_function(retries=3, initial_delay_ms=1000))
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    ward.answer(container, call, FAILED)
    ward.pool.queue.cancel(call, kill_container=False)
    await ward.passes(2)
    assert (TERMINATED, []) == (status(call), list(ward.pool.queue.waiting))


async def test_a_function_that_is_no_more_answers_every_call() -> None:
    """One that runs, one that waits, and one between two attempts; a later one is refused."""
    ward = Ward(_function(most=1, retries=1, initial_delay_ms=1000))
    between, runs, waits = ward.call(), ward.call(), ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    ward.answer(container, between, FAILED)
    await ward.runs(container)
    ward.pool.retire()
    await ward.passes(2)
    assert [TERMINATED] * 3 == [status(call) for call in (between, runs, waits)]
    with pytest.raises(GRPCError, match="some was stopped"):
        ward.call()


async def _asking() -> "tuple[Ward, Puppet, asyncio.Task[Call | Turn]]":
    """A container of two slots that runs an input and asks for another, when there is none."""
    ward = Ward(_function(most=1, inputs=2))
    ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    asked = ward.asks(container)
    await asyncio.sleep(0)
    return ward, container, asked
