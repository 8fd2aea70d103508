"""How much a pool keeps: calls that wait, and answers that nobody has fetched."""

import pytest
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.app.plane.pools.kit import Ward


async def test_a_queue_that_is_full_takes_no_more() -> None:
    """And says so."""
    ward = Ward(most_queued=2)
    ward.call()
    ward.call()
    with pytest.raises(GRPCError, match="no more inputs for some than the 2 that wait"):
        ward.call()


@pytest.mark.parametrize("bounds", [{"most_answers": 2}, {"most_answer_bytes": 100}])
async def test_answers_are_kept_until_there_are_too_many(bounds: dict[str, int]) -> None:
    """By number and by weight; the oldest go, and a call without an answer is never forgotten."""
    ward = Ward(api_pb2.Function(function_name="some", max_concurrent_inputs=9), **bounds)
    first, *calls = [ward.call() for _ in range(6)]
    (container,) = ward.ready()
    for call in [await ward.runs(container) for _ in range(6)][1:]:
        ward.answer(container, call)
    assert first is ward.answers.get(first.id)
    assert calls[-1] is ward.answers.get(calls[-1].id)
    for forgotten in calls[:3]:
        with pytest.raises(GRPCError, match="its answer is not kept any more"):
            ward.answers.get(forgotten.id)
