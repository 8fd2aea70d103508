"""Starting from a warm image: everything is there in one wave, nothing is older than the store, nothing is made up."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from actors.image_keeper import CHANGES_MOST, FORGET_S, TICK_S
from actors.session_warming import WAVE_S
from actors.stores import SessionRecord
from contracts.sessions import ForgetChat, PatchSession, SessionPatch
from contracts.skills import SetAside
from tests.actors.cache_kit import room_for
from tests.actors.image_kit import (
    asked,
    begin,
    imaged,
    modes,
    restart,
    store,
    warmed,
    wrote,
)
from tests.actors.turn_kit import World

DAY_S = 86400.0
MANY = range(500)
FAR_S = 0.05  # of one call to the store


async def test_after_an_exit_everything_comes_from_the_image(world: World) -> None:
    """The promise: however many sessions, the first request of each finds it in L1."""
    await wrote(world, MANY)
    report = await restart(world)
    assert (report.status, report.source, report.requested, report.loaded) == ("warm", "image", 500, 500)
    assert await asked(world, MANY) == (["brief"] * 500, 0)
    assert world.now.store.calls["recent_sessions"] == 0


async def test_a_warmed_chats_first_turn_reads_nothing(world: World) -> None:
    """The image holds the revisions, too: an append does not make the shard doubt what it has."""
    await wrote(world, MANY[:60])
    await restart(world)
    for chat in MANY[:60]:
        await world.accept(chat, chat=chat)
    assert await asked(world, MANY[:60]) == (["brief"] * 60, 0)


@pytest.mark.parametrize(("changed", "trips"), [(0, 1), (9, 1), (200, 2)])
async def test_a_start_takes_one_wave_of_calls_or_two(world: World, changed: int, trips: int) -> None:
    """Image and newest changes are asked for together; only when there are more of them, once more."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    store(world, MANY[:changed], "detailed")
    report = await begin(world, FAR_S)
    assert (report.status, report.loaded, report.duration_ms) == ("warm", 500, trips * FAR_S * 1000)
    assert await asked(world, MANY) == (
        ["detailed"] * changed + ["brief"] * (500 - changed),
        0,
    )


async def test_an_image_is_unpacked_while_changes_are_on_their_way(world: World) -> None:
    """Their answer may come later than the image, and be asked for twice: that time is not lost."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    made = world.make()
    world.shard_place.actor = made.shard
    made.store.fail("changed_sessions", "hang")
    starting = asyncio.create_task(made.shard.start())
    await asyncio.sleep(FAR_S)
    assert (None, 1) == (made.shard.warmer.last, made.shard_background.computed)
    await starting


async def test_what_was_forgotten_since_is_not_served(world: World) -> None:
    """A tombstone is newer than the image; and the image is soon written without its chat."""
    await wrote(world, MANY[:30])
    await world.now.shard.stop()
    await begin(world)
    await world.ask(ForgetChat(chat=3))
    world.now.kill()
    report = await begin(world)
    assert (report.status, report.requested, report.loaded) == ("warm", 29, 29)
    assert 3 in imaged(world)
    await asyncio.sleep(30.0)
    assert 3 not in imaged(world)
    assert await modes(world, [3]) == ["normal"]


async def test_more_changes_than_can_be_asked_for(world: World) -> None:
    """What nobody can vouch for is not served: it is read on demand, and the report says so."""
    await wrote(world, MANY[:50])
    await world.now.shard.stop()
    store(world, range(1_000, 1_000 + CHANGES_MOST + 1))
    store(world, MANY[:5], "detailed")
    report = await begin(world)
    skipped = 45
    assert (report.status, report.source) == ("partial", "image")
    assert (report.loaded, report.skipped) == (CHANGES_MOST, skipped)
    assert await asked(world, MANY[:6]) == (["detailed"] * 5 + ["brief"], 1)


async def test_a_change_that_can_not_be_read(world: World) -> None:
    """Its session is not served from the image, and the report names it."""
    await wrote(world, MANY[:30])
    await world.now.shard.stop()
    world.database.poison[4] = SetAside(file="telegram_sessions/4", reason="wrong type")
    report = await begin(world)
    assert (report.status, report.requested, report.loaded, report.failed) == ("partial", 30, 29, 1)
    assert report.errors == ("telegram_sessions/4: wrong type",)
    assert await asked(world, [4]) == (["brief"], 1)


async def test_an_image_older_than_the_tombstones(world: World) -> None:
    """I4: who was forgotten since may have left no trace."""
    await wrote(world, MANY[:3])
    await world.now.shard.stop()
    del world.database.sessions[1]  # forgotten, and its tombstone has expired
    world.now.kill()  # its agent would look after a shard that is gone, for thirty days
    await asyncio.sleep(30 * DAY_S)
    report = await begin(world)
    assert (report.source, report.loaded, await modes(world, [1])) == ("query", 2, ["normal"])


async def test_a_pass_heeds_the_changes_that_it_read(world: World) -> None:
    """Also where it missed others: of a chat that another owner forgot nothing is served any more."""
    await wrote(world, range(3))
    store(world, range(100, 120))
    forgotten = SessionRecord(chat=1, shard=0, body=b"")
    world.database.put_session(forgotten, "forget", world.database.next_version())
    await world.shard.warm(force=True)
    assert ["brief", "normal"] == await modes(world, [0, 1])


async def test_an_image_that_nobody_can_judge_is_replaced(world: World) -> None:
    """Too much has changed to tell whom it should have forgotten: it holds nobody's words for much longer."""
    await wrote(world, range(30))
    await world.now.shard.stop()
    forgotten = SessionRecord(chat=1, shard=0, body=b"")
    world.database.put_session(forgotten, "forget", world.database.next_version())
    store(world, range(1000, 1000 + CHANGES_MOST))
    await begin(world)
    await asyncio.sleep(FORGET_S + 2 * TICK_S)
    assert set(imaged(world)).isdisjoint(range(30))


@pytest.mark.parametrize("mishap", ["before", "hang"])
async def test_an_image_that_is_not_read(world: World, mishap: str) -> None:
    """The pass is not whole, but loads what it can within its time; the next one brings the image."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    made = world.make()
    world.shard_place.actor = made.shard
    made.store.fail("read_image", mishap)  # type: ignore[arg-type]  # parametrised
    await made.shard.start()
    report = warmed(made)
    assert (report.status, report.source, report.loaded) == ("partial", "query", 50)
    assert report.duration_ms <= WAVE_S * 1000
    await asyncio.sleep(3.0)
    report = warmed(made)
    assert (report.status, report.source, report.loaded) == ("warm", "image", 500)


async def test_changes_that_are_not_told(world: World) -> None:
    """Nobody can vouch for the image without them, so it waits until they are."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    made = world.make()
    made.store.fail("changed_sessions", "before")
    await made.shard.start()
    assert (warmed(made).status, warmed(made).source, warmed(made).loaded) == ("partial", "query", 50)
    await asyncio.sleep(3.0)
    assert (warmed(made).status, warmed(made).loaded) == ("warm", 500)


async def test_requests_are_served_while_an_image_is_taken_in(world: World) -> None:
    """The loop is given back every few hundred sessions."""
    store(world, range(5_000))
    world.options = replace(world.options, warm_sessions=5_000)
    await begin(world)
    await wrote(world, [0])
    await world.now.shard.stop()
    made, served = world.make(), list[int]()
    starting = asyncio.create_task(made.shard.start())
    while not starting.done():
        await asyncio.sleep(0)
        served.append(len(made.shard.sessions))
    assert warmed(made).loaded == 5_000
    assert max(later - earlier for earlier, later in pairwise(served)) <= 250


async def test_a_session_in_doubt_is_not_taken_from_the_image(world: World) -> None:
    """I4: a write whose outcome nobody knows came while the image was on its way."""
    await wrote(world, MANY[:30])
    await world.now.shard.stop()
    made = world.make()
    world.shard_place.actor = made.shard
    made.store.latency_s = FAR_S
    made.store.fail("write_session", "after")
    starting = asyncio.create_task(made.shard.start())
    await asyncio.sleep(FAR_S / 2)
    made.store.latency_s = 0.0
    await world.ask(PatchSession(chat=1, patch=SessionPatch(mode="detailed")))
    await starting
    assert (await modes(world, [1]), warmed(made).skipped) == (["detailed"], 1)


async def test_what_is_wanted_most_comes_first_and_stays_first(world: World) -> None:
    """Scores count accepted updates and survive restarts, also of chats that nobody wants meanwhile."""
    await wrote(world, range(10, 30))
    for update in range(5):
        await world.accept(update, chat=17)
    await world.accept(9, chat=11)
    for mode in ("detailed", "brief", "detailed"):
        await asyncio.sleep(1.0)
        await restart(world)
        await wrote(world, [10], mode)
    await world.now.shard.stop()
    assert imaged(world)[:2] == [17, 11]


async def test_a_second_pass_overwrites_nothing_newer(world: World) -> None:
    """I6: what was written after the image stays, and what the image has beside is loaded."""
    await wrote(world, MANY[:40])
    await restart(world)
    await wrote(world, MANY[:20], "detailed")
    await world.shard.warm(force=True)
    assert warmed(world.now).loaded >= 40
    assert await asked(world, MANY[:40]) == (["detailed"] * 20 + ["brief"] * 20, 0)


async def test_a_shard_asks_its_scores(world: World) -> None:
    """Of the chats whose updates were accepted 7 in 8 stay in a full L1, however many others are looked into."""
    world.options = replace(world.options, l1_bytes=room_for(300, 100))
    await world.boot()
    hot = range(50)
    for chat in hot:
        await world.accept(chat, chat=chat)
    await wrote(world, hot)
    await wrote(world, range(1_000, 2_000))
    evictions = world.now.shard.sessions.stats().evictions
    _, reads = await asked(world, hot)
    assert evictions > 500
    assert reads <= len(hot) / 8
