"""The path of a turn on the whole local system: its actor calls, its store calls, and what waits for what."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.dev import simulated
from app.fleet import stats_of
from app.intake import Taken, UpdateIntake
from app.metrics import Metrics
from app.setting_values import ModelName
from app.settings import Secret, Settings
from app.system import LocalSystem, Role
from app.telegram.addressing import BotIdentity
from app.telegram.simulator import TelegramSimulator
from app.transport.local import LocalTransport
from contracts.warming import ActorStats
from tests.app.llm.messages_api import hangs, messages_api
from tests.app.service_kit import REPLY_S, settings
from tests.waiting import until

CHAT = 5


class Counting(LocalTransport):
    """The real transport; counts what is said by its tag."""

    said: Counter[str]

    async def ask(self, frame: bytes) -> bytes:
        self.said[msgspec.msgpack.decode(frame)["type"]] += 1
        return await super().ask(frame)

    async def tell(self, frame: bytes) -> None:
        self.said[msgspec.msgpack.decode(frame)["type"]] += 1
        await super().tell(frame)


class CountedSystem(LocalSystem):
    """The whole system, whose messages between actors are counted in `said`."""

    def __init__(self, chosen: Settings) -> None:
        self.said: Counter[str] = Counter()
        super().__init__(chosen)

    def _carrier(self, role: Role) -> LocalTransport:
        carrier = Counting(role, self.world.background, 10.0)
        carrier.said = self.said
        return carrier

    async def store_calls(self) -> Counter[str]:
        """The store calls that requests have caused, by actor."""
        known = await stats_of(self.fleet.members, 5.0)
        counts: Counter[str] = Counter()
        for stats in known.values():
            assert isinstance(stats, ActorStats)
            counts[f"{stats.actor} reads"] += stats.store_reads.calls
            counts[f"{stats.actor} writes"] += stats.store_writes.calls
        return +counts


class Rig:
    """A system behind an intake, in front of a simulated Telegram."""

    def __init__(self, system: CountedSystem, telegram: TelegramSimulator) -> None:
        self.system, self.telegram = system, telegram
        self._identity = BotIdentity(int(telegram.token.partition(":")[0]), "kit_bot")
        self._updates = 0
        self._intake = UpdateIntake(
            bot=self._identity.id,
            fleet=system.fleet,
            identity=lambda: self._identity,
            background=system.world.background,
            metrics=Metrics(),
            clock=system.world.clock,
        )

    async def take(self, text: str) -> Taken:
        """Bring a message in."""
        self._updates += 1
        person = {"id": CHAT, "is_bot": False, "first_name": "Ada"}
        message = {"message_id": self._updates, "date": 1767225600, "chat": {"id": CHAT, "type": "private"}}
        update = {"update_id": self._updates, "message": {**message, "from": person, "text": text}}
        return await self._intake.take(msgspec.json.encode(update))

    async def turn(self, text: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Have a message answered; gives the messages between actors and the store calls that it took."""
        said, calls = self.system.said.copy(), await self.system.store_calls()
        before = len(self.telegram.replies(CHAT))
        assert (await self.take(text)).durable
        await self.telegram.wait_for_reply(CHAT, before + 1, REPLY_S)
        await until(lambda: not len(self.system.world.background))  # the call that took the ticket is ending
        made = self.system.said - said
        del made["catalog.get"]  # an agent's tick, which comes when it comes
        return dict(made), dict(await self.system.store_calls() - calls)


@asynccontextmanager
async def rig(tmp_path: Path, **changes: Any) -> AsyncIterator[Rig]:
    """A warm system over an empty SQLite file."""
    async with TelegramSimulator() as telegram:
        telegram.say(CHAT, "hello")  # a chat that exists, so that the bot may write to it
        chosen = simulated(settings(tmp_path, **changes), telegram, telegram.url)
        system = CountedSystem(chosen)
        await system.start()
        try:
            yield Rig(system, telegram)
        finally:
            await system.stop()


STEPS = {"update.accept": 1, "turn.take": 1, "turn.claim": 1, "turn.commit": 1, "chunk.delivered": 1}
"""What every turn with one chunk of reply is made of; the ticket `turn.take` is told, the others are asked."""

WRITES = {"SessionCacheActor writes": 4}
"""Accept, commit and the record of the delivery are waited for; the lease is written beside the turn."""


async def test_a_warm_turn_makes_one_call_for_each_step_and_reads_no_store(tmp_path: Path) -> None:
    """One actor call each to accept, claim, commit and record, and nobody else is asked."""
    async with rig(tmp_path) as warm:
        await warm.turn("Good morning!")
        assert (STEPS, WRITES) == await warm.turn("And how are you?")


async def test_the_first_turn_after_a_cold_start_costs_as_much_as_any(tmp_path: Path) -> None:
    """Warming has read the session and the catalog: the turn reads nothing and asks nobody more."""
    async with rig(tmp_path) as warm:
        await warm.turn("Good morning!")
        await warm.system.restart_cold()
        assert (STEPS, WRITES) == await warm.turn("And how are you?")


async def test_a_commands_turn_costs_as_much_as_any(tmp_path: Path) -> None:
    """The mode and the list of skills come from what the claim and the agent hold."""
    async with rig(tmp_path) as warm:
        await warm.turn("/mode brief")
        assert (STEPS, WRITES) == await warm.turn("/skills")


async def test_a_skills_text_is_asked_for_once(tmp_path: Path) -> None:
    """The first turn with a skill makes one call more; each counts its run beside it."""
    async with rig(tmp_path) as warm:
        first, _ = await warm.turn("/skill recipe-helper two eggs")
        second, calls = await warm.turn("/skill recipe-helper three eggs")
    assert STEPS | {"skill.get": 1, "skill.run.report": 1} == first
    assert STEPS | {"skill.run.report": 1} == second
    assert WRITES | {"SkillRegistryActor writes": 1} == calls


async def test_the_acknowledgement_does_not_wait_for_the_model(tmp_path: Path) -> None:
    """While a model thinks for ever, its chat's updates and those of all others are accepted and answered 200."""
    async with messages_api(hangs) as api:
        changes = {
            "model": ModelName("anthropic", "test"),
            "anthropic_key": Secret("key"),
            "anthropic_url": api.url,
        }
        async with rig(tmp_path, **changes) as warm:
            taken = [await warm.take("Good morning!")]
            await until(lambda: api.asked)
            taken += [await warm.take("Are you there?")]
            thinking = warm.system.said["turn.commit"]
            api.closing.set()
    assert [True, True] == [each.durable for each in taken]
    assert 0 == thinking
