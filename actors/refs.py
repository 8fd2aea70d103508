"""Typed references: what a caller holds of an actor, wherever that runs."""

import binascii
from collections.abc import Sequence
from typing import TypeVar

from actors.ports import Transport
from contracts.base import Message
from contracts.chat import ChatReply, ChatRequest, TakeTurn
from contracts.codec import (
    Decoder,
    UnreadableFrame,
    encode,
    read_chat_reply,
    read_session_reply,
    read_skill_reply,
    read_stats,
    read_warm_report,
)
from contracts.sessions import SessionReply, SessionRequest
from contracts.skills import SkillReply, SkillRequest
from contracts.warming import ActorStats, Warm, WarmReport

Reply = TypeVar("Reply")


def shard_of(chat: int, shards: int) -> int:
    """The shard that owns a chat: crc32 of the decimal chat id modulo the number of shards; chat 0 is shard 0."""
    if shards == 1 or not chat:
        return 0
    return binascii.crc32(str(chat).encode()) % shards


class ActorRef:
    """One actor behind a transport. All methods raise Unreachable."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.name, self._transport = name, transport

    async def warm(self, *, force: bool = False) -> WarmReport:
        """Warm it and give the report."""
        return read_warm_report(await self._transport.warm(encode(Warm(force=force)) if force else b""))

    async def stats(self) -> ActorStats:
        """Give its statistics."""
        return read_stats(await self._transport.stats())

    async def _ask(self, request: Message, decoder: Decoder[Reply]) -> Reply:
        return _read(decoder, await self._transport.ask(encode(request)))

    async def _tell(self, message: Message) -> None:
        await self._transport.tell(encode(message))


class SkillRegistryRef(ActorRef):
    """The SkillRegistryActor."""

    async def ask(self, request: SkillRequest) -> SkillReply:
        """Ask it."""
        return await self._ask(request, read_skill_reply)

    async def tell(self, message: SkillRequest) -> None:
        """Tell it; nobody waits for the answer."""
        await self._tell(message)


class SessionShardRef(ActorRef):
    """One shard of the SessionCacheActor."""

    async def ask(self, request: SessionRequest) -> SessionReply:
        """Ask it."""
        return await self._ask(request, read_session_reply)


class SessionsRef:
    """All shards of the SessionCacheActor; a request goes to the shard of its chat."""

    def __init__(self, shards: Sequence[SessionShardRef]) -> None:
        self.shards = tuple(shards)

    def of(self, chat: int) -> SessionShardRef:
        """The shard that owns the chat."""
        return self.shards[shard_of(chat, len(self.shards))]


class ChatAgentRef(ActorRef):
    """The ChatAgent's pool."""

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Ask it and wait for the turns' end."""
        return await self._ask(request, read_chat_reply)

    async def take_turn(self, chat: int, bot: int = 0, update: int = 0) -> None:
        """Hand over a ticket; returns when it is queued."""
        await self._tell(TakeTurn(chat=chat, bot=bot, update=update))


def _read(decoder: Decoder[Reply], frame: bytes) -> Reply:
    try:
        return decoder(frame)
    except UnreadableFrame as unreadable:
        return unreadable.fault  # type: ignore[return-value]  # every reply union holds the faults
