"""Redelivery by Telegram's rules, on a clock that stands still until everybody waits."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.telegram.simulator_delivery import CALLBACK_LIFETIME_S, DeliveryQueue, Outcome
from app.telegram.simulator_faults import DeliveryFault, FaultScript
from app.telegram.simulator_ports import SeededChance
from tests.app.telegram.hand_clock import HandClock

REFUSED = Outcome(False, "Wrong response from the webhook: 500 Internal Server Error")


class Bot:
    """Notes every attempt as (second, update id); answers from a script, then with success."""

    def __init__(self, clock: HandClock, *script: Outcome) -> None:
        self.clock, self.script = clock, list(script)
        self.attempts: list[tuple[float, int]] = []
        self.at_once = self.most_at_once = 0
        self.takes_s = 0.0

    async def __call__(self, body: bytes) -> Outcome:
        self.attempts.append((self.clock.now, json.loads(body)["update_id"]))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.clock.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        return self.script.pop(0) if self.script else Outcome(True)

    def seconds(self) -> Sequence[float]:
        return [at for at, _ in self.attempts]

    def ids(self) -> Sequence[int]:
        return [update_id for _, update_id in self.attempts]


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still."""
    return HandClock()


@pytest.fixture
def faults() -> FaultScript:
    """No faults yet."""
    return FaultScript()


@pytest.fixture
def updates(clock: HandClock, faults: FaultScript) -> DeliveryQueue:
    """An empty queue on that clock."""
    return DeliveryQueue(clock, SeededChance(1), faults, first_update_id=1)


async def _delivered(
    clock: HandClock, updates: DeliveryQueue, bot: Bot, *lanes: str, seconds: float = 10.0
) -> None:
    updates.connect(bot)
    for lane in lanes:
        updates.push({"message": {"text": lane}}, lane)
    await clock.run(seconds)
    await updates.disconnect()


async def test_the_first_redelivery_is_immediate_then_delays_double(
    clock: HandClock, updates: DeliveryQueue
) -> None:
    """Attempts come at 0, 0, 2, 6, 14, 30, 62 s: immediately, then after 2, 4, 8, 16, 32 s."""
    bot = Bot(clock, *[REFUSED] * 6)
    await _delivered(clock, updates, bot, "chat:1", seconds=63)
    assert bot.seconds() == [0, 0, 2, 6, 14, 30, 62]
    assert (updates.counts.delivered, updates.counts.duplicates, updates.pending()) == (1, 6, 0)


async def test_delays_stop_growing_between_60_and_120_seconds(
    clock: HandClock, updates: DeliveryQueue
) -> None:
    """However often it failed, the next attempt is at most 120 s away."""
    bot = Bot(clock, *[REFUSED] * 40)
    await _delivered(clock, updates, bot, "chat:1", seconds=4000)
    late = bot.seconds()[10:]
    gaps = [after - before for before, after in itertools.pairwise(late)]
    assert len(gaps) > 20
    assert all(60 <= gap <= 120 for gap in gaps)


async def test_retry_after_replaces_the_delay_up_to_an_hour(clock: HandClock, updates: DeliveryQueue) -> None:
    """The bot's wish counts, cut to 3600 s, and does not make later delays longer."""
    bot = Bot(clock, Outcome(False, "busy", 30.0), Outcome(False, "busy", 9999.0), REFUSED)
    await _delivered(clock, updates, bot, "chat:1", seconds=4000)
    assert bot.seconds() == [0, 30, 3630, 3632]


async def test_an_attempt_without_an_answer_ends_after_60_seconds(
    clock: HandClock, updates: DeliveryQueue
) -> None:
    """A bot that hangs is asked again a minute later, and the error is kept for getWebhookInfo."""
    bot = Bot(clock)
    bot.takes_s = 1000.0
    await _delivered(clock, updates, bot, "chat:1", seconds=61)
    assert bot.seconds() == [0, 60]
    assert updates.last_error == "Read timeout expired"


@pytest.mark.parametrize(
    ("lifetime_s", "last_attempt_s"), [(CALLBACK_LIFETIME_S, 150), (24 * 3600.0, 24 * 3600)]
)
async def test_updates_expire(
    clock: HandClock, updates: DeliveryQueue, lifetime_s: float, last_attempt_s: float
) -> None:
    """Nothing is delivered after its lifetime; it is counted as expired."""
    bot = Bot(clock, *[REFUSED] * 3000)
    updates.connect(bot)
    updates.push({"callback_query": {}}, "user:1", lifetime_s)
    await clock.run(lifetime_s * 1.1)
    await updates.disconnect()
    assert last_attempt_s - 121 < bot.seconds()[-1] <= last_attempt_s
    assert (updates.counts.expired, updates.pending()) == (1, 0)


async def test_a_chat_is_in_order_and_waits_for_nobody_else(clock: HandClock, updates: DeliveryQueue) -> None:
    """A failing update holds back its own chat only, and is delivered before the chat's next."""
    bot = Bot(clock, REFUSED, Outcome(True), REFUSED)
    await _delivered(clock, updates, bot, "chat:1", "chat:2", "chat:1")
    assert bot.attempts == [(0, 1), (0, 2), (0, 1), (2, 1), (2, 3)]


async def test_ids_grow_by_one(updates: DeliveryQueue) -> None:
    """Update ids are handed out without gaps, whatever the lane."""
    assert [updates.push({}, lane) for lane in ("chat:1", "", "user:1")] == [1, 2, 3]


@pytest.mark.parametrize(("connections", "chats", "expected"), [(3, 8, 3), (40, 8, 8)])
async def test_at_most_max_connections_in_flight_one_for_each_chat(
    clock: HandClock, updates: DeliveryQueue, connections: int, chats: int, expected: int
) -> None:
    """No more attempts run at once than connections or chats allow, and all get through."""
    bot = Bot(clock)
    bot.takes_s = 1.0
    updates.connect(bot, connections)
    for number in range(chats * 2):
        updates.push({}, f"chat:{number % chats}")
    await clock.run(20)
    assert (bot.most_at_once, updates.counts.delivered) == (expected, chats * 2)


async def test_what_is_not_confirmed_outlives_a_disconnect(clock: HandClock, updates: DeliveryQueue) -> None:
    """Changing the webhook loses nothing: what was under way is delivered to the new one."""
    slow, new = Bot(clock), Bot(clock)
    slow.takes_s = 1000.0
    await _delivered(clock, updates, slow, "chat:1", "chat:1", seconds=1)
    updates.connect(new)
    await clock.run(1)
    assert (new.ids(), updates.pending()) == ([1, 2], 0)


@pytest.mark.parametrize("turns", range(30))
async def test_a_push_right_after_a_lane_ran_dry_is_delivered(
    clock: HandClock, updates: DeliveryQueue, turns: int
) -> None:
    """No update is stuck in the moment in which its lane's task ends, whichever turn of the loop that is."""
    bot = Bot(clock)
    updates.connect(bot)
    updates.push({}, "chat:1")
    for _ in range(turns):
        await asyncio.sleep(0)
    updates.push({}, "chat:1")
    await clock.run(1)
    assert bot.ids() == [1, 2]


async def test_updates_of_no_lane_do_not_wait_for_one_another(
    clock: HandClock, updates: DeliveryQueue
) -> None:
    """What belongs to no chat and no user is not ordered: a failing one holds back nothing."""
    bot = Bot(clock, REFUSED, Outcome(True), REFUSED)
    await _delivered(clock, updates, bot, "", "")
    assert bot.ids() == [1, 2, 1, 1]


async def test_too_many_waiting_updates_are_refused(clock: HandClock, faults: FaultScript) -> None:
    """Memory is bounded when no bot confirms anything."""
    updates = DeliveryQueue(clock, SeededChance(1), faults, first_update_id=1, max_pending=2)
    updates.push({}, "chat:1")
    updates.push({}, "chat:1")
    with pytest.raises(OverflowError):
        updates.push({}, "chat:1")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (DeliveryFault(kind="duplicate"), lambda bot: bot.ids() == [1, 2, 1] and bot.most_at_once == 2),
        (
            DeliveryFault(kind="duplicate_at_once"),
            lambda bot: sorted(bot.ids()) == [1, 1, 2] and bot.most_at_once == 3,
        ),
        (DeliveryFault(kind="held", seconds=5), lambda bot: bot.attempts == [(0, 2), (5, 1)]),
        (DeliveryFault(kind="answer_lost"), lambda bot: bot.attempts == [(0, 1), (0, 2), (1, 1)]),
        (
            DeliveryFault(kind="impatient", seconds=0.5),
            lambda bot: bot.attempts == [(0, 1), (0, 2), (0.5, 1)],
        ),
    ],
)
async def test_scripted_delivery_faults(
    clock: HandClock,
    updates: DeliveryQueue,
    faults: FaultScript,
    fault: DeliveryFault,
    check: Callable[[Bot], bool],
) -> None:
    """Each fault shows at the bot, is counted by kind, and no update is lost by it."""
    faults.add(fault)
    bot = Bot(clock)
    bot.takes_s = 1.0
    await _delivered(clock, updates, bot, "chat:1", "chat:2")
    assert check(bot), bot.attempts
    assert dict(faults.injected) == {fault.kind: 1}
    assert (updates.counts.delivered, updates.pending()) == (2, 0)


async def test_a_fault_for_one_lane_spares_the_others(
    clock: HandClock, updates: DeliveryQueue, faults: FaultScript
) -> None:
    """A named lane is hit as often as asked, and no other."""
    faults.add(DeliveryFault(kind="answer_lost", lane="chat:2", times=2))
    bot = Bot(clock)
    await _delivered(clock, updates, bot, "chat:1", "chat:2", "chat:1")
    assert sorted(bot.ids()) == [1, 2, 2, 2, 3]


async def test_the_same_seed_gives_the_same_run() -> None:
    """Time and chance are given, so a run can be repeated to the attempt."""

    async def run(seed: int) -> Any:
        clock = HandClock()
        updates = DeliveryQueue(clock, SeededChance(seed), FaultScript(), first_update_id=1)
        bot = Bot(clock, *[REFUSED] * 30)
        await _delivered(clock, updates, bot, "chat:1", "chat:2", seconds=2000)
        return bot.attempts

    assert await run(7) == await run(7)
    assert await run(7) != await run(8)
