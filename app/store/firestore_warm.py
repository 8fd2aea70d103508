"""Warm images, and what has changed since, in Firestore: one read wave, one commit, one query.

`warm_images/{name}`          manifest, blobs (how many), op
`warm_images/{name}:{slot}`   blob; slots 0 to 8
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from actors.stores import SessionRecord, StoreMeter, VersionConflict
from actors.warm_ports import BLOBS_MOST, CHANGES_BYTES_MOST, SessionChanges, StoredImage, WarmStore
from app.store.firestore_adapter import Adapter
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_docs import at_version, has_operation, version_of
from app.store.firestore_errors import PreconditionFailed
from app.store.firestore_plans import changed_plan
from app.store.firestore_poison import Poison
from app.store.firestore_requests import Change
from app.store.firestore_search import Answer, answer
from app.store.firestore_values import UnreadableDocument, kind_of, read_bytes, read_int, read_micros
from app.store.warm_images import check_image, count_of, operation_of, set_aside

IMAGES: Final = "warm_images"

VISIBLE_WITHIN_US: Final = 4_000_000
"""How long after its own `updated_at` a write may still become visible.

That time is taken when the server begins with a commit, and the commit may have to wait for locks before others
see it. It can't for longer than its deadline on the wire (`Limits.attempt_s`, 3 s), which the server knows.
"""


class FirestoreWarmStore(Adapter, WarmStore):
    """The WarmStore port on an open FirestoreDatabase. Marks of change are microseconds of its server's time.

    An answer of changes ends behind the document that brings it to `changes_bytes`.
    """

    def __init__(
        self, database: FirestoreDatabase, meter: StoreMeter, *, changes_bytes: int = CHANGES_BYTES_MOST
    ) -> None:
        super().__init__(database, meter)
        self._changes_bytes = changes_bytes

    async def read_image(self, name: str) -> StoredImage | None:
        """Read the manifest and all slots in one BatchGet; slots that are not there cost nothing."""
        paths = [image_path(name), *(blob_path(name, slot) for slot in range(BLOBS_MOST))]
        found = (await self._database.get_all(paths, self._meter, _part)).documents
        manifest = found.get(image_path(name))
        if manifest is None:
            return None
        return StoredImage(
            manifest=_manifest(name, manifest),
            blobs=tuple(found.get(path, b"") for path in paths[1 : 1 + count_of(_count(manifest))]),
            version=version_of(manifest),
        )

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write manifest and blobs, and drop the slots behind them, in one commit at the manifest's version."""
        check_image(name, image)
        operation = await asyncio.to_thread(operation_of, image)
        try:
            applied = await self._database.commit(image_changes(name, image, operation), self._meter)
        except PreconditionFailed as error:
            return await self._written_before(name, operation, error)
        return applied[0].version

    async def _written_before(self, name: str, operation: str, error: PreconditionFailed) -> int:
        """Tell a repeated write, which has happened, from a conflict."""
        path = image_path(name)
        stored = (await self._database.get_all((path,), self._meter)).documents.get(path)
        if not has_operation(stored, operation):
            raise VersionConflict("image") from error
        return version_of(stored)

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Query the shard's newest sessions; without its index, the newest of all shards."""
        limit, poison = max(limit, 1), Poison()
        plan = changed_plan(shard, since, limit, self._changes_bytes)
        given = await answer(self._database, plan, self._meter)
        records = list(filter(plan.keep, poison.sound(given.found.documents)))
        return SessionChanges(
            sessions=tuple(records[:limit]),
            reaches=_reaches(given, records, limit, since),
            watermark=max(given.found.read_at_us - VISIBLE_WITHIN_US, 0),
            set_aside=poison.found,
        )


def image_path(name: str) -> str:
    """Give the path of an image's manifest."""
    return f"{IMAGES}/{name}"


def blob_path(name: str, slot: int) -> str:
    """Give the path of an image's blob; no image's name looks like it, having one colon."""
    return f"{IMAGES}/{name}:{slot}"


def image_changes(name: str, image: StoredImage, operation: str) -> list[Change]:
    """The manifest first, because its version is the image's; nobody has read which slots the old one has."""
    fields = {"manifest": image.manifest, "blobs": len(image.blobs), "op": operation}
    manifest = Change(document=image_path(name), fields=fields, when=at_version(image.version))
    blobs = enumerate(image.blobs)
    return [
        manifest,
        *(Change(document=blob_path(name, slot), fields={"blob": blob}) for slot, blob in blobs),
        *(
            Change(document=blob_path(name, slot), deleted=True)
            for slot in range(len(image.blobs), BLOBS_MOST)
        ),
    ]


# ---------------------------------------------------------------- reading


def _reaches(given: Answer, records: Sequence[SessionRecord], limit: int, since: int) -> int:
    """The mark after which every session is listed.

    A full answer, or one that was cut, may lack others of the very time of its last document, and none of a later
    one: so the mark is that time itself. All documents count, also those that are set aside or expired: they had
    their place.
    """
    if len(records) > limit:
        return _micros(records[limit - 1])
    if len(given.found.documents) < given.limit and not given.found.is_cut:
        return since
    return read_micros(given.found.last.fields, "updated_at")


def _micros(record: SessionRecord) -> int:
    return round(record.updated_at * 1e6)  # exact: a double holds microseconds until the year 2255


def _manifest(name: str, document: Any) -> bytes:
    try:
        return read_bytes(document.fields, "manifest")
    except UnreadableDocument as error:
        set_aside(name, str(error))
        return b""


def _count(document: Any) -> int | None:
    return (
        read_int(document.fields, "blobs") if kind_of(document.fields, "blobs") == "integer_value" else None
    )


def _part(path: str, document: Any, _: int) -> Any:
    """A Reader: the manifest as it came; of a blob its bytes, copied while the next one is on its way."""
    if path.count(":") == 1:
        return document
    return read_bytes(document.fields, "blob") if kind_of(document.fields, "blob") == "bytes_value" else b""
