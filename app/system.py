"""All of Firstlight in one process: the store, the actors, and references to them that outlive a restart."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from actors.meter import Meter
from actors.ports import Unreachable
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.stores import StoreDenied, StoreError
from actors.warming import Warmer
from app import wiring
from app.exiting import Exit
from app.fleet import AGENT, SESSIONS, SKILLS, Fleet
from app.runtime import World
from app.settings import Settings
from app.store.database import Database, choose
from app.sweeper import sweep_forever
from app.transport.local import LocalTransport

log = structlog.get_logger(__name__)

CALL_S: Final = 10.0  # above the store's own deadlines, so that their reasons arrive first
DRAIN_S: Final = 10.0  # lease writes and run reports under way when the actors have stopped
OPEN_S: Final = 0.25  # a file opens in milliseconds; probes wait for no lock of another process

# Of the way out, what is kept for the steps after each, whose store may be away: a turn has its grace of 20 s.
AFTER_TURNS_S: Final = 6.0
AFTER_DRAIN_S: Final = 4.0
AFTER_ACTORS_S: Final = 1.0


class Acting(Protocol):
    """What the system needs of an actor."""

    warmer: Warmer

    async def start(self) -> None:
        """Open and warm."""

    async def stop(self) -> None:
        """Finish or hand back, and close."""

    async def ask(self, frame: bytes) -> bytes:
        """Answer one message."""

    async def warm(self, frame: bytes = b"") -> bytes:
        """Load the slice."""

    async def stats(self) -> bytes:
        """Tell of itself."""


class Role:
    """The place of one actor, which stays while the actor in it is replaced."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.actor: Acting | None = None

    async def ask(self, frame: bytes) -> bytes:
        """Pass the frame on; raises Unreachable between two actors."""
        return await self._present().ask(frame)

    async def warm(self, frame: bytes = b"") -> bytes:
        """Pass the call on; raises Unreachable between two actors."""
        return await self._present().warm(frame)

    async def stats(self) -> bytes:
        """Pass the call on; raises Unreachable between two actors."""
        return await self._present().stats()

    def _present(self) -> Acting:
        if self.actor is None:
            raise Unreachable(f"{self.name} is not running")
        return self.actor


@dataclass(slots=True)
class _Running:
    """What one start made."""

    world: World
    database: Database
    opening: asyncio.Task[None]
    sweeper: asyncio.Task[None]


class LocalSystem:
    """Starts, stops and restarts the actors cold; `fleet` stays the same throughout."""

    def __init__(self, settings: Settings, on_first_reply: Callable[[float], None] = lambda _: None) -> None:
        """`on_first_reply` hears how many milliseconds the first turn after a start took."""
        self._settings, self._on_first_reply = settings, on_first_reply
        self.world = World()
        self._skills, self._agent = Role(SKILLS), Role(AGENT)
        self._shards = [Role(f"{SESSIONS}[{number}]") for number in range(settings.shards)]
        self._running: _Running | None = None
        self.fleet = Fleet(
            SkillRegistryRef(SKILLS, self._carrier(self._skills)),
            SessionsRef([SessionShardRef(SESSIONS, self._carrier(role)) for role in self._shards]),
            ChatAgentRef(AGENT, self._carrier(self._agent)),
        )

    async def start(self) -> None:
        """Open, then warm up."""
        await self.open()
        await self.warm_up()

    async def open(self) -> None:
        """Open the store and put every actor in its place: from here on requests are answered, on demand.

        Raises StoreDenied for a store that can't be used; one that is only away leaves the actors degraded. One that
        takes its time is waited for by `warm_up`: meanwhile probes are answered.
        """
        world, database = World(), choose(self._settings)
        opening = asyncio.create_task(_opened(database), name="open the store")
        await asyncio.wait((opening,), timeout=OPEN_S)
        if opening.done():
            opening.result()
        world.clock.start()
        self._skills.actor = wiring.skill_registry(self._settings, world, database)
        for number, role in enumerate(self._shards):
            role.actor = wiring.session_cache(self._settings, world, database, number)
        self._agent.actor = agent = wiring.chat_agent(self._settings, world, self.fleet)
        agent.on_first = self._on_first_reply
        sweeping = sweep_forever(self.fleet, world.clock, database.sessions(Meter()))
        sweeper = asyncio.create_task(sweeping, name="sweeper")
        self._running = _Running(world, database, opening, sweeper)

    async def warm_up(self) -> None:
        """Start every actor, each warm or degraded within its deadline, and rehearse; raises as `open` does."""
        assert self._running is not None, "opened before"
        roles = (self._skills, *self._shards, self._agent)
        starting = [role.actor.start() for role in roles if role.actor is not None]
        await asyncio.gather(self._running.opening, *starting, self._rehearse())

    async def rest(self, leaving: Exit) -> None:
        """Begin no turn any more; those under way end, or are handed back. What else is asked is answered still."""
        if self._running is None:
            return
        ending = (self._running.sweeper, self._running.opening)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await leaving.step("turns", self._retire(self._agent), spare_s=AFTER_TURNS_S)

    async def stop(self, leaving: Exit | None = None) -> None:
        """Stop the agent first, so that its turns end or are handed back, all within the exit's time; idempotent."""
        leaving = leaving or Exit()
        await self.rest(leaving)
        running, self._running = self._running, None
        if running is None:
            return
        owners = (self._skills, *self._shards)  # each shard writes its warm image
        await asyncio.gather(*(role.actor.warmer.stop() for role in owners if role.actor is not None))
        await _drained(running.world, leaving)
        retiring = (leaving.step(role.name, self._retire(role), spare_s=AFTER_ACTORS_S) for role in owners)
        await asyncio.gather(*retiring)
        await leaving.step("closing the store", running.database.close())
        running.world.clock.stop()

    async def close(self, leaving: Exit | None = None) -> None:
        """Stop for good: the calls that brought tickets end with the turns that they brought."""
        leaving = leaving or Exit()
        await self.stop(leaving)
        await self.world.background.drain(min(CALL_S, leaving.left_s()))
        leaving.tell()

    async def restart_cold(self) -> None:
        """Stop everything and start it with empty caches, as a new container would."""
        await self.stop()
        await self.start()

    async def _rehearse(self) -> None:
        assert self._running is not None, "opened before"
        store = wiring.rehearse_store(self._running.database)
        await asyncio.gather(wiring.rehearse_agent(self._settings), store)

    async def _retire(self, role: Role) -> None:
        actor, role.actor = role.actor, None
        if actor is not None:
            await actor.stop()

    def _carrier(self, role: Role) -> LocalTransport:
        return LocalTransport(role, self.world.background, CALL_S)


async def _drained(world: World, leaving: Exit) -> None:
    late = await world.background.drain(min(DRAIN_S, leaving.left_s(AFTER_DRAIN_S)))
    if late:
        leaving.leave(", ".join(f"{name} ({count})" for name, count in world.background.cut.items()))


async def _opened(database: Database) -> None:
    try:
        await database.open()
    except StoreDenied:
        await database.close()
        raise
    except StoreError as error:
        log.warning("store_open_failed", error=str(error))
