"""The siege of the kills' tests, laid to the app on a plane: what dies is started again by the plane."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from actors.stores import SessionStore
from app.plane import ContainerInfo
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_webhook import webhook_delivery
from tests.e2e.kill_kit import Siege
from tests.e2e.kill_place import Place
from tests.e2e.kit import SECRET
from tests.e2e.plane.kit import ACTORS, AGENT, GATEWAY, SESSIONS, OnPlane

ARRIVED_S: Final = 1.0  # what waited for a container that is ready by now has been worked
VICTIMS: Final = (AGENT, SESSIONS, AGENT, SESSIONS, GATEWAY, ACTORS[0])
"""Who is killed, in turns: mostly those that work."""


@dataclass
class PlanePlace(Place):
    """The whole app as one place: a kill hits one of its containers, a roll preempts one.

    Before `double_from` there is one owner of a shard, and from that kill on now and then there are two.
    """

    app: OnPlane = field(kw_only=True)
    dice: random.Random = field(kw_only=True)
    double_from: int = 2
    most_before: dict[str, int] = field(default_factory=dict)
    """The most containers that a pool had before any was forced to have one too many."""
    killed: Counter[str] = field(default_factory=Counter)

    async def start(self) -> None:
        """The plane starts what is missing."""

    async def ready(self) -> None:
        """Wait until there is a container of each kind."""
        for name in (*ACTORS, GATEWAY):
            await self.app.one_ready(name)

    async def kill(self) -> None:
        """kill -9 a container, a busy one if there is one; now and then, a shard has two owners from then on."""
        name = VICTIMS[self.killed.total() % len(VICTIMS)]
        victim = await self._victim(name)
        self.app.plane.faults.kill(victim.id)
        self.killed[name] += 1
        await self.app.gone(victim)
        if self.killed.total() >= self.double_from and name == SESSIONS:
            self._double(victim.pool)

    async def roll(self) -> int:
        """Preempt a container; the plane runs what it did not end elsewhere."""
        victim = await self._victim(self.dice.choice((AGENT, SESSIONS)))
        self.app.plane.faults.preempt(victim.id)
        await self.app.gone(victim)
        return 0

    async def deliver(self, body: bytes) -> Outcome:
        """Post an update to the gateway's address, as Telegram does."""
        url = f"{self.app.plane.address(GATEWAY)}/webhook/telegram"
        return await webhook_delivery(self.http, Webhook(url=url, secret_token=SECRET))(body)

    async def _victim(self, name: str) -> ContainerInfo:
        await self.app.one_ready(name)
        there = self.app.containers(name)
        return self.dice.choice([each for each in there if each.running] or there)

    def _double(self, pool: str) -> None:
        if not self.most_before:
            self.most_before = {name: self.app.plane.most_seen(name) for name in ACTORS}
        self.app.plane.faults.double(pool)


class PlaneSiege(Siege):
    """A siege that also looks, after its last round, for what was cut while it was sent.

    Modal's client cancels a preempted container's inputs, sends among them; and a dead agent's commit may have
    waited for a shard's new container. Both stay `sending` until their lease of 15 s has ended.
    """

    async def _settle(self, store: SessionStore) -> None:
        await asyncio.gather(*(place.ready() for place in self.places))
        await asyncio.sleep(ARRIVED_S)
        await self._note_sending(store)
        await super()._settle(store)
