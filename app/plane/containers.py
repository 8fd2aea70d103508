"""One container: a process with a socket of its own, from its start to its last signal."""

import asyncio
import contextlib
import enum
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from modal_proto import api_pb2

from app.plane.calls import Call
from app.plane.http2 import Answer
from app.plane.listening import Server

if TYPE_CHECKING:
    from app.plane.pools import Pool

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 14.0  # below the 15.1 s after which the container's client gives a heartbeat up


def now_s() -> float:
    """The loop's clock: all that the plane waits for is counted on it, so that a test may turn it on."""
    return asyncio.get_running_loop().time()


class State(enum.Enum):
    """Where a container is in its life."""

    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Start:
    """What a process is started with."""

    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    """Its working folder."""
    socket: Path
    """Where it reaches the plane."""
    port_file: Path
    """Where it writes the port that it got in place of the one that its function declares."""
    lifeline: int
    """A pipe's end: the process dies when the other end does, with the plane."""


class LogSink(Protocol):
    """Takes what a container prints."""

    def __call__(self, container: "Container", descriptor: int, text: str) -> None:
        """A piece of whole lines."""


@dataclass(slots=True, eq=False)
class Container:
    """A process that takes inputs, or requests, of one pool."""

    id: str
    pool: "Pool"
    definition: Any  # api_pb2.Function, as deployed when it started
    version: int
    sink: LogSink
    state: State = State.STARTING
    active: dict[tuple[str, int], Call] = field(default_factory=dict)
    """By input id and attempt."""
    requests: int = 0
    """Of a server: those in flight."""
    port: int = 0
    failure: Any = None  # api_pb2.GenericResult: why it could not start
    was_ready: bool = False
    asked_to_end: bool = False
    created_at: float = field(default_factory=time.time)
    began: float = field(default_factory=now_s)
    idle_since: float = field(default_factory=now_s)
    process: asyncio.subprocess.Process | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    start: Start | None = None
    _cancels: list[str] = field(default_factory=list)
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: asyncio.Task[None] | None = None
    _hurried: bool = False

    @property
    def is_server(self) -> bool:
        """Whether it takes requests and no inputs."""
        return bool(self.definition.is_server)

    @property
    def pid(self) -> int:
        """Its process, 0 before there is one."""
        return self.process.pid if self.process else 0

    @property
    def busy(self) -> int:
        """Inputs and requests that it runs."""
        return len(self.active) + self.requests

    async def run(self, start: Start, answer: Answer) -> int:
        """Live: serve its socket, start the process, keep what it prints, and give its exit code."""
        self.start = start
        server = Server(answer)
        await server.listen(start.socket)
        try:
            return await self._run_process(start)
        finally:
            self.state = State.GONE
            self.gone.set()
            await server.close()

    def ready(self) -> None:
        """It entered, and takes inputs or requests from now on."""
        if self.state is not State.STARTING:
            return
        self.state, self.was_ready, self.idle_since = State.READY, True, now_s()
        if self.is_server:
            self.port = self._read_port()
        took_ms = round((now_s() - self.began) * 1000)
        log.info("container_ready", container=self.id, function=self.pool.name, duration_ms=took_ms)

    def touch(self) -> None:
        """It was busy until now."""
        self.idle_since = now_s()

    def cancel(self, call: Call) -> None:
        """Have it told, by its next heartbeat, to cancel that input."""
        self._cancels.append(call.input_id)
        self._cancelled.set()

    async def heartbeat(self) -> Any:
        """Answer a heartbeat: when there is something to cancel, or just before it would run out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await self._cancelled.wait()
        if not self._cancels:
            return api_pb2.ContainerHeartbeatResponse()
        inputs, self._cancels = self._cancels, []
        self._cancelled.clear()
        return api_pb2.ContainerHeartbeatResponse(
            cancel_input_event=api_pb2.CancelInputEvent(input_ids=inputs)
        )

    def signal(self, number: int) -> None:
        """Send a signal to the process; to its whole group when it is SIGKILL."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def end(self, first: int | None, patience_s: float, grace_s: float) -> None:
        """Have it end: `first` is sent now, SIGINT after `patience_s`, SIGKILL after another `grace_s`.

        Idempotent, but that an end without patience overtakes one with it.
        """
        if self.state is State.GONE or self._hurried or (self._ending is not None and patience_s):
            return
        if self._ending is not None:
            self._ending.cancel()
        self._hurried = not patience_s
        self.state, self.asked_to_end = State.ENDING, True
        if first is not None:
            self.signal(first)
        self._ending = asyncio.create_task(self._end(patience_s, grace_s), name=f"end {self.id}")

    def kill(self) -> None:
        """End it now, without its exit hooks."""
        if self.state is not State.GONE:
            self.state = State.ENDING
            self.signal(signal.SIGKILL)

    async def _end(self, patience_s: float, grace_s: float) -> None:
        if patience_s > 0:
            if await self._is_gone(patience_s):
                return
            self.signal(signal.SIGINT)
        if not await self._is_gone(grace_s):
            log.warning("container_killed", container=self.id, function=self.pool.name, grace_s=grace_s)
            self.signal(signal.SIGKILL)

    async def _is_gone(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self.gone.wait()
        except TimeoutError:
            return False
        return True

    async def _run_process(self, start: Start) -> int:
        self.process = await asyncio.create_subprocess_exec(
            *start.command,
            env=start.environ,
            cwd=start.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(start.lifeline,),
            start_new_session=True,  # so that what it starts can be killed with it
        )
        if self.state is State.ENDING:  # somebody was faster than the start
            self.signal(signal.SIGKILL)
        outputs = asyncio.gather(
            self._keep(self.process.stdout, api_pb2.FILE_DESCRIPTOR_STDOUT),
            self._keep(self.process.stderr, api_pb2.FILE_DESCRIPTOR_STDERR),
        )
        try:
            return await self.process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it started and left behind ends with it
                os.killpg(self.process.pid, signal.SIGKILL)
            await _settle(outputs)

    async def _keep(self, stream: asyncio.StreamReader | None, descriptor: int) -> None:
        assert stream is not None
        rest = b""
        while piece := await stream.read(1 << 16):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if len(rest) > 1 << 16:  # a line without end is cut rather than held
                whole, newline, rest = whole + newline + rest, b"", b""
            if whole or newline:
                self.sink(self, descriptor, (whole + newline).decode(errors="replace"))
        if rest:
            self.sink(self, descriptor, rest.decode(errors="replace"))

    def _read_port(self) -> int:
        assert self.start is not None
        try:
            return int(self.start.port_file.read_text())
        except (OSError, ValueError):
            return int(
                self.definition.http_config.port
            )  # it bound the port in a way that could not be followed


# ---------------------------------------------------------------- helpers


async def _settle(outputs: "asyncio.Future[Any]") -> None:
    """Read what is left; a grandchild that holds the pipe open must not hold the plane."""
    try:
        async with asyncio.timeout(1.0):
            await outputs
    except TimeoutError:
        outputs.cancel()
