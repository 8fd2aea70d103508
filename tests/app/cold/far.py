"""Things at a distance, in the process that talks to them: a store's adapters, and actors behind Modal's handles."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from actors.actor import Actor
from actors.stores import SessionStore, SkillStatsStore, StoreMeter
from actors.warm_ports import WarmStore
from app.store.database import Database
from contracts.skills import SetAside
from tests.trips import Trips

AnyActor = Actor[Any]


class Distance:
    """Seconds to everything and back; `trips` holds each trip."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.trips = Trips()

    async def trip(self, what: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Go there, have it done, and come back."""
        with self.trips.made(what):
            await asyncio.sleep(self.seconds)
            return await work()


class FarDatabase:
    """A Database each call of whose adapters is a trip."""

    def __init__(self, near: Database, distance: Distance) -> None:
        self._near, self._distance = near, distance

    async def open(self) -> None:
        """As near: a file is opened."""
        await self._near.open()

    async def rehearse(self) -> None:
        """As near: a file's matter."""
        await self._near.rehearse()

    def sessions(self, meter: StoreMeter) -> SessionStore:
        """The adapter of a SessionCacheActor."""
        return cast(SessionStore, _Far(self._near.sessions(meter), self._distance))

    def skills(self, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a SkillRegistryActor."""
        return cast(SkillStatsStore, _Far(self._near.skills(meter), self._distance))

    def warm(self, meter: StoreMeter) -> WarmStore:
        """The adapter of a SessionCacheActor's warm image."""
        return cast(WarmStore, _Far(self._near.warm(meter), self._distance))

    async def now(self) -> float:
        """The near one's."""
        return await self._near.now()

    async def missing_indexes(self) -> tuple[str, ...]:
        """None: it is a file."""
        return ()

    async def unreadable_updates(self, limit: int) -> tuple[SetAside, ...]:
        """None."""
        return ()

    async def close(self) -> None:
        """Close it."""
        await self._near.close()


class _Far:
    """Any object, each of whose methods is a trip."""

    def __init__(self, near: object, distance: Distance) -> None:
        self._near, self._distance = near, distance

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._near, name)
        return lambda *given, **named: self._distance.trip(name, lambda: method(*given, **named))


class FarMethod:
    """A method of a handle: `hydrate`, `remote` and `spawn`, each with its `aio`, as Modal's client has them."""

    def __init__(self, what: str, work: Callable[..., Awaitable[Any]], distance: Distance) -> None:
        self._what, self._work, self._distance = what, work, distance
        self._spawned: set[asyncio.Task[Any]] = set()

    @property
    def hydrate(self) -> "_Aio":
        """Look the pool up."""
        return _Aio(lambda: self._distance.trip(f"look up {self._what}", _nothing))

    @property
    def remote(self) -> "_Aio":
        """Call and wait."""
        return _Aio(lambda *given: self._distance.trip(self._what, lambda: self._work(*given)))

    @property
    def spawn(self) -> "_Aio":
        """Queue and go on."""
        return _Aio(lambda *given: self._distance.trip(f"spawn {self._what}", lambda: self._begin(*given)))

    @property
    def autoscaler(self) -> "FarAutoscaler":
        """The pool's."""
        return FarAutoscaler(self._distance)

    async def _begin(self, *given: Any) -> None:
        task = asyncio.ensure_future(self._work(*given))
        self._spawned.add(task)


class FarAutoscaler:
    """How many containers a pool keeps: one."""

    min_containers = 1

    def __init__(self, distance: Distance) -> None:
        self.settings = _Aio(lambda: distance.trip("ask of the pool", self._told))
        self.update = _Aio(lambda **_: distance.trip("keep the pool", _nothing))

    async def _told(self) -> "FarAutoscaler":
        return self


class FarHandle:
    """What Modal gives for an instance of a placed class, its container being this process."""

    def __init__(self, actor: AnyActor, distance: Distance) -> None:
        self.ask = FarMethod(f"{actor.name}.ask", actor.ask, distance)
        self.warm = FarMethod(f"{actor.name}.warm", actor.warm, distance)
        self.stats = FarMethod(f"{actor.name}.stats", actor.stats, distance)


class _Aio:
    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self.aio = call


async def _nothing(*_given: Any) -> None:
    pass
