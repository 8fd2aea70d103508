"""The bytes of a warm image: what is packed comes back, what is spoilt is refused, and nothing is ever made up."""

import tracemalloc
import zlib
from math import inf, nan
from random import Random
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import image
from actors.image import RAW_MOST, Blob, Fault, ImageRefused, Manifest, Page, Row
from actors.warm_ports import BLOB_MOST, BLOBS_MOST

NOW_S = 1_800_000_000.0
DAY_S = 86400.0

ROWS = st.lists(
    st.builds(
        Row,
        chat=st.integers(-(2**53), 2**53),
        version=st.integers(1, 2**63 - 1),
        revision=st.integers(-1, 2**63 - 1),
        score=st.floats(allow_nan=False),
        body=st.binary(min_size=1, max_size=60),
    ),
    min_size=1,
    max_size=8,
)


def manifest(**fields: object) -> Manifest:
    """A manifest of shard 3 of 8, made now."""
    usual = {"actor": "A", "shard": 3, "shards": 8, "generation": 1, "watermark": 9, "made_at": NOW_S}
    return Manifest(**(usual | fields))  # type: ignore[arg-type]  # a test names fields as Manifest has them


def row(chat: int, size: int) -> Row:
    """A session of that many bytes, which can't be compressed."""
    return Row(chat, 1, 1, 1.0, Random(chat).randbytes(size))


def blob_of(*pages: Page, raw: int | None = None, rows: int = 1) -> tuple[Blob, bytes]:
    """A blob of these pages, its checksum right."""
    data = msgspec.msgpack.encode(pages)
    told = sum(page.raw for page in pages) if raw is None else raw
    return Blob(length=len(data), crc32=crc32(data), rows=rows, raw=told), data


def refusal(data: bytes) -> Fault:
    """Why the bytes are no manifest."""
    with pytest.raises(ImageRefused) as refused:
        image.unpack_manifest(data)
    return refused.value.fault


def check(told: Manifest) -> None:
    """Check a manifest as its own shard does."""
    image.check(told, actor="A", shard=3, shards=8, now_s=NOW_S)


@given(ROWS)
def test_what_is_packed_comes_back(rows: list[Row]) -> None:
    """Every number and every byte, in the same order."""
    ((note, data),) = image.pack_blobs(rows)
    packed = manifest(blobs=(note,))
    assert image.unpack_manifest(image.pack_manifest(packed)) == packed
    assert image.unpack_blob(note, data) == rows


@given(ROWS, st.data())
@settings(max_examples=200)
def test_a_flipped_bit_of_a_blob_is_noticed(rows: list[Row], data: st.DataObject) -> None:
    """Wherever it is, none of the blob's sessions is served."""
    ((note, blob),) = image.pack_blobs(rows)
    with pytest.raises(ImageRefused):
        image.unpack_blob(note, _flipped(blob, data))


@given(st.data())
def test_a_flipped_bit_of_a_manifest_is_noticed(data: st.DataObject) -> None:
    """Also in the checksum itself."""
    packed = image.pack_manifest(manifest(blobs=(Blob(length=1, crc32=2, rows=3, raw=4),)))
    assert refusal(_flipped(packed, data)) == Fault.CHECKSUM


@given(ROWS, st.data())
def test_a_torn_blob_is_noticed(rows: list[Row], data: st.DataObject) -> None:
    """One that ends too early, or goes on."""
    ((note, blob),) = image.pack_blobs(rows)
    end = data.draw(st.integers(0, len(blob) - 1))
    for torn in (blob[:end], blob + b"\0"):
        with pytest.raises(ImageRefused, match="torn"):
            image.unpack_blob(note, torn)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Whatever stands in the store, it is refused in one way, even where all its checksums are right."""
    sealed = crc32(data).to_bytes(4, "big") + data
    for told in (data, sealed):
        with pytest.raises(ImageRefused):
            image.unpack_manifest(told)
    with pytest.raises(ImageRefused):
        image.unpack_blob(Blob(length=len(data), crc32=crc32(data), rows=1, raw=len(data)), data)
    for packed in (data, zlib.compress(data)):
        with pytest.raises(ImageRefused):
            image.unpack_blob(*blob_of(Page(max(len(data), 1), packed)))


@pytest.mark.parametrize(
    ("note", "data", "fault"),
    [
        (*blob_of(Page(9, zlib.compress(bytes(10)))), Fault.TORN),
        (*blob_of(Page(11, zlib.compress(bytes(10)))), Fault.TORN),
        (*blob_of(Page(10, zlib.compress(bytes(10))[:-1])), Fault.TORN),
        (*blob_of(Page(10, zlib.compress(bytes(10)) + b"more")), Fault.TORN),
        (*blob_of(Page(100, zlib.compress(bytes(1 << 24)))), Fault.TORN),
        (*blob_of(Page(10, b"no zlib")), Fault.FORMAT),
        (*blob_of(Page(10, zlib.compress(bytes(10))), raw=9), Fault.TORN),
        (*blob_of(Page(BLOB_MOST + 1, zlib.compress(bytes(BLOB_MOST + 1)))), Fault.FORMAT),
        (*blob_of(Page(1, zlib.compress(b"\x90"))), Fault.TORN),
    ],
    ids=["longer", "shorter", "torn", "goes on", "bomb", "foreign", "another sum", "large", "no rows"],
)
def test_pages_that_are_not_what_was_packed(note: Blob, data: bytes, fault: Fault) -> None:
    """Each is refused, though its checksum is right."""
    with pytest.raises(ImageRefused) as refused:
        image.unpack_blob(note, data)
    assert refused.value.fault == fault


def test_a_bomb_is_not_unpacked() -> None:
    """A page that would be 64 MB takes no more memory than it says it is long."""
    note, data = blob_of(Page(100, zlib.compress(bytes(1 << 26))))
    tracemalloc.start()
    with pytest.raises(ImageRefused, match="torn"):
        image.unpack_blob(note, data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TORN),
        (b"\0\0\0\0", Fault.TORN),
        (image.pack_manifest(manifest())[:-1], Fault.CHECKSUM),
        (image.pack_manifest(manifest(format=1)), Fault.FORMAT),
        (image.pack_manifest(manifest(format=3)), Fault.FORMAT),
        (image.pack_manifest(manifest(watermark="9")), Fault.FORMAT),
        (image.pack_manifest(manifest(blobs=(Blob(length=9, crc32=9, rows=9, raw=1 << 40),))), Fault.FORMAT),
    ],
    ids=["empty", "a checksum alone", "torn", "older", "newer", "a field of another type", "a bomb"],
)
def test_manifests_that_can_not_be_read(data: bytes, fault: Fault) -> None:
    """Each is refused for its own reason."""
    assert refusal(data) == fault


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"actor": "B"}, Fault.FOREIGN),
        ({"shard": 4}, Fault.FOREIGN),
        ({"shards": 7}, Fault.FOREIGN),
        ({"made_at": NOW_S - 29.1 * DAY_S}, Fault.OLD),
        ({"made_at": NOW_S + 1.1 * DAY_S}, Fault.OLD),
        ({"made_at": nan}, Fault.OLD),
        ({"made_at": -inf}, Fault.OLD),
    ],
)
def test_images_that_are_not_for_this_shard_now(fields: dict[str, object], fault: Fault) -> None:
    """Another actor's or shard's; one of another number of shards; one that tombstones do not outlive."""
    with pytest.raises(ImageRefused) as refused:
        check(manifest(**fields))
    assert refused.value.fault == fault


@pytest.mark.parametrize("age_days", [-0.9, 0.0, 28.9])
def test_images_of_this_shard(age_days: float) -> None:
    """They may be almost as old as a tombstone, and from a clock that is a little ahead."""
    check(manifest(made_at=NOW_S - age_days * DAY_S))


def test_blobs_keep_the_order_and_the_bounds() -> None:
    """Each is filled before the next begins, and none is larger than a document may be."""
    rows = [row(chat, 300_000) for chat in range(10)]
    packed = list(image.pack_blobs(rows))
    assert [note.rows for note, _ in packed] == [3, 3, 3, 1]
    assert max(len(data) for _, data in packed) <= BLOB_MOST
    assert [each for note, data in packed for each in image.unpack_blob(note, data)] == rows


def test_what_does_not_fit_is_left_out() -> None:
    """A session larger than a blob, and the coldest when all blobs are full."""
    rows = [row(0, BLOB_MOST), *(row(chat, 600_000) for chat in range(1, BLOBS_MOST + 5))]
    packed = list(image.pack_blobs(rows))
    chats = [each.chat for note, data in packed for each in image.unpack_blob(note, data)]
    assert (len(packed), chats) == (BLOBS_MOST, list(range(1, BLOBS_MOST + 1)))


def test_text_takes_a_fraction_of_its_bytes() -> None:
    """So 5,000 sessions fit where their bytes would not; and a blob never unpacks to more than it may."""
    rows = [Row(chat, 1, 1, 1.0, b"%d " % chat * 500) for chat in range(20_000)]
    packed = list(image.pack_blobs(rows))
    assert [each for note, data in packed for each in image.unpack_blob(note, data)] == rows
    assert sum(note.length for note, _ in packed) < sum(note.raw for note, _ in packed) / 4
    assert all(note.raw <= RAW_MOST for note, _ in packed)
    assert len(packed) > 1


@pytest.mark.parametrize("size", [1, 31, 255, 256, 65_535, 65_536])
def test_a_row_takes_no_more_than_its_room(size: int) -> None:
    """However large its numbers are, so that a blob never outgrows its bound."""
    largest = Row(-(2**63), 2**63 - 1, 2**63 - 1, 1e300, b"x" * size)
    assert len(msgspec.msgpack.encode(largest)) <= largest.room()


def test_rows_that_can_not_be_are_refused() -> None:
    """A session that was never written, or an empty one, stands in no image of ours."""
    for wrong in (Row(1, 0, 1, 1.0, b"x"), Row(1, 1, 1, 1.0, b"")):
        ((note, data),) = image.pack_blobs([wrong])
        with pytest.raises(ImageRefused, match="format"):
            image.unpack_blob(note, data)


def _flipped(data: bytes, draw: st.DataObject) -> bytes:
    bit = draw.draw(st.integers(0, len(data) * 8 - 1), label="bit")
    spoilt = bytearray(data)
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)
