"""Warm images over another number of shards: none keeps what nobody would forget for it any more."""

import asyncio
from dataclasses import replace

import msgspec

from actors import image
from actors.refs import shard_of
from actors.stores import SessionRecord
from tests.actors.image_kit import NAME, SOON_S, begin, imaged, modes, restart, spoil, with_manifest, wrote
from tests.actors.turn_kit import Mishap, World

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
