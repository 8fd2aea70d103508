"""Warm images and changes in Firestore: what stands there, lost replies, missing indexes, documents of others."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient
from google.cloud.firestore_v1 import types
from structlog.testing import capture_logs

from actors.stores import SessionRecord, StoreDenied, StoreDown, StoreTooLarge, VersionConflict
from actors.warm_ports import BLOB_MOST, BLOBS_MOST, SessionChanges, StoredImage
from app.store.firestore_requests import fill_write
from app.store.firestore_warm import IMAGES, VISIBLE_WITHIN_US, FirestoreWarmStore, image_changes
from tests.app.store.firestore_rig import TWICE, Rig, opened
from tests.app.store.test_firestore_documents import POISON_SESSIONS, session_fields, stored
from tests.app.store.test_firestore_faults import no_index
from tests.commands import ROOT
from tests.faultproxy import Fault, FaultProxy

NAME = "SessionCacheActor:0"
IMAGE = StoredImage(manifest=b"manifest", blobs=(b"one", b"two", b"three"))
REQUEST_MOST = 10 * 1024 * 1024  # bytes [Firestore's limits]


@pytest.fixture
async def shaky(proxy: FaultProxy, project: str) -> AsyncIterator[Rig]:
    """The stores behind the proxy."""
    async with opened(project, proxy.host, TWICE) as rig:
        yield rig


async def written(rig: Rig, *chats: int, shard: int = 0) -> None:
    """Write new sessions, one after another."""
    for chat in chats:
        await rig.sessions.write_session(SessionRecord(chat=chat, shard=shard, body=b"s"), f"write-{chat}")


def chats(changes: SessionChanges) -> list[int]:
    """The chats of these changes, in their order."""
    return [one.chat for one in changes.sessions]


# ---------------------------------------------------------------- images


async def test_an_image_as_others_see_it(rig: Rig, google: AsyncClient) -> None:
    """A manifest and a document for each blob; one that is not used any more is deleted."""
    version = await rig.warm.write_image(NAME, IMAGE)
    smaller = StoredImage(manifest=b"new", blobs=(b"new",), version=version)
    await rig.warm.write_image(NAME, smaller)
    documents = {each.id: each.to_dict() or {} async for each in google.collection(IMAGES).stream()}
    assert {NAME, f"{NAME}:0"} == set(documents)
    assert 32 == len(documents[NAME].pop("op"))
    assert {"manifest": b"new", "blobs": 1} == documents[NAME]
    assert {"blob": b"new"} == documents[f"{NAME}:0"]


def test_the_largest_image_fits_into_a_request() -> None:
    """Manifest and blobs at their bounds, with all their names, are below what Firestore takes in one commit."""
    image = StoredImage(manifest=bytes(BLOB_MOST), blobs=(bytes(BLOB_MOST),) * BLOBS_MOST)
    request = types.CommitRequest.pb()()
    for change in image_changes(f"{'A' * 100}:{10**8}", image, "f" * 32):
        fill_write(request.writes.add(), change, f"projects/{'p' * 30}/databases/{'d' * 63}/documents")
    assert request.ByteSize() < REQUEST_MOST


async def test_a_commit_that_the_server_finds_too_large_is_denied_at_once(rig: Rig) -> None:
    """It is no quota that comes back: asking again would only cost time."""
    image = StoredImage(manifest=b"m", blobs=(bytes(BLOB_MOST),) * BLOBS_MOST)
    with pytest.raises(StoreTooLarge, match="maximum size"):
        await rig.warm.write_image(NAME, image)
    assert [0] == rig.meter.writes


async def test_an_image_whose_reply_is_lost_is_written_once(shaky: Rig, proxy: FaultProxy) -> None:
    """The repeated commit fails its precondition on its own work, and reports that work; new or not."""
    proxy.inject(Fault("lose_reply", "Commit"))
    first = await shaky.warm.write_image(NAME, IMAGE)
    proxy.inject(Fault("lose_reply", "Commit"))
    again = StoredImage(manifest=b"again", version=first)
    second = await shaky.warm.write_image(NAME, again)
    assert StoredImage(manifest=b"again", version=second) == await shaky.warm.read_image(NAME)
    assert second > first
    assert 2 == proxy.injected["lose_reply"]


async def test_an_image_that_never_heard_back_can_be_written_again(shaky: Rig, proxy: FaultProxy) -> None:
    """After StoreDown the same image over the same version succeeds; another owner's is a conflict."""
    proxy.inject(Fault("lose_reply", "Commit"), Fault("refuse", times=100))
    with pytest.raises(StoreDown):
        await shaky.warm.write_image(NAME, IMAGE)
    proxy.heal()
    version = await shaky.warm.write_image(NAME, IMAGE)
    with pytest.raises(VersionConflict):
        await shaky.warm.write_image(NAME, StoredImage(manifest=b"another owner's"))
    stored = await shaky.warm.read_image(NAME)
    assert stored is not None
    assert (b"manifest", version) == (stored.manifest, stored.version)


@pytest.mark.parametrize("kind", ["cut", "refuse"])
async def test_an_image_that_could_not_be_read_is_not_absent(
    shaky: Rig, proxy: FaultProxy, kind: Any
) -> None:
    """Half an answer is none."""
    await shaky.warm.write_image(NAME, IMAGE)
    proxy.inject(Fault(kind, "BatchGetDocuments", times=100))
    with pytest.raises(StoreDown):
        await shaky.warm.read_image(NAME)


@pytest.mark.parametrize(
    ("path", "fields", "manifest", "blobs"),
    [
        (NAME, {"manifest": "text"}, b"", IMAGE.blobs),
        (NAME, {"manifest": {"a": 1}}, b"", IMAGE.blobs),
        (NAME, {"blobs": "three"}, b"manifest", IMAGE.blobs + (b"",) * (BLOBS_MOST - 3)),
        (NAME, {"blobs": 10**6}, b"manifest", IMAGE.blobs + (b"",) * (BLOBS_MOST - 3)),
        (NAME, {"op": 5, "more": [1]}, b"manifest", IMAGE.blobs),
        (f"{NAME}:1", {"blob": "text"}, b"manifest", (b"one", b"", b"three")),
        (f"{NAME}:2", {"blob": None}, b"manifest", (b"one", b"two", b"")),
        (f"{NAME}:7", {"blob": b"left over"}, b"manifest", IMAGE.blobs),
    ],
)
async def test_a_spoilt_image_comes_with_what_is_there(
    rig: Rig,
    google: AsyncClient,
    path: str,
    fields: dict[str, Any],
    manifest: bytes,
    blobs: tuple[bytes, ...],
) -> None:
    """Its checksums tell what is wrong with it, and the next image replaces it."""
    await rig.warm.write_image(NAME, IMAGE)
    await google.document(f"{IMAGES}/{path}").set(fields, merge=True)
    with capture_logs() as logs:
        spoilt = await rig.warm.read_image(NAME)
    assert spoilt is not None
    assert (manifest, blobs) == (spoilt.manifest, spoilt.blobs)
    assert ["warm_image_set_aside"] * (not manifest) == [line["event"] for line in logs]
    new = StoredImage(manifest=b"new", blobs=(b"only",), version=spoilt.version)
    version = await rig.warm.write_image(NAME, new)
    assert StoredImage(manifest=b"new", blobs=(b"only",), version=version) == await rig.warm.read_image(NAME)


async def test_blobs_without_a_manifest_are_no_image(rig: Rig, google: AsyncClient) -> None:
    """What an interrupted hand has left does not stop a new image."""
    await rig.warm.write_image(NAME, IMAGE)
    await google.document(f"{IMAGES}/{NAME}").delete()
    assert await rig.warm.read_image(NAME) is None
    await rig.warm.write_image(NAME, IMAGE)
    assert await rig.warm.read_image(NAME) is not None


async def test_a_missing_blob_is_empty(rig: Rig, google: AsyncClient) -> None:
    """The others keep their places."""
    await rig.warm.write_image(NAME, IMAGE)
    await google.document(f"{IMAGES}/{NAME}:0").delete()
    read = await rig.warm.read_image(NAME)
    assert read is not None
    assert (b"", b"two", b"three") == read.blobs


def test_images_are_not_indexed() -> None:
    """An index entry of a megabyte would refuse the document; the shipped file exempts every field of ours."""
    shipped = json.loads((ROOT / "firestore.indexes.json").read_text())
    exempt = {
        each["fieldPath"]
        for each in shipped["fieldOverrides"]
        if (each["collectionGroup"], each["indexes"]) == (IMAGES, [])
    }
    assert {"manifest", "blobs", "op", "blob"} == exempt


# ---------------------------------------------------------------- changes


async def test_the_watermark_leaves_time_for_commits_under_way(rig: Rig, google: AsyncClient) -> None:
    """It lies before the reading by as long as a commit may take to be seen."""
    await written(rig, 1)
    changes = await rig.warm.changed_sessions(0, 0, 10)
    newest_us = round(changes.sessions[0].updated_at * 1e6)
    now_us = round(time.time() * 1e6)  # the emulator has this machine's clock
    assert newest_us - VISIBLE_WITHIN_US <= changes.watermark <= now_us - VISIBLE_WITHIN_US


async def test_a_missing_index_is_done_without(shaky: Rig, proxy: FaultProxy) -> None:
    """The newest of all shards are looked through: the answer is the same while they are few."""
    await written(shaky, 1, 2)
    mark = (await shaky.warm.changed_sessions(0, 0, 1)).reaches
    await written(shaky, 3, 4, 5)
    await written(shaky, 9, shard=1)
    proxy.inject(no_index())
    changes = await shaky.warm.changed_sessions(0, mark, 3)
    assert ([5, 4, 3], mark) == (chats(changes), changes.reaches)
    assert {"telegram_sessions: shard ASCENDING, updated_at DESCENDING"} == shaky.database.missing_indexes


async def test_without_an_index_the_limit_still_cuts_truthfully(shaky: Rig, proxy: FaultProxy) -> None:
    """Cut at the caller's limit the mark is that of the last one listed."""
    await written(shaky, 1, 2, 3)
    proxy.inject(no_index())
    cut = await shaky.warm.changed_sessions(0, 0, 2)
    assert [3, 2] == chats(cut)
    assert [3] == chats(await shaky.warm.changed_sessions(0, cut.reaches, 10))


async def test_without_an_index_other_shards_can_crowd_this_one_out(shaky: Rig, proxy: FaultProxy) -> None:
    """What lies beyond the wider query's own limit is not claimed: the mark is that of the last one looked at."""
    await written(shaky, 1)
    await written(shaky, *range(10, 18), shard=1)
    proxy.inject(no_index())
    changes = await shaky.warm.changed_sessions(0, 0, 1)
    (oldest,) = (await shaky.sessions.read_sessions([10])).sessions
    assert ([], round(oldest.updated_at * 1e6)) == (chats(changes), changes.reaches)


@pytest.mark.parametrize("indexed", [True, False])
async def test_changes_are_bounded_in_bytes(shaky: Rig, proxy: FaultProxy, indexed: bool) -> None:
    """I7: the answer ends with the session that brings it to the bound, and the mark says which are missing."""
    for chat in range(1, 5):
        await shaky.sessions.write_session(
            SessionRecord(chat=chat, shard=0, body=b"x" * 1_000), f"write-{chat}"
        )
    warm = FirestoreWarmStore(shaky.database, shaky.meter, changes_bytes=2_000)
    if not indexed:
        proxy.inject(no_index())
    cut = await warm.changed_sessions(0, 0, 10)
    assert ([4, 3], 0) == (chats(cut), len(cut.set_aside))
    assert round(cut.sessions[-1].updated_at * 1e6) == cut.reaches
    rest = await warm.changed_sessions(0, cut.reaches, 10)
    assert ([4], cut.reaches) == (chats(rest), rest.reaches)
    await warm.close()


async def test_an_answer_that_was_cut_leaves_the_connection_whole(rig: Rig) -> None:
    """The rest of its stream is called off, and hundreds of such ones leave no call behind."""
    await written(rig, 1, 2, 3)
    warm = FirestoreWarmStore(rig.database, rig.meter, changes_bytes=1)
    for _ in range(100):
        assert [3] == chats(await warm.changed_sessions(0, 0, 10))
    assert [3, 2, 1] == chats(await rig.warm.changed_sessions(0, 0, 10))
    assert 0 == rig.database.connections_replaced
    await warm.close()


async def test_poison_is_set_aside_and_hides_no_change(rig: Rig, google: AsyncClient) -> None:
    """Documents with a time are told of; those without one have no place among changes; the sound one is listed."""
    for name, fields in POISON_SESSIONS.values():
        await google.collection("telegram_sessions").document(name).set(fields)
    await google.document("telegram_sessions/50").set({"shard": 0, "body": b"s", "deleted": False})
    await written(rig, 100)
    changes = await rig.warm.changed_sessions(0, 0, 50)
    timed = {name for name, fields in POISON_SESSIONS.values() if fields["updated_at"] is SERVER_TIMESTAMP}
    assert [100] == chats(changes)
    assert {f"telegram_sessions/{name}" for name in timed} == {one.file for one in changes.set_aside}
    assert len(timed) == len(changes.set_aside) == 9
    assert [100] == chats(await rig.warm.changed_sessions(0, 0, 1))


async def test_poison_counts_for_the_limit_and_the_mark(rig: Rig, google: AsyncClient) -> None:
    """An answer that is full of poison reaches as far as its last document."""
    await written(rig, 1)
    for chat in (2, 3):
        await google.document(f"telegram_sessions/{chat}").set(session_fields(body="text"))
    changes = await rig.warm.changed_sessions(0, 0, 2)
    assert ([], 2) == (chats(changes), len(changes.set_aside))
    oldest = (await stored(google, "telegram_sessions/2"))["updated_at"]
    assert oldest == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=changes.reaches)


async def test_expired_tombstones_are_left_out(rig: Rig, google: AsyncClient) -> None:
    """Firestore deletes up to a day late; they still count for how far the answer reaches."""
    await written(rig, 1, 2)
    expired = datetime.now(UTC) - timedelta(seconds=5)
    await google.document("telegram_sessions/2").update({"expires_at": expired})
    changes = await rig.warm.changed_sessions(0, 0, 1)
    assert [] == chats(changes)
    assert [2] == [one.chat for one in (await rig.sessions.read_sessions([2])).sessions]
    assert [] == chats(await rig.warm.changed_sessions(0, changes.reaches, 10))


async def test_changes_that_could_not_be_read_are_not_none(shaky: Rig, proxy: FaultProxy) -> None:
    """A failed query is StoreDown, or StoreDenied; never an empty answer."""
    proxy.inject(Fault("refuse", "RunQuery", times=100))
    with pytest.raises(StoreDown):
        await shaky.warm.changed_sessions(0, 0, 10)
    proxy.heal()
    proxy.inject(Fault("refuse", "RunQuery", status=grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(StoreDenied):
        await shaky.warm.changed_sessions(0, 0, 10)
