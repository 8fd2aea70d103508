"""Invariants I1 to I4 in seeded chaos on virtual time: failing stores, a moody Telegram, kills, two owners at once.

A seed that fails replays exactly: `run_virtual(chaos(SEED))`, without hash randomness, threads or real time.
"""

import asyncio
import random
from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest
from structlog.testing import capture_logs

from actors import session_codec
from actors.ports import MaybeSent, ModelError, NotSent, Prompt, TelegramError, Unreachable
from contracts.faults import Fault
from contracts.sessions import LoadSession, SessionLoaded, UpdateAccepted, UpdateDuplicate
from contracts.turns import Session
from tests.actors.fakes import Life
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, World
from tests.actors.virtual_time import run_virtual

SEEDS_A_TEST = 20
CHATS = (1, 2, 3)
UPDATES = 4  # a chat; few enough that no conversation is cut at its bound
STORM_S = 90.0
LONGEST = (1 << 30, 5, 3)  # characters of a message that Telegram takes, by turns: the others come in pieces


class Storm:
    """What goes wrong, drawn from one seed; counts what it did."""

    def __init__(self, seed: int) -> None:
        self.random, self.injected = random.Random(seed), Counter[str]()
        self.over = False
        self.store_odds, self.telegram_odds, self.model_odds = (
            self.random.choice((0, 0.05, 0.2)) for _ in "stm"
        )
        self.accepted: set[str] = set()

    def strikes(self, odds: float) -> bool:
        return not self.over and self.random.random() < odds

    def store(self, method: str) -> Mishap | None:
        if not self.strikes(self.store_odds):
            return None
        mishap: Mishap = self.random.choice(get_args(Mishap))
        self.injected[f"store {mishap}"] += 1
        return mishap

    def telegram(self) -> tuple[bool, TelegramError | None]:
        if not self.strikes(self.telegram_odds):
            return True, None
        kind = self.random.choice(("429", "5xx", "maybe shown", "maybe not shown"))
        self.injected[f"telegram {kind}"] += 1
        if kind == "429":
            return False, NotSent(kind, retry_after_s=self.random.choice((1.0, 3.0, 20.0)))
        return kind == "maybe shown", NotSent(kind) if kind == "5xx" else MaybeSent(kind)

    def model(self, prompt: Prompt) -> Exception | None:
        if not self.strikes(self.model_odds):
            return None
        self.injected["model error"] += 1
        return ModelError("overloaded", notice=f"sorry: {prompt.messages[-1].text}", retry=True)


class Chaos:
    """Three chats that talk while the storm lasts, and what must hold when it is over."""

    def __init__(self, seed: int) -> None:
        self.storm = Storm(seed)
        self.world = World(chaos=self.storm.store, pick=lambda: self.storm.random.random() < 0.5)
        self.world.screen.chaos = self.storm.telegram
        self.world.screen.longest = LONGEST[seed % len(LONGEST)]

    async def run(self) -> None:
        """The storm, the calm, and the look at what is left."""
        await self._boot()
        tasks = [asyncio.create_task(work) for work in (self._monkey(), self._sweeps(), self._reads())]
        people = [asyncio.create_task(self._talk(chat)) for chat in CHATS]
        await asyncio.sleep(STORM_S)
        self.storm.over = True
        tasks[0].cancel()
        await self._boot()
        async with asyncio.timeout(600):
            await asyncio.gather(*people)
        await self.world.settle()
        for task in tasks[1:]:
            task.cancel()
        self.check()
        await self.world.bury()

    # ------------------------------------------------------------ what happens

    async def _boot(self, *, beside: bool = False) -> None:
        life = Life()
        container = await self.world.boot(life, life, beside=beside)
        container.model.took_s = self.storm.random.choice((0.0, 0.5, 8.0))
        container.model.chaos = self.storm.model

    async def _talk(self, chat: int) -> None:
        """Bring each update as Telegram does: again until it is taken, the next one after that, some twice."""
        for number in range(UPDATES):
            update = 100 * chat + number
            for _ in range(1_000):
                if await self._bring(chat, update):
                    break
                await asyncio.sleep(self.storm.random.uniform(0.5, 4.0))
            if self.storm.strikes(0.3):
                self.storm.injected["delivered twice"] += 1
                await self._bring(chat, update)
            await asyncio.sleep(self.storm.random.choice((0.0, 0.2, 10.0)))

    async def _bring(self, chat: int, update: int) -> bool:
        try:
            reply = await self.world.accept(update, f"{update}a|{update}b", chat)
        except Unreachable:
            return False
        if not isinstance(reply, UpdateAccepted | UpdateDuplicate):
            return False
        self.storm.accepted.add(f"{BOT}:{update}")
        if self.storm.strikes(0.2):
            self.storm.injected["ticket lost"] += 1
        else:
            await self.world.agent.take_turn(chat)
        return True

    async def _monkey(self) -> None:
        """Kill what runs, at any step, and start anew; or start a second owner beside it."""
        while True:
            await asyncio.sleep(self.storm.random.uniform(2.0, 25.0))
            kind = self.storm.random.choice(("kill", "kill at a step", "second owner", "nothing"))
            self.storm.injected[kind] += kind != "nothing"
            if kind.startswith("kill"):
                await self._kill(self.storm.random.randrange(40) if kind != "kill" else 0)
            if kind != "nothing":
                await self._boot(beside=kind == "second owner")

    async def _kill(self, after_steps: int) -> None:
        for life in self.world.now.lives:
            life.die_after(after_steps)
        await asyncio.sleep(self.storm.random.uniform(0.0, 3.0))
        self.world.now.kill()

    async def _sweeps(self) -> None:
        while True:
            await self.world.sweep()
            await asyncio.sleep(5.0)

    async def _reads(self) -> None:
        """I4: whatever version a shard serves was written, and with this content."""
        while True:
            await asyncio.sleep(1.0)
            for chat in CHATS:
                self._served(chat, await self._loaded(chat))

    async def _loaded(self, chat: int) -> SessionLoaded | None:
        try:
            reply = await self.world.ask(LoadSession(chat=chat))
        except Unreachable:
            return None
        assert isinstance(reply, SessionLoaded | Fault)
        return reply if isinstance(reply, SessionLoaded) else None

    def _served(self, chat: int, loaded: SessionLoaded | None) -> None:
        if loaded is not None and loaded.version:
            assert loaded.session == self._written(chat)[loaded.version]

    # ------------------------------------------------------------ what must hold

    def _written(self, chat: int) -> dict[int, Session]:
        return {one.version: session_codec.unpack(one.body) for one in self.world.database.written[chat]}

    def check(self) -> None:
        """I1 to I3 over the whole run."""
        database = self.world.database
        assert set(database.updates) == self.storm.accepted
        assert dict.fromkeys(self.storm.accepted, 1) == dict(database.ends)
        assert {"answered", "unknown"} >= set(database.states().values())
        for chat in CHATS:
            self._check_shown(chat)
            self._check_history(chat)

    def _check_shown(self, chat: int) -> None:
        """Each chunk that was sent is seen once, in order, one that may have been sent at most once, and no other."""
        shown, ends = self.world.screen.texts(chat), {0}
        said = dict.fromkeys(range(100 * chat, 100 * chat + UPDATES), "")
        for update in said:
            for chunk in self.world.turn(update).chunks:
                said[update] += chunk.text
                after = {at + 1 for at in ends if shown[at : at + 1] == [chunk.text]}
                ends = ends | after if chunk.state == "unknown" else after
        assert len(shown) in ends, (shown, said)
        assert all(text.endswith(f": {update}a{update}b") for update, text in said.items()), said

    def _check_history(self, chat: int) -> None:
        versions = list(self._written(chat).values())
        for before, after in pairwise(versions):
            assert after.messages[: len(before.messages)] == before.messages
        said = (
            [message.text for message in versions[-1].messages if message.role == "user"] if versions else []
        )
        assert said == sorted(said)


async def chaos(seed: int) -> Counter[str]:
    """Run one seed; gives what was injected."""
    run = Chaos(seed)
    with capture_logs():
        await run.run()
    return run.storm.injected


@pytest.mark.parametrize("first", range(0, 200, SEEDS_A_TEST))
def test_invariants_hold_in_any_storm(first: int, injected: Counter[str]) -> None:
    """Every accepted update ends once, nothing is seen twice, history only extends, L1 serves what was written."""
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            injected.update(run_virtual(chaos(seed)))
        except BaseException as failure:
            failure.add_note(f"seed {seed}")
            raise


def test_a_seed_replays_exactly() -> None:
    """The same seed injects the same faults and shows the same messages in the same order."""

    async def shown(seed: int) -> tuple[list[str], Counter[str]]:
        run = Chaos(seed)
        await run.run()
        return [each.text for each in run.world.screen.shown], run.storm.injected

    assert run_virtual(shown(3)) == run_virtual(shown(3))
