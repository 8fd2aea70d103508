"""Sessions as the bytes that L1 and the stores hold, with fields of other versions kept as they are."""

from typing import Final

import msgspec

from actors.conversation import extend
from contracts.sessions import CommitTurn, SessionPatch
from contracts.turns import Session

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode
_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def unpack(body: bytes) -> Session:
    """Read a session; raises one of UNREADABLE for bytes that are none."""
    return _decode(body)


def is_of(body: bytes, chat: int) -> bool:
    """Whether these bytes are a session, and this chat's."""
    try:
        return unpack(body).chat == chat
    except UNREADABLE:
        return False


def pack(session: Session, over: bytes = b"") -> bytes:
    """Give the session's bytes; what `over` holds beside our fields, a newer version's, is kept."""
    if not over:
        return _encode(session)
    try:
        fields = _fields(over)
    except UNREADABLE:
        return _encode(session)
    fields.update(_fields(_encode(session)))
    return _encode(fields)


def patched(session: Session, patch: SessionPatch) -> Session:
    """Give the session with the patch's named fields changed."""
    named = {
        name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET
    }
    return msgspec.structs.replace(session, **named) if named else session


def after_turn(session: Session, commit: CommitTurn) -> Session:
    """Give the session as the turn leaves it."""
    messages = extend(() if commit.clear else session.messages, commit.append)
    return msgspec.structs.replace(patched(session, commit.patch), messages=messages, turns=session.turns + 1)


def touches_session(commit: CommitTurn) -> bool:
    """Whether the turn changes anything of the session."""
    return bool(commit.append or commit.clear or commit.forget or commit.patch != SessionPatch())
