"""The inputs of one pool: who waits, who runs them, and what becomes of them when time, a container or a retry ends."""

import asyncio
import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from app.plane.calls import RETRIED, Answers, Call, Status, failed
from app.plane.containers import Container, State
from app.plane.definition_check import Definition
from app.plane.errors import exhausted
from app.plane.options import Options

log = structlog.get_logger(__name__)

TAKE_S: Final = 30.0  # a container asks again after each empty answer
RETRY_MOST_MS: Final = 60_000  # Modal's own bound for the delay of a retry


class Turn(enum.Enum):
    """What a container gets that asked for an input, when it is no input."""

    LATER = "ask again"
    OVER = "end"


Taker = asyncio.Future[Call | Turn]


@dataclass(slots=True, eq=False)
class Queue:
    """Inputs wait here for containers, and containers for inputs."""

    name: str
    limits: Options
    answers: Answers
    definition: Callable[[], Definition]
    changed: Callable[[], None]
    """Called when there is more or less to run."""
    waiting: deque[Call] = field(default_factory=deque)
    takers: dict[Taker, Container] = field(default_factory=dict)
    """Containers that wait for an input, the longest first."""
    _resting: set[Call] = field(default_factory=set)
    """Between two attempts."""

    @property
    def timeout_s(self) -> float:
        """What one attempt gets."""
        return float(self.definition().timeout_secs or self.limits.timeout_s)

    def put(self, call: Call) -> None:
        """Have a container take it: one that waits now, or the next that asks; raises RESOURCE_EXHAUSTED."""
        if len(self.waiting) >= self.limits.most_queued:
            raise exhausted(f"inputs for {self.name} than the {len(self.waiting)} that wait")
        self.waiting.append(call)
        self._match()
        self.changed()

    async def take(self, container: Container) -> Call | Turn:
        """The next input for that container."""
        if container.state is not State.READY:
            return Turn.OVER
        call = self._next(container)
        return self._assign(call, container) if call else await self._wait_for_input(container)

    def answered(self, container: Container, item: Any) -> None:
        """Take an output (api_pb2.FunctionPutOutputsItem) from a container."""
        call = container.active.pop((item.input_id, item.retry_count), None)
        container.touch()
        if call is not None and _runs(call, container, item.retry_count):
            self._put_out(call, container, item)
        self._match()
        self.changed()

    def settle(self, call: Call, result: Any, data_format: int = 0, container_id: str = "") -> None:
        """Give a call its answer, or its next attempt where its retry policy grants one."""
        call.stop_timer()
        if result.status in RETRIED and call.retries > 0:
            return self._retry(call)
        if not call.done:
            call.finish(result, data_format, container_id)
            self.answers.finished(call)
        return None

    def cancel(self, call: Call, *, kill_container: bool) -> None:
        """Take it back, wherever it is."""
        if call in self.waiting:
            self.waiting.remove(call)
        self.settle(call, failed(Status.GENERIC_STATUS_TERMINATED, "the call was cancelled"))
        self._stop_running(call, kill_container)

    def dismiss(self, container: Container) -> None:
        """Answer a container that waits for an input with its end."""
        for taker, waiting in self.takers.items():
            if waiting is container and not taker.done():
                taker.set_result(Turn.OVER)

    def gone(self, container: Container) -> None:
        """A container ended: what it ran runs elsewhere, and first."""
        self.takers = {taker: waiting for taker, waiting in self.takers.items() if waiting is not container}
        lost = [call for (_, attempt), call in container.active.items() if _runs(call, container, attempt)]
        container.active.clear()
        for call in reversed(lost):  # each goes to the front
            self._lost(call)
        self._match()

    def fail_waiting(self, result: Any) -> None:
        """Answer everything that waits, for a container or for its next attempt, without another attempt."""
        waiting, self.waiting, self._resting = [*self.waiting, *self._resting], deque(), set()
        for call in waiting:
            call.retries = 0
            self.settle(call, result)

    def deployed(self) -> None:
        """A new definition is in force: answer what waits for a method that it no longer has."""
        for call in [*self.waiting, *self._resting]:
            if not _has_method(self.definition(), call):
                self._drop(call)

    # ------------------------------------------------------------ helpers

    def _match(self) -> None:
        """Give what waits to who waits for it, the oldest to the one that has waited for longest."""
        if not self.waiting:
            return
        for taker, container in list(self.takers.items()):
            if taker.done() or container.state is not State.READY:
                continue
            call = self._next(container)
            if call is not None:
                del self.takers[taker]
                taker.set_result(self._assign(call, container))

    def _next(self, container: Container) -> Call | None:
        """Take out the oldest that may run there: not where an attempt of it still runs, since a cancellation
        names an input and would hit both; and not in a container of before the deploy that brought its method."""
        old = container.definition is not self.definition()
        for call in self.waiting:
            if old and not _has_method(container.definition, call):
                continue
            if not any((call.input_id, attempt) in container.active for attempt in range(call.attempt)):
                self.waiting.remove(call)
                return call
        return None

    async def _wait_for_input(self, container: Container) -> Call | Turn:
        loop = asyncio.get_running_loop()
        taker: Taker = loop.create_future()
        self.takers[taker] = container
        timer = loop.call_later(TAKE_S, _ask_again, taker)
        try:
            return await taker
        except asyncio.CancelledError:
            self._give_back(taker, container)
            raise
        finally:
            timer.cancel()
            taker.cancel()  # of a container that went away while it waited
            self.takers.pop(taker, None)

    def _give_back(self, taker: Taker, container: Container) -> None:
        """Who asked went away in the moment in which it was given an input: it never saw it."""
        call = taker.result() if taker.done() and not taker.cancelled() else None
        if not isinstance(call, Call) or not _runs(call, container, call.attempt):
            return
        container.active.pop((call.input_id, call.attempt), None)
        call.stop_timer()
        call.container = None
        self.waiting.appendleft(call)
        self._match()
        self.changed()

    def _assign(self, call: Call, container: Container) -> Call:
        call.container, call.began = container, time.time()
        container.active[(call.input_id, call.attempt)] = call
        call.timer = asyncio.get_running_loop().call_later(self.timeout_s, self._timed_out, call)
        return call

    def _put_out(self, call: Call, container: Container, item: Any) -> None:
        if item.result.status == Status.GENERIC_STATUS_TERMINATED:
            self._lost(call)  # the container ends under it: a preempted input runs again
        else:
            self.settle(call, item.result, item.data_format, container.id)

    def _timed_out(self, call: Call) -> None:
        log.warning("input_timed_out", function=self.name, input=call.input_id, timeout_s=self.timeout_s)
        self._stop_running(call, kill_container=False)
        why = f"the input in {self.name} hit its timeout of {self.timeout_s:g} s"
        self.settle(call, failed(Status.GENERIC_STATUS_TIMEOUT, why))

    def _stop_running(self, call: Call, kill_container: bool) -> None:
        container, key = call.container, (call.input_id, call.attempt)
        if container is None or key not in container.active:
            return
        if kill_container:
            container.kill()
            return
        container.cancel(call)
        asyncio.get_running_loop().call_later(self.limits.cancel_s, _kill_if_running, container, key)

    def _retry(self, call: Call) -> None:
        policy = self.definition().retry_policy
        delay_ms = policy.initial_delay_ms * (policy.backoff_coefficient or 1) ** call.attempt
        call.retries -= 1
        call.attempt += 1
        call.container = None
        self._resting.add(call)
        most_ms = policy.max_delay_ms or RETRY_MOST_MS
        asyncio.get_running_loop().call_later(min(delay_ms, most_ms) / 1000, self._again, call)

    def _again(self, call: Call) -> None:
        self._resting.discard(call)
        if call.done:
            return
        if _has_method(self.definition(), call):
            self.waiting.append(call)
            self._match()
        else:
            self._drop(call)
        self.changed()

    def _lost(self, call: Call) -> None:
        call.stop_timer()
        call.container = None
        call.losses += 1
        if not _has_method(self.definition(), call):
            self._drop(call)
            return
        if call.losses <= self.limits.redeliveries:
            self.waiting.appendleft(call)
            return
        why = f"{call.losses} containers ended under this input"
        self.settle(call, failed(Status.GENERIC_STATUS_INTERNAL_FAILURE, why))

    def _drop(self, call: Call) -> None:
        """Answer a call that nobody could run."""
        if call in self.waiting:
            self.waiting.remove(call)
        call.retries = 0
        why = f"{self.name} has no method '{call.payload.method_name}' any more"
        self.settle(call, failed(Status.GENERIC_STATUS_TERMINATED, why))


def _has_method(definition: Definition, call: Call) -> bool:
    """Whether what is deployed so can run it; a function has no methods, and runs all."""
    methods = definition.method_definitions
    return not methods or call.payload.method_name in methods


def _runs(call: Call, container: Container, attempt: int) -> bool:
    """Whether that attempt in that container is still what the call waits for."""
    return not call.done and call.container is container and call.attempt == attempt


def _ask_again(taker: Taker) -> None:
    if not taker.done():
        taker.set_result(Turn.LATER)


def _kill_if_running(container: Container, key: tuple[str, int]) -> None:
    if key in container.active:
        container.kill()
