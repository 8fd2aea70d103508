"""What a peer gets that breaks the rules of HTTP/2, and one that keeps to rules which few use."""

import asyncio
from typing import Any

import pytest
from hpack import Decoder

from app.plane.fields import pack
from app.plane.frames import PREFACE, Code, Flag, Frame, Kind, Setting, frame, number, settings
from tests.app.plane.test_wire import SECRET, SERVICE, TOKEN, replies, served

OPENING = PREFACE + frame(Kind.SETTINGS, 0, 0)
BLOCK = pack([(":path", "/")])
WAITING = frame(Kind.HEADERS, Flag.END_HEADERS, 1, BLOCK)
WIDER = settings({Setting.INITIAL_WINDOW_SIZE: 1 << 17})


@pytest.mark.parametrize(
    ("junk", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR),
        (OPENING + b"\xff" * 9, Code.FRAME_SIZE_ERROR),
        (OPENING + frame(Kind.HEADERS, Flag.END_HEADERS, 2, BLOCK), Code.PROTOCOL_ERROR),
        (
            OPENING + frame(Kind.HEADERS, Flag.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
            Code.COMPRESSION_ERROR,
        ),
        (OPENING + frame(Kind.HEADERS, Flag.END_HEADERS, 1, b"\xbe"), Code.COMPRESSION_ERROR),
        (OPENING + frame(Kind.HEADERS, Flag.END_HEADERS, 1, b"\x3f\xff\x7f"), Code.COMPRESSION_ERROR),
        (OPENING + frame(Kind.HEADERS, Flag.END_HEADERS, 1, b"\x82" * 201), Code.COMPRESSION_ERROR),
        (
            OPENING + frame(Kind.HEADERS, Flag.END_HEADERS | Flag.PADDED, 1, b"\x09" + BLOCK[:3]),
            Code.PROTOCOL_ERROR,
        ),
        (
            OPENING + frame(Kind.HEADERS, 0, 1, BLOCK) + frame(Kind.PING, 0, 0, b"8 bytes."),
            Code.PROTOCOL_ERROR,
        ),
        (OPENING + frame(Kind.CONTINUATION, 0, 1, BLOCK), Code.PROTOCOL_ERROR),
        (
            OPENING + frame(Kind.HEADERS, 0, 1) + frame(Kind.CONTINUATION, 0, 1, b"\x82" * 9_000) * 9,
            Code.ENHANCE_YOUR_CALM,
        ),
        (OPENING + frame(Kind.PUSH_PROMISE, 0, 1, BLOCK), Code.PROTOCOL_ERROR),
        (OPENING + frame(Kind.SETTINGS, 0, 0, b"short"), Code.FRAME_SIZE_ERROR),
        (OPENING + frame(Kind.HEADERS, 0, 1) + frame(Kind.CONTINUATION, 0, 1) * 100, Code.ENHANCE_YOUR_CALM),
        (OPENING + frame(Kind.WINDOW_UPDATE, 0, 0, number(0x7FFFFFFF)), Code.FLOW_CONTROL_ERROR),
        (
            OPENING
            + WAITING
            + frame(Kind.WINDOW_UPDATE, 0, 1, number(0x7FFF0000))
            + frame(Kind.SETTINGS, 0, 0, WIDER),
            Code.FLOW_CONTROL_ERROR,
        ),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_which_and_left(junk: bytes, code: Code) -> None:
    """Its connection ends, and others go on."""
    async with served() as (_, port, _):
        got = await exchange(port, junk)
        assert [code] == [
            int.from_bytes(payload[4:8], "big") for kind, _, _, payload in got if kind == Kind.GOAWAY
        ]


async def test_fields_may_be_padded_and_continued_and_unknown_frames_are_passed_over() -> None:
    """What the standard allows and Modal's library does not do."""
    block = pack([(":path", f"{SERVICE}QueueGet"), ("x-modal-token-secret", SECRET)])
    sent = (
        OPENING
        + frame(77, 0, 0, b"of tomorrow")
        + frame(
            Kind.HEADERS,
            Flag.PADDED | Flag.PRIORITY | Flag.END_STREAM,
            1,
            b"\x02" + bytes(5) + block[:9] + bytes(2),
        )
        + frame(Kind.CONTINUATION, 0, 1, block[9:20])
        + frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, block[20:])
        + frame(Kind.PING, 0, 0, b"8 bytes.")
    )
    async with served() as (_, port, _):
        got = await exchange(port, sent, until=Kind.HEADERS)
        assert [b"8 bytes."] == [payload for kind, _, _, payload in got if kind == Kind.PING]
        (told,) = [
            dict[Any, Any](Decoder().decode(payload)) for kind, _, _, payload in got if kind == Kind.HEADERS
        ]
        assert ("12", "firstlight's plane does not know QueueGet") == (
            told["grpc-status"],
            told["grpc-message"],
        )


async def test_a_streams_window_that_grows_too_large_ends_the_stream_alone() -> None:
    """Whoever called gets nothing more, what ran for it is cancelled, and other streams go on."""
    block = pack([(":path", f"{SERVICE}ClientHello"), *TOKEN.items()])
    asked = frame(Kind.HEADERS, Flag.END_HEADERS, 1, block) + frame(Kind.DATA, Flag.END_STREAM, 1, bytes(5))
    other = frame(Kind.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 3, BLOCK)
    async with served() as (handlers, port, _), asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(OPENING + asked)
        await handlers.entered.wait()
        writer.write(frame(Kind.WINDOW_UPDATE, 0, 1, number(0x7FFFFFFF)) + other)
        got = await read_until(reader, Kind.HEADERS)
        writer.close()
        await handlers.cancelled.wait()
    assert [(1, number(Code.FLOW_CONTROL_ERROR))] == [
        (stream, payload) for kind, _, stream, payload in got if kind == Kind.RST_STREAM
    ]
    assert {3} == {stream for kind, _, stream, _ in got if kind == Kind.HEADERS}


# ---------------------------------------------------------------- helpers


async def exchange(port: int, sent: bytes, until: Kind = Kind.GOAWAY) -> list[Frame]:
    """Send it, and give the frames that come back up to one of that kind."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        got = await read_until(reader, until)
    writer.close()
    return got


async def read_until(reader: asyncio.StreamReader, kind: Kind) -> list[Frame]:
    """The frames that come, up to one of that kind."""
    cutter, got = replies(), list[Frame]()
    while kind not in {each for each, *_ in got}:
        piece = await reader.read(1 << 16)
        assert piece, f"it ended after {got}"
        got += list(cutter.feed(piece))
    return got
