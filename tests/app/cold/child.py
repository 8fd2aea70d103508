"""A container of one role as Modal would start it: `python -m tests.app.cold.child ROLE SECONDS`.

It runs the hooks of the placed class, gives the first request, and prints one JSON document. It imports nothing
that the container would not, and its actors' store, and the other actors, are so many seconds away.
"""

import asyncio
import sys
from typing import Any, Final, Protocol

import msgspec

import modal_app  # noqa: F401 - what every container imports first
from app.lazily import load
from app.placed import PlacedActor, PlacedSessionCache, PlacedSkillRegistry
from app.runtime import World
from app.settings import Settings, SqliteAddress
from app.store.database import choose
from app.wiring import Placed, session_cache, skill_registry
from contracts.base import Message
from contracts.codec import encode
from contracts.skills import GetCatalog
from tests.app.cold.far import Distance, FarDatabase
from tests.app.cold.said import ACCEPT, Start, held_ms


class Role(Protocol):
    """A container that can be driven."""

    _cold: Any

    async def preload(self) -> None:
        """Before the snapshot."""

    async def start(self) -> None:
        """After it."""

    async def ask_first(self) -> None:
        """Give the first request."""

    async def stop(self) -> None:
        """End."""


class Asked(PlacedActor):
    """A placed actor whose first request is a message; a subclass says at which distance it works."""

    message: Message
    distance: Distance

    async def ask_first(self) -> None:
        """Ask it, as Modal does for a caller."""
        ask: Any = self.ask  # a plain method, as long as nobody has made it a class of Modal's
        await ask(encode(self.message))

    def database(self, settings: Settings) -> Any:
        """A file is put at the distance; a server stands behind a proxy that is there already."""
        near = choose(settings)
        return FarDatabase(near, self.distance) if isinstance(settings.store, SqliteAddress) else near


class Registry(Asked, PlacedSkillRegistry):
    """The registry."""

    message = GetCatalog()

    def build(self, settings: Settings) -> Placed:
        """As the wiring builds it."""
        world, database = World(), self.database(settings)
        return Placed(skill_registry(settings, world, database, self._files), world, database)


class Shard(Asked, PlacedSessionCache):
    """A shard."""

    message, shard = ACCEPT, 0

    def build(self, settings: Settings) -> Placed:
        """As the wiring builds it."""
        world, database = World(), self.database(settings)
        return Placed(session_cache(settings, world, database, self.shard), world, database)


ROLES: Final = {
    "SkillRegistryActor": "tests.app.cold.child:Registry",
    "SessionCacheActor": "tests.app.cold.child:Shard",
    "ChatAgent": "tests.app.cold.callers:Agent",
    "TelegramGateway": "tests.app.cold.callers:Gateway",
}


async def drive(role: Role, distance: Distance) -> Start:
    """From the snapshot's hook to the first answer."""
    modules = {}
    await role.preload()
    modules["preload"] = sorted(sys.modules)
    await role.start()
    modules["ready"] = sorted(sys.modules)
    await role.ask_first()
    modules["first"] = sorted(sys.modules)
    await role.stop()
    return Start(list(role._cold.spans), list(distance.trips), modules, held_ms())


if __name__ == "__main__":
    kind = load(ROLES[sys.argv[1]])
    kind.distance = Distance(float(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(drive(kind(), kind.distance))))
