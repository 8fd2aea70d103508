"""Firstlight under kill -9: real services on one store, restarted at once, a simulated Telegram before and behind."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from actors import turns
from actors.meter import Meter
from actors.stores import SessionStore, UpdateRecord
from app.chaos.siege.crowd import Crowd
from app.chaos.siege.evidence import is_sending
from app.chaos.siege.judging import ALL, LOSE_THE_ANSWER, STATES, Verdict, Watched, collect, judge
from app.chaos.siege.siege import until_all_ended
from app.chaos.siege.stage import PACE
from app.chaos.siege.strikes import CALLS, DELIVERIES, HANGING
from app.settings import load
from app.store.database import Database, choose
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_ports import ScaledClock
from contracts.turns import TurnState
from tests.e2e.conftest import Environ
from tests.e2e.kill_place import Place
from tests.e2e.kit import READY_S

LATE_S: Final = 0.3  # a commit that was on its way when its writer died has mostly arrived by then


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much happens, and the dice: `rounds` bursts of messages, each followed by a kill or a rolling restart.

    `roll_every`: each such round ends a service by SIGTERM instead, its successor taking over while it ends.
    `settle_s` bounds what follows; a dead owner's lease alone lasts 15 s.
    """

    seed: int
    turns: int
    chats: int
    rounds: int
    processes: int = 1
    roll_every: int = 4
    pause_s: tuple[float, float] = (0.3, 1.3)
    settle_s: float = 75.0


class Siege:
    """One run of a plan."""

    def __init__(
        self, plan: Plan, telegram: TelegramSimulator, places: Sequence[Place], store: Environ
    ) -> None:
        self.plan, self.telegram, self.places = plan, telegram, tuple(places)
        self.injected: Counter[str] = Counter()
        self.accepted: set[int] = set()
        self.sending_at_kills: set[int] = set()
        self._dice = random.Random(plan.seed)
        self._database: Database = choose(load(store))
        self._crowd = Crowd(telegram, self._dice)

    async def run(self) -> Verdict:
        """Start, besiege, wait until all has an end, and judge."""
        await self._database.open()
        store = self._database.sessions(Meter())
        try:
            await self._start()
            for number in range(1, self.plan.rounds + 1):
                await self._round(number, store)
            await self._settle(store)
            self.injected.update(self.telegram.faults.injected)
            return await self._verdict()
        finally:
            await self.telegram.updates.disconnect()
            await asyncio.gather(*(place.kill() for place in self.places if place.process))
            await store.close()

    async def _start(self) -> None:
        await asyncio.gather(*(place.start() for place in self.places))
        await asyncio.gather(*(place.ready() for place in self.places))
        self.telegram.updates.connect(self._deliver)

    async def _deliver(self, body: bytes) -> Outcome:
        """Deliver to any of the places, the dead ones too, as a router does that has not noticed yet."""
        outcome = await self._dice.choice(self.places).deliver(body)
        if outcome.delivered:
            self.accepted.add(_update_id(body))
        return outcome

    # ------------------------------------------------------------ besiege

    async def _round(self, number: int, store: SessionStore) -> None:
        self._spoil()
        self._burst(self.plan.turns * number // self.plan.rounds)
        place = self._dice.choice(self.places)
        await asyncio.sleep(self._dice.choice((0.02, 0.1, 0.4)) * self._dice.random())
        if number % self.plan.roll_every == 0:
            await self._roll(place)
            await asyncio.sleep(self._dice.uniform(*self.plan.pause_s))
            return
        dead = await self._kill(place, store)
        await asyncio.sleep(self._dice.uniform(*self.plan.pause_s))
        await self._note_sending(dead, store)

    def _spoil(self) -> None:
        """Whoever is killed while a message is visible whose answer hangs must not send it again."""
        self.telegram.faults.add(HANGING, self._dice.choice(CALLS), self._dice.choice(DELIVERIES))

    def _burst(self, until: int) -> None:
        """People write until they have written that many messages in all."""
        while self._crowd.said.total() < until:
            self._crowd.write(self._dice.randint(1, self.plan.chats))

    async def _kill(self, place: Place, store: SessionStore) -> set[str]:
        """Kill and start again; gives the leases of the dead one, whose commits may still be on their way."""
        await place.kill()
        self.injected["kill -9"] += 1
        dead = place.leases_of_the_dead()
        left = await self._note_sending(dead, store)
        self.injected["turns open at kill -9"] += len(left)
        await place.start()
        await asyncio.sleep(LATE_S)
        await self._note_sending(dead, store)
        return dead

    async def _note_sending(self, dead: Container[str], store: SessionStore) -> Sequence[UpdateRecord]:
        """Take down what is being sent under the leases of the dead; what others send has no excuse."""
        left = await store.find_updates(("accepted", "committed"), ALL)
        cut = (record for record in left if is_sending(record) and turns.unpack(record).lease in dead)
        self.sending_at_kills |= {record.update for record in cut}
        return left

    async def _roll(self, place: Place) -> None:
        self.injected["SIGTERM"] += 1
        code = await place.roll()
        assert code == 0, f"a service that was asked to end exited with {code}"

    async def _settle(self, store: SessionStore) -> None:
        async with asyncio.timeout(self.plan.settle_s + READY_S):
            await asyncio.gather(*(place.ready() for place in self.places))
        with suppress(TimeoutError):  # what has no end by then is lost: the verdict names it
            async with asyncio.timeout(self.plan.settle_s):
                await self.telegram.updates.idle()
                await until_all_ended(store)

    # ------------------------------------------------------------ judge

    async def _verdict(self) -> Verdict:
        """An unknown end is owed to a kill while sending, or to a lost answer; who is asked to end cuts none."""
        lost_answers = sum(self.telegram.faults.injected[kind] for kind in LOSE_THE_ANSWER)
        watched = Watched(
            said=self._crowd.said,
            accepted=self.accepted,
            sending=self.sending_at_kills,
            lost_answers=lost_answers,
        )
        return judge(watched, await collect(self._database, self.telegram, range(1, self.plan.chats + 1)))


@asynccontextmanager
async def besieged(plan: Plan, environ: Environ, folder: Path) -> AsyncIterator[Siege]:
    """A siege with a Telegram of its own, and places whose logs are in the folder."""
    async with TelegramSimulator(clock=ScaledClock(PACE)) as telegram, aiohttp.ClientSession() as http:
        logs = [folder / f"serve-{number}.log" for number in range(plan.processes)]
        yield Siege(plan, telegram, [Place(telegram, environ, log, http) for log in logs], environ)


async def states(environ: Environ) -> list[TurnState]:
    """The states of all updates in a store, in their order of arrival."""
    database = choose(load(environ))
    await database.open()
    store = database.sessions(Meter())
    try:
        return [record.state for record in await store.find_updates(STATES, ALL)]
    finally:
        await store.close()


class _Numbered(msgspec.Struct):
    update_id: int


_numbered = msgspec.json.Decoder(_Numbered).decode


def _update_id(body: bytes) -> int:
    return _numbered(body).update_id
