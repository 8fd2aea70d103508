"""The codec: every message both ways, and an answer to every frame that is none."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import codec
from contracts.base import PROTOCOL, Message
from contracts.codec import UnreadableFrame, encode
from contracts.faults import BadRequest, Fault, Unsupported
from contracts.schema import UNIONS, members
from contracts.sessions import ACCEPTS_MOST, ClaimTurn, NothingWaiting
from tests.contracts.examples import EXAMPLES

DECODERS: dict[str, Any] = {
    "SkillRequest": codec.read_skill_request,
    "SkillReply": codec.read_skill_reply,
    "SessionRequest": codec.read_session_request,
    "SessionReply": codec.read_session_reply,
    "ChatRequest": codec.read_chat_request,
    "ChatReply": codec.read_chat_reply,
    "Warm": codec.read_warm,
    "WarmReport": codec.read_warm_report,
    "ActorStats": codec.read_stats,
}
UPDATE = {"type": "update.accept", "bot": 42, "update": 7, "incoming": {"kind": "message", "chat": 5}}
PAIRS = [
    (name, message)
    for name, union in UNIONS.items()
    for message in EXAMPLES
    if type(message) in members(union)
]


def test_every_message_of_every_union_has_an_example() -> None:
    """No message can be added without joining the golden bytes."""
    declared = {kind for union in UNIONS.values() for kind in members(union)}
    assert declared == {type(message) for message in EXAMPLES}


@pytest.mark.parametrize(
    ("union", "message"), PAIRS, ids=lambda value: getattr(type(value), "__name__", value)
)
def test_a_message_comes_back_as_it_was_sent(union: str, message: Message) -> None:
    """Encoding and decoding lose nothing."""
    assert message == DECODERS[union](encode(message))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_is_a_map_by_field_name_with_its_tag(message: Message) -> None:
    """A reader that knows only msgpack can read it."""
    plain = msgspec.msgpack.decode(encode(message))
    assert {"type", *message.__struct_fields__} == set(plain)


def test_fields_of_a_later_version_are_ignored_and_missing_ones_defaulted() -> None:
    """E1: an added field and a removed optional one do not stop an older or a newer reader."""
    later = msgspec.msgpack.encode({"type": "turn.claim", "chat": 5, "owner": "o", "colour": "blue"})
    assert ClaimTurn(chat=5, owner="o") == codec.read_session_request(later)
    earlier = msgspec.msgpack.encode({"type": "turn.held", "chat": 5})
    assert codec.read_session_reply(earlier).retry_after_s == 0.0  # type: ignore[union-attr]


def test_an_unknown_tag_is_answered_with_the_tag_and_our_version() -> None:
    """E1: a newer caller learns that this version can't, and which it is."""
    with pytest.raises(UnreadableFrame) as raised:
        codec.read_session_request(msgspec.msgpack.encode({"type": "turn.dream", "chat": 5}))
    assert (
        Unsupported(tag="turn.dream", version=PROTOCOL, detail="unknown message 'turn.dream'")
        == raised.value.fault
    )


def test_a_reply_is_no_request() -> None:
    """Each union has a decoder of its own."""
    with pytest.raises(UnreadableFrame) as raised:
        codec.read_session_request(encode(NothingWaiting(chat=5)))
    assert isinstance(raised.value.fault, Unsupported)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x81",
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode({"type": "turn.claim"}),
        msgspec.msgpack.encode({"type": "turn.claim", "chat": "five", "owner": "o"}),
        b"\x82\xa4type\xa2\xff\xfe\xa4chat\x05",
        b"\x81\xa4type" + b"\x91" * 200_000 + b"\x00",
    ],
    ids=["empty", "reserved byte", "cut", "array", "no chat", "wrong type", "bad text", "deep"],
)
def test_a_malformed_frame_is_a_bad_request(frame: bytes) -> None:
    """Nothing but UnreadableFrame comes out of a decoder."""
    with pytest.raises(UnreadableFrame) as raised:
        codec.read_session_request(frame)
    assert isinstance(raised.value.fault, BadRequest)


@pytest.mark.parametrize(
    ("updates", "readable"),
    [
        ([], True),
        ([UPDATE] * ACCEPTS_MOST, True),
        ([UPDATE] * (ACCEPTS_MOST + 1), False),
        ([UPDATE, UPDATE | {"incoming": 5}], False),
        ([UPDATE, {"type": "turn.claim", "chat": 5, "owner": "o"}], False),
        (5, False),
    ],
    ids=["none", "the most", "too many", "one malformed", "one of another kind", "no array"],
)
def test_a_group_of_updates_is_bounded_and_whole(updates: object, readable: bool) -> None:
    """I7: one that is too large, or holds what is no update, is a bad request, which its sender takes apart."""
    fault = _fault(
        codec.read_session_request, msgspec.msgpack.encode({"type": "updates.accept", "updates": updates})
    )
    assert readable == (fault is None)
    assert readable or isinstance(fault, BadRequest)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(frame: bytes) -> None:
    """Hostile bytes end in a fault for their sender, who need not send them again."""
    faults = [_fault(decode, frame) for decode in DECODERS.values()]
    assert not any(fault.retry for fault in faults if fault is not None)


def _fault(decode: Callable[[bytes], object], frame: bytes) -> Fault | None:
    try:
        decode(frame)
    except UnreadableFrame as unreadable:
        return unreadable.fault
    return None
