"""A shared deadline bounds each wait as a timeout of its own would."""

import asyncio

import pytest

from app.deadlines import PARTS, Deadline, DeadlinePassed


async def test_what_is_done_in_time_is_left_alone() -> None:
    """A wait that ends before its deadline gives its value, and the deadline does not reach the task later."""
    deadline = Deadline(0.02)
    with deadline.wait():
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_ends_at_its_deadline_and_never_earlier() -> None:
    """TimeoutError comes after the seconds asked for, also for a wait that joins a timer under way."""
    deadline, loop = Deadline(0.02), asyncio.get_running_loop()
    spent: list[float] = []

    async def hang(after_s: float) -> None:
        await asyncio.sleep(after_s)
        started = loop.time()
        with pytest.raises(TimeoutError), deadline.wait():
            await asyncio.Event().wait()
        spent.append(loop.time() - started)

    await asyncio.gather(hang(0), hang(0.02 / PARTS / 2), hang(0.01))
    assert [True, True, True] == [each >= 0.02 * 0.99 for each in spent]  # 1 %: the loop's clock ticks


async def test_the_task_goes_on_after_a_timeout() -> None:
    """The cancellation that the deadline asked for is taken back, so that the next await is not cut."""
    deadline = Deadline(0.005)
    with pytest.raises(TimeoutError), deadline.wait():
        await asyncio.Event().wait()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Who cancels the task gets a cancelled task, not a timeout."""

    async def hang() -> None:
        with Deadline(5.0).wait():
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_are_a_cancellation() -> None:
    """When the deadline and somebody else cancel the task together, the caller's wish is not swallowed."""
    deadline = Deadline(0.005)

    async def hang() -> None:
        with deadline.wait() as wait:
            asyncio.get_running_loop().call_soon(wait.expire)
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_is_not_hidden() -> None:
    """What the body raises passes, deadline or not."""
    with pytest.raises(ValueError, match="ours"), Deadline(5.0).wait():
        raise ValueError("ours")


async def test_waits_that_have_ended_are_not_held() -> None:
    """A deadline holds those who wait, not those who have waited: memory does not grow with the traffic."""
    deadline = Deadline(5.0)
    for _ in range(100):
        with deadline.wait() as wait:
            pass
    assert len(wait._batch.waits) == 0


def test_a_deadline_outlives_its_loop() -> None:
    """Whatever holds a deadline may be used on another loop: its timer is made anew there."""
    deadline = Deadline(0.005)

    async def hang() -> None:
        with deadline.wait():
            await asyncio.Event().wait()

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(hang())


async def test_a_future_gives_its_result_within_the_deadline() -> None:
    """What comes in time is given, a value or an error, and nothing of it is held afterwards."""
    deadline, loop = Deadline(0.01), asyncio.get_running_loop()
    value, error = loop.create_future(), loop.create_future()
    loop.call_soon(value.set_result, "value")
    loop.call_soon(error.set_exception, ValueError("error"))
    assert await deadline.result(value) == "value"
    with pytest.raises(ValueError, match="error"):
        await deadline.result(error)
    assert len(deadline._batch().futures) == 0


async def test_a_future_fails_at_the_deadline_and_never_earlier() -> None:
    """Who waits meets DeadlinePassed, and the future is done, so that a late result finds nobody."""
    deadline, loop = Deadline(0.02), asyncio.get_running_loop()
    future, started = loop.create_future(), loop.time()
    with pytest.raises(DeadlinePassed):
        await deadline.result(future)
    assert (True, True) == (future.done(), loop.time() - started >= 0.02 * 0.99)


async def test_a_cancelled_wait_for_a_future_cancels_the_future() -> None:
    """Who leaves is not waited for any more, and the deadline leaves such a future alone."""
    deadline, future = Deadline(0.005), asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(deadline.result(future))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.01)
    assert future.cancelled()
