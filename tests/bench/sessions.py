"""The sessions that the benchmarks store, load and encode: messages of ordinary length."""

from itertools import accumulate
from random import Random
from string import ascii_lowercase
from typing import Final

from actors import session_codec
from actors.stores import SessionRecord
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


class Talk:
    """Sessions of about 1 kB whose words are drawn as people use words, so that they compress as text does."""

    def __init__(self, words: int = 20_000) -> None:
        dice = Random(1)
        self._words = ["".join(dice.choices(ascii_lowercase, k=dice.randint(2, 9))) for _ in range(words)]
        self._weights = list(accumulate(1.0 / rank for rank in range(1, words + 1)))

    def record(self, chat: int, shard: int) -> SessionRecord:
        """The chat's session as a store keeps it, always the same."""
        words = Random(chat).choices(self._words, cum_weights=self._weights, k=150)
        said = (" ".join(words[first : first + 50]) for first in range(0, 150, 50))
        messages = tuple(ChatMessage(role="user", text=text) for text in said)
        body = session_codec.pack(Session(chat=chat, user=chat, messages=messages))
        return SessionRecord(chat=chat, shard=shard, body=body)


def size() -> int:
    """Its bytes."""
    return len(session_codec.pack(session(1)))
