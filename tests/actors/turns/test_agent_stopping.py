"""The agent's orderly end: what it lets end, what it hands back, and that nothing is sent twice."""

import asyncio

import pytest

from actors.ports import ChatGone, MaybeSent, NotSent, TelegramError, TextRefused, ThreadGone
from actors.turn_leases import MAX_ATTEMPTS
from contracts.chat import TakeTurn, TurnsTaken
from tests.actors.turn_kit import CHAT, World


async def succeeded(world: World) -> None:
    """The agent's work ends, and a new one in its place does what is left."""
    await world.now.agent_background.drain(5.0)
    world.agent_place.actor = world.make().agent
    await world.settle()


async def test_stop_lets_a_running_turn_end(world: World) -> None:
    """Within the grace, the answer goes out before the connections close."""
    world.now.model.took_s = 10.0
    await world.say(1)
    await asyncio.sleep(1.0)
    await world.now.stop()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_stop_hands_back_what_takes_too_long(world: World) -> None:
    """D1: the next container goes on at once, without waiting for the lease to run out."""
    world.now.model.took_s = 40.0
    await world.say(1)
    await asyncio.sleep(1.0)
    await world.now.stop()
    assert world.screen.texts(CHAT) == []
    await asyncio.sleep(0.1)
    assert world.database.leases == {}
    await world.boot()
    await world.sweep()
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_stop_records_a_message_that_gets_no_answer(world: World) -> None:
    """I2: a send that hangs meets its own deadline within the grace, and the turn ends with the reason."""
    world.screen.took_s = 15.0
    world.screen.outcomes[CHAT].append(MaybeSent("no answer"))
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert (world.state(1), world.turn(1).chunks[0].reason) == ("unknown", "no answer")


async def test_stop_waits_for_no_answer_for_ever(world: World) -> None:
    """I2: a send begun late in the grace that hangs is `unknown` by the end of it, not cut and left to others."""
    world.now.model.took_s = 8.0
    world.screen.took_s = 60.0
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert (world.state(1), world.turn(1).chunks[0].reason) == ("unknown", "no answer")


async def test_stop_begins_no_message_that_could_outlast_it(world: World) -> None:
    """I2: who comes next sends the rest of the reply; none of it was cut while being sent."""
    world.screen.took_s = 15.0
    await world.say(1, "one|two|three")
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert world.screen.texts(CHAT) == ["echo: one"]
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sent", "planned", "planned"]
    world.screen.took_s = 0.0
    await world.boot()
    await world.sweep()
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: one", "two", "three"]


@pytest.mark.parametrize(
    "refusal",
    [
        ThreadGone("message thread not found"),
        ChatGone("upgraded", migrate_to=-1001),
        TextRefused("can't parse"),
    ],
    ids=["topic", "supergroup", "entities"],
)
async def test_stop_begins_no_second_try_that_could_outlast_it(world: World, refusal: TelegramError) -> None:
    """I2: what was refused late is surely not sent, and stays so: who comes next sends it."""
    world.screen.took_s = 14.0
    world.screen.outcomes[CHAT].append(refusal)
    await world.say(1, thread=77)
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert [chunk.state for chunk in world.turn(1).chunks] == ["planned"]
    world.screen.took_s = 0.0
    await world.boot()
    await world.settle()
    assert (world.state(1), [each.text for each in world.screen.shown]) == ("answered", ["echo: hello"])


async def test_an_owner_that_stops_is_no_attempt(world: World) -> None:
    """A turn that is longer than the grace lives through any number of rolling deploys."""
    world.now.model.took_s = 40.0
    await world.accept(1)
    for _ in range(MAX_ATTEMPTS + 1):
        first = world.now
        await world.sweep()
        await asyncio.sleep(1.0)
        await first.agent.stop()
        await first.agent_background.drain(5.0)
        agent = world.make()
        agent.model.took_s = 40.0
        world.agent_place.actor = agent.agent
    world.now.model.took_s = 0.0
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_a_turn_claimed_while_stopping_is_handed_back(world: World) -> None:
    """Nothing is sent over closed connections."""
    await world.accept(1)
    world.now.store.latency_s = 1.0
    world.now.shard.sessions.unlearn(CHAT)
    taking = asyncio.create_task(world.agent.ask(TakeTurn(chat=CHAT)))
    await asyncio.sleep(0.5)
    await world.now.agent.stop()
    taken = await taking
    assert isinstance(taken, TurnsTaken)
    assert taken.stopped_by == "stopping"
    await world.now.agent_background.drain(5.0)
    assert (world.screen.tried[CHAT], world.database.leases) == (0, {})


async def test_a_commit_whose_answer_never_came_is_sent_by_the_next_owner(world: World) -> None:
    """I2: who stops at its commit knows that nothing was sent, and says so: no chunk is unknown, all are sent."""
    world.now.wire.lose = lambda frame: b"turn.commit" in frame
    await world.say(1, "one|two")
    await asyncio.sleep(1.0)
    await world.now.agent.stop()
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sending", "planned"]
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: one", "two"])


async def test_an_answer_that_was_not_put_back_in_time_is_sent_by_the_next_owner(world: World) -> None:
    """I2: a commit late in the grace leaves no time to send; cut before that is recorded, the agent says so."""

    def goes_away_after_commit(frame: bytes) -> bool:
        world.now.store.down |= b"turn.commit" in frame
        return False

    world.now.wire.lose = goes_away_after_commit
    world.now.model.took_s = 18.0
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.agent.stop()
    world.now.store.down = False
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sending"]
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])


async def test_a_reply_cut_between_two_tries_is_sent_by_the_next_owner(world: World) -> None:
    """I2: what Telegram refused was not sent, although a cut agent had announced the next try."""

    def goes_away_after_begin(frame: bytes) -> bool:
        world.now.store.down |= b"chunk.begin" in frame
        return b"chunk.begin" in frame

    world.now.wire.lose = goes_away_after_begin
    world.now.model.took_s = 12.5
    world.screen.outcomes[CHAT].append(NotSent("later", 5.0))
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.agent.stop()
    world.now.store.down = False
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sending"]
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])


async def test_a_reply_claimed_while_stopping_is_sent_by_the_next_owner(world: World) -> None:
    """I2: what the claim marked as being sent was not sent over closed connections."""
    world.screen.outcomes[CHAT].append(NotSent("later", 30.0))
    await world.say(1)
    await asyncio.sleep(31.0)
    world.now.store.latency_s = 1.0
    taking = asyncio.create_task(world.agent.ask(TakeTurn(chat=CHAT)))
    await asyncio.sleep(0.5)
    await world.now.agent.stop()
    await taking
    world.now.store.latency_s = 0.0
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])


async def test_stop_with_a_message_out_that_is_not_recorded(world: World) -> None:
    """I2: what may have been sent is not said to be unsent; the chat sees it once."""
    world.screen.took_s = 8.0
    await world.say(1)
    await asyncio.sleep(0.5)
    world.now.store.down = True
    await world.now.agent.stop()
    world.now.store.down = False
    world.screen.took_s = 0.0
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("unknown", ["echo: hello"])


async def test_a_reply_claimed_twice_and_out_is_not_sent_again(world: World) -> None:
    """I2: a claim that failed says nothing of what is sent once its lease is given again."""
    world.screen.outcomes[CHAT].append(NotSent("later", 30.0))
    await world.say(1)
    await asyncio.sleep(31.0)
    world.now.store.fail("write_turn", "after")
    world.screen.took_s = 8.0
    taking = asyncio.create_task(world.agent.ask(TakeTurn(chat=CHAT)))
    await asyncio.sleep(2.0)
    world.now.store.down = True
    await world.now.agent.stop()
    await taking
    world.now.store.down = False
    world.screen.took_s = 0.0
    await succeeded(world)
    assert (world.state(1), world.screen.texts(CHAT)) == ("unknown", ["echo: hello"])


async def test_stop_twice(world: World) -> None:
    """The second does nothing."""
    await world.now.stop()
    await world.now.stop()
