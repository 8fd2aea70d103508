"""A warm image that a hand or a fault has spoilt: only the spoilt part is lost, and nothing made up is served."""

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import pytest

from actors.image import COUNT_MOST, Blob
from actors.warm_ports import StoredImage
from contracts.warming import WarmReport
from tests.actors.image_kit import (
    asked,
    begin,
    blobs,
    imaged,
    noise,
    restart,
    spoil,
    store,
    stored,
    with_body,
    with_manifest,
    with_rows,
    wrote,
)
from tests.actors.turn_kit import World

MANY = range(500)
SPOILT = [
    (lambda found: msgspec.structs.replace(found, manifest=b""), "torn"),
    (lambda found: msgspec.structs.replace(found, manifest=found.manifest[:-1]), "checksum"),
    (lambda found: msgspec.structs.replace(found, manifest=b"\0" + found.manifest[1:]), "checksum"),
    (with_manifest(format=0), "format"),
    (with_manifest(actor="SkillRegistryActor"), "foreign"),
    (with_manifest(shard=1), "foreign"),
    (with_manifest(shards=2), "foreign"),
    (with_manifest(watermark=1 << 60), "foreign"),
    (with_manifest(made_at=0.0), "old"),
    (with_manifest(generation=(1 << 64) - 1), "format"),
    (with_manifest(watermark=-1), "format"),
    (with_manifest(blobs=(Blob(length=1, crc32=0, rows=-1, raw=1),)), "format"),
    (with_manifest(blobs=(Blob(length=1, crc32=0, rows=1 << 63, raw=1),)), "format"),
    (with_manifest(blobs=(Blob(length=1, crc32=0, rows=1, raw=1),) * 10), "format"),
]


@pytest.mark.parametrize(
    ("change", "reason"), SPOILT, ids=[f"{n} {why}" for n, (_, why) in enumerate(SPOILT)]
)
async def test_an_image_that_can_not_be_used(
    world: World,
    change: Callable[[StoredImage], StoredImage],
    reason: str,
    told: list[MutableMapping[str, Any]],
) -> None:
    """The plan without an image runs, the reason is told, and the image is soon replaced."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(world, change)
    report = await begin(world)
    assert (report.status, report.source, report.loaded) == ("warm", "query", 50)
    aside = [line["error"].partition(":")[0] for line in told if line["event"] == "session_warm_failed"]
    assert (aside, world.counted()["images_set_aside"]) == ([reason], 1)
    await asyncio.sleep(30.0)
    assert sorted(imaged(world)) == list(range(10, 60))


@pytest.mark.parametrize(
    "spoilt",
    [lambda blob: b"", lambda blob: blob[: len(blob) // 2], lambda blob: blob[:-1] + b"\0"],
    ids=["missing", "cut", "changed"],
)
async def test_an_image_without_a_blob_that_can_be_used(
    world: World, spoilt: Callable[[bytes], bytes]
) -> None:
    """A sound manifest alone is no image: the plan without one runs, and the image is soon replaced."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(
        world, lambda found: msgspec.structs.replace(found, blobs=tuple(spoilt(blob) for blob in found.blobs))
    )
    report = await begin(world)
    assert ("warm", "query", 50, 50, 0) == _numbers(report)
    await asyncio.sleep(30.0)
    assert sorted(imaged(world)) == list(range(10, 60))


async def test_a_chat_that_an_image_has_twice_is_counted_once(world: World) -> None:
    """What the report says is loaded is what is held."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(world, with_rows(lambda rows: [*rows, *rows[:20], *rows]))
    report = await begin(world)
    assert ("warm", "image", 60, 60, 0) == _numbers(report)
    assert 60 == len(world.now.shard.sessions)


async def test_the_greatest_generation_is_followed_by_one_that_can_be_read(world: World) -> None:
    """A number spoilt by a hand costs no image to come."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(world, with_manifest(generation=COUNT_MOST))
    await begin(world)
    await wrote(world, [2], "detailed")
    assert ("warm", "image", 60, 60, 0) == _numbers(await restart(world))


async def test_an_image_of_nobody(world: World) -> None:
    """It tells of no session that is wanted: the recent ones are loaded, as without an image."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(world, with_rows(lambda _: []))
    report = await begin(world)
    assert (report.status, report.source, report.loaded) == ("warm", "query", 50)


async def test_a_session_at_a_version_that_never_was(world: World) -> None:
    """It would be the newest for ever: it is not taken in, and the next write of the session is seen."""
    await wrote(world, MANY[:60])
    await world.now.shard.stop()
    spoil(
        world,
        with_rows(
            lambda rows: [
                msgspec.structs.replace(row, version=1 << 60 if row.chat == 7 else 1) for row in rows
            ]
        ),
    )
    report = await begin(world)
    assert (report.status, report.requested, report.loaded) == ("warm", 59, 59)
    store(world, [7], "detailed")
    assert await asked(world, [7]) == (["detailed"], 1)


async def test_a_broken_blob_spoils_no_other(world: World) -> None:
    """Its sessions are counted as failed, and read on demand."""
    store(world, MANY[:8], noise(200_000))
    await begin(world)
    await wrote(world, range(100, 112))
    await world.now.shard.stop()
    broken, *rest = blobs(world)
    whole = [chat for blob in rest for chat in blob]
    spoil(world, lambda found: msgspec.structs.replace(found, blobs=(b"", *found.blobs[1:])))
    report = await begin(world)
    assert (report.status, report.failed, report.loaded) == ("partial", len(broken), len(whole))
    assert [(await asked(world, chats))[1] for chats in (whole, broken)] == [0, len(broken)]


@pytest.mark.parametrize(
    "body",
    [b"\xc1", b"\x90", msgspec.msgpack.encode({"chat": 2, "mode": "detailed"})],
    ids=["no msgpack", "no session", "another chat's"],
)
async def test_a_poisoned_session_in_a_sound_image(world: World, body: bytes) -> None:
    """C8: its checksum is right, and still it is never answered with: the store is asked."""
    await wrote(world, MANY[:30])
    await world.now.shard.stop()
    spoil(world, with_body(1, body))
    assert (await begin(world)).status == "warm"
    assert await asked(world, [1, 1, 2]) == (["brief"] * 3, 1)
    assert world.counted()["image_sessions_poisoned"] == 1


@pytest.mark.parametrize("moment", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("start", [begin, restart], ids=["without an image", "with one"])
async def test_a_session_of_an_impossible_time(
    world: World, moment: float, start: Callable[[World], Awaitable[WarmReport]]
) -> None:
    """C8: when it was written only says how much it is wanted; it and all others are loaded."""
    await wrote(world, MANY[:5])
    spoilt = msgspec.structs.replace(world.database.sessions[2], updated_at=moment)
    world.database.sessions[2] = spoilt
    report = await start(world)
    assert ("warm", 5, ()) == (report.status, report.loaded, report.errors)
    assert await asked(world, MANY[:5]) == (["brief"] * 5, 0)


@pytest.mark.parametrize("score", [1e300, -1e300, math.inf, math.nan])
async def test_a_mad_score_goes_into_no_image_to_come(world: World, score: float) -> None:
    """C8: its session is taken in, as one that nobody ever wanted."""
    await wrote(world, range(30))
    await world.now.shard.stop()
    mad = with_rows(lambda rows: [msgspec.structs.replace(row, score=score) for row in rows])
    spoil(world, mad)
    await begin(world)
    await wrote(world, [2], "detailed")
    await world.now.shard.stop()
    assert [0.0] == [row.score for row in stored(world)[1] if row.chat == 0]


def _numbers(report: WarmReport) -> tuple[str, str, int, int, int]:
    return report.status, report.source, report.requested, report.loaded, report.failed
