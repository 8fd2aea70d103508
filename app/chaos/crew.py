"""Makes the actors and intakes of a simulation, each on the ports of its container."""

import random
from typing import Any, Final

from actors.actor import Actor
from actors.chat_agent import ChatAgent
from actors.meter import Meter
from actors.ports import SkillFiles, Telegram
from actors.session_cache import SessionCacheActor, SessionCacheOptions
from actors.skill_registry import SkillRegistryActor
from actors.stores import SessionStore
from actors.warm_ports import WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.mind import ChaosModel, Editions, FewSkills, MarkingRenderer
from app.chaos.network import Network
from app.chaos.store_port import ShakySessions, ShakyStatistics, ShakyWarm
from app.chaos.telegram_port import ChaosTelegram, Wire
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop
from app.chaos.world_store import WorldStore
from app.fleet import Fleet
from app.intake import UpdateIntake
from app.metrics import Metrics
from app.sweeper import sweep_forever
from app.telegram.addressing import BotIdentity

AnyActor = Actor[Any]

IMAGE_CHANGES: Final = 2  # so that few chats keep the images coming
NEWEST_CHANGES: Final = 2  # and that a start has to ask for the changes since its image
UNSENT_MOST_S: Final = 900.0  # a day is too long for a simulation
SMALL_L1_BYTES: Final = 30_000  # so that most chats are evicted now and then


class World:
    """What all containers share: loop, dice, faults, ledger, store and Telegram."""

    def __init__(
        self,
        loop: VirtualLoop,
        dice: random.Random,
        *,
        faults: Faults,
        ledger: Ledger,
        trace: Trace,
        database: WorldStore,
        wire: Wire,
        bot: BotIdentity,
    ) -> None:
        self.loop, self.dice, self.faults, self.ledger, self.trace = loop, dice, faults, ledger, trace
        self.database, self.wire, self.bot = database, wire, bot
        self.editions = Editions(ledger)
        self.line = database.line(faults, ledger, dice)
        self.network = Network(loop, faults, ledger, trace, dice)
        self.l1_bytes = dice.choice((SMALL_L1_BYTES, SessionCacheOptions().l1_bytes))


class Crew:
    """Makes them as the wiring does; a test overrides one method to put something broken into the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def registry(self, container: Container) -> AnyActor:
        """A registry with a few skills."""
        meter = Meter()
        return SkillRegistryActor(
            files=self.files(),
            store=ShakyStatistics(self.world.line, container, self.world.database.skills(container, meter)),
            meter=meter,
            clock=container.clock,
            chance=container.chance,
            background=container.background,
        )

    def shard(self, container: Container, shard: int) -> AnyActor:
        """An owner of a shard."""
        meter = Meter()
        return SessionCacheActor(
            shard,
            store=self.sessions(container, meter),
            images=self.warm(container, meter),
            meter=meter,
            clock=container.clock,
            chance=container.chance,
            background=container.background,
            options=self.options(),
        )

    def options(self) -> SessionCacheOptions:
        """Bounds that the few chats of a simulation reach."""
        return SessionCacheOptions(
            l1_bytes=self.world.l1_bytes,
            image_changes=IMAGE_CHANGES,
            newest_changes=NEWEST_CHANGES,
            unsent_most_s=UNSENT_MOST_S,
        )

    def agent(self, container: Container, fleet: Fleet) -> AnyActor:
        """An agent with the model and the renderer of simulations."""
        return ChatAgent(
            skills=fleet.skills,
            sessions=fleet.sessions,
            agents=fleet.agent,
            telegram=self.telegram(container),
            model=ChaosModel(container, self.world.faults, self.world.ledger, self.world.dice),
            renderer=MarkingRenderer(container.chance),
            clock=container.clock,
            chance=container.chance,
            background=container.background,
        )

    def intake(self, container: Container, fleet: Fleet, metrics: Metrics) -> UpdateIntake:
        """A gateway's intake."""
        return UpdateIntake(
            bot=self.world.bot.id,
            fleet=fleet,
            identity=lambda: self.world.bot,
            background=container.background,
            metrics=metrics,
            clock=container.clock,
            callbacks=ChaosTelegram(self.world.wire, container),
        )

    async def sweep(self, container: Container, fleet: Fleet) -> None:
        """The sweeper's work."""
        await sweep_forever(fleet, container.clock)

    def files(self) -> SkillFiles:
        """A registry's files."""
        return FewSkills(self.world.editions)

    def sessions(self, container: Container, meter: Meter) -> SessionStore:
        """A shard's store."""
        return ShakySessions(self.world.line, container, self.world.database.sessions(container, meter))

    def warm(self, container: Container, meter: Meter) -> WarmStore:
        """A shard's warm image."""
        return ShakyWarm(self.world.line, container, self.world.database.warm(container, meter))

    def telegram(self, container: Container) -> Telegram:
        """An agent's Telegram."""
        return ChaosTelegram(self.world.wire, container)
