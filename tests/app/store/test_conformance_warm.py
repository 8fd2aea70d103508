"""What every store of warm images promises, and of the sessions that have changed since."""

import asyncio

import msgspec
import pytest

from actors.stores import StoreDenied, VersionConflict
from actors.warm_ports import BLOB_MOST, BLOBS_MOST, SessionChanges, StoredImage
from tests.app.store.backends import Backend
from tests.app.store.conformance_kit import EVERY_BYTE, assert_one_won
from tests.app.store.records import session

NAME = "SessionCacheActor:1"
TICK_S = 0.002  # longer than the measure of a store's clock (Firestore: milliseconds)


def image(*blobs: bytes, manifest: bytes = b"manifest", version: int = 0) -> StoredImage:
    """An image of these blobs to write over `version`."""
    return StoredImage(manifest=manifest, blobs=blobs, version=version)


async def written(backend: Backend, *chats: int, shard: int = 0) -> None:
    """Write new sessions one after another, each at a time of its own."""
    for chat in chats:
        await backend.sessions.write_session(session(chat, shard=shard), f"write-{chat}")
        await asyncio.sleep(TICK_S)


def chats(changes: SessionChanges) -> list[int]:
    """The chats of these changes, in their order."""
    return [one.chat for one in changes.sessions]


# ---------------------------------------------------------------- images


async def test_an_image_comes_back_whole(backend: Backend) -> None:
    """Every byte of manifest and blobs, in order, also in a process that starts later."""
    new = image(EVERY_BYTE, b"", b"second", manifest=EVERY_BYTE)
    version = await backend.warm.write_image(NAME, new)
    await backend.reopen()
    assert version > 0
    assert msgspec.structs.replace(new, version=version) == await backend.warm.read_image(NAME)


async def test_no_image(backend: Backend) -> None:
    """What was never written is told as such."""
    assert await backend.warm.read_image(NAME) is None


async def test_an_image_of_nothing(backend: Backend) -> None:
    """A manifest alone is an image."""
    version = await backend.warm.write_image(NAME, image())
    assert image(version=version) == await backend.warm.read_image(NAME)


async def test_images_do_not_mix(backend: Backend) -> None:
    """Shards 1, 10 and 11, and another actor's shard 1, each have their own."""
    names = [NAME, f"{NAME}0", f"{NAME}1", "Other:1"]
    for name in names:
        await backend.warm.write_image(name, image(name.encode()))
    read = [await backend.warm.read_image(name) for name in names]
    assert [(name.encode(),) for name in names] == [one.blobs for one in read if one is not None]


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4), (BLOBS_MOST, 0)])
async def test_a_new_image_leaves_nothing_of_the_old_one(backend: Backend, before: int, after: int) -> None:
    """Blobs that the new image does not have are gone with the commit that wrote it."""
    first = await backend.warm.write_image(NAME, image(*[b"old"] * before))
    new = image(*[b"new"] * after, manifest=b"new", version=first)
    second = await backend.warm.write_image(NAME, new)
    assert second > first
    assert msgspec.structs.replace(new, version=second) == await backend.warm.read_image(NAME)


@pytest.mark.parametrize("offset", [-1, 1, None])
async def test_an_image_at_another_version_is_a_conflict(backend: Backend, offset: int | None) -> None:
    """Neither an older, nor a made-up version, nor one for a new image writes anything."""
    version = await backend.warm.write_image(NAME, image(b"stored"))
    over = 0 if offset is None else version + offset
    with pytest.raises(VersionConflict) as conflict:
        await backend.warm.write_image(NAME, image(b"late", b"more", version=over))
    assert conflict.value.what == "image"
    assert image(b"stored", version=version) == await backend.warm.read_image(NAME)


async def test_an_image_that_is_not_there_is_a_conflict(backend: Backend) -> None:
    """A version other than 0 never creates."""
    with pytest.raises(VersionConflict):
        await backend.warm.write_image(NAME, image(b"x", version=5))
    assert await backend.warm.read_image(NAME) is None


async def test_an_image_written_again_after_a_lost_reply(backend: Backend) -> None:
    """The same image over the same version gives the same new version; another one is a conflict."""
    first = await backend.warm.write_image(NAME, image(b"one"))
    second = await backend.warm.write_image(NAME, image(b"two", version=first))
    assert second == await backend.warm.write_image(NAME, image(b"two", version=first))
    with pytest.raises(VersionConflict):
        await backend.warm.write_image(NAME, image(b"three", version=first))
    with pytest.raises(VersionConflict):
        await backend.warm.write_image(NAME, image(b"two"))


async def test_one_of_many_image_writers_wins(backend: Backend) -> None:
    """Of ten owners of a shard who write over one version exactly one succeeds, with all its blobs."""
    version = await backend.warm.write_image(NAME, image(b"first"))
    new = [image(b"%d" % n, b"%d" % n, version=version) for n in range(10)]
    outcomes = await asyncio.gather(
        *(backend.warm.write_image(NAME, each) for each in new), return_exceptions=True
    )
    assert_one_won(outcomes, "image")
    stored = await backend.warm.read_image(NAME)
    assert stored is not None
    assert stored.blobs[0] == stored.blobs[1]
    assert outcomes[int(stored.blobs[0])] == stored.version


async def test_the_largest_image_is_one_write_and_one_read(backend: Backend) -> None:
    """Manifest and blobs at their bounds are stored whole, in one call each way."""
    most = backend.blobs_most
    new = image(*(bytes([n]) * BLOB_MOST for n in range(most)), manifest=b"m" * BLOB_MOST)
    version = await backend.warm.write_image(NAME, new)
    stored = await backend.warm.read_image(NAME)
    assert msgspec.structs.replace(new, version=version) == stored
    assert (1, [1 + most]) == (len(backend.meter.writes), backend.meter.reads)


@pytest.mark.parametrize(
    ("name", "new"),
    [
        (NAME, image(b"x" * (BLOB_MOST + 1))),
        (NAME, image(manifest=b"x" * (BLOB_MOST + 1))),
        (NAME, image(*[b"x"] * (BLOBS_MOST + 1))),
        ("no shard", image()),
        ("SessionCacheActor:1:2", image()),
        ("../up:1", image()),
        ("", image()),
    ],
    ids=["large blob", "large manifest", "many blobs", "no shard", "looks like a blob", "path", "no name"],
)
async def test_an_image_over_the_bounds_is_denied_before_it_leaves(
    backend: Backend, name: str, new: StoredImage
) -> None:
    """It costs no call, and what is stored stays."""
    await backend.warm.write_image(NAME, image(b"stored"))
    backend.meter.writes.clear()
    with pytest.raises(StoreDenied):
        await backend.warm.write_image(name, new)
    stored = await backend.warm.read_image(NAME)
    assert stored is not None
    assert ([], (b"stored",)) == (backend.meter.writes, stored.blobs)


# ---------------------------------------------------------------- changes


async def test_changes_are_newest_first_with_tombstones(backend: Backend) -> None:
    """All sessions of the shard in the order of their last writes, the forgotten ones among them, as they are."""
    await written(backend, 1, 2, 3)
    await written(backend, 9, shard=1)
    (first,) = (await backend.sessions.read_sessions([1])).sessions
    await backend.sessions.write_session(session(1, version=first.version, body=b""), "forget")
    changes = await backend.warm.changed_sessions(0, 0, 10)
    stored = (await backend.sessions.read_sessions([1, 2, 3])).sessions
    assert ([1, 3, 2], b"") == (chats(changes), changes.sessions[0].body)
    assert {one.chat: one for one in stored} == {one.chat: one for one in changes.sessions}
    assert (0, ()) == (changes.reaches, changes.set_aside)


async def test_changes_since_a_mark(backend: Backend) -> None:
    """What was written up to the mark is left out, what was written after it is not."""
    await written(backend, 1, 2)
    mark = (await backend.warm.changed_sessions(0, 0, 1)).reaches
    await written(backend, 3, 4)
    changes = await backend.warm.changed_sessions(0, mark, 10)
    assert ([4, 3], mark) == (chats(changes), changes.reaches)


async def test_changes_cut_by_the_limit_tell_how_far_they_reach(backend: Backend) -> None:
    """Beyond the limit the oldest are missing, and the mark says from when on none is."""
    await written(backend, 1, 2, 3, 4, 5)
    cut = await backend.warm.changed_sessions(0, 0, 3)
    assert [5, 4, 3] == chats(cut)
    assert [5, 4] == chats(await backend.warm.changed_sessions(0, cut.reaches, 10))
    assert [5, 4, 3] == chats(await backend.warm.changed_sessions(0, cut.reaches - 1, 10))


async def test_nothing_written_is_missed_between_two_readings(backend: Backend) -> None:
    """A reading that goes on from the watermark of the one before sees all that was written after that one."""
    watermark, seen = 0, set()
    for chat in range(5):
        await written(backend, chat)
        changes = await backend.warm.changed_sessions(0, watermark, 100)
        assert watermark <= changes.watermark
        watermark = max(watermark, changes.watermark)
        assert chat in chats(changes)
        seen |= {*chats(changes)}
    assert {*range(5)} == seen


async def test_no_changes(backend: Backend) -> None:
    """An empty shard has none, and all of them are told: its answer reaches as far as was asked."""
    await written(backend, 9, shard=1)
    changes = await backend.warm.changed_sessions(0, 7, 10)
    assert ((), 7) == (changes.sessions, changes.reaches)


async def test_a_session_that_moves_is_a_change_of_its_new_shard(backend: Backend) -> None:
    """The shard is that of the last write."""
    await written(backend, 1)
    (stored,) = (await backend.sessions.read_sessions([1])).sessions
    await backend.sessions.write_session(session(1, version=stored.version, shard=1), "move")
    assert [] == chats(await backend.warm.changed_sessions(0, 0, 10))
    assert [1] == chats(await backend.warm.changed_sessions(1, 0, 10))


async def test_changes_are_one_metered_query(backend: Backend) -> None:
    """The meter hears of one call and of each session that it gave."""
    await written(backend, 1, 2, 3)
    await backend.warm.changed_sessions(0, 0, 2)
    await backend.warm.read_image(NAME)
    assert [2, 0] == backend.meter.reads


async def test_close_the_warm_store_twice(backend: Backend) -> None:
    """Closing it again does nothing."""
    await backend.warm.close()
    await backend.warm.close()
