"""The session that the benchmarks store, load and encode: 20 messages of ordinary length."""

from typing import Final

from actors import session_codec
from actors.ports import SessionRecord
from contracts.turns import ChatMessage, Session

MESSAGES: Final = 20
_ASKED: Final = (
    "How do I find the cause of an error that only shows in production, and where do I look first? "
)
_TOLD: Final = (
    "Begin with what changed: the last deploy, the last migration, the newest dependency. Then narrow. "
)


def session(chat: int, messages: int = MESSAGES) -> Session:
    """The session of a chat that has talked for a while: some 6 kB (with 4 messages 1 kB), no two messages alike."""
    said = tuple(_message(number, chat) for number in range(messages))
    return Session(chat=chat, user=chat, turns=messages // 2, last_skill="debugging", messages=said)


def _message(number: int, chat: int) -> ChatMessage:
    if number % 2:
        return ChatMessage(role="assistant", text=f"{number}. {_TOLD * (3 + number % 3)}({chat})")
    return ChatMessage(role="user", text=f"{number}. {_ASKED}({chat})")


def record(chat: int, version: int = 0, *, shard: int = 0, messages: int = MESSAGES) -> SessionRecord:
    """The session as a store keeps it."""
    body = session_codec.pack(session(chat, messages))
    return SessionRecord(chat=chat, shard=shard, body=body, version=version)


def size() -> int:
    """Its bytes."""
    return len(session_codec.pack(session(1)))
