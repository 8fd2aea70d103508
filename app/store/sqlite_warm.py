"""Warm images, and what has changed since, in SQLite: an image goes in piece by piece, between the turns' writes."""

import asyncio
from contextlib import suppress
from functools import partial

from actors.stores import StoreError, StoreMeter, VersionConflict
from actors.warm_ports import CHANGES_BYTES_MOST, SessionChanges, StoredImage, WarmStore
from app.store import sqlite_pieces as pieces
from app.store.sqlite import Adapter, SqliteDatabase
from app.store.sqlite_reads import changed_sessions
from app.store.warm_images import check_image, operation_of


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
        return await self._read(partial(pieces.read_image, name=name), _documents)

    async def write_image(self, name: str, image: StoredImage) -> int:
        """Write the pieces one after another, then the image's head in a commit that compares its version.

        Leftovers that the head does not name are deleted at the end; what a fault leaves, by the next image.
        """
        check_image(name, image)
        operation = await asyncio.to_thread(operation_of, image)
        try:
            await self._put_pieces(name, image, operation)
        except StoreError:
            self._meter.write(0)
            raise
        flip = partial(pieces.flip, name=name, operation=operation, image=image)
        version = await self._write(flip, lambda _: _documents(image))
        with suppress(StoreError):  # the image is written, and who asked for that is told so
            await self._sweep(name, pieces.Head(version, operation))
        return version

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """Read the sessions whose version is above `since`, and the newest version, in one snapshot."""
        return await self._read(
            lambda connection: changed_sessions(connection, shard, since, limit, self._changes_bytes),
            lambda found: len(found.sessions) + len(found.set_aside),
        )

    async def _put_pieces(self, name: str, image: StoredImage, operation: str) -> None:
        """Write each in a commit of its own, unless they are there or would be in vain."""
        head = await self._database.read(partial(pieces.read_head, name=name))
        if head.operation == operation:
            return
        if head.version != image.version:
            raise VersionConflict("image")
        for piece in pieces.pieces_of(image):
            await self._database.write(partial(pieces.put, name=name, operation=operation, piece=piece))

    async def _sweep(self, name: str, head: pieces.Head) -> None:
        while await self._database.write(partial(pieces.sweep, name=name, head=head)):
            pass  # one commit each, so that turns come in between


def _documents(image: StoredImage | None) -> int:
    return 1 + len(image.blobs) if image is not None else 0
