"""A warm image as bytes: compressed blobs of sessions, hottest first, and a manifest that vouches for each of them."""

import zlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import isfinite
from typing import Annotated, Final, NamedTuple
from zlib import crc32

import msgspec

from actors.warm_ports import BLOB_MOST, BLOBS_MOST, StoredImage
from contracts.base import Value

FORMAT: Final = 2
"""Of manifest and blobs together; an image of any other is set aside."""

KEPT_S: Final = 29 * 86400.0
"""How old an image may be: tombstones are kept for 30 days, and clocks may be wrong by a day."""

AHEAD_S: Final = 86400.0
"""How far in the future an image may have been made, for the same clocks."""

ROW_MOST: Final = 64
"""Bytes of a row beside its body, at most: four numbers of 9 bytes, the bytes' length, the row's own."""

PAGE: Final = 128_000
"""Bytes of rows that are compressed together: larger pages gain 3 %, and to unpack one takes 0.3 ms."""

RAW_MOST: Final = 8 * BLOB_MOST
"""Bytes of a blob's rows, at most: text compresses four times, and what claims to be more is not unpacked."""

LEVEL: Final = 1
"""zlib's fastest: 130 MB/s; the next ones gain 10 % and take half as long again."""

COUNT_MOST: Final = 1 << 62
"""Of marks and generations: what a store counts, and one more still goes into 64 bits. Beyond it an image is mad."""

SHARDS_MOST: Final = 4_096
"""Several times what anybody may set; who finds an image of another number looks for those left behind."""

_CHECKSUM: Final = 4  # bytes of it before the manifest
_PAGE_HEAD: Final = 16  # bytes of a page beside what is packed, at most: its own head, a number, a length
_BLOB_ROOM: Final = BLOB_MOST - 5  # less the length of the list of pages


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


Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MOST)]


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session in a blob: `score` as of `actors.score`, `body` a msgpack Session, the rest as in SessionRecord."""

    chat: int
    version: Annotated[int, msgspec.Meta(ge=1)]
    revision: int
    score: float
    body: Annotated[bytes, msgspec.Meta(min_length=1)]

    def room(self) -> int:
        """Bytes that it takes in a page before it is packed, at most."""
        return ROW_MOST + len(self.body)


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rows in a blob that were compressed together: a msgpack list of `raw` bytes, `packed` by zlib."""

    raw: Annotated[int, msgspec.Meta(ge=1, le=BLOB_MOST)]
    packed: bytes

    def room(self) -> int:
        """Bytes that it takes in a blob, at most."""
        return _PAGE_HEAD + len(self.packed)


class Blob(Value, frozen=True, kw_only=True):
    """What the manifest says of a blob: its bytes as stored, their checksum, its rows, and the bytes of these."""

    length: int
    crc32: int
    rows: Annotated[int, msgspec.Meta(ge=0, le=RAW_MOST)]
    raw: Annotated[int, msgspec.Meta(ge=0, le=RAW_MOST)]


class Manifest(Value, frozen=True, kw_only=True):
    """The image as a whole.

    Every row was the newest of its session at the store's mark `watermark`, or newer. `made_at` is when
    the store's changes were read up to there, in Unix seconds. `generation` counts the images of this name.
    """

    format: int = FORMAT
    actor: str
    shard: int
    shards: Annotated[int, msgspec.Meta(ge=1, le=SHARDS_MOST)]
    generation: Count
    watermark: Count
    made_at: float
    blobs: Annotated[tuple[Blob, ...], msgspec.Meta(max_length=BLOBS_MOST)] = ()

    @property
    def rows(self) -> int:
        """How many sessions there are in all blobs."""
        return sum(blob.rows for blob in self.blobs)


class Packed(NamedTuple):
    """An image that is not stored yet."""

    manifest: Manifest
    blobs: tuple[bytes, ...]

    def cut(self, most: int) -> "Packed":
        """The same claim about the first `most` blobs only."""
        notes = self.manifest.blobs[:most]
        return Packed(msgspec.structs.replace(self.manifest, blobs=notes), self.blobs[:most])

    def stored(self, version: int) -> StoredImage:
        """What is to replace the image of that version."""
        manifest = pack_manifest(self.manifest)
        return StoredImage(manifest=manifest, blobs=self.blobs, version=version)


class _Format(msgspec.Struct):
    """What every format of a manifest has."""

    format: int


_encode = msgspec.msgpack.Encoder().encode
_read_rows = msgspec.msgpack.Decoder(list[Row]).decode
_read_pages = msgspec.msgpack.Decoder(list[Page]).decode
_read_format = msgspec.msgpack.Decoder(_Format).decode
_read_manifest = msgspec.msgpack.Decoder(Manifest).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def pack_blobs(rows: Iterable[Row]) -> Iterator[tuple[Blob, bytes]]:
    """Give the blobs of these rows, one after another, as many as an image may have; what is left over is left out.

    A row too large for any blob is left out, too. A full blob takes some 40 ms: ask for each off the event loop.
    """
    filling, full = _Filling(), 0
    for taken in _paged(rows):
        page = _packed(taken)
        if page.room() > _BLOB_ROOM:
            continue
        if not filling.has_room(page):
            yield filling.sealed()
            filling, full = _Filling(), full + 1
            if full == BLOBS_MOST:
                return
        filling.add(page, len(taken))
    if filling.rows:
        yield filling.sealed()


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
    """Read a blob's rows, all of them or none; raises ImageRefused.

    No more is unpacked than the manifest says. A full blob takes some 20 ms: do it off the event loop.
    """
    if len(data) != blob.length:
        raise ImageRefused(Fault.TORN, f"a blob of {len(data)} bytes instead of {blob.length}")
    if crc32(data) != blob.crc32:
        raise ImageRefused(Fault.CHECKSUM, "a blob's")
    try:
        pages = _read_pages(data)
        if sum(page.raw for page in pages) != blob.raw:
            raise ImageRefused(
                Fault.TORN, f"a blob whose pages are not the {blob.raw} bytes that were packed"
            )
        rows = [row for page in pages for row in _read_rows(_unpacked(page))]
    except (*_UNREADABLE, zlib.error) as error:
        raise ImageRefused(Fault.FORMAT, f"a blob: {error}") from error
    if len(rows) != blob.rows:
        raise ImageRefused(Fault.TORN, f"a blob of {len(rows)} rows instead of {blob.rows}")
    return rows


# ---------------------------------------------------------------- pages


class _Filling:
    """A blob that is being filled."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._room, self._raw = _BLOB_ROOM, 0
        self.rows = 0

    def has_room(self, page: Page) -> bool:
        return page.room() <= self._room and self._raw + page.raw <= RAW_MOST

    def add(self, page: Page, rows: int) -> None:
        self._pages.append(page)
        self._room -= page.room()
        self._raw += page.raw
        self.rows += rows

    def sealed(self) -> tuple[Blob, bytes]:
        data = _encode(self._pages)
        return Blob(length=len(data), crc32=crc32(data), rows=self.rows, raw=self._raw), data


def _paged(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in runs of about PAGE bytes, in their order; one that is larger stands alone, if it may stand at all."""
    taken, room = list[Row](), PAGE
    for row in rows:
        if row.room() > _BLOB_ROOM:
            continue
        if taken and row.room() > room:
            yield taken
            taken, room = [], PAGE
        taken.append(row)
        room -= row.room()
    if taken:
        yield taken


def _packed(rows: list[Row]) -> Page:
    raw = _encode(rows)
    return Page(len(raw), zlib.compress(raw, LEVEL))


def _unpacked(page: Page) -> bytes:
    """A page's bytes; one byte more than it should have is as far as it gets."""
    inflating = zlib.decompressobj()
    raw = inflating.decompress(page.packed, page.raw + 1)
    if len(raw) != page.raw or not inflating.eof or inflating.unused_data:
        raise ImageRefused(Fault.TORN, f"a page that is not the {page.raw} bytes that were packed")
    return raw
