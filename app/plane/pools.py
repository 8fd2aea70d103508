"""One pool: the containers of a function for one set of parameters, as many as its queue and its settings want."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from modal_proto import api_pb2

from app.plane.calls import Answers, Call, Status, failed
from app.plane.containers import Container, State, now_s
from app.plane.definition import with_options
from app.plane.definition_check import Definition, check_settings
from app.plane.errors import missing
from app.plane.functions import Function
from app.plane.options import Options
from app.plane.queues import Queue, Turn
from app.plane.scaling import Scaling, scaling_of

log = structlog.get_logger(__name__)

ALIVE: Final = (State.STARTING, State.READY)


@dataclass(slots=True, eq=False)
class Pool:
    """Containers are started and ended here, and nowhere else; they count until their process is gone."""

    id: str
    function: Function
    params: bytes
    options: Any | None  # api_pb2.FunctionOptions
    limits: Options
    answers: Answers
    launch: "Callable[[Pool], Container | None]"
    """Starts a container, unless the plane has no room for one."""
    containers: dict[str, Container] = field(default_factory=dict)
    most_seen: int = 0
    """The most containers there ever were at once."""
    retired: bool = False
    failures: int = 0
    """Failed starts in a row."""
    queue: Queue = field(init=False)
    _overrides: Any = field(default_factory=api_pb2.AutoscalerSettings)
    _used: bool = False
    _failed_at: float = 0.0
    """When the last failed start was counted."""
    _not_before: float = 0.0
    _wanted_until: float = 0.0
    _scaling: Scaling | None = None
    _definition: tuple[int, Definition] | None = None

    def __post_init__(self) -> None:
        self.queue = Queue(self.name, self.limits, self.answers, lambda: self.definition, self.reconcile)

    @property
    def name(self) -> str:
        """The function's name, a class without its `.*`."""
        return self.function.name

    @property
    def definition(self) -> Definition:
        """What is deployed now, with this pool's options."""
        if self.options is None:
            return self.function.live
        if self._definition is None or self._definition[0] != self.function.version:
            self._definition = (self.function.version, with_options(self.function.live, self.options))
        return self._definition[1]

    @property
    def settings(self) -> Any:
        """The autoscaler's settings in force (api_pb2.AutoscalerSettings)."""
        settings = api_pb2.AutoscalerSettings()
        settings.CopyFrom(self.definition.autoscaler_settings)
        if not self._minimum_counts:
            settings.min_containers = 0
        for described, value in self._overrides.ListFields():
            setattr(settings, described.name, value)
        return settings

    @property
    def scaling(self) -> Scaling:
        """The same, as numbers."""
        if self._scaling is None:
            self._scaling = scaling_of(self.definition, self.settings, self.limits.scaledown_s)
        return self._scaling

    @property
    def load(self) -> int:
        """Inputs that wait or run, or requests in flight; 1 while a server that nobody serves is asked for."""
        busy = len(self.queue.waiting) + sum(container.busy for container in self.containers.values())
        return busy or int(now_s() < self._wanted_until)

    def put(self, call: Call) -> None:
        """Queue a call; raises RESOURCE_EXHAUSTED, and NOT_FOUND when the function is no more."""
        if self.retired:  # it was stopped while a caller was on its way here
            raise missing(f"no function {self.id}: {self.name} was stopped")
        if not self._used:
            self._used, self._scaling = True, None
        self.queue.put(call)

    async def take(self, container: Container) -> Call | Turn:
        """The next input for a container, which is ready from its first question on."""
        self.ready(container)
        return await self.queue.take(container)

    def ready(self, container: Container) -> None:
        """The container entered: its inputs, or a server's requests, may come."""
        if container.state is State.STARTING:
            self.failures = 0
            container.ready()
            self.reconcile()

    def pick(self) -> Container | None:
        """Of a server: the ready container with the fewest requests in flight; the wish for one is noted."""
        ready = [container for container in self.containers.values() if container.state is State.READY]
        if not ready:
            self._wanted_until = now_s() + self.scaling.window_s
            self.reconcile()
            return None
        return min(ready, key=lambda container: container.requests)

    def gone(self, container: Container, code: int) -> None:
        """A process ended: its inputs run elsewhere, and a start that failed makes the next one wait."""
        self.containers.pop(container.id, None)
        self.queue.gone(container)
        if not container.was_ready and not container.asked_to_end:
            self._failed_to_start(container, f"it ended with code {code}")
        self.reconcile()

    def update(self, settings: Any) -> Any:
        """Lay settings over the deployed ones until the next deploy, and give those now in force.

        Raises UNIMPLEMENTED for what it does not scale by.
        """
        check_settings(settings, self.name)
        for described, value in settings.ListFields():
            setattr(self._overrides, described.name, value)
        self._scaling = None
        self.reconcile()
        return self.settings

    def deployed(self) -> None:
        """A new definition is in force: overrides end, and old containers are replaced."""
        self._overrides = api_pb2.AutoscalerSettings()
        self._scaling, self.failures, self._not_before = None, 0, 0.0
        self.queue.deployed()
        self.reconcile()

    def retire(self) -> None:
        """The function is no more, or its app is stopped: answer what waits and runs, and end everything."""
        self.retired = True
        result = failed(Status.GENERIC_STATUS_TERMINATED, f"{self.name} was stopped")
        for container in list(self.containers.values()):
            for call in container.active.values():
                self.queue.settle(call, result)
            self.interrupt(container)
        self.queue.fail_waiting(result)

    def interrupt(self, container: Container) -> None:
        """End a container whatever it runs, with its exit hooks."""
        gentle = container.is_server and container.state is State.READY
        container.end(signal.SIGTERM if gentle else signal.SIGINT, 0, self._grace_s(container))
        self.queue.dismiss(container)

    def drain(self, container: Container) -> None:
        """End a container when what it runs is done."""
        if container.is_server or container.state is not State.READY:
            self.interrupt(container)
            return
        container.end(None, self.queue.timeout_s + self.limits.cancel_s, self._grace_s(container))
        self.queue.dismiss(container)

    def start_one(self) -> bool:
        """Start a container whatever the settings say; False when the plane has no room."""
        container = self.launch(self)
        if container is None:
            return False
        self.containers[container.id] = container
        self.most_seen = max(self.most_seen, len(self.containers))
        return True

    def reconcile(self) -> None:
        """Start and end containers until there are as many as wanted; called whenever something changed."""
        if self.retired:
            return
        wanted = self.scaling.wanted(self.load)
        alive = [container for container in self.containers.values() if container.state in ALIVE]
        current = [container for container in alive if container.version == self.function.version]
        if len(current) < len(alive):
            self._replace_old(alive, current, wanted)
        if wanted > len(current):
            self._start(wanted - len(current))
        elif wanted < len(current):
            self._end_idle(current, len(current) - wanted)

    def tick(self) -> None:
        """Look for what only the clock tells: idle containers, starts that take too long, pauses that are over."""
        now, limit_s = now_s(), self._startup_s
        for container in list(self.containers.values()):
            if container.state is State.STARTING and now - container.began > limit_s:
                container.kill()
                late = f"{self.name} was not ready within its startup timeout of {limit_s:g} s"
                self._failed_to_start(container, late)
        self.reconcile()

    # ------------------------------------------------------------ helpers

    @property
    def _minimum_counts(self) -> bool:
        """A class with parameters has containers for the values of them that are in use, and none for itself."""
        if self.definition.class_parameter_info.schema and not self.params:
            return False
        return self._used or not self.params

    @property
    def _startup_s(self) -> float:
        return float(self.definition.startup_timeout_secs or self.queue.timeout_s)

    def _grace_s(self, container: Container) -> float:
        return float(container.definition.http_config.exit_grace_period or self.limits.grace_s)

    def _replace_old(self, alive: list[Container], current: list[Container], wanted: int) -> None:
        """Old containers take inputs until a new one is ready, or their place is needed, or nobody wants any."""
        old = [container for container in alive if container.version != self.function.version]
        if not wanted or any(container.state is State.READY for container in current):
            leaving = old
        elif self.scaling.most and len(alive) == len(self.containers) >= self.scaling.most and not current:
            # its place is enough for a first new one; the others serve until that can
            leaving = [min(old, key=lambda container: container.busy)]
        else:
            return
        for container in leaving:
            self.drain(container)

    def _start(self, count: int) -> None:
        if not self.function.capacity or now_s() < self._not_before:
            return
        if self.scaling.most:
            count = min(count, self.scaling.most - len(self.containers))
        for _ in range(count):
            if not self.start_one():
                return

    def _end_idle(self, current: list[Container], surplus: int) -> None:
        since = now_s() - self.scaling.window_s
        idle = [c for c in current if c.state is State.READY and not c.busy and c.idle_since < since]
        for container in sorted(idle, key=lambda container: container.idle_since)[:surplus]:
            log.info("container_idle", container=container.id, function=self.name)
            self.drain(container)

    def _failed_to_start(self, container: Container, why: str) -> None:
        """Count it, unless it began before the last one failed: what starts together fails as one."""
        if container.version != self.function.version or container.began < self._failed_at:
            return
        self.failures += 1
        pause_s = min(self.limits.crash_first_s * 2 ** (self.failures - 1), self.limits.crash_most_s)
        self._failed_at = now_s()
        self._not_before = self._failed_at + pause_s
        result = container.failure or failed(Status.GENERIC_STATUS_INIT_FAILURE, why)
        log.warning("container_start_failed", function=self.name, reason=result.exception, pause_s=pause_s)
        if self.failures >= self.limits.crash_gives_up and not self._any_ready:
            self.queue.fail_waiting(result)

    @property
    def _any_ready(self) -> bool:
        return any(container.state is State.READY for container in self.containers.values())
