"""A warm image as bytes: blobs of sessions, hottest first, and a manifest that vouches for each of them."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import isfinite
from typing import Annotated, Final
from zlib import crc32

import msgspec

from actors.warm_ports import BLOB_MOST, BLOBS_MOST
from contracts.base import Value

FORMAT: Final = 1
"""Of manifest and blobs together; an image of any other is set aside."""

KEPT_S: Final = 29 * 86400.0
"""How old an image may be: tombstones are kept for 30 days, and clocks may be wrong by a day."""

AHEAD_S: Final = 86400.0
"""How far in the future an image may have been made, for the same clocks."""

ROW_MOST: Final = 64
"""Bytes of a row beside its body, at most: four numbers of 9 bytes, the bytes' length, the row's own."""

_CHECKSUM: Final = 4  # bytes of it before the manifest
_BLOB_ROOM: Final = BLOB_MOST - ROW_MOST  # less the length of the list of rows


class Fault(StrEnum):
    """Why an image, or one of its blobs, is set aside."""

    TORN = "torn"
    CHECKSUM = "checksum"
    FORMAT = "format"
    FOREIGN = "foreign"
    OLD = "old"


class ImageRefused(Exception):
    """These bytes are not to be served; `fault` says why in a word."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session in a blob: `score` as of `actors.score`, `body` a msgpack Session, the rest as in SessionRecord."""

    chat: int
    version: Annotated[int, msgspec.Meta(ge=1)]
    revision: int
    score: float
    body: Annotated[bytes, msgspec.Meta(min_length=1)]

    def room(self) -> int:
        """Bytes that it takes in a blob, at most."""
        return ROW_MOST + len(self.body)


class Blob(Value, frozen=True, kw_only=True):
    """What the manifest says of a blob: its bytes, their checksum, its rows."""

    length: int
    crc32: int
    rows: int


class Manifest(Value, frozen=True, kw_only=True):
    """The image as a whole.

    Every row was the newest of its session at the store's mark `watermark`, or newer. `made_at` is when
    the store's changes were read up to there, in Unix seconds. `generation` counts the images of this name.
    """

    format: int = FORMAT
    actor: str
    shard: int
    shards: int
    generation: int
    watermark: int
    made_at: float
    blobs: tuple[Blob, ...] = ()

    @property
    def rows(self) -> int:
        """How many sessions there are in all blobs."""
        return sum(blob.rows for blob in self.blobs)


class _Format(msgspec.Struct):
    """What every format of a manifest has."""

    format: int


_encode = msgspec.msgpack.Encoder().encode
_read_rows = msgspec.msgpack.Decoder(list[Row]).decode
_read_format = msgspec.msgpack.Decoder(_Format).decode
_read_manifest = msgspec.msgpack.Decoder(Manifest).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def pack_blobs(rows: Iterable[Row]) -> Iterator[tuple[Blob, bytes]]:
    """Give the blobs of these rows, one after another, as many as an image may have; what is left over is left out.

    A row too large for any blob is left out, too.
    """
    blobs, taken, room = 0, list[Row](), _BLOB_ROOM
    for row in rows:
        if row.room() > _BLOB_ROOM:
            continue
        if row.room() > room:
            yield _packed(taken)
            blobs, taken, room = blobs + 1, [], _BLOB_ROOM
            if blobs == BLOBS_MOST:
                return
        taken.append(row)
        room -= row.room()
    if taken:
        yield _packed(taken)


def pack_manifest(manifest: Manifest) -> bytes:
    """Give the manifest's bytes, behind their checksum."""
    body = _encode(manifest)
    return crc32(body).to_bytes(_CHECKSUM, "big") + body


def unpack_manifest(data: bytes) -> Manifest:
    """Read a manifest; raises ImageRefused."""
    if len(data) <= _CHECKSUM:
        raise ImageRefused(Fault.TORN, "no manifest")
    body = data[_CHECKSUM:]
    if crc32(body) != int.from_bytes(data[:_CHECKSUM], "big"):
        raise ImageRefused(Fault.CHECKSUM, "the manifest's")
    try:
        found = _read_format(body).format
        if found != FORMAT:
            raise ImageRefused(Fault.FORMAT, f"{found}, and this version reads {FORMAT}")
        return _read_manifest(body)
    except _UNREADABLE as error:
        raise ImageRefused(Fault.FORMAT, f"the manifest: {error}") from error


def check(manifest: Manifest, *, actor: str, shard: int, shards: int, now_s: float) -> None:
    """Raise ImageRefused unless the image is that of this shard, and young enough at the Unix time `now_s`."""
    found = (manifest.actor, manifest.shard, manifest.shards)
    if found != (actor, shard, shards):
        raise ImageRefused(Fault.FOREIGN, f"of {found[0]} {found[1]} of {found[2]}")
    if not isfinite(manifest.made_at) or not -AHEAD_S <= now_s - manifest.made_at <= KEPT_S:
        raise ImageRefused(Fault.OLD, f"{(now_s - manifest.made_at) / 86400:.1f} days")


def unpack_blob(blob: Blob, data: bytes) -> list[Row]:
    """Read a blob's rows, all of them or none; raises ImageRefused."""
    if len(data) != blob.length:
        raise ImageRefused(Fault.TORN, f"a blob of {len(data)} bytes instead of {blob.length}")
    if crc32(data) != blob.crc32:
        raise ImageRefused(Fault.CHECKSUM, "a blob's")
    try:
        rows = _read_rows(data)
    except _UNREADABLE as error:
        raise ImageRefused(Fault.FORMAT, f"a blob: {error}") from error
    if len(rows) != blob.rows:
        raise ImageRefused(Fault.TORN, f"a blob of {len(rows)} rows instead of {blob.rows}")
    return rows


def _packed(rows: list[Row]) -> tuple[Blob, bytes]:
    data = _encode(rows)
    return Blob(length=len(data), crc32=crc32(data), rows=len(rows)), data
