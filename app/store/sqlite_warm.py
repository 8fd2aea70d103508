"""Warm images, and what has changed since, in SQLite: one row for the manifest and one for each blob."""

import asyncio
import sqlite3
from functools import partial
from typing import Final

from actors.stores import StoreMeter, VersionConflict
from actors.warm_ports import CHANGES_BYTES_MOST, SessionChanges, StoredImage, WarmStore
from app.store.sqlite import Adapter, SqliteDatabase
from app.store.sqlite_reads import changed_sessions
from app.store.sqlite_writer import Commit
from app.store.warm_images import check_image, count_of, operation_of, set_aside

_READ: Final = "SELECT version, blobs, manifest FROM warm_images WHERE name = ?"
_WRITE: Final = "INSERT OR REPLACE INTO warm_images VALUES (?, ?, ?, ?, ?)"


class SqliteWarmStore(Adapter, WarmStore):
    """The WarmStore port over SQLite. Marks of change are versions, which stand in one order.

    An answer of changes ends behind the session that brings it to `changes_bytes`.
    """

    def __init__(
        self, database: SqliteDatabase, meter: StoreMeter, *, changes_bytes: int = CHANGES_BYTES_MOST
    ) -> None:
        super().__init__(database, meter)
        self._changes_bytes = changes_bytes

    async def read_image(self, name: str) -> StoredImage | None:
        """Read manifest and blobs in one snapshot, off the event loop."""
        return await self._read(partial(_read_image, name=name), _documents)

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write manifest and blobs in one commit, at the image's version."""
        check_image(name, image)
        operation = await asyncio.to_thread(operation_of, image)
        write = partial(_write_image, name=name, image=image, operation=operation)
        return await self._write(write, lambda _: _documents(image))

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Read the sessions whose version is above `since`, and the newest version, in one snapshot."""
        return await self._read(
            lambda connection: changed_sessions(connection, shard, since, limit, self._changes_bytes),
            lambda found: len(found.sessions) + len(found.set_aside),
        )


def _read_image(connection: sqlite3.Connection, name: str) -> StoredImage | None:
    row = connection.execute(_READ, (name,)).fetchone()
    if row is None:
        return None
    version, count, manifest = row
    if not isinstance(manifest, bytes):
        set_aside(name, "its manifest is no bytes")
    blobs = dict(connection.execute("SELECT slot, body FROM warm_blobs WHERE name = ?", (name,)).fetchall())
    return StoredImage(
        manifest=_bytes(manifest),
        blobs=tuple(_bytes(blobs.get(slot)) for slot in range(count_of(count))),
        version=_version(version),
    )


def _write_image(commit: Commit, name: str, image: StoredImage, operation: str) -> int:
    query = "SELECT version, operation FROM warm_images WHERE name = ?"
    version, newest = commit.connection.execute(query, (name,)).fetchone() or (0, None)
    if newest == operation:
        return _version(version)
    if _version(version) != image.version:
        raise VersionConflict("image")
    row = (name, commit.version, operation, len(image.blobs), image.manifest)
    commit.connection.execute(_WRITE, row)
    commit.connection.execute("DELETE FROM warm_blobs WHERE name = ?", (name,))
    blobs = ((name, slot, blob) for slot, blob in enumerate(image.blobs))
    commit.connection.executemany("INSERT INTO warm_blobs VALUES (?, ?, ?)", blobs)
    return commit.version


def _version(stored: object) -> int:
    """A version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""
    return stored if isinstance(stored, int) else 0


def _bytes(stored: object) -> bytes:
    return stored if isinstance(stored, bytes) else b""


def _documents(image: StoredImage | None) -> int:
    return 1 + len(image.blobs) if image is not None else 0
