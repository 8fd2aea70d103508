"""What a session shard asks of the store in order to start warm: its image, and what has changed since."""

from typing import Final, Protocol

from actors.stores import SessionRecord
from contracts.base import Value
from contracts.skills import SetAside

BLOB_MOST: Final = 1_000_000
"""Bytes of a blob: one document (Firestore: 1,048,487 bytes a property, 1 MiB a document with its names)."""

BLOBS_MOST: Final = 9
"""Blobs of an image: with its manifest they are written in one commit (Firestore: 10 MiB a request)."""

CHANGES_BYTES_MOST: Final = 16 * 1024 * 1024
"""Bytes of one answer of changed sessions, a quarter of what L1 holds: 2,000 of 8 kB, while one may have 256."""


class StoredImage(Value, frozen=True, kw_only=True):
    """`warm_images/{actor}:{shard}`: a manifest and its blobs, both opaque to stores, always of one commit.

    At most BLOBS_MOST blobs of at most BLOB_MOST bytes each, and a manifest of at most BLOB_MOST bytes.
    `version` is the manifest's (0: not stored). What the store finds spoilt comes as empty bytes.
    """

    manifest: bytes
    blobs: tuple[bytes, ...] = ()
    version: int = 0


class SessionChanges(Value, frozen=True, kw_only=True):
    """Sessions written lately, newest first, tombstones (empty bodies) among them.

    Marks are the store's own measure of change (SQLite: the number of the write; Firestore: microseconds of
    server time). Every session that was written after the mark `reaches` is listed here or in `set_aside`.
    Every write up to the mark `watermark` was visible to this reading.
    """

    sessions: tuple[SessionRecord, ...] = ()
    reaches: int = 0
    watermark: int = 0
    set_aside: tuple[SetAside, ...] = ()


class WarmStore(Protocol):
    """Warm images and changes of a session shard. Raises StoreDown or StoreDenied; every call has a deadline."""

    async def read_image(self, name: str) -> StoredImage | None:
        """Read manifest and blobs in one wave; None when there is none. What is torn the checksums tell.

        An image that nobody can read still comes with its version, so that it can be replaced.
        """

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Replace the image in one commit if its stored version equals `image.version`; gives the new version.

        `name` is `{actor}:{shard}`. Blobs of the image that it replaces are gone with the same commit. The
        same image written again over the same version, after a lost reply, succeeds again.
        Raises VersionConflict("image"), StoreDenied for an image over the bounds, and StoreTooLarge for one within
        them that the store does not take in one commit.
        """

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Give the shard's sessions written after the mark `since`, newest first, in one query.

        At most `limit` of them, which is 1 or more; fewer, 1 or more, where their bodies come to
        CHANGES_BYTES_MOST. `reaches` says which are missing.
        """

    async def close(self) -> None:
        """Give connections back; idempotent."""
