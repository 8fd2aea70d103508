"""The loop on virtual time: time jumps, order is fixed, and what can never end is told."""

import asyncio

import pytest

from app.chaos.virtual_loop import Deadlock, Spin, VirtualLoop, run_virtually


def test_an_hour_passes_at_once() -> None:
    """Sleeping moves the clock to the end of the sleep, exactly."""

    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(3600.0)
        return loop.time()

    assert run_virtually(main) == 3600.0


def test_timers_end_in_the_order_of_their_times() -> None:
    """Whatever was asked for first, the earlier time comes first; of equal times the first one."""

    async def main(_: VirtualLoop) -> list[str]:
        seen: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(name)

        await asyncio.gather(sleeper("c", 3), sleeper("a", 1), sleeper("b1", 2), sleeper("b2", 2))
        return seen

    assert run_virtually(main) == ["a", "b1", "b2", "c"]


def test_asyncio_timeouts_are_virtual() -> None:
    """`asyncio.timeout` and `asyncio.wait` measure the loop's own time."""

    async def main(loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(45.0):
                await asyncio.sleep(1000.0)
        done, _ = await asyncio.wait([loop.create_task(asyncio.sleep(100.0))], timeout=5.0)
        assert done == set()
        return loop.time()

    assert run_virtually(main) == 50.0


def test_a_set_of_tasks_is_walked_in_the_order_of_their_making() -> None:
    """A task hashes by its number, so that two runs walk through sets of tasks in the same way."""

    async def main(loop: VirtualLoop) -> list[int]:
        tasks = {loop.create_task(asyncio.sleep(1.0)) for _ in range(50)}
        first = min(task.number for task in tasks)
        await asyncio.wait(tasks)
        return [task.number - first for task in tasks]

    assert run_virtually(main) == run_virtually(main)


def test_what_can_never_end_is_a_deadlock() -> None:
    """With nothing ready and no timer, waiting for ever is told instead of done."""

    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run_virtually(main)


def test_what_takes_no_time_is_a_spin() -> None:
    """Callbacks without end at one moment are told instead of followed."""

    async def main(_: VirtualLoop) -> None:
        while True:  # noqa: ASYNC110 - it is to spin
            await asyncio.sleep(0)

    with pytest.raises(Spin):
        run_virtually(main, most_steps=1_000)


def test_what_is_left_is_cancelled() -> None:
    """A program's tasks end with it, also those that have to be asked twice."""
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            await asyncio.sleep(1e9)
        finally:
            ended.append("stubborn")

    async def main(loop: VirtualLoop) -> None:
        loop.create_task(stubborn())
        await asyncio.sleep(1.0)

    run_virtually(main)
    assert ended == ["stubborn"]
