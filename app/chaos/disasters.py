"""What happens by the hour: deaths, deploys, outages; each as often as the seed says."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from app.chaos.cluster import Cluster
from app.chaos.crew import World
from app.chaos.network import Pool

OUTAGE_S: Final = (5.0, 60.0)
CLOSED_S: Final = (5.0, 40.0)
POISONED_S: Final = (1_800.0, 3_000.0)  # beyond what the ledger allows
LATE_S: Final = (20.0, 90.0)
SHARED_S: Final = (60.0, 400.0)


class Disasters:
    """Strikes the cluster until the faults are switched off."""

    def __init__(self, world: World, cluster: Cluster, dice: random.Random) -> None:
        self._world, self._cluster, self._dice = world, cluster, dice
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "agent_killed": lambda: self._kill(cluster.agents),
            "shard_killed": lambda: self._kill(dice.choice(cluster.shards)),
            "registry_killed": lambda: self._kill(cluster.skills),
            "gateway_killed": self._kill_gateway,
            "rolling_deploy": cluster.deploy,
            "second_owner": self._share,
            "store_outage": self._outage,
            "no_capacity": self._close,
            "sweeper_late": lambda: cluster.suspend_sweeper(dice.uniform(*LATE_S)),
            "chat_poisoned": self._poison,
            "clock_skewed": self._skew,
        }

    async def strike(self) -> None:
        """Go on for ever, each kind at its own pace."""
        await asyncio.gather(*(self._again(name, work) for name, work in self._kinds.items()))

    async def _again(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while (pause_s := self._world.faults.pause_s(name)) != float("inf"):
            await asyncio.sleep(pause_s)
            if self._world.faults.strike(name):
                self._world.trace.note(name)
                await work()

    async def _kill(self, pool: Pool) -> None:
        if pool.places:
            self._dice.choice(pool.places).container.kill()

    async def _kill_gateway(self) -> None:
        living = [each.container for each in self._cluster.gateways if each.container.alive]
        if living:
            self._dice.choice(living).kill()

    async def _share(self) -> None:
        """Two owners of one shard for minutes, then one of them goes, either one."""
        shard = self._dice.randrange(len(self._cluster.shards))
        await self._cluster.add_shard(shard)
        await asyncio.sleep(self._dice.uniform(*SHARED_S))
        places = self._cluster.shards[shard].places
        if len(places) > 1:
            await self._cluster.retire(self._dice.choice(places))

    async def _outage(self) -> None:
        line, seconds = self._world.line, self._dice.uniform(*OUTAGE_S)
        line.down_until_s = self._world.loop.time() + seconds
        self._world.ledger.trouble("all", line.down_until_s)
        await asyncio.sleep(seconds)

    async def _close(self) -> None:
        pools = (self._cluster.skills, *self._cluster.shards, self._cluster.agents)
        self._dice.choice(pools).close_for(self._dice.uniform(*CLOSED_S))

    async def _poison(self) -> None:
        """Any chat in which something was said."""
        chats = sorted({life.chat for life in self._world.ledger.lives.values() if life.marks})
        if chats:
            now, seconds = self._world.loop.time(), self._dice.uniform(*POISONED_S)
            self._world.wire.poison(self._dice.choice(chats), seconds, now)

    async def _skew(self) -> None:
        """The next container has a wrong clock; one is killed, so that it comes soon."""
        self._cluster.skew_next()
        await self._kill(self._dice.choice((self._cluster.agents, *self._cluster.shards)))
