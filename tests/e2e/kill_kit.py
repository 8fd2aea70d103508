"""Firstlight under kill -9: real services on one store, restarted at once, a simulated Telegram before and behind."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from actors import session_codec, turns
from actors.meter import Meter
from actors.stores import SessionStore, UpdateRecord
from app.doctor import examine
from app.settings import load
from app.store.database import Database, choose
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_faults import CallFault, CallFaultKind, DeliveryFault
from app.telegram.simulator_ports import ScaledClock
from contracts.turns import TurnState
from tests.e2e.conftest import Environ
from tests.e2e.kill_place import Place
from tests.e2e.kill_verdict import ASK, LIST, LIST_EVERY, against_history, against_transcript, is_stale
from tests.e2e.kit import READY_S

PACE: Final = 4.0  # times faster than real: Telegram waits up to two minutes before it delivers again
LATE_S: Final = 0.3  # a commit that was on its way when its writer died has arrived by then
ALL: Final = 100_000  # more records than any run makes
STATES: Final[tuple[TurnState, ...]] = (
    "accepted",
    "committed",
    "answered",
    "ignored",
    "refused",
    "quarantined",
    "dead_lettered",
    "unknown",
)
CUT: Final = "its owner stopped while sending"
LOSE_THE_ANSWER: Final[frozenset[CallFaultKind]] = frozenset(
    {"reset_before", "reset_after", "hang", "hang_after", "malformed"}
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


@dataclass
class Verdict:
    """What the store and Telegram's transcript say in the end; `problems` is empty when the promises held.

    `stale` counts answers that were made without knowing the turn before, which another owner had worked: the
    stated staleness bound of L1 allows that while a shard has two owners. An unknown end was `cut`, by a kill
    while `in_flight`, or `unanswered`, because Telegram's answer was one of the `lost_answers`.
    """

    turns: int = 0
    stale: int = 0
    cut: int = 0
    in_flight: int = 0
    unanswered: int = 0
    lost_answers: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


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
        self._said: Counter[int] = Counter()

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
            return await self._verdict(store)
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
        else:
            await self._kill(place, store)
        await asyncio.sleep(self._dice.uniform(*self.plan.pause_s))

    def _spoil(self) -> None:
        """Whoever is killed while a message is visible whose answer hangs must not send it again."""
        self.telegram.faults.add(HANGING, self._dice.choice(CALLS), self._dice.choice(DELIVERIES))

    def _burst(self, until: int) -> None:
        """People write until they have written that many messages in all."""
        while self._said.total() < until:
            chat = self._dice.randint(1, self.plan.chats)
            self._said[chat] += 1
            number = self._said[chat]
            self.telegram.say(chat, LIST if number % LIST_EVERY == 0 else ASK.format(number))

    async def _kill(self, place: Place, store: SessionStore) -> None:
        await place.kill()
        self.injected["kill -9"] += 1
        left = await self._note_sending(store)
        self.injected["turns open at kill -9"] += len(left)
        await place.start()
        await asyncio.sleep(LATE_S)
        await self._note_sending(store)

    async def _note_sending(self, store: SessionStore) -> Sequence[UpdateRecord]:
        left = await store.find_updates(("accepted", "committed"), ALL)
        self.sending_at_kills |= {record.update for record in left if _is_sending(record)}
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

    async def _verdict(self, store: SessionStore) -> Verdict:
        records = await store.find_updates(STATES, ALL)
        held = await store.read_sessions(range(1, self.plan.chats + 1))
        sessions = {each.chat: session_codec.unpack(each.body) for each in held.sessions}
        verdict = Verdict(turns=len(records), ends=Counter(record.state for record in records))
        verdict.problems += self._lost(records)
        verdict.problems += self._unexplained(records, verdict)
        for chat in range(1, self.plan.chats + 1):
            own = sorted((each for each in records if each.chat == chat), key=lambda record: record.update)
            verdict.problems += against_transcript(chat, own, self.telegram)
            verdict.problems += against_history(chat, len(own), sessions.get(chat))
            verdict.stale += sum(is_stale(number, each) for number, each in enumerate(own, 1))
        found = await examine(self._database)
        verdict.problems += [f"the doctor finds {each}" for each in (*found.lost, *found.stuck)]
        return verdict

    def _lost(self, records: Sequence[UpdateRecord]) -> Iterable[str]:
        """What was answered 200 has its end, and every message of the people has come to that."""
        ended = {record.update for record in records if not record.open}
        for update in sorted(self.accepted - ended):
            yield f"update {update} was lost"
        if self._said.total() != len(records):
            yield f"people wrote {self._said.total()} messages, the store has {len(records)} updates"

    def _unexplained(self, records: Sequence[UpdateRecord], verdict: Verdict) -> Iterable[str]:
        """An unknown end is owed to a kill while sending, or to an answer that Telegram lost: to nothing else.

        A service that is asked to end cuts no send: what gets no answer meanwhile ends as such.
        """
        unknown = [each for each in records if each.state == "unknown"]
        cut = {each.update for each in unknown if each.reason == CUT}
        verdict.cut, verdict.in_flight = len(cut), len(self.sending_at_kills)
        verdict.unanswered = len(unknown) - len(cut)
        verdict.lost_answers = sum(self.telegram.faults.injected[kind] for kind in LOSE_THE_ANSWER)
        for update in sorted(cut - self.sending_at_kills):
            yield f"update {update} is unknown, and nobody was killed while sending it"
        if verdict.unanswered > verdict.lost_answers:
            yield f"{verdict.unanswered} updates are unknown for {verdict.lost_answers} lost answers"


@asynccontextmanager
async def besieged(plan: Plan, environ: Environ, folder: Path) -> AsyncIterator[Siege]:
    """A siege with a Telegram of its own, and places whose logs are in the folder."""
    async with TelegramSimulator(clock=ScaledClock(PACE)) as telegram, aiohttp.ClientSession() as http:
        logs = [folder / f"serve-{number}.log" for number in range(plan.processes)]
        yield Siege(plan, telegram, [Place(telegram, environ, log, http) for log in logs], environ)


async def until_all_ended(store: SessionStore) -> None:
    """Wait until no update is open."""
    while True:
        if not await store.find_updates(("accepted", "committed"), 1):
            return
        await asyncio.sleep(0.2)  # other processes end them


async def states(environ: Environ) -> list[TurnState]:
    """The states of all updates in a store, in their order of arrival."""
    database = choose(load(environ))
    await database.open()
    store = database.sessions(Meter())
    try:
        return [record.state for record in await store.find_updates(STATES, ALL)]
    finally:
        await store.close()


def _is_sending(record: UpdateRecord) -> bool:
    return any(chunk.state == "sending" for chunk in turns.unpack(record).chunks)


class _Numbered(msgspec.Struct):
    update_id: int


_numbered = msgspec.json.Decoder(_Numbered).decode


def _update_id(body: bytes) -> int:
    return _numbered(body).update_id
