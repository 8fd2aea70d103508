"""Frames and header fields are the same however they arrive, and as the library packs them."""

from typing import Any

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given
from hypothesis import strategies as st

from app.plane.fields import Reader
from app.plane.frames import PREFACE, Frames, frame


@given(st.lists(st.tuples(st.integers(10, 99), st.binary(max_size=40)), max_size=8), st.data())
def test_frames_are_the_same_however_they_arrive(made: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Cut anywhere."""
    sent, cutter, got = PREFACE + b"".join(frame(kind, 0, 1, payload) for kind, payload in made), Frames(), []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        got += [(kind, payload) for kind, _, _, payload in cutter.feed(sent[:size])]
        sent = sent[size:]
    assert made == got


NAMES = st.one_of(
    st.sampled_from([":path", "user-agent", "x-modal-node"]), st.text("abc-é", min_size=1, max_size=300)
)
BLOCKS = st.lists(st.lists(st.tuples(NAMES, st.text(max_size=300), st.booleans()), max_size=9), max_size=9)


@given(BLOCKS, st.sampled_from([0, 100, 4096]), st.booleans())
def test_fields_are_read_as_the_library_packs_them(blocks: Any, table: int, huffman: bool) -> None:
    """Remembered or not, in a table of any granted size, block after block."""
    encoder, reader = Encoder(), Reader()
    encoder.header_table_size = table
    for fields in blocks:
        read = reader.read(encoder.encode(fields, huffman=huffman))
        assert {name.encode(): value.encode() for name, value, _ in fields} == read


@given(st.binary(max_size=60))
def test_what_is_no_block_is_a_value_error_or_read_as_the_library_does(block: bytes) -> None:
    """And nothing else."""
    try:
        expected = dict(Decoder().decode(block, raw=True))
    except Exception:  # noqa: BLE001 - whatever the library thinks of it, it has no fields
        return
    try:
        assert expected == Reader().read(block)
    except ValueError:
        assert block[0] & 0xE0 == 0x20 or b"\x3f" in block, "the library grants more changes of the table"


@pytest.mark.parametrize("packed", [b"\x00", b"\x07\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x1f"])
def test_a_string_that_is_packed_wrongly_is_refused(packed: bytes) -> None:
    """Cut off within a letter, padded with more than a byte, and with the code's own end in it: as the library does."""
    block = b"\x00\x01a" + bytes([0x80 | len(packed)]) + packed
    with pytest.raises(HPACKError):
        Decoder().decode(block)
    with pytest.raises(ValueError, match="header block"):
        Reader().read(block)
