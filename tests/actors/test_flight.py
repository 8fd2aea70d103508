"""Single-flight: one task for all, bounded, and nobody's to cancel."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest

from actors.flight import FlightCancelled, FlightsClosed, SingleFlight, TooManyFlights
from tests.actors.cache_kit import settle, until


class Work:
    """Work that counts its starts and ends when told to."""

    def __init__(self) -> None:
        self.starts = 0
        self.end = asyncio.Event()

    async def __call__(self) -> int:
        self.starts += 1
        await self.end.wait()
        return self.starts


def make_flights(max_running: int = 10) -> SingleFlight[str, int]:
    """Make a bounded single-flight."""
    return SingleFlight(max_running=max_running, name="test")


async def test_all_who_join_share_one_task() -> None:
    """Work runs once for all who ask while it runs, and again for who asks later."""
    flights, work = make_flights(), Work()
    readers = [asyncio.create_task(flights.join("k", work)) for _ in range(50)]
    await settle()
    assert (work.starts, len(flights)) == (1, 1)
    work.end.set()
    assert await asyncio.gather(*readers) == [1] * 50
    assert await flights.join("k", work) == 2
    assert len(flights) == 0


async def test_a_cancelled_reader_takes_nobody_along() -> None:
    """Cancelling any reader, also the one who started the work, leaves the others their result."""
    flights, work = make_flights(), Work()
    readers = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await settle()
    readers[0].cancel()
    readers[2].cancel()
    await settle()
    work.end.set()
    assert await readers[1] == 1
    assert [reader.cancelled() for reader in readers] == [True, False, True]


async def test_the_bound_refuses_new_work_and_not_joining() -> None:
    """At the bound a new key is refused with a retryable error; a running one can still be joined."""
    flights, work = make_flights(max_running=1), Work()
    first = asyncio.create_task(flights.join("a", work))
    await settle()
    assert not flights.has_room()
    with pytest.raises(TooManyFlights) as caught:
        await flights.join("b", work)
    assert caught.value.retry
    second = asyncio.create_task(flights.join("a", work))
    await settle()
    work.end.set()
    assert [await first, await second] == [1, 1]
    assert flights.has_room()


async def test_an_ended_task_is_not_joined_and_does_not_unseat_its_successor() -> None:
    """In the very turn in which a task ends its key is free, and its landing leaves the next task alone."""
    flights, work = make_flights(), Work()

    async def quick() -> int:
        return 0

    first = flights.start("k", quick)
    await until(first.done)
    assert (len(flights), flights.running("k")) == (1, None)
    second = flights.start("k", work)
    await settle()
    assert flights.running("k") is second
    work.end.set()
    assert await second == 1


async def test_work_that_cancels_itself_does_not_cancel_its_readers() -> None:
    """A cancellation from inside the work reaches readers as an error, not as their own cancellation."""

    async def suicide() -> int:
        raise asyncio.CancelledError

    with pytest.raises(FlightCancelled):
        await make_flights().join("k", suicide)


async def test_close_cancels_what_runs_and_refuses_what_comes() -> None:
    """After `close` no task of ours runs, its readers know why, and nothing new starts."""
    flights, work = make_flights(), Work()
    readers = [asyncio.create_task(flights.join(key, work)) for key in ("a", "a", "b")]
    await settle()
    assert await flights.close() == 0
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [FlightsClosed] * 3
    with pytest.raises(FlightsClosed):
        await flights.join("c", work)
    assert (len(flights), await flights.close()) == (0, 0)


async def test_close_does_not_wait_for_ever() -> None:
    """Work that swallows its cancellation is left behind at the deadline and counted."""
    end = asyncio.Event()

    async def stubborn() -> int:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return 1

    flights = make_flights()
    task = flights.start("k", stubborn)
    await settle()
    assert await flights.close(deadline_s=0.01) == 1
    end.set()
    assert await task == 1


async def test_an_error_that_nobody_waits_for_is_retrieved() -> None:
    """A failure without readers is not shouted by the event loop when its task is collected."""
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def broken() -> int:
        raise ValueError("nobody listens")

    flights = make_flights()
    flights.start("k", broken)
    await settle()
    gc.collect()
    await settle()
    assert (complaints, len(flights)) == ([], 0)
