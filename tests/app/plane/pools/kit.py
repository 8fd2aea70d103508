"""A pool whose containers are puppets: no process, and they do what their test says."""

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Any, Final

from modal_proto import api_pb2

from app.plane.calls import Answers, Call, Status
from app.plane.containers import Container, State, now_s
from app.plane.functions import Function
from app.plane.options import Options
from app.plane.pools import ALIVE, Pool
from app.plane.queues import Turn

DIES_S: Final = 0.0625  # from SIGKILL to the end of its process
TICK_S: Final = 0.25  # times of these tests are sums of powers of two, so they compare exactly


@dataclass(eq=False)
class Puppet(Container):
    """Dies of SIGKILL only, a moment later, and keeps what it was told."""

    signals: list[int] = field(default_factory=list)
    told_to_cancel: list[str] = field(default_factory=list)
    killed_at: float = 0.0

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.killed_at = self.killed_at or now_s()
            asyncio.get_running_loop().call_later(DIES_S, self.die, -number)

    def cancel(self, call: Call) -> None:
        self.told_to_cancel.append(call.input_id)

    def die(self, code: int = 0) -> None:
        """Its process ends."""
        if self.state is not State.GONE:
            self.state = State.GONE
            self.gone.set()
            self.pool.gone(self, code)


class Ward:
    """One pool, who calls it, and the clock that it looks at."""

    def __init__(self, definition: Any | None = None, **options: Any) -> None:
        """`definition` is an api_pb2.Function."""
        self.options = Options(tick_s=TICK_S, **options)
        self.answers = Answers(self.options)
        self.started: list[Puppet] = []
        announced = api_pb2.FunctionPrecreateRequest(function_name="some")
        live = definition or api_pb2.Function(function_name="some")
        self.function = Function("fu-1", "ap-1", announced, live=live, version=1)
        self.pool = Pool("fu-1", self.function, b"", None, self.options, self.answers, self._launch)
        self._calls = 0

    @property
    def alive(self) -> list[Puppet]:
        """Those that start or are ready."""
        return [container for container in self.started if container.state in ALIVE]

    def call(self, method: str = "") -> Call:
        """Call the function, or a method of the class; raises RESOURCE_EXHAUSTED and NOT_FOUND."""
        self._calls += 1
        retries = self.pool.definition.retry_policy.retries
        number = self._calls
        call = Call(
            f"fc-{number}", f"in-{number}", self.pool, api_pb2.FunctionInput(method_name=method), 0, retries
        )
        self.pool.put(call)
        self.answers.add(call)
        return call

    def ready(self, count: int = 1) -> list[Puppet]:
        """As many containers as that become ready."""
        starting = [container for container in self.started if container.state is State.STARTING][:count]
        for container in starting:
            self.pool.ready(container)
        return starting

    def asks(self, container: Puppet) -> "asyncio.Task[Call | Turn]":
        """The container waits for an input."""
        return asyncio.create_task(self.pool.take(container))

    async def runs(self, container: Puppet) -> Call:
        """The input that a container gets, which there must be."""
        turn = await self.pool.take(container)
        assert isinstance(turn, Call), turn
        return turn

    def answer(
        self, container: Puppet, call: Call, status: int = Status.GENERIC_STATUS_SUCCESS, attempt: int = 0
    ) -> None:
        """The container sends its output of one attempt."""
        item = api_pb2.FunctionPutOutputsItem(input_id=call.input_id, retry_count=attempt)
        item.result.status = status  # type: ignore[assignment]  # an enum's value is an int
        item.result.data = container.id.encode()
        self.pool.queue.answered(container, item)

    def deploy(self, definition: Any | None = None) -> None:
        """Put a definition in force, the same one where none is given."""
        self.function.draft = definition or self.function.live
        self.function.publish(self.function.version + 1)
        self.pool.deployed()

    async def passes(self, seconds: float) -> None:
        """Time passes, and the plane looks after the pool meanwhile."""
        end = now_s() + seconds
        while now_s() < end:
            await asyncio.sleep(min(TICK_S, end - now_s()))
            self.pool.tick()

    def _launch(self, pool: Pool) -> Puppet:
        name = f"ta-{len(self.started) + 1}"
        container = Puppet(name, pool, pool.definition, self.function.version, _silent)
        self.started.append(container)
        return container


def status(call: Call) -> Any:
    """How a call was answered; None before it is."""
    return call.answer.result.status if call.done else None


def by(call: Call) -> str:
    """Whose answer a call got."""
    return str(call.answer.result.data.decode())


def _silent(container: Container, descriptor: int, text: str) -> None:
    """Nobody prints."""
