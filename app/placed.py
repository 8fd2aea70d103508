"""What the Modal classes of the three actors inherit: hooks, the three methods, and the actor behind them."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

import modal
import structlog

from actors.ports import SkillFiles, SkillScan
from app import lazily
from app.cold_start import ColdStart
from app.fleet import AGENT, SESSIONS, SKILLS
from app.observability import configure_logging
from app.runtime import settle_memory
from app.settings import Scaling, Settings, SettingsError, carried, load
from app.transport.remote import ASK_MOST, RemoteFleet
from contracts.codec import encode
from contracts.faults import TooLarge
from contracts.skills import ReloadSkills

if TYPE_CHECKING:
    from app.wiring import Placed

log = structlog.get_logger(__name__)

STOP_S: Final = 28.0  # Modal grants 30 s
STARTUP_S: Final = 60  # seconds to start and warm; warming itself ends after 5 s


class PlacedActor:
    """The hooks and methods of a Modal class; a subclass says in `build` which actor it places.

    Modal makes the object, so that there is no constructor. Only what may stand in a memory snapshot is done
    before one: imports, and files that are parsed. Settings are read again after it, since secrets change.
    """

    role: ClassVar[str]
    first_phase: ClassVar[str]  # the phase that ends with the first answer
    _placed: Any = None  # a Placed: Modal's client resolves these names, and the wiring is imported late
    _begun: "Begun"
    _cold: ColdStart

    def build(self, settings: Settings) -> "Placed":
        """The actor with what it stands on, nothing of it opened; raises SettingsError."""
        raise NotImplementedError

    async def prepare(self, settings: Settings) -> None:
        """Read what a snapshot may hold."""

    async def rehearse(self, settings: Settings) -> None:
        """Play turns with the parts that this container has; must not raise."""
        await _wired("rehearse_owner", settings)

    async def beside(self) -> None:
        """What is to be looked up while the actor warms; must not raise."""

    def started(self) -> None:
        """What is to be done once the actor answers."""

    @modal.enter(snap=True)
    async def preload(self) -> None:
        """Before the snapshot: import what this container will use, by building the actor and dropping it."""
        self._cold = ColdStart(self.role, getattr(self, "shard", None))
        with told_in_one_line():
            settings = begin(serves=False)
            await self.prepare(settings)
            self.build(settings)
            self._cold.ended("imports")
            await self.rehearse(settings)
            self._cold.ended("rehearsal")

    @modal.enter()
    async def start(self) -> None:
        """After it: open every connection by what warming reads, in one round trip."""
        self._cold.resume()
        self._begun = Begun()
        with told_in_one_line():
            self._placed = placed = self.build(begin(serves=False))
        placed.actor.on_first = self._cold.first(self.first_phase)
        await placed.open()
        self._cold.ended("clients")
        await asyncio.gather(placed.actor.start(), placed.rehearse(), self.beside())
        self._cold.ended("warm")
        self.started()
        settle_memory()
        self._report(placed)

    def _report(self, placed: "Placed") -> None:
        if placed.actor.warmer.last is not None:
            self._cold.warmed(placed.actor.warmer.last)
        placed.actor.cold_start = self._cold.phases
        self._cold.ready()

    @modal.exit()
    async def stop(self) -> None:
        """Let the work end and close."""
        if self._placed is None:
            return
        self._cold.tell()
        try:
            async with asyncio.timeout(STOP_S):
                await self._placed.stop()
        except TimeoutError:
            log.warning("actor_stop_late", actor=type(self).__name__, deadline_s=STOP_S)

    @modal.method()
    async def ask(self, frame: bytes) -> bytes:
        """Answer one message; a preempted container lets what it has begun come to an end in `stop`."""
        return _bounded(await self._begun.result(self.placed.actor.ask(frame)))

    @modal.method()
    async def warm(self, frame: bytes = b"") -> bytes:
        """Load the slice and give the frame of a WarmReport."""
        return await self.placed.actor.warm(frame)

    @modal.method()
    async def stats(self) -> bytes:
        """Give the frame of an ActorStats."""
        return await self.placed.actor.stats()

    @property
    def placed(self) -> "Placed":
        """The actor; there is one from `start` on."""
        assert self._placed is not None, "Modal starts before it asks"
        placed: Placed = self._placed
        return placed


class PlacedSkillRegistry(PlacedActor):
    """Places the SkillRegistryActor; the snapshot holds the parsed skills."""

    role, first_phase = SKILLS, "first_answer"
    _files: "Preread"

    async def prepare(self, settings: Settings) -> None:
        """Parse the skills."""
        self._cold.ended("imports")
        self._files = await Preread.of(_wired("skill_files", settings), self._refreshed)
        self._cold.ended("skills")

    async def refresh(self) -> None:
        """Fetch what others changed in the volume of skills; without one there is nothing to fetch."""

    async def _refreshed(self) -> None:
        try:
            await self.refresh()
        except Exception as error:  # noqa: BLE001 - whatever the client raises: the files that are there are read
            log.warning("volume_not_reloaded", error=f"{type(error).__name__}: {error}")

    def build(self, settings: Settings) -> "Placed":
        """The actor over the parsed skills."""
        placed: Placed = _wired("placed_skill_registry", settings, self._files)
        return placed

    def started(self) -> None:
        """Look beside the requests for skills that changed since the snapshot."""
        self.placed.beside("reload skills", lambda: self.placed.actor.ask(encode(ReloadSkills())))


class PlacedSessionCache(PlacedActor):
    """Places one shard of the SessionCacheActor; the Modal class declares `shard` as its parameter."""

    role, first_phase = SESSIONS, "first_accept"
    shard: int

    def build(self, settings: Settings) -> "Placed":
        """The shard's actor."""
        placed: Placed = _wired("placed_session_cache", settings, self.shard)
        return placed


class PlacedChatAgent(PlacedActor):
    """Places the ChatAgent."""

    role, first_phase = AGENT, "first_reply"

    def fleet(self) -> RemoteFleet:
        """The references that it holds."""
        raise NotImplementedError

    def build(self, settings: Settings) -> "Placed":
        """The agent over the fleet."""
        placed: Placed = _wired("placed_chat_agent", settings, self.fleet())
        return placed

    async def rehearse(self, settings: Settings) -> None:
        """With the client of Telegram and the renderer."""
        await _wired("rehearse_agent", settings)

    async def beside(self) -> None:
        """Look up the shards, so that no turn has to."""
        await self.fleet().connect()


class Begun:
    """Work that goes on when whoever waits for it is cancelled, as Modal does with the inputs of a preempted container.

    A message that is being sent would else be cut, and nobody could tell whether it was. What is begun is bounded by
    the deadlines of the ports that it waits for, and ends with the event loop.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[bytes]] = set()

    async def result(self, work: Coroutine[Any, Any, bytes]) -> bytes:
        """Give what the work gives; raises as it does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


class Preread(SkillFiles):
    """Skill files whose first scan is one that was made before; each later one begins with `refresh`."""

    def __init__(self, files: SkillFiles, scan: SkillScan, refresh: Callable[[], Awaitable[None]]) -> None:
        self._files, self._scan, self._refresh = files, scan, refresh
        self._given = False

    @classmethod
    async def of(cls, files: SkillFiles, refresh: Callable[[], Awaitable[None]]) -> "Preread":
        """Scan now."""
        return cls(files, await files.scan(), refresh)

    async def scan(self) -> SkillScan:
        """The earlier scan, once; then a new one each time."""
        if self._given:
            await self._refresh()
            return await self._files.scan()
        self._given = True
        return self._scan

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """Read a file beside a skill; raises ResourceUnavailable."""
        return await self._files.read_resource(skill_path, resource)


# ---------------------------------------------------------------- settings and scaling


def deployed() -> Settings:
    """What the deploying machine says of the deployment, and the same again inside: no secret is read.

    A wrong value ends `modal deploy` with one line.
    """
    try:
        return load(carried(os.environ))
    except SettingsError as wrong:
        raise SystemExit(str(wrong)) from None


def begin(*, serves: bool) -> Settings:
    """Read a container's settings, and log by them from now on; raises SettingsError."""
    settings = load()
    configure_logging(settings.log_level, settings.secrets())
    for warning in settings.warnings(serves=serves):
        log.warning("settings", warning=warning)
    return settings


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Say a wrong setting in one line of the log, and fail: without it nothing here can work.

    What is raised is Python's own, because Modal hands it pickled to whoever waits for this container.
    """
    try:
        yield
    except SettingsError as wrong:
        log.critical("misconfigured", error=str(wrong))
        sys.tracebacklimit = 0  # the traceback that follows has nothing to add
        raise RuntimeError(str(wrong)) from None


def pool(scaling: Scaling) -> dict[str, Any]:
    """How many containers, as `app.cls` and `app.server` take it."""
    return {
        "min_containers": scaling.min_containers,
        "max_containers": scaling.max_containers,
        "buffer_containers": scaling.buffer_containers,
        "scaledown_window": scaling.scaledown_window,
    }


def inputs(scaling: Scaling) -> dict[str, Any]:
    """How much at once in one container, as `modal.concurrent` takes it."""
    return {"max_inputs": scaling.max_inputs, "target_inputs": scaling.target_inputs}


# ---------------------------------------------------------------- helpers


def _wired(name: str, *given: Any) -> Any:
    """What the wiring makes under that name; it brings the actors along, which a gateway's container has no use for."""
    return lazily.load(f"app.wiring:{name}")(*given)


def _bounded(reply: bytes) -> bytes:
    if len(reply) <= ASK_MOST:
        return reply
    return encode(TooLarge(detail="the reply", size=len(reply), limit=ASK_MOST))
