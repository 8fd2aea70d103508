"""What the tests of the skill registry share: files, a statistics store, a clock and a background that tests move."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from actors.meter import Meter
from actors.ports import (
    Background,
    Chance,
    Clock,
    Recovered,
    ResourceUnavailable,
    SkillFile,
    SkillFiles,
    SkillScan,
    Transport,
)
from actors.refs import SkillRegistryRef
from actors.skill_registry import SkillRegistryActor, SkillRegistryOptions
from actors.stores import SkillRun, SkillStatsStore, StatsBatch, StoreError
from contracts.skills import SetAside, SkillStats, SkillSummary

T = TypeVar("T")

PATIENT = SkillRegistryOptions()
"""Deadlines that no busy machine misses; a test in which something hangs shortens those of what hangs."""


class HandClock(Clock):
    """Stands still until a test moves it; who sleeps is woken by `advance`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def monotonic_s(self) -> float:
        return self.now

    def unix_s(self) -> float:
        return 1_700_000_000.0 + self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.now + seconds, woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Move on and wake who has slept long enough."""
        self.now += seconds
        for until, woken in self._sleepers:
            if until <= self.now:
                woken.set()


class EvenChance(Chance):
    """No chance at all: the middle, and tokens that count."""

    def __init__(self) -> None:
        self._tokens = 0

    def token(self) -> str:
        self._tokens += 1
        return f"token-{self._tokens}"

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


class TaskBackground(Background):
    """Tasks that a test can wait for."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[object]] = []

    def spawn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        async def run() -> object:
            return await work()

        self.tasks.append(asyncio.create_task(run(), name=name))

    async def compute(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return work()

    async def drain(self, deadline_s: float) -> int:
        if not self.tasks:
            return 0
        _, left = await asyncio.wait(self.tasks, timeout=deadline_s)
        for task in left:
            task.cancel()
        return len(left)


class Gate:
    """Holds back who passes while it is closed; counts them."""

    def __init__(self) -> None:
        self.passed = 0
        self._open = asyncio.Event()
        self._open.set()
        self._came = asyncio.Event()

    async def __call__(self) -> None:
        self.passed += 1
        self._came.set()
        await self._open.wait()

    async def reached(self, times: int) -> None:
        """Wait until so many have come."""
        while self.passed < times:
            self._came.clear()
            await self._came.wait()

    def close(self) -> None:
        """Let nobody through from now on."""
        self._open.clear()

    def open(self) -> None:
        """Let all through."""
        self._open.set()


class MemoryFiles(SkillFiles):
    """Skill files in memory: what `scan` gives is what stood there when it was called."""

    def __init__(self, *skills: SkillFile, set_aside: Sequence[SetAside] = ()) -> None:
        self.skills, self.set_aside = list(skills), list(set_aside)
        self.resources: dict[tuple[str, str], bytes] = {}
        self.gate = Gate()

    async def scan(self) -> SkillScan:
        found = SkillScan(
            skills=tuple(self.skills),
            set_aside=tuple(self.set_aside),
            recovered=(Recovered(file="x", reason="of no concern to the actor"),),
        )
        await self.gate()
        return found

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        await self.gate()
        try:
            return self.resources[skill_path, resource]
        except KeyError:
            raise ResourceUnavailable("no such file") from None


class MemoryStats(SkillStatsStore):
    """Statistics in memory, counted as the port says; `failure` is raised by every call, `poison` can't be read."""

    def __init__(self, meter: Meter) -> None:
        self.stats: dict[str, SkillStats] = {}
        self.poison: dict[str, str] = {}
        self.failure: StoreError | None = None
        self.asked: list[tuple[str, ...]] = []
        self.reading, self.writing = Gate(), Gate()
        self._meter = meter
        self._runs: set[tuple[str, str]] = set()

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        self.asked.append(tuple(skills))
        found = {name: self.stats[name] for name in skills if name in self.stats and name not in self.poison}
        poisoned = [name for name in skills if name in self.poison]
        aside = [SetAside(file=document(name), reason=self.poison[name]) for name in poisoned]
        self._meter.read(len(found))
        await self.reading()
        self._fail()
        return StatsBatch(stats=found, set_aside=tuple(aside))

    async def record_run(self, run: SkillRun) -> None:
        self._meter.write(1)
        await self.writing()
        self._fail()
        if (run.skill, run.run) not in self._runs:
            self._runs.add((run.skill, run.run))
            self.stats[run.skill] = counted(self.stats.get(run.skill, SkillStats()), run)

    async def close(self) -> None:
        pass  # nothing to give back

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def document(name: str) -> str:
    """Give the path of a skill's document, escaped as a store may have to."""
    return "skills/" + name.replace("/", "%2F")


def counted(stats: SkillStats, run: SkillRun) -> SkillStats:
    """Give the statistics with one run more."""
    runs, good = stats.run_count + 1, stats.success_count + run.succeeded
    total = stats.total_duration_ms + run.duration_ms
    return SkillStats(
        run_count=runs,
        success_count=good,
        total_duration_ms=total,
        success_rate=good / runs,
        mean_duration_ms=total / runs,
    )


def skill_file(
    name: str, *, folder: str = "", body: str = "body", digest: str = "", resources: tuple[str, ...] = ()
) -> SkillFile:
    """Give a parsed file; its digest follows the body unless given."""
    folder = folder or name
    return SkillFile(
        summary=SkillSummary(name=name, description=f"about {name}", path=f"{folder}/SKILL.md"),
        folder=folder,
        body=body,
        digest=digest or f"{name}:{body}",
        resources=resources,
    )


class Direct(Transport):
    """Calls the actor's methods."""

    def __init__(self, actor: SkillRegistryActor) -> None:
        self._actor = actor

    async def ask(self, frame: bytes) -> bytes:
        return await self._actor.ask(frame)

    async def tell(self, frame: bytes) -> None:
        await self._actor.ask(frame)

    async def warm(self, frame: bytes = b"") -> bytes:
        return await self._actor.warm(frame)

    async def stats(self) -> bytes:
        return await self._actor.stats()


@dataclass
class World:
    """A registry and all that it asks; `ref` is how tests talk to it."""

    files: MemoryFiles
    options: SkillRegistryOptions = PATIENT
    clock: HandClock = field(default_factory=HandClock)
    meter: Meter = field(default_factory=Meter)
    background: TaskBackground = field(default_factory=TaskBackground)

    def __post_init__(self) -> None:
        self.store = MemoryStats(self.meter)
        self.actor = SkillRegistryActor(
            files=self.files,
            store=self.store,
            meter=self.meter,
            clock=self.clock,
            chance=EvenChance(),
            background=self.background,
            options=self.options,
        )
        self.ref = SkillRegistryRef(self.actor.name, Direct(self.actor))

    async def stop(self) -> None:
        """Stop the actor and what it started."""
        await self.actor.stop()
        await self.background.drain(0)
