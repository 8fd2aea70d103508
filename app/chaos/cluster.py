"""The containers of a simulation: gateways, registry, shards, agents and the sweeper; they die and come back."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from actors.cache_entry import NEVER
from actors.chat_agent import ChatAgent
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.session_cache import SessionCacheActor
from app.chaos.container import Container, outside
from app.chaos.crew import AnyActor, Crew
from app.chaos.crowd import Size
from app.chaos.ledger import REGISTRIES
from app.chaos.network import Place, Pool
from app.fleet import AGENT, SESSIONS, SKILLS, Fleet
from app.intake import UpdateIntake
from app.metrics import Metrics
from app.telegram.simulator_delivery import Outcome

BOOT_S: Final = (0.2, 3.0)  # a container starts
REPLACED_S: Final = (0.5, 6.0)  # until Modal has noticed a death
GRACE_S: Final = 30.0  # what a container gets to finish
SKEW_S: Final = 600.0
WAY_S: Final = (0.005, 0.05)  # from Telegram to a gateway
BEAT_S: Final = 0.02  # updates arrive at multiples of it
MOST_TASKS: Final = 3_000  # of a container (I7): some dozen chats at work, each with some tasks


class Gateway:
    """A container with an intake."""

    def __init__(self, container: Container, intake: UpdateIntake, metrics: Metrics) -> None:
        self.container, self.intake, self.metrics = container, intake, metrics


class Cluster:
    """All containers."""

    def __init__(self, crew: Crew, size: Size) -> None:
        self._world, self._crew, self._size = crew.world, crew, size
        self.containers: dict[Container, None] = {}
        self.gateways: list[Gateway] = []
        self.skills = self._pool(SKILLS, REGISTRIES)
        self.shards = [self._pool(f"{SESSIONS}[{n}]", f"shard:{n}") for n in range(size.shards)]
        self.agents = self._pool(AGENT, "all")
        self._sweeper: Container | None = None
        self._numbers = 0
        self._skewed = 0

    # ------------------------------------------------------------ what a run needs of it

    async def start(self) -> None:
        """Start everything."""
        await asyncio.gather(
            *(self.add_registry() for _ in range(self._size.registries)),
            *map(self.add_shard, range(self._size.shards)),
            *(self.add_agent() for _ in range(self._size.agents)),
        )
        for _ in range(self._size.gateways):
            self.add_gateway()
        await self.start_sweeper()

    async def deliver(self, body: bytes) -> Outcome:
        """Bring an update to some gateway, as Telegram does."""
        await self._arrival()
        living = [gateway for gateway in self.gateways if gateway.container.alive]
        if not living:
            return Outcome(False, "Connection refused")
        gateway = self._world.dice.choice(living)
        taking = gateway.container.run(gateway.intake.take(body), "take")
        await asyncio.wait((taking,))
        if not gateway.container.alive or taking.cancelled():
            return Outcome(False, "Webhook connection closed")
        taken = taking.result()
        if not taken.durable:
            return Outcome(False, "503", float(taken.retry_after_s))
        update = msgspec.json.decode(body)["update_id"]
        self._world.ledger.answered(update)
        await asyncio.sleep(self._world.dice.uniform(*WAY_S))
        return Outcome(True)

    def fleet(self, container: Container) -> Fleet:
        """References to all actors for a container."""
        line = self._world.network.line
        return Fleet(
            SkillRegistryRef(SKILLS, line(container, self.skills)),
            SessionsRef([SessionShardRef(pool.name, line(container, pool)) for pool in self.shards]),
            ChatAgentRef(AGENT, line(container, self.agents)),
        )

    def skew_next(self) -> None:
        """Let the next container's clock be wrong."""
        self._skewed += 1

    def inspect(self) -> None:
        """Check what holds at any moment: no defects, bounded tasks and memory."""
        for container in self.containers:
            for defect in container.defects:
                self._world.ledger.broke("defect", f"{container.name}: {defect}")
            container.defects.clear()
            if len(container.tasks) > MOST_TASKS:
                self._world.ledger.broke("I7 bounded", f"{container.name}: {len(container.tasks)} tasks")
        for place in (place for pool in self.shards for place in pool.places):
            self._inspect_sessions(place)
            held = place.actor.statistics().bytes
            if held > self._world.l1_bytes:
                self._world.ledger.broke("I7 bounded", f"{place.container.name}: {held} bytes in L1")

    def places(self) -> list[Place]:
        """All actors."""
        return [place for pool in (self.skills, *self.shards, self.agents) for place in pool.places]

    def defects_of_intakes(self) -> int:
        """How often a gateway's intake met a defect."""
        return sum(each.metrics.updates.of("unread", "defect") for each in self.gateways)

    # ------------------------------------------------------------ containers

    async def add_registry(self) -> Place:
        """Start a registry."""
        return await self._add(self.skills, self._crew.registry, self.add_registry)

    async def add_shard(self, shard: int) -> Place:
        """Start an owner of a shard."""
        self._world.ledger.owner_began(shard)
        return await self._add(
            self.shards[shard],
            lambda container: self._crew.shard(container, shard),
            lambda: self.add_shard(shard),
        )

    async def add_agent(self) -> Place:
        """Start an agent."""
        return await self._add(
            self.agents,
            lambda container: self._crew.agent(container, self.fleet(container)),
            self.add_agent,
        )

    def add_gateway(self) -> Gateway:
        """Start a gateway."""
        container, metrics = self._container("gateway"), Metrics()
        intake = self._crew.intake(container, self.fleet(container), metrics)
        gateway = Gateway(container, intake, metrics)
        self.gateways.append(gateway)
        container.died = lambda _: self._later(REPLACED_S, self._replace_gateway)
        return gateway

    async def start_sweeper(self) -> None:
        """Start the sweeper; one that dies is replaced."""
        container = self._sweeper = self._container("sweeper")
        container.died = lambda _: self._later(REPLACED_S, self.start_sweeper)
        container.run(self._crew.sweep(container, self.fleet(container)), "sweep")

    async def suspend_sweeper(self, seconds: float) -> None:
        """Have no sweeper for a while."""
        self._world.ledger.trouble("all", self._world.loop.time() + seconds)
        if self._sweeper is not None and self._sweeper.alive:
            self._sweeper.died = lambda _: self._later((seconds, seconds), self.start_sweeper)
            self._sweeper.kill()

    async def deploy(self) -> None:
        """Start a new container for each that runs, then let the old ones finish."""
        old, old_gateways = self.places(), [each for each in self.gateways if each.container.alive]
        await asyncio.gather(
            *(self.add_registry() for _ in range(self._size.registries)),
            *map(self.add_shard, range(self._size.shards)),
            *(self.add_agent() for _ in range(self._size.agents)),
        )
        for _ in range(self._size.gateways):
            self.add_gateway()
        await asyncio.sleep(self._world.dice.uniform(0.0, 10.0))
        for gateway in old_gateways:
            await self._retire_gateway(gateway)
        await asyncio.gather(*map(self.retire, old))

    async def make_peace(self) -> None:
        """Let every shard have one owner again."""
        spare = [place for pool in self.shards for place in pool.places[1:]]
        await asyncio.gather(*map(self.retire, spare))

    async def retire(self, place: Place) -> None:
        """Route nothing more to a container, let it finish within its grace, and end it."""
        pool = self._pool_of(place)
        pool.leave(place)
        if not pool.places:  # a deploy and a second owner's end can meet
            self._later(REPLACED_S, place.again)
        place.container.died = lambda _: pool.abandoned(place)
        ending = place.container.run(self._finish(place), "finish")
        await asyncio.wait((ending,), timeout=GRACE_S)
        place.container.kill()
        self.containers.pop(place.container, None)

    # ------------------------------------------------------------ helpers

    async def _arrival(self) -> None:
        """Be on the way, and arrive in one moment with others: a server finds several at a time on its sockets."""
        loop = self._world.loop
        beat = math.ceil((loop.time() + self._world.dice.uniform(*WAY_S)) / BEAT_S)
        arrived = loop.create_future()
        loop.call_at(beat * BEAT_S, _arrive, arrived)
        await arrived

    def _inspect_sessions(self, place: Place, since_s: float = 0.0) -> None:
        """I6: what a start has loaded was the store's newest when the container began, or later."""
        if not isinstance(place.actor, SessionCacheActor):
            return
        sessions = place.actor.sessions
        for held in filter(None, (sessions.held_since(chat, NEVER) for chat in sessions.chats())):
            self._world.ledger.holds(held.chat, held.version, since_s)

    async def _finish(self, place: Place) -> None:
        """As a container's exit: an agent is asked to stop while its inputs run, the others when theirs ended."""
        if not isinstance(place.actor, ChatAgent):
            while place.inputs:  # noqa: ASYNC110 - virtual seconds cost nothing
                await asyncio.sleep(0.1)
        await place.actor.stop()
        await place.container.background.drain(5.0)

    async def _retire_gateway(self, gateway: Gateway) -> None:
        gateway.container.died = lambda _: None
        if gateway in self.gateways:
            self.gateways.remove(gateway)
        draining = gateway.container.run(gateway.container.background.drain(5.0))
        await asyncio.wait((draining,))
        gateway.container.kill()
        self.containers.pop(gateway.container, None)

    async def _replace_gateway(self) -> None:
        self.gateways = [gateway for gateway in self.gateways if gateway.container.alive]
        if len(self.gateways) < self._size.gateways:
            self.add_gateway()

    async def _add(
        self, pool: Pool, make: Callable[[Container], AnyActor], again: Callable[[], Awaitable[Place]]
    ) -> Place:
        """Boot a container; one that died is replaced after a while. Half of them take inputs before they are warm."""
        container = self._container(pool.name)
        await asyncio.sleep(self._world.dice.uniform(*BOOT_S))
        place = Place(container, make(container), again)
        container.died = lambda _: self._died(pool, place, again)
        early = self._world.dice.random() < 0.5
        if early:
            pool.join(place)
        began_s = self._world.loop.time()
        starting = container.run(place.actor.start(), "start")
        await asyncio.wait((starting,))
        self._inspect_sessions(place, began_s)
        if not early and container.alive:
            pool.join(place)
        return place

    def _died(self, pool: Pool, place: Place, again: Callable[[], Awaitable[Place]]) -> None:
        self._world.trace.note("died", place.container.name)
        for chat in self._world.database.waiting():
            self._world.ledger.trouble(f"chat:{chat}")
        if pool is self.skills:
            self._world.ledger.trouble(pool.where)
        pool.abandoned(place)
        self.containers.pop(place.container, None)
        self._later(REPLACED_S, again)

    def _later(self, bounds: tuple[float, float], work: Callable[[], Awaitable[object]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._world.dice.uniform(*bounds))
            await work()

        outside(self._world.loop, wait())

    def _container(self, kind: str) -> Container:
        self._numbers += 1
        skewed, self._skewed = min(self._skewed, 1), max(0, self._skewed - 1)
        container = Container(
            f"{kind}#{self._numbers}",
            self._world.loop,
            seed=self._world.dice.getrandbits(64),
            skew_s=skewed * self._world.dice.uniform(-SKEW_S, SKEW_S),
            began_s=self._world.dice.uniform(0.0, 1e6),
        )
        self.containers[container] = None
        return container

    def _pool(self, name: str, where: str) -> Pool:
        world = self._world
        return Pool(name, where, world.loop, dice=world.dice, ledger=world.ledger, trace=world.trace)

    def _pool_of(self, place: Place) -> Pool:
        pools = (self.skills, *self.shards, self.agents)
        return next(pool for pool in pools if place.container.name.startswith(pool.name))


def _arrive(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():  # else its sender has given up
        arrived.set_result(None)
