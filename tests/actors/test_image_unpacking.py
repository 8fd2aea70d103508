"""Unpacking an image ahead: in order, no more of it than there is room for, and nothing left running."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from actors import image
from actors.image import Blob, Fault, ImageRefused, Manifest, Row
from actors.image_unpacking import AHEAD, Unpacked, Unpacking
from actors.warm_ports import StoredImage
from tests.actors.fakes import KitBackground

T = TypeVar("T")
CHATS = range(5)


class Held(KitBackground):
    """Threads that are all busy until somebody opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.clear()
        self.given_up = 0

    async def compute(self, work: Callable[[], T]) -> T:
        """Wait for the gate, then work."""
        self.computed += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return work()


def made() -> tuple[Manifest, StoredImage]:
    """An image of one blob for each chat."""
    packed = [each for chat in CHATS for each in image.pack_blobs([Row(chat, 1, 1, 1.0, b"body")])]
    notes, blobs = zip(*packed, strict=True)
    manifest = Manifest(
        actor="A", shard=0, shards=1, generation=1, watermark=9, made_at=1.0, blobs=tuple(notes)
    )
    return manifest, StoredImage(manifest=b"", blobs=tuple(blobs))


def chats(unpacked: Unpacked) -> list[int] | Fault:
    """Whose sessions these are, or why there are none."""
    return unpacked.fault if isinstance(unpacked, ImageRefused) else [row.chat for row in unpacked]


async def turned() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_is_unpacked_than_there_is_room_for() -> None:
    """Before anybody asks for the first blob, and while its rows are being loaded."""
    background = KitBackground()
    unpacking = Unpacking(background)
    unpacking.begin(*made())
    await turned()
    computed = [background.computed]
    async for _ in unpacking.blobs():
        await turned()
        computed.append(background.computed)
    assert [AHEAD, AHEAD + 1, AHEAD + 2, 5, 5, 5] == computed


async def test_blobs_come_in_their_order_each_with_its_note() -> None:
    """A torn one in its place, and one that the store has lost as torn, too."""
    manifest, stored = made()
    torn = StoredImage(manifest=b"", blobs=(stored.blobs[0], b"torn", *stored.blobs[2:4]))
    unpacking, given = Unpacking(KitBackground()), list[tuple[Blob, list[int] | Fault]]()
    unpacking.begin(manifest, torn)
    async for blob, unpacked in unpacking.blobs():
        given.append((blob, chats(unpacked)))
    expected = [[0], Fault.TORN, [2], [3], Fault.TORN]
    assert list(zip(manifest.blobs, expected, strict=True)) == given


async def test_what_nobody_asks_for_is_given_up() -> None:
    """Changes that could not be read make the image useless, and nothing waits for it any more."""
    background = Held()
    unpacking = Unpacking(background)
    unpacking.begin(*made())
    await turned()
    unpacking.close()
    await turned()
    assert (AHEAD, AHEAD) == (background.computed, background.given_up)
    assert [] == [blob async for blob in unpacking.blobs()]


async def test_a_reader_who_is_cancelled_leaves_nothing_running() -> None:
    """A pass at its deadline: the blob that it waits for is given up with those behind it."""
    background = Held()
    unpacking = Unpacking(background)
    unpacking.begin(*made())

    async def read() -> None:
        try:
            async for _ in unpacking.blobs():
                raise AssertionError("the gate is shut")
        finally:
            unpacking.close()

    reading = asyncio.create_task(read())
    await turned()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await turned()
    assert (AHEAD, AHEAD) == (background.computed, background.given_up)
