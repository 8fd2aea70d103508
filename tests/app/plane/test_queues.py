"""Inputs and the containers that ask for them, at the moments when one of the two goes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from modal_proto import api_pb2

from app.plane.calls import Answers, Call
from app.plane.containers import Container, State
from app.plane.options import Options
from app.plane.queues import Queue, Turn


def container(number: int) -> Container:
    """One that is ready; nothing of its process or its pool is needed to ask for inputs."""
    pool: Any = None
    return Container(f"ta-{number}", pool, api_pb2.Function(), 1, lambda *_: None, state=State.READY)


def call(number: int) -> Call:
    """A call with an input."""
    pool: Any = None
    return Call(f"fc-{number}", f"in-{number}", pool, api_pb2.FunctionInput(), 0, 0)


def queue() -> Queue:
    """An empty one."""
    return Queue("some", Options(), Answers(Options()), api_pb2.Function, lambda: None)


async def asking(queue: Queue, asker: Container) -> asyncio.Task[Call | Turn]:
    """A container that waits for an input."""
    task = asyncio.create_task(queue.take(asker))
    await asyncio.sleep(0)
    return task


async def test_an_input_whose_taker_goes_at_that_moment_runs_elsewhere_and_first() -> None:
    """It was given away, and the connection was cut before the answer was written: nobody would run it."""
    inputs, gone, other = queue(), container(1), container(2)
    taking = await asking(inputs, gone)
    inputs.put(call(1))
    inputs.put(call(2))
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert ["in-1", "in-2"] == [each.input_id for each in inputs.waiting]
    assert {} == gone.active
    taken = await inputs.take(other)
    assert isinstance(taken, Call)
    assert ("in-1", other, 0) == (taken.input_id, taken.container, taken.losses)


@pytest.mark.parametrize("end", [Queue.dismiss, Queue.gone])
async def test_a_container_that_ends_takes_no_input_with_it(end: Callable[[Queue, Container], None]) -> None:
    """Told to end, or gone, while it waits: the next input goes to another."""
    inputs, ending, other = queue(), container(1), container(2)
    leaving, staying = await asking(inputs, ending), await asking(inputs, other)
    ending.state = State.ENDING
    end(inputs, ending)
    inputs.put(call(1))
    taken = await staying
    assert isinstance(taken, Call)
    assert other is taken.container
    assert Turn.OVER is await inputs.take(ending)
    leaving.cancel()


async def test_an_input_given_just_before_the_end_is_run_and_the_next_question_is_the_last() -> None:
    """A container that is told to end when it is done still answers what it was given."""
    inputs, ending = queue(), container(1)
    taking = await asking(inputs, ending)
    inputs.put(call(1))
    ending.state = State.ENDING
    inputs.dismiss(ending)
    given = await taking
    assert isinstance(given, Call)
    done = api_pb2.FunctionPutOutputsItem(input_id=given.input_id)
    done.result.status = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
    inputs.answered(ending, done)
    assert given.done
    assert Turn.OVER is await inputs.take(ending)
