"""HTTP/2's frames (RFC 9113, sections 4 and 6): cut from what a peer sends, and put together for it."""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
PAYLOAD_MOST: Final = 1 << 14  # what a peer may send us at once unless we grant more, and we do not

_HEAD: Final = struct.Struct(">HBBBI")


class Kind(IntEnum):
    """The frames that mean something here; others are passed over, as the standard asks."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag:
    """Two of them share a bit: ACK is of SETTINGS and PING. Numbers: `&` with an enum's takes 40 times as long."""

    ACK: Final = 0x1
    END_STREAM: Final = 0x1
    END_HEADERS: Final = 0x4
    PADDED: Final = 0x8
    PRIORITY: Final = 0x20


class Setting(IntEnum):
    """The settings that mean something here."""

    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Violation(Exception):
    """The peer does not speak HTTP/2 as it must: the connection ends. Do not retry on it."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream and payload: a plain tuple, since every call makes a dozen of them."""


class Frames:
    """Cuts one peer's bytes into frames, however they arrive."""

    def __init__(self) -> None:
        self._rest = b""
        self._greeted = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole by now; raises Violation."""
        data, at = self._rest + data if self._rest else data, 0
        self._rest = data
        if not self._greeted:
            if not data.startswith(PREFACE[: len(data)]):
                raise Violation(Code.PROTOCOL_ERROR, "this is no HTTP/2 client")
            if len(data) < len(PREFACE):
                return
            at, self._greeted = len(PREFACE), True
        while len(data) - at >= HEAD_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            end = at + HEAD_BYTES + (high << 8 | low)
            if end - at - HEAD_BYTES > PAYLOAD_MOST:
                raise Violation(Code.FRAME_SIZE_ERROR, "a frame is too large")
            if end > len(data):
                break
            yield kind, flags, stream & 0x7FFFFFFF, data[at + HEAD_BYTES : end]
            at = end
        self._rest = data[at:]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def number(value: int) -> bytes:
    """Four bytes: the payload of a WINDOW_UPDATE or a RST_STREAM."""
    return struct.pack(">I", value)


def settings(values: dict[Setting, int]) -> bytes:
    """The payload of SETTINGS."""
    return b"".join(struct.pack(">HI", setting, value) for setting, value in values.items())


def read_settings(payload: bytes) -> dict[int, int]:
    """The same, read; raises Violation."""
    if len(payload) % 6:
        raise Violation(Code.FRAME_SIZE_ERROR, "settings are cut off")
    return dict(struct.iter_unpack(">HI", payload))


def read_number(payload: bytes) -> int:
    """A WINDOW_UPDATE's increment; raises Violation."""
    if len(payload) != 4:
        raise Violation(Code.FRAME_SIZE_ERROR, "a number of four bytes has others")
    return int.from_bytes(payload, "big") & 0x7FFFFFFF


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding; raises Violation."""
    if not flags & Flag.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Violation(Code.PROTOCOL_ERROR, "a frame is all padding")
    return payload[1 : len(payload) - payload[0]]
