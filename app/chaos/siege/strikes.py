"""Carries out the strikes of a schedule upon a stage; what is laid on for a while is taken away again."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from app import fleet
from app.chaos.siege.schedule import KINDS, Strike
from app.chaos.siege.stage import Stage
from app.chaos.siege.watching import Limits, Sends
from app.plane import ContainerInfo
from app.telegram.simulator_faults import CallFault, DeliveryFault

LATE_S: Final = 0.3  # of a delayed call
REACH_S: Final = (
    8.0  # what a dead agent had asked for may be written this late: when its shard has a container again
)
HANGING: Final = CallFault(kind="hang_after", method="sendMessage")
CALLS: Final = (
    CallFault(kind="reset_after", method="sendMessage"),
    CallFault(kind="malformed", method="sendMessage"),
    CallFault(kind="reset_before", method="sendMessage"),
    CallFault(kind="server_error", method="sendMessage", times=2),
    CallFault(kind="retry_after", method="sendMessage", seconds=1),
    CallFault(kind="slow", method="sendMessage", seconds=0.3, times=6),
)
DELIVERIES: Final = (
    DeliveryFault(kind="duplicate"),
    DeliveryFault(kind="duplicate_at_once", times=2),
    DeliveryFault(kind="answer_lost", times=2),
    DeliveryFault(kind="held", seconds=0.3),
    DeliveryFault(kind="impatient", seconds=0.005, times=2),
)

Struck = Callable[[Strike, str], None]
"""Hears of a strike, and of the container that it hit, if it hit one."""


class Striker:
    """Strikes; each strike takes as long as it lasts."""

    def __init__(self, stage: Stage, limits: Limits, sends: Sends, struck: Struck) -> None:
        self._stage, self._limits, self._sends, self._struck = stage, limits, sends, struck
        self._faults, self._deploys = stage.plane.faults, 0
        self._ways: Mapping[str, Callable[[Strike], Awaitable[str]]] = {
            "kill": self._kill,
            "preempt": self._preempt,
            "delay": self._delay,
            "drop": self._drop,
            "lose_reply": self._lose_reply,
            "refuse_capacity": self._refuse_capacity,
            "second_owner": self._second_owner,
            "redeploy": self._redeploy,
            "telegram": self._telegram,
        }

    @property
    def injected(self) -> Counter[str]:
        """What was done to the app so far, by kind: a call that was scripted and did not come is none."""
        own = Counter({name: self._faults.injected.get(name, 0) for name in KINDS})
        own["second_owner"] = self._faults.injected.get("double", 0)
        own["redeploy"] = self._deploys
        injected = self._stage.telegram.faults.injected
        return +own + Counter({f"telegram_{kind}": count for kind, count in injected.items()})

    async def strike(self, strike: Strike) -> None:
        """Wait for its moment, then strike; whom nobody finds, nobody strikes. Raises DeployFailed, ModalRefused."""
        await asyncio.sleep(strike.at_s)
        with suppress(TimeoutError):  # there was no container to strike: the counts tell
            hit = await self._ways[strike.kind](strike)
            self._struck(strike, hit)

    async def peace(self) -> None:
        """Nothing that was scripted happens any more."""
        self._faults.clear()
        self._stage.telegram.faults.clear()

    # ------------------------------------------------------------ the ways

    async def _kill(self, strike: Strike) -> str:
        victim = await self._victim(strike)
        self._cut(victim)
        self._faults.kill(victim.id)
        return victim.id

    async def _preempt(self, strike: Strike) -> str:
        victim = await self._victim(strike)
        self._cut(victim)
        self._faults.preempt(victim.id)
        return victim.id

    async def _delay(self, strike: Strike) -> str:
        self._faults.delay(strike.target, LATE_S, int(strike.size))
        return ""

    async def _drop(self, strike: Strike) -> str:
        self._faults.drop(strike.target, int(strike.size))
        return ""

    async def _lose_reply(self, strike: Strike) -> str:
        self._faults.lose_reply(strike.target, int(strike.size))
        return ""

    async def _refuse_capacity(self, strike: Strike) -> str:
        self._faults.refuse_capacity(strike.target)
        try:
            for each in self._stage.plane.containers(strike.target):
                self._cut(each)
                self._faults.kill(each.id)
            await asyncio.sleep(strike.size)
        finally:
            if strike.target == fleet.SESSIONS:
                self._sends.cut_off(_reach_s())
            self._faults.grant_capacity(strike.target)
        return ""

    async def _second_owner(self, strike: Strike) -> str:
        victim = await self._victim(strike)
        if victim.function == fleet.SESSIONS:
            self._sends.cut_off(_reach_s())
        self._limits.force(victim.pool)
        self._faults.double(victim.pool)
        return victim.id

    async def _redeploy(self, _: Strike) -> str:
        self._sends.cut_off(_reach_s())
        self._deploys += 1
        await self._stage.deploy()
        self._sends.cut_off(_reach_s())
        return ""

    async def _telegram(self, strike: Strike) -> str:
        dice = random.Random(strike.pick)
        self._stage.telegram.faults.add(HANGING, dice.choice(CALLS), dice.choice(DELIVERIES))
        return ""

    # ------------------------------------------------------------ helpers

    async def _victim(self, strike: Strike) -> ContainerInfo:
        """One that works, if there is one; raises TimeoutError."""
        ready = await self._stage.containers(strike.target)
        busy = [each for each in ready if each.running] or ready
        return busy[int(strike.pick * len(busy))]

    def _cut(self, victim: ContainerInfo) -> None:
        """A container ends now: an agent cuts its own sends, an owner of sessions anyone's, others none."""
        match victim.function:
            case fleet.AGENT:
                self._sends.died(victim.id, _reach_s())
            case fleet.SESSIONS:
                self._sends.cut_off(_reach_s())


def _reach_s() -> float:
    return asyncio.get_running_loop().time() + REACH_S
