"""Unpacks a warm image ahead of whoever loads it, while the store's other answers are still on their way."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import chain, repeat
from typing import Final

from actors import image
from actors.image import Blob, ImageRefused, Manifest, Row
from actors.ports import Background
from actors.warm_ports import StoredImage

AHEAD: Final = 2
"""Blobs that are being unpacked, or wait to be loaded: as many as there are cores in a small container, and some
16 MB of rows at most, most of which L1 is going to hold."""

Unpacked = list[Row] | ImageRefused
"""A blob's rows, or why there are none."""


class Unpacking:
    """The blobs of one image, unpacked in its order off the loop; close it however its reading ends."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._packed: Iterator[tuple[Blob, bytes]] = iter(())
        self._ahead: deque[tuple[Blob, asyncio.Task[Unpacked]]] = deque()

    def begin(self, manifest: Manifest, stored: StoredImage) -> None:
        """Begin with the first blobs of the image; those that it lacks come as torn."""
        self._packed = zip(manifest.blobs, chain(stored.blobs, repeat(b"")), strict=False)
        for _ in range(AHEAD):
            self._begin_next()

    async def blobs(self) -> AsyncIterator[tuple[Blob, Unpacked]]:
        """Give each blob once; while its rows are loaded, the next ones are being unpacked."""
        while self._ahead:
            blob, unpacking = self._ahead[0]
            unpacked = await unpacking
            self._ahead.popleft()
            self._begin_next()
            yield blob, unpacked

    def close(self) -> None:
        """Give up what nobody has asked for; idempotent."""
        for _, unpacking in self._ahead:
            unpacking.cancel()
        self._ahead.clear()

    def _begin_next(self) -> None:
        for blob, data in self._packed:
            self._ahead.append((blob, asyncio.create_task(self._unpacked(blob, data), name="unpack a blob")))
            return

    async def _unpacked(self, blob: Blob, data: bytes) -> Unpacked:
        try:
            return await self._background.compute(partial(image.unpack_blob, blob, data))
        except ImageRefused as refused:  # told when it is its turn, if ever
            return refused
