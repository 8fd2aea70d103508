"""What the tests of warm images share: sessions to write, restarts, and images to look into or to spoil."""

from collections.abc import Callable, Iterable
from itertools import islice
from random import Random

import msgspec

from actors import image, session_codec
from actors.image import Manifest, Row
from actors.image_keeper import PAUSE_S, TICK_S
from actors.stores import SessionRecord
from actors.warm_ports import StoredImage
from contracts.sessions import LoadSession, PatchSession, SessionLoaded, SessionPatch
from contracts.turns import Session
from contracts.warming import WarmReport
from tests.actors.turn_kit import Container, World

NAME = "SessionCacheActor:0"
SOON_S = PAUSE_S + 2 * TICK_S  # an image that is due has been written


async def wrote(world: World, chats: Iterable[int], mode: str = "brief") -> None:
    """Have the shard write these chats' sessions."""
    for chat in chats:
        await world.ask(PatchSession(chat=chat, patch=SessionPatch(mode=mode)))


def store(world: World, chats: Iterable[int], mode: str = "brief") -> None:
    """Write these sessions past every shard, as another owner would."""
    for chat in chats:
        body = session_codec.pack(Session(chat=chat, mode=mode))
        record = SessionRecord(chat=chat, shard=0, body=body)
        world.database.put_session(record, f"another {chat}", world.database.next_version())


def noise(size: int) -> str:
    """Text that takes at least so many bytes, however it is compressed."""
    return Random(size).randbytes(size).hex()


async def restart(world: World) -> WarmReport:
    """Stop the shard in order and start a new one; gives what it tells of its warming."""
    await world.now.shard.stop()
    return await begin(world)


async def begin(world: World, latency_s: float = 0.0) -> WarmReport:
    """Start a new shard beside what is there, at a distance from its store."""
    made = world.make()
    made.store.latency_s = latency_s
    world.shard_place.actor = made.shard
    await made.shard.start()
    return warmed(made)


def warmed(container: Container) -> WarmReport:
    """What the container tells of its last warming pass."""
    report = container.shard.warmer.last
    assert report is not None
    return report


async def modes(world: World, chats: Iterable[int]) -> list[str]:
    """The modes that the shard tells of these chats."""
    replies = [await world.ask(LoadSession(chat=chat)) for chat in chats]
    return [reply.session.mode for reply in replies if isinstance(reply, SessionLoaded)]


async def asked(world: World, chats: Iterable[int]) -> tuple[list[str], int]:
    """The same, and how many store reads that took of the newest container."""
    before = world.now.meter.request_reads.calls
    return await modes(world, chats), world.now.meter.request_reads.calls - before


def stored(world: World) -> tuple[Manifest, list[Row]]:
    """The stored image."""
    found = world.database.images[NAME]
    manifest = image.unpack_manifest(found.manifest)
    blobs = zip(manifest.blobs, found.blobs, strict=True)
    return manifest, [row for note, blob in blobs for row in image.unpack_blob(note, blob)]


def blobs(world: World) -> list[list[int]]:
    """The chats of the stored image, by blob."""
    manifest, rows = stored(world)
    chats = iter([row.chat for row in rows])
    return [list(islice(chats, blob.rows)) for blob in manifest.blobs]


def imaged(world: World) -> list[int]:
    """The chats of the stored image, hottest first."""
    return [row.chat for row in stored(world)[1]]


def spoil(world: World, change: Callable[[StoredImage], StoredImage]) -> None:
    """Change the stored image behind everybody's back."""
    world.database.images[NAME] = change(world.database.images[NAME])


def with_manifest(**fields: object) -> Callable[[StoredImage], StoredImage]:
    """Change the manifest, and make its checksum right again."""

    def change(found: StoredImage) -> StoredImage:
        manifest = msgspec.structs.replace(image.unpack_manifest(found.manifest), **fields)
        return msgspec.structs.replace(found, manifest=image.pack_manifest(manifest))

    return change


def with_rows(change: Callable[[list[Row]], Iterable[Row]]) -> Callable[[StoredImage], StoredImage]:
    """Change the rows, and make all checksums right again."""

    def applied(found: StoredImage) -> StoredImage:
        manifest = image.unpack_manifest(found.manifest)
        blobs = zip(manifest.blobs, found.blobs, strict=True)
        rows = change([row for note, blob in blobs for row in image.unpack_blob(note, blob)])
        packed = list(image.pack_blobs(rows))
        sealed = msgspec.structs.replace(manifest, blobs=tuple(note for note, _ in packed))
        return StoredImage(
            manifest=image.pack_manifest(sealed),
            blobs=tuple(blob for _, blob in packed),
            version=found.version,
        )

    return applied


def with_body(chat: int, body: bytes) -> Callable[[StoredImage], StoredImage]:
    """Give a chat's session another body."""
    return with_rows(
        lambda rows: [msgspec.structs.replace(row, body=body) if row.chat == chat else row for row in rows]
    )
