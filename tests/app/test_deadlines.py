"""A shared deadline bounds each wait as a timeout of its own would."""

import asyncio

import pytest

from app.deadlines import PARTS, Deadline


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
