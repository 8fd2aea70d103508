"""Header fields as HTTP/2 packs them (RFC 7541): read for one connection, and written so that no state is needed.

The library's own decoder would cost more than all else that the plane does for a call. Its tables and its Huffman
code are used here; what is left is the loop over a block.
"""

from collections.abc import Iterable
from typing import Final

from hpack import Encoder, HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

TABLE_BYTES: Final = (
    4096  # what a peer may have us remember unless we grant more; more makes its search slower
)
FIXED: Final = HeaderTable.STATIC_TABLE  # what everybody knows from the start
FIELDS_MOST: Final = 200  # a block of 64 KiB could name a long field again and again


class Reader:
    """Reads the blocks of one connection, each in its turn: a block refers to fields of those before it."""

    def __init__(self) -> None:
        self._table = HeaderTable()

    def read(self, block: bytes) -> dict[bytes, bytes]:
        """The fields, the last one of a name; raises ValueError for what is no block."""
        fields: list[tuple[bytes, bytes]] = []
        recent = self._table.dynamic_entries
        at, end = 0, len(block)
        try:
            while at < end:
                first = block[at]
                if 0x80 < first < 0xFF:  # most fields: an index in one byte
                    index, at = first - 0x81, at + 1
                    fields.append(FIXED[index] if index < len(FIXED) else recent[index - len(FIXED)])
                elif first & 0x80:
                    index, at = _integer(block, at, 7)
                    fields.append(self._table.get_by_index(index))
                elif first & 0x40 or not first & 0x20:
                    field, at = self._literal(block, at, bool(first & 0x40))
                    fields.append(field)
                else:
                    at = self._resize(block, at)
        except (IndexError, HPACKError) as error:
            raise ValueError(f"a header block can't be read: {error}") from None
        if len(fields) > FIELDS_MOST:
            raise ValueError("too many header fields")
        return dict(fields)

    def _literal(self, block: bytes, at: int, remembered: bool) -> tuple[tuple[bytes, bytes], int]:
        index, at = _integer(block, at, 6 if remembered else 4)
        if index:
            name = self._table.get_by_index(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        if remembered:
            self._table.add(name, value)
        return (name, value), at

    def _resize(self, block: bytes, at: int) -> int:
        size, at = _integer(block, at, 5)
        if size > TABLE_BYTES:
            raise ValueError("a header table is larger than was granted")
        self._table.maxsize = size
        return at


def pack(fields: Iterable[tuple[str, str]]) -> bytes:
    """A block that neither refers to what was sent before nor is to be remembered: the same for every connection."""
    return Encoder().encode([(name, value, True) for name, value in fields], huffman=False)


# ---------------------------------------------------------------- helpers


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number that begins in the low bits of a byte, and where it ends; raises IndexError."""
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("a number has no end")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """A string, and where it ends; raises IndexError or HPACKError."""
    packed = block[at] & 0x80
    size, at = _integer(block, at, 7)
    end = at + size
    if end > len(block):
        raise IndexError("a string is cut off")
    return (decode_huffman(block[at:end]) if packed else block[at:end]), end
