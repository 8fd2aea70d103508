"""What a warm image and L1 vouch for: never for the forgotten, nor for what another owner has changed."""

import asyncio
import random

import pytest

from actors.image_keeper import CHANGES_MOST, FORGET_S, IDLE_S, TICK_S
from actors.sessions import SESSION_TTL_S
from contracts.sessions import ForgetChat
from contracts.skills import SetAside
from tests.actors.image_kit import SOON_S, asked, begin, imaged, modes, restart, store, wrote
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import World

HOUR_S = 3600.0


async def test_who_is_forgotten_leaves_the_image_soon(world: World) -> None:
    """Not with each of them, and not only when enough has changed."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    for chat in range(5):
        await world.ask(ForgetChat(chat=chat))
    await asyncio.sleep(FORGET_S + 2 * TICK_S)
    assert sorted(imaged(world)) == list(range(5, 30))
    assert world.now.store.calls["write_image"] == 2


async def test_who_is_forgotten_stays_so_when_the_store_fails(world: World) -> None:
    """The image is tried again soon, until it has been written without them."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    world.now.store.fail("write_image", "before")
    await world.ask(ForgetChat(chat=3))
    await asyncio.sleep(2 * FORGET_S + 2 * TICK_S)
    assert (3 in imaged(world), world.counted()["image_failures"]) == (False, 1)


async def test_who_is_forgotten_is_not_in_an_exits_image(world: World) -> None:
    """The stop writes it without them; their score is gone, too."""
    await wrote(world, range(30))
    await restart(world)
    await world.accept(1, chat=3)
    await world.ask(ForgetChat(chat=3))
    assert world.now.shard.sessions.scores.get(3) == 0.0
    await world.now.shard.stop()
    assert 3 not in imaged(world)


async def test_who_another_owner_forgot_leaves_the_image(world: World) -> None:
    """The tombstone is seen with the next look at the changes."""
    first = world.now
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    await world.boot(beside=True)
    world.shard_place.second = None
    await world.ask(ForgetChat(chat=3))
    world.now.kill()
    world.shard_place.actor = first.shard
    await asyncio.sleep(IDLE_S + SOON_S)
    assert 3 not in imaged(world)
    assert await modes(world, [3]) == ["normal"]


async def test_idle_sessions_stay(world: World) -> None:
    """While the store says that nothing has changed, no session is too old, and saying so costs two calls an hour."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    calls = world.now.store.calls.copy()
    await asyncio.sleep(10 * HOUR_S)
    assert await asked(world, range(30)) == (["brief"] * 30, 0)
    cost = world.now.store.calls - calls
    assert set(cost) == {"changed_sessions"}
    assert 18 <= cost["changed_sessions"] <= 21


async def test_idle_sessions_are_in_the_exits_image(world: World) -> None:
    """Twice their time without a word from them: with a handful of others talking, all of them come back warm."""
    many = range(500)
    await wrote(world, many)
    for update in range(24):
        await asyncio.sleep(300.0)
        await world.accept(update, chat=many[update % 5])
    report = await restart(world)
    assert (report.status, report.source, report.loaded) == ("warm", "image", 500)
    assert sorted(imaged(world)) == list(many)
    assert await asked(world, many) == (["brief"] * 500, 0)


async def test_without_a_look_at_the_changes_sessions_end(world: World) -> None:
    """I4: a store that does not tell its changes confirms nothing."""
    await wrote(world, range(30))
    mishaps: list[Mishap] = ["before"] * 1_000
    world.now.store.fail("changed_sessions", *mishaps)
    await asyncio.sleep(SESSION_TTL_S * 1.11)
    assert await asked(world, range(30)) == (["brief"] * 30, 30)


async def test_another_owners_change_is_seen_without_a_request(world: World) -> None:
    """At the latest with the next look, which an idle shard takes twice an hour."""
    await wrote(world, range(30))
    store(world, [4], "detailed")
    await asyncio.sleep(IDLE_S + 2 * TICK_S)
    assert await asked(world, [4]) == (["detailed"], 0)


async def test_a_look_that_misses_changes_confirms_nothing_but_what_it_saw(world: World) -> None:
    """I4: what it did not list may have changed, so that neither L1 nor the image vouches for it any more."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    store(world, [4], "detailed")
    store(world, range(1_000, 1_000 + CHANGES_MOST))
    await asyncio.sleep(IDLE_S)
    await wrote(world, range(2_000, 2_300))
    await asyncio.sleep(SOON_S)
    assert not set(imaged(world)) & set(range(30))
    await asyncio.sleep(SESSION_TTL_S)
    assert await asked(world, range(30)) == (
        ["brief"] * 4 + ["detailed"] + ["brief"] * 25,
        30,
    )


async def test_a_change_that_can_not_be_read_is_not_confirmed(world: World) -> None:
    """I4: what L1 has of that session is outdated, whatever stands in the store now."""
    await wrote(world, range(30))
    store(world, [4], "detailed")
    world.database.poison[4] = SetAside(file="telegram_sessions/4", reason="wrong type")
    await asyncio.sleep(IDLE_S)
    assert await asked(world, [4]) == (["detailed"], 1)


async def test_what_the_changes_overtake_is_not_taken_in(world: World) -> None:
    """I6: a pass that had asked before a look at the changes, and comes in after it, brings back nothing older."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    sessions, outdated, before = world.now.shard.sessions, world.database.sessions[4], world.now.shard.clock
    began_s = before.monotonic_s()
    store(world, [4], "detailed")
    await asyncio.sleep(IDLE_S)
    sessions.told(4, -2)
    await sessions.take_in([outdated], began_s)
    await sessions.take_in([outdated], world.now.shard.clock.monotonic_s() + 1.0)
    assert await asked(world, [4]) == (["detailed"], 1)


async def test_after_a_look_that_missed_changes_a_chat_that_was_being_read_is_read_again(
    world: World,
) -> None:
    """I4: nobody can say whether what comes in is still so."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    doubts = world.now.shard.sessions.doubts
    await asyncio.sleep(IDLE_S)
    assert world.now.shard.sessions.doubts == doubts
    store(world, range(1_000, 1_001 + CHANGES_MOST))
    await asyncio.sleep(IDLE_S)
    assert world.now.shard.sessions.doubts > doubts


async def test_a_read_that_the_changes_overtake_is_not_taken_over(world: World) -> None:
    """I4: it left before another owner's write, and arrives after the look that saw it."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    outdated = world.database.sessions[4]
    store(world, [4], "detailed")
    await asyncio.sleep(IDLE_S)
    world.now.shard.sessions.unlearn(4)
    world.now.shard.sessions.learn(outdated)
    assert await asked(world, [4]) == (["detailed"], 1)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_a_start_serves_what_is_stored(world: World, seed: int) -> None:
    """I4, I6: two owners write, forget, stop and die at any moment; who starts then serves the newest of everything."""
    dice, chats = random.Random(seed), range(40)
    owners = [world.now]
    for step in range(60):
        owner = dice.choice(owners)
        world.shard_place.actor = owner.shard
        match dice.randrange(8):
            case 0:
                await world.ask(ForgetChat(chat=dice.choice(chats)))
            case 1 | 2 | 3:
                await wrote(world, dice.sample(chats, dice.randrange(1, 30)), f"{step}")
            case 4 if len(owners) > 1:
                owners.remove(owner)
                owner.kill() if dice.random() < 0.5 else await owner.shard.stop()
            case 4 | 5 if len(owners) < 3:
                report = await begin(world)
                assert report.status == "warm"
                owners.append(world.now)
                expected = [_mode(world, chat) for chat in chats]
                assert await modes(world, chats) == expected
            case _:
                await asyncio.sleep(dice.uniform(0.0, 2 * SOON_S))


def _mode(world: World, chat: int) -> str:
    found = world.database.sessions.get(chat)
    return world.session(chat).mode if found is not None and found.body else "normal"
