"""Turns that wait: as long as Telegram said, whoever owns them then, and never for ever."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from actors.commands import GAVE_UP
from actors.delivery import BACKOFF_S, RETRY_LATEST_S
from actors.mailbox import MOST_WAIT_S
from actors.ports import NotSent
from actors.turns import UNSENT_MOST_S
from contracts.sessions import (
    BeginSending,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    MarkDelivered,
    ReleaseTurn,
    TurnCommitted,
    TurnHeld,
)
from contracts.turns import Chunk
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import claim, commit

DOWN = NotSent("Internal Server Error")


def now() -> float:
    """The loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def reason(world: World, update: int) -> str:
    """Why an update has ended."""
    return world.database.updates[f"{BOT}:{update}"].reason


async def through(world: World, update: int) -> None:
    """Sweep once a minute until the update has its end."""
    await world.idle()
    while world.state(update) == "committed":
        await world.sweep()
        await asyncio.sleep(60.0)


class Tries:
    """When a chat was sent to; each of its sends fails as the test says, the other chats' succeed."""

    def __init__(self, world: World, error: NotSent) -> None:
        self.at: list[float] = []
        self.error: NotSent | None = error
        self._world = world
        world.screen.chaos = self._draw

    def _draw(self) -> tuple[bool, NotSent | None]:
        if self._world.screen.tried[CHAT] == len(self.at):
            return True, None
        self.at.append(now())
        return self.error is None, self.error


# ---------------------------------------------------------------- for ever


async def test_a_chat_to_which_nothing_can_be_sent_goes_on_after_a_day(world: World) -> None:
    """Its first turn is dead-lettered with the reason, the next one is tried then; other chats never waited."""
    tries = Tries(world, DOWN)
    await world.say(1, "poison")
    await world.say(2, "next")
    await world.say(3, "other", chat=CHAT + 1)
    await through(world, 1)
    lasted = now() - tries.at[0]
    assert UNSENT_MOST_S <= lasted <= UNSENT_MOST_S + 2 * RETRY_LATEST_S
    assert (world.state(1), reason(world, 1)) == (
        "dead_lettered",
        "surely not sent for 24 h: Internal Server Error",
    )
    tries.error = None
    await world.settle()
    assert (world.screen.texts(CHAT), world.screen.texts(CHAT + 1)) == (["echo: next"], ["echo: other"])
    assert len(tries.at) < 2_000


async def test_a_restart_begins_no_new_day(world: World) -> None:
    """Since when nothing could be sent is stored with the turn; whoever comes then tries twice before the end."""
    tries = Tries(world, DOWN)
    await world.say(1, "poison")
    await world.idle()
    first = tries.at[0]
    for _ in range(2):
        await world.sweep()
        await world.idle()
        world.now.kill()
        await asyncio.sleep(UNSENT_MOST_S / 2)
        tried = len(tries.at)
        await world.boot()
        assert world.state(1) == "committed"
    await world.settle()
    assert (world.state(1), len(tries.at)) == ("dead_lettered", tried + 2)
    assert now() - first < UNSENT_MOST_S + RETRY_LATEST_S


async def test_what_was_not_tried_is_not_given_up(world: World) -> None:
    """A message that its owner put back unsent, as the container ended, is for the next one to try."""
    await world.accept(1)
    turn = await claim(world)
    await world.ask(commit(turn, "one"))
    put_back = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=turn.lease, index=0, state="planned")
    failed = msgspec.structs.replace(put_back, reason="down")
    begin = BeginSending(chat=CHAT, bot=BOT, update=1, lease=turn.lease, index=0)
    assert await world.ask(failed) == DeliveryRecorded(waiting=1)
    await asyncio.sleep(UNSENT_MOST_S)
    for mark in (put_back, failed, put_back):
        await world.ask(begin)
        assert await world.ask(mark) == DeliveryRecorded(waiting=1, unsent_s=UNSENT_MOST_S)
    await world.ask(begin)
    assert await world.ask(failed) == DeliveryRecorded(ended=True)


async def test_a_wait_that_is_told_after_an_outage_is_kept(world: World) -> None:
    """The first answer after a day in which nobody could try is no end: it may only say to wait."""
    tries = Tries(world, DOWN)
    await world.say(1)
    await world.idle()
    world.now.kill()
    await asyncio.sleep(UNSENT_MOST_S)
    tries.error = NotSent("429", 30.0)
    await world.boot()
    await world.sweep()
    await world.idle()
    assert world.state(1) == "committed"
    tries.error = None
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])


async def test_each_chunk_has_a_day_of_its_own(world: World) -> None:
    """A chunk that went through at last leaves the next one its time."""
    tries = Tries(world, DOWN)
    await world.say(1, "one|two")
    await world.idle()
    world.now.kill()
    await asyncio.sleep(UNSENT_MOST_S)
    tries.error = None
    await world.boot()
    world.screen.outcomes[CHAT].extend(["ok", DOWN, DOWN])
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: one", "two"])


async def test_a_reply_that_was_sent_in_part_is_given_up_as_well(world: World) -> None:
    """What the chat saw stays recorded, what it did not see is not sent."""
    world.screen.outcomes[CHAT].append("ok")
    tries = Tries(world, DOWN)
    tries.at.append(now())  # the first chunk's
    await world.say(1, "one|two|three")
    await through(world, 1)
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sent", "failed", "planned"]
    assert (world.state(1), world.screen.texts(CHAT)) == ("dead_lettered", ["echo: one"])


async def test_after_an_outage_the_answer_comes_within_a_tenth_of_it(world: World) -> None:
    """Tries become rarer while nothing can be sent, in proportion to how long that lasts."""
    tries = Tries(world, DOWN)
    await world.say(1)
    started = now()
    while now() < started + 1_000.0:
        await world.sweep()
        await asyncio.sleep(5.0)
    pauses = [later - earlier for earlier, later in pairwise(tries.at)]
    assert 10.0 < max(pauses) <= 110.0
    tries.error = None
    back = now()
    await world.settle()
    assert (world.screen.texts(CHAT), now() - back <= 115.0) == (["echo: hello"], True)


async def test_tries_of_a_chunk_stand_apart(world: World) -> None:
    """B2: a Telegram that stumbles is not asked four times at once."""
    tries = Tries(world, DOWN)
    await world.say(1)
    await world.idle()
    pauses = [later - earlier for earlier, later in pairwise(tries.at)]
    assert pauses == pytest.approx(BACKOFF_S, abs=0.1)
    assert all(0.4 < earlier < later for earlier, later in pairwise(pauses))


# ---------------------------------------------------------------- as told


@pytest.mark.parametrize("killed", [True, False])
async def test_a_restart_waits_as_telegram_told(world: World, killed: bool) -> None:
    """B1: 300 s are 300 s, also for the shard and agent that come after these, killed or stopped."""
    tries = Tries(world, NotSent("429", 300.0))
    await world.say(1)
    await world.idle()
    tries.error = None
    if killed:
        world.now.kill()
    else:
        await world.now.stop()
    await world.boot()
    await world.settle()
    assert (len(tries.at), world.screen.texts(CHAT)) == (2, ["echo: hello"])
    assert 300.0 <= tries.at[1] - tries.at[0] <= 310.0


async def test_a_kill_before_the_turn_was_handed_back_waits_as_well(world: World) -> None:
    """What Telegram told is written with the chunk's fate, and not only when the turn is handed back."""
    tries = Tries(world, NotSent("429", 300.0))
    world.now.wire.lose = lambda frame: b"turn.release" in frame
    away: list[Mishap] = ["before"] * 99
    world.now.store.fail("read_chat", *away)
    await world.say(1)
    await asyncio.sleep(1.0)
    assert world.database.leases[CHAT][0].owner
    world.now.kill()
    tries.error = None
    await world.boot()
    await world.settle()
    assert 300.0 <= tries.at[1] - tries.at[0] <= 310.0


async def test_a_stop_during_a_short_wait_keeps_it(world: World) -> None:
    """The next owner does not come before the 4 s are over that the stopped one was waiting for."""
    tries = Tries(world, NotSent("429", 4.0))
    await world.say(1)
    await asyncio.sleep(1.0)
    tries.error = None
    world.now.kill()
    await world.boot()
    for _ in range(200):
        await world.sweep()
        await asyncio.sleep(0.1)
    assert tries.at[1] - tries.at[0] >= 4.0


async def test_a_second_owner_waits_as_the_first_was_told(world: World) -> None:
    """Also while both live."""
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, retry_after_s=300.0))
    await world.boot()
    held = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(held, TurnHeld)
    assert 299.0 <= held.retry_after_s <= 300.0
    assert await world.sweep() == ()
    await asyncio.sleep(300.0)
    assert (await claim(world, "two")).attempt == 1


async def test_no_wait_is_longer_than_a_day(world: World) -> None:
    """What is told beyond that is a mistake, or as good as never."""
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, retry_after_s=1e12))
    held = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(held, TurnHeld)
    assert held.retry_after_s == pytest.approx(MOST_WAIT_S)


async def test_a_normal_turn_costs_no_more_store_calls(world: World) -> None:
    """The append, the commit, the end, and beside them the lease: waiting is paid for by who waits."""
    await world.say(1)
    await world.idle()
    world.now.store.calls.clear()
    await world.say(2)
    await world.idle()
    assert {"append": 1, "write_turn": 2, "write_lease": 1} == dict(world.now.store.calls)


# ---------------------------------------------------------------- the notice


async def test_a_turn_that_was_given_up_tells_the_user_once(world: World) -> None:
    """D1: one honest notice, sent as an answer is: at most once, whoever dies meanwhile."""
    world.now.model.script.extend(ValueError("defect") for _ in range(5))
    await world.accept(1, "poison")
    await world.settle()
    assert world.screen.texts(CHAT) == [GAVE_UP]
    assert (world.state(1), reason(world, 1)) == ("dead_lettered", "5 attempts ended without an answer")
    assert CHAT not in world.database.sessions


async def test_a_notice_that_may_have_been_sent_is_not_sent_again(world: World) -> None:
    """Cut while it is being sent, the turn ends as dead-lettered; the update surely has no answer."""
    await world.accept(1)
    turn = await claim(world)
    notice = CommitTurn(
        chat=CHAT,
        bot=BOT,
        update=1,
        lease=turn.lease,
        chunks=(Chunk(text=GAVE_UP),),
        outcome="dead_lettered",
        reason="five attempts",
    )
    assert isinstance(await world.ask(notice), TurnCommitted)
    await asyncio.sleep(20.0)
    await world.settle()
    assert (world.screen.texts(CHAT), world.state(1), reason(world, 1)) == (
        [],
        "dead_lettered",
        "five attempts",
    )


async def test_what_nobody_wrote_gets_no_notice(world: World) -> None:
    """A group that became a supergroup asked for nothing."""
    await world.accept(1, "", migrate_to=-1001, kind="message")
    for _ in range(5):
        await claim(world)
        await asyncio.sleep(15.0)
    await world.settle()
    assert (world.screen.texts(CHAT), world.state(1)) == ([], "dead_lettered")
