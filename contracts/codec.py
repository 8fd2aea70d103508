"""One codec: every message in and out as msgpack, one typed decoder for each union."""

from typing import Any, Final, Generic, TypeVar, get_args

import msgspec

from contracts.base import Message, Value
from contracts.chat import ChatReply, ChatRequest
from contracts.faults import BadRequest, Fault, Unsupported
from contracts.sessions import SessionReply, SessionRequest
from contracts.skills import SkillReply, SkillRequest
from contracts.warming import ActorStats, Warm, WarmReport

T = TypeVar("T")

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that msgspec's decoders raise on hostile bytes."""

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message | Value) -> bytes:
    """Give the msgpack frame of a message."""
    return _encoder.encode(message)


class UnreadableFrame(Exception):
    """A frame that is no message of the expected union; `fault` is the answer to its sender."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Decoder(Generic[T]):
    """Reads the frames of one union of messages."""

    def __init__(self, union: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(union).decode
        self._tags = frozenset(_tag_of(member) for member in get_args(union) or (union,))

    def __call__(self, frame: bytes) -> T:
        """Give the frame's message; raises UnreadableFrame with the fault to answer."""
        try:
            message: T = self._decode(frame)
        except UNREADABLE as error:
            raise UnreadableFrame(self._fault(frame, error)) from error
        return message

    def _fault(self, frame: bytes, error: Exception) -> Fault:
        tag = _peek_tag(frame)
        if tag is None or tag in self._tags:
            return BadRequest(detail=f"unreadable message: {error}"[:300])
        return Unsupported(tag=tag[:64], detail=f"unknown message {tag[:64]!r}")


class _Tagged(msgspec.Struct):
    type: str


_peek = msgspec.msgpack.Decoder(_Tagged).decode


def _peek_tag(frame: bytes) -> str | None:
    try:
        return _peek(frame).type
    except UNREADABLE:
        return None


def _tag_of(member: Any) -> str:
    return str(member.__struct_config__.tag)


read_skill_request: Final[Decoder[SkillRequest]] = Decoder(SkillRequest)
read_skill_reply: Final[Decoder[SkillReply]] = Decoder(SkillReply)
read_session_request: Final[Decoder[SessionRequest]] = Decoder(SessionRequest)
read_session_reply: Final[Decoder[SessionReply]] = Decoder(SessionReply)
read_chat_request: Final[Decoder[ChatRequest]] = Decoder(ChatRequest)
read_chat_reply: Final[Decoder[ChatReply]] = Decoder(ChatReply)
read_warm: Final[Decoder[Warm]] = Decoder(Warm)
read_warm_report: Final[Decoder[WarmReport]] = Decoder(WarmReport)
read_stats: Final[Decoder[ActorStats]] = Decoder(ActorStats)
