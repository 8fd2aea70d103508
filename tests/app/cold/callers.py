"""The roles that hold references: an agent and a gateway, the other actors being at their distance, in this process."""

import asyncio
import time
from typing import Any

import msgspec

from actors.meter import Meter
from actors.ports import ResourceUnavailable, SkillFiles, SkillScan
from actors.session_cache import SessionCacheActor
from actors.skill_registry import SkillRegistryActor
from app.chaos.memory_database import MemoryDatabase
from app.chaos.memory_store import MemorySessionStore, MemorySkillStatsStore, MemoryWarmStore
from app.placed import PlacedChatAgent
from app.placed_gateway import PlacedGateway
from app.runtime import World
from app.transport.remote import RemoteFleet
from contracts.chat import TakeTurn
from contracts.codec import encode
from tests.app.cold.child import Asked
from tests.app.cold.far import AnyActor, Distance, FarHandle
from tests.app.cold.said import ACCEPT, CHAT, UPDATE


class NoFiles(SkillFiles):
    """No skills: what parses them belongs to another container."""

    async def scan(self) -> SkillScan:
        """Give none."""
        return SkillScan()

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """There are none; raises ResourceUnavailable."""
        raise ResourceUnavailable(f"{skill_path}: no {resource}")


class Others:
    """The actors of other containers, over a store of their own in memory."""

    def __init__(self, distance: Distance) -> None:
        database, world = MemoryDatabase(time.time), World()
        parts: dict[str, Any] = {"clock": world.clock, "chance": world.chance, "background": world.background}
        meter = Meter()
        store = MemorySkillStatsStore(database, meter)
        self.skills = SkillRegistryActor(files=NoFiles(), store=store, meter=meter, **parts)
        sessions, images = MemorySessionStore(database, meter), MemoryWarmStore(database, meter)
        self.shard = SessionCacheActor(0, store=sessions, images=images, meter=meter, **parts)
        self._distance = distance

    async def start(self) -> None:
        """They are warm before anybody asks."""
        await asyncio.gather(self.skills.start(), self.shard.start())

    def fleet(self, agent: AnyActor) -> RemoteFleet:
        """References to them, and to whoever is the agent."""

        def handle(actor: AnyActor) -> FarHandle:
            return FarHandle(actor, self._distance)

        return RemoteFleet(
            lambda: handle(self.skills), lambda shard: handle(self.shard), lambda: handle(agent), shards=1
        )


class Agent(Asked, PlacedChatAgent):
    """An agent; the chat's first update is accepted before."""

    message = TakeTurn(chat=CHAT, bot=1, update=1)
    _others: Others | None = None

    def fleet(self) -> RemoteFleet:
        """To the other actors; nobody asks the agent through it."""
        self._others = self._others or Others(self.distance)
        return self._others.fleet(self._others.shard)

    async def ask_first(self) -> None:
        """Take the turn."""
        assert self._others is not None
        await self._others.shard.ask(encode(ACCEPT))
        await super().ask_first()


class Gateway(PlacedGateway):
    """A gateway on loopback; its turns are taken by nobody."""

    port, host = 0, "127.0.0.1"
    distance: Distance

    async def preload(self) -> None:
        """It has no snapshot."""
        self._others = Others(self.distance)

    def fleet(self) -> RemoteFleet:
        """To the other actors; the shard stands in for the agent, which refuses tickets."""
        return self._others.fleet(self._others.shard)

    async def ask_first(self) -> None:
        """Post an update, as Telegram does."""
        assert self._front is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._front.port)
        body = msgspec.json.encode(UPDATE)
        head = (
            "POST /webhook/telegram HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            f"X-Telegram-Bot-Api-Secret-Token: hook\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        assert b" 200 " in await reader.readline()
        writer.close()
