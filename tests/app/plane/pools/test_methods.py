"""A deploy that brings or drops a method of a class, with containers of both deploys at work."""

import asyncio

from modal_proto import api_pb2

from app.plane.calls import Status
from tests.app.plane.pools.kit import Ward, status

TERMINATED = Status.GENERIC_STATUS_TERMINATED


def _cls(*methods: str) -> api_pb2.Function:
    """A class with these methods, in containers that take several inputs at once."""
    cls = api_pb2.Function(function_name="Some.*", timeout_secs=10, max_concurrent_inputs=9)
    cls.autoscaler_settings.max_containers = 2
    cls.retry_policy.retries = 1
    for method in methods:
        cls.method_definitions[method].function_name = f"Some.{method}"
    return cls


async def test_a_new_method_is_given_to_no_container_of_before_it() -> None:
    """It would end there, with all that runs in it; the next input goes there all the same."""
    ward = Ward(_cls("f"))
    running = ward.call("f")
    (old,) = ward.ready()
    assert running is await ward.runs(old)
    asked = ward.asks(old)
    await asyncio.sleep(0)
    ward.function.draft = _cls("f", "g")
    ward.function.publish(ward.function.version + 1)
    new_one, old_one = ward.call("g"), ward.call("f")
    assert old_one is await asked
    ward.pool.deployed()
    (fresh,) = ward.ready()
    assert new_one is await ward.runs(fresh)


async def test_what_waits_for_a_method_that_is_no_more_is_answered() -> None:
    """In the queue, between two attempts, and when the last container that had it ends under it."""
    ward = Ward(_cls("f", "g"))
    lost, resting, waiting = ward.call("g"), ward.call("g"), ward.call("g")
    (container,) = ward.ready()
    assert [lost, resting] == [await ward.runs(container), await ward.runs(container)]
    ward.answer(container, resting, Status.GENERIC_STATUS_FAILURE)
    ward.deploy(_cls("f"))
    assert [None, TERMINATED, TERMINATED] == [status(call) for call in (lost, resting, waiting)]
    container.die()
    assert TERMINATED == status(lost)
    assert "some has no method 'g' any more" == lost.answer.result.exception
