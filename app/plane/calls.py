"""Calls: one input each, its attempts and its answer; the answers are kept until a bound pushes the oldest out."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modal_proto import api_pb2

from app.plane.errors import missing
from app.plane.options import Options

if TYPE_CHECKING:
    from app.plane.containers import Container
    from app.plane.pools import Pool

Result = Any  # api_pb2.GenericResult
Status = api_pb2.GenericResult

RETRIED: Final = (Status.GENERIC_STATUS_FAILURE, Status.GENERIC_STATUS_TIMEOUT)  # what a retry policy is for


@dataclass(slots=True, eq=False)
class Call:
    """One call of a function, from its client's request to its answer."""

    id: str
    input_id: str
    pool: "Pool"
    payload: Any  # api_pb2.FunctionInput
    invocation: int
    retries: int
    """How many the function's policy still grants."""
    attempt: int = 0
    """Modal's `retry_count`: tells an answer of an earlier attempt from one of this."""
    losses: int = 0
    """Containers that ended under it."""
    container: "Container | None" = None
    answer: Any = None  # api_pb2.FunctionGetOutputsItem
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    began: float = 0.0

    @property
    def done(self) -> bool:
        """Whether it has its answer."""
        return self.answer is not None

    def finish(
        self, result: Result, data_format: int = api_pb2.DATA_FORMAT_PICKLE, task_id: str = ""
    ) -> None:
        """Give it its answer, once; later ones are dropped."""
        if self.done:
            return
        self.stop_timer()
        self.answer = api_pb2.FunctionGetOutputsItem(
            result=result,
            idx=0,
            input_id=self.input_id,
            data_format=data_format,  # type: ignore[arg-type]  # an enum's value is an int
            task_id=task_id,
            retry_count=self.attempt,
            input_started_at=self.began,
            output_created_at=time.time(),
        )
        self.payload = None
        for waiter in self.waiters:
            _wake(waiter)

    def stop_timer(self) -> None:
        """Its attempt no longer runs out."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def wait(self, timeout_s: float) -> bool:
        """Whether it has its answer within that time."""
        if self.done or timeout_s <= 0:
            return self.done
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(timeout_s, _wake, waiter)  # `asyncio.timeout` takes four times as long
        self.waiters.append(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self.waiters.remove(waiter)
        return self.done


class Answers:
    """All calls by id. Those that have their answer go when there are too many of them, or they weigh too much."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._calls: dict[str, Call] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0

    def add(self, call: Call) -> None:
        """Remember a new call."""
        self._calls[call.id] = call

    def get(self, call_id: str) -> Call:
        """The call; raises NOT_FOUND for one that was never made, or that is too old."""
        call = self._calls.get(call_id)
        if call is None:
            raise missing(f"no function call {call_id}: its answer is not kept any more")
        return call

    def finished(self, call: Call) -> None:
        """Count an answer, and forget the oldest where that is too much."""
        weight = call.answer.ByteSize()
        self._finished[call.id] = weight
        self._bytes += weight
        while (
            len(self._finished) > self._options.most_answers or self._bytes > self._options.most_answer_bytes
        ):
            oldest, weight = self._finished.popitem(last=False)
            self._bytes -= weight
            self._calls.pop(oldest, None)


def failed(status: int, why: str) -> Result:
    """A result that the plane itself gives."""
    return api_pb2.GenericResult(status=status, exception=why)  # type: ignore[arg-type]  # an enum's value


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
