"""Keeping a warm image: within its budget and in time, and never ahead of what was read."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from actors.image_keeper import BEHIND, CLOSE_S, FORGET_S, IDLE_S, OLD_S, PAUSE_S, SHED_S, TICK_S
from actors.score import Scores
from actors.sessions import SLICE
from actors.stores import StoreExhausted
from actors.warm_ports import BLOB_MOST
from contracts.sessions import ForgetChat, LoadSession
from tests.actors.image_kit import (
    NAME,
    SOON_S,
    asked,
    begin,
    blobs,
    imaged,
    modes,
    noise,
    restart,
    spoil,
    store,
    stored,
    with_manifest,
    wrote,
)
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import World


async def test_an_image_is_written_while_running(world: World) -> None:
    """When enough has changed: what a kill would lose is little."""
    await wrote(world, range(19))
    await asyncio.sleep(SOON_S)
    assert NAME not in world.database.images
    await wrote(world, [19])
    await asyncio.sleep(2 * TICK_S)
    assert sorted(imaged(world)) == list(range(20))
    assert world.counted()["images_written"] == 1


async def test_images_are_written_within_a_budget(world: World) -> None:
    """However much is going on: one in a minute, of at most ten documents."""
    for second in range(0, 600, 5):
        await wrote(world, range(30), f"{second}")
        await asyncio.sleep(5.0)
    assert 9 <= world.now.store.calls["write_image"] <= 10
    assert world.now.store.calls["changed_sessions"] <= 11


async def test_over_quota_the_image_waits_before_the_turns_do(world: World) -> None:
    """Warming is optional: for a minute the store's calls are left to the turns (C5), then it is written."""
    await wrote(world, range(20))
    await asyncio.sleep(SOON_S + PAUSE_S)  # one is written, and the next would be at once
    world.now.store.refusal = StoreExhausted("over quota")
    await world.ask(LoadSession(chat=500))
    world.now.store.refusal = None
    await wrote(world, range(20, 40))
    await asyncio.sleep(SHED_S - TICK_S)
    assert (1, 1) == (world.now.store.calls["write_image"], world.counted()["images_shed"])
    await asyncio.sleep(2 * TICK_S)
    assert 2 == world.now.store.calls["write_image"]


async def test_over_quota_what_was_forgotten_leaves_the_image_all_the_same(world: World) -> None:
    """That is no option: only what nobody waits for is shed."""
    await wrote(world, range(20))
    await asyncio.sleep(SOON_S)
    world.now.shard.store_failed(StoreExhausted("over quota"))
    await world.ask(ForgetChat(chat=7))
    await asyncio.sleep(FORGET_S + TICK_S)
    assert 7 not in imaged(world)


async def test_who_writes_and_forgets_all_day_costs_no_images(world: World) -> None:
    """Of a chat that the image does not hold there is nothing to erase soon, however often it is forgotten."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    for _ in range(80):
        await wrote(world, [999])
        await world.ask(ForgetChat(chat=999))
        await asyncio.sleep(FORGET_S)
    assert 1 == world.now.store.calls["write_image"]


async def test_who_is_forgotten_while_an_image_is_written_leaves_it_soon(world: World) -> None:
    """It may hold the chat by then: nobody knows whom it holds until it is stored."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    await wrote(world, range(30, 60))
    world.now.store.latency_s = 1.0
    writing = asyncio.create_task(world.now.shard._keeper._write())
    await asyncio.sleep(0.5)
    world.now.store.latency_s = 0.0
    await world.ask(ForgetChat(chat=40))
    await writing
    assert 40 in imaged(world)
    await asyncio.sleep(PAUSE_S)
    assert 40 not in imaged(world)


async def test_who_is_forgotten_leaves_another_owners_image_too(world: World) -> None:
    """One was written and its owner killed: what is not known here to hold the chat is replaced within IDLE_S."""
    await wrote(world, range(30))
    await asyncio.sleep(SOON_S)
    await wrote(world, [999])
    first, second = world.now, await world.boot(beside=True)
    second.shard.sessions.changed.add(999)
    await second.shard.stop()
    assert 999 in imaged(world)
    world.shard_place.actor, world.shard_place.second = first.shard, None
    await world.ask(ForgetChat(chat=999))
    await asyncio.sleep(IDLE_S + 2 * PAUSE_S + 2 * TICK_S)
    assert 999 not in imaged(world)


async def test_an_idle_shards_image_does_not_grow_too_old(world: World) -> None:
    """However little changes, it is written again each week, long before it would be set aside."""
    await wrote(world, range(30))
    await restart(world)
    made_at = stored(world)[0].made_at
    await world.now.shard.stop()
    spoil(world, with_manifest(made_at=made_at - OLD_S + 3 * PAUSE_S))
    await begin(world)
    await asyncio.sleep(2 * PAUSE_S)
    assert 0 == world.now.store.calls["write_image"]
    await asyncio.sleep(5 * PAUSE_S)
    assert (30, 1) == (len(imaged(world)), world.now.store.calls["write_image"])
    assert stored(world)[0].made_at > made_at


async def test_a_large_shard_waits_for_a_tenth_of_it(world: World) -> None:
    """The work grows with what has changed."""
    await wrote(world, range(400))
    await asyncio.sleep(SOON_S)
    await wrote(world, range(39), "detailed")
    await asyncio.sleep(SOON_S)
    assert world.now.store.calls["write_image"] == 1
    await wrote(world, range(39, 41), "detailed")
    await asyncio.sleep(2 * TICK_S)
    assert world.now.store.calls["write_image"] == 2


async def test_an_exit_writes_what_has_changed_and_nothing_else(world: World) -> None:
    """Also a single session; and no image that is there already."""
    await wrote(world, [1])
    await restart(world)
    before = world.database.images[NAME]
    await modes(world, [1])
    await restart(world)
    assert world.database.images[NAME] is before
    assert stored(world)[0].generation == 1


async def test_generations_count_on(world: World) -> None:
    """Over restarts, too."""
    for number in range(1, 4):
        await wrote(world, [number])
        await restart(world)
        assert stored(world)[0].generation == number


@pytest.mark.parametrize(
    ("method", "mishap"),
    [
        ("write_image", "before"),
        ("write_image", "hang"),
        ("changed_sessions", "before"),
        ("changed_sessions", "hang"),
    ],
)
async def test_a_store_that_is_away_at_the_exit(world: World, method: str, mishap: Mishap) -> None:
    """The stop raises nothing and waits no longer than it may."""
    await wrote(world, range(30))
    world.now.store.fail(method, mishap)
    started = asyncio.get_running_loop().time()
    await world.now.shard.stop()
    assert asyncio.get_running_loop().time() - started <= CLOSE_S
    assert world.counted()["image_failures"] == 1


async def test_an_exit_during_a_round_waits_for_it(world: World) -> None:
    """And then writes what came after it, over the version that the round had written."""
    await wrote(world, range(30))
    world.now.store.latency_s = 1.0
    await asyncio.sleep(PAUSE_S + 1.5)
    stopping = asyncio.create_task(world.now.shard.stop())
    await asyncio.sleep(0)
    world.now.shard.sessions.changed.add(1)
    await stopping
    assert (world.counted()["images_written"], world.counted()["image_conflicts"]) == (2, 0)


@pytest.mark.parametrize("mishap", ["before", "after", "hang", "hang applied"])
async def test_a_lost_answer_leaves_no_doubt(world: World, mishap: Mishap) -> None:
    """Which image is stored is looked up in the next round; nothing runs hot meanwhile."""
    await wrote(world, range(30))
    world.now.store.fail("write_image", mishap)
    await asyncio.sleep(SOON_S)
    assert (world.counted()["images_written"], world.counted()["image_failures"]) == (0, 1)
    await asyncio.sleep(SOON_S + PAUSE_S)
    assert (world.counted()["images_written"], world.counted()["image_conflicts"]) == (1, 0)
    assert world.now.store.calls["write_image"] == 2


async def test_an_image_too_large_for_the_store_is_halved(world: World) -> None:
    """At once, and the hotter half of it is kept; the next image begins with what fitted."""
    store(world, range(20), noise(200_000))
    await begin(world)
    await wrote(world, range(100, 120))
    await world.accept(1, chat=119)
    world.now.store.image_most = 3 * BLOB_MOST
    await asyncio.sleep(SOON_S)
    assert (world.now.store.calls["write_image"], world.counted()["images_halved"]) == (2, 1)
    assert (len(blobs(world)), imaged(world)[0]) == (2, 119)
    await wrote(world, range(100, 120), "detailed")
    await asyncio.sleep(SOON_S)
    assert (world.now.store.calls["write_image"], world.counted()["images_halved"]) == (3, 1)
    assert (len(blobs(world)), world.counted()["images_written"]) == (2, 2)


async def test_a_store_that_takes_no_image_at_all_is_not_bothered(world: World) -> None:
    """Each round tries once when the smallest image was too large, too."""
    store(world, range(20), noise(200_000))
    await begin(world)
    await wrote(world, range(100, 120))
    world.now.store.image_most = 0
    await asyncio.sleep(SOON_S)
    assert (world.now.store.calls["write_image"], world.counted()["image_failures"]) == (3, 1)
    await asyncio.sleep(PAUSE_S + TICK_S)
    assert (world.now.store.calls["write_image"], world.counted()["image_failures"]) == (4, 2)


async def test_two_owners_write_in_turns(world: World) -> None:
    """Neither spoils the other's image, and a conflict is no reason to hurry."""
    first = world.now
    second = await world.boot(beside=True)
    for round_ in range(10):
        for owner in (first, second):
            world.shard_place.actor, world.shard_place.second = owner.shard, None
            await wrote(world, range(30), f"{round_}")
        await asyncio.sleep(SOON_S)
    for owner in (first, second):
        assert owner.shard.counters["images_written"] >= 4
        assert owner.store.calls["write_image"] <= 11
    assert sorted(imaged(world)) == list(range(30))
    await begin(world)
    assert await modes(world, range(30)) == ["9"] * 30


async def test_the_mark_is_that_of_the_reading(world: World) -> None:
    """I4: another owner writes between a round's reading and its writing; the image does not vouch for that."""
    await wrote(world, range(30))
    world.now.store.latency_s = 1.0
    await asyncio.sleep(PAUSE_S + 1.5)
    store(world, [7], "detailed")
    await asyncio.sleep(5.0)
    assert len(imaged(world)) == 30
    world.now.kill()
    store(world, range(100, 110))
    await begin(world)
    assert await asked(world, range(30)) == (["brief"] * 7 + ["detailed"] + ["brief"] * 22, 0)


class Watched(Scores):
    """Scores that count how often they are looked at: once and again for each session that is picked."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def get(self, key: int) -> float:
        self.looks += 1
        return super().get(key)


async def test_requests_are_served_while_an_image_is_written(world: World) -> None:
    """The loop turns every few hundred sessions that are sorted or picked, and packing is handed over blob by blob."""
    store(world, range(5_000))
    world.options = replace(world.options, warm_sessions=5_000)
    await begin(world)
    await wrote(world, [0])
    world.now.shard.sessions.scores = scores = Watched()
    looks, served, before = [0], list[str](), world.now.shard_background.computed

    async def serve() -> None:
        for chat in range(100):
            served.extend(await modes(world, [chat]))

    serving, writing = asyncio.create_task(serve()), asyncio.create_task(world.now.shard._keeper.close())
    while not writing.done():
        await asyncio.sleep(0)
        looks.append(scores.looks)
    answered = len(served)
    await serving
    assert (len(imaged(world)), served) == (5_000, ["brief"] * 100)
    assert world.now.shard_background.computed - before == len(blobs(world)) + 1
    assert max(later - earlier for earlier, later in pairwise(looks)) <= 5 * SLICE
    assert answered >= 3


async def test_a_pass_beside_a_round_does_not_move_the_images_mark(world: World) -> None:
    """I4: the rows were picked by the mark of the round's own reading, so the image claims no more than that."""
    await wrote(world, range(30))
    store(world, range(1_000, 3_000))
    keeper = world.now.shard._keeper
    await keeper._listen()
    mark = keeper._watermark
    writing = asyncio.create_task(keeper._write())
    for _ in range(3):
        await asyncio.sleep(0)
    store(world, [7], "detailed")
    await keeper._listen()
    await writing
    assert stored(world)[0].watermark == mark


async def test_a_rush_of_others_pushes_nobody_out_of_the_image(world: World) -> None:
    """The changes are read before there are more than one look can list: what stood before them stays vouched for."""
    await wrote(world, range(300))
    for chat in range(300):
        await world.accept(chat + 1, chat=chat)
    for second in range(90):
        first = 1_000 + 50 * second
        await wrote(world, range(first, first + 50))
        await asyncio.sleep(1.0)
    await world.now.shard.stop()
    assert set(range(300)) <= set(imaged(world))
    assert len(imaged(world)) == 300 + 50 * 90
    assert (
        world.now.store.calls["changed_sessions"] <= 4_800 // BEHIND + 3
    )  # at the start, for an image, at the end


async def test_a_rush_of_a_thousand_chats_a_second_is_in_the_image(world: World) -> None:
    """One process accepts so many: the changes are read as soon as it is time, and not at the next tick."""
    for first in range(0, 6_000, 100):
        await wrote(world, range(first, first + 100))
        await asyncio.sleep(0.1)
    await world.now.shard.stop()
    assert 6_000 == len(imaged(world))
    assert world.now.store.calls["changed_sessions"] <= 6_000 // BEHIND + 3
