"""Warm images over another number of shards: none keeps what nobody would forget for it any more."""

import asyncio
from dataclasses import replace

from actors import image
from actors.image_keeper import FORGET_S, TICK_S
from actors.refs import shard_of
from actors.stores import SessionRecord
from tests.actors.image_kit import NAME, SOON_S, begin, imaged, spoil, with_manifest, wrote
from tests.actors.turn_kit import World

MANY = range(60)
OTHERS = [chat for chat in MANY if shard_of(chat, 2)]
OWN = [chat for chat in MANY if not shard_of(chat, 2)]


async def layout_of(world: World, shards: int) -> None:
    """End the shard and start it as one of so many."""
    await world.now.shard.stop()
    world.options = replace(world.options, shards=shards)
    await begin(world)


def forget_elsewhere(world: World, chats: list[int]) -> None:
    """Forget these chats as the shard does that owns them now."""
    for chat in chats:
        tombstone = SessionRecord(chat=chat, shard=1, body=b"", version=1)
        world.database.put_session(tombstone, f"forget {chat}", world.database.next_version())


async def test_with_more_shards_each_keeps_its_own_chats(world: World) -> None:
    """Whose chats moved to another shard is forgotten there: none of their text stays in the image here."""
    await wrote(world, MANY)
    await layout_of(world, 2)
    forget_elsewhere(world, OTHERS)
    await asyncio.sleep(SOON_S)
    assert sorted(imaged(world)) == OWN[-len(imaged(world)) :]
    assert world.now.shard.statistics().entries == len(imaged(world))


async def test_an_image_with_rows_of_another_shard(world: World) -> None:
    """One that an earlier version wrote, say: they are not taken in, nothing is missing, and they go soon."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    spoil(world, with_manifest(shards=2))
    world.options = replace(world.options, shards=2)
    report = await begin(world)
    own = len(OWN)
    assert (report.status, report.source, report.requested, report.loaded) == ("warm", "image", own, own)
    assert sorted(imaged(world)) == list(MANY)
    await asyncio.sleep(SOON_S)
    assert sorted(imaged(world)) == OWN


async def test_with_fewer_shards_no_image_is_left_behind(world: World) -> None:
    """Nobody would take out of it any more who is forgotten: its shard is gone."""
    strays = ["SessionCacheActor:1", "SessionCacheActor:2"]
    await wrote(world, MANY)
    await world.now.shard.stop()
    spoil(world, with_manifest(shards=3))
    for name in strays:
        world.database.images[name] = world.database.images[NAME]
    await begin(world)
    await asyncio.sleep(SOON_S)
    assert len(imaged(world)) == 50
    assert [() for _ in strays] == [world.database.images[name].blobs for name in strays]


async def test_an_image_left_behind_that_can_not_be_emptied(world: World) -> None:
    """The next round tries again: until then the image here tells how many shards there were."""
    await wrote(world, MANY)
    await world.now.shard.stop()
    spoil(world, with_manifest(shards=2))
    world.database.images["SessionCacheActor:1"] = world.database.images[NAME]
    await begin(world)
    world.now.store.fail("write_image", "before")
    await asyncio.sleep(FORGET_S + 2 * TICK_S)
    assert image.unpack_manifest(world.database.images[NAME].manifest).shards == 2
    await asyncio.sleep(SOON_S)
    assert world.database.images["SessionCacheActor:1"].blobs == ()
    assert image.unpack_manifest(world.database.images[NAME].manifest).shards == 1
