"""Plays some turns before the first real one, for nobody: what is slow when it runs for the first time is slow here.

Actors of their own play them, over the ports of `app.rehearsal_stage`, and are dropped when the play is over. Nobody
else can ask them, and they know nobody: what the real actors hold, count and write is out of their reach.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from actors.actor import Actor
from actors.chat_agent import ChatAgent
from actors.meter import Meter
from actors.ports import Model, Renderer, Telegram
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.session_cache import SessionCacheActor
from actors.skill_registry import SkillRegistryActor
from app.rehearsal_stage import BOT, CHAT, TEXT, Parrot, Plain, Props, silence
from app.runtime import World
from app.transport.local import LocalTransport
from contracts.base import Message
from contracts.chat import TakeTurn, TurnsTaken
from contracts.sessions import AcceptUpdate, UpdateAccepted
from contracts.turns import Incoming

log = structlog.get_logger(__name__)

Reply = TypeVar("Reply", bound=Message)

TURNS: Final = 4  # 10 ms in all; 8 are 6 ms more, and the first real turn would gain a twentieth by them
DEADLINE_S: Final = 2.0  # a hundred times what it takes
DRAIN_S: Final = 0.5  # the counting of a run, which asks nobody


class Unplayed(Exception):
    """A turn did not come to its end; the text says what came instead."""


@dataclass(frozen=True, slots=True)
class Players:
    """Who plays beside the actors; whom a container does not have, a stand-in plays that imports nothing."""

    telegram: Callable[[], AbstractAsyncContextManager[Telegram]] = silence
    renderer: Callable[[], Renderer] = Plain
    model: Callable[[], Model] = Parrot


async def rehearse(players: Players | None = None, turns: int = TURNS) -> None:
    """Play `turns` turns, each from the update that is accepted to the reply that is recorded as delivered.

    The log has nothing of it: `app.observability` drops what is bound to a rehearsal. Raises nothing: what could not
    be rehearsed is told in one line, and takes its time at the first request.
    """
    try:
        with structlog.contextvars.bound_contextvars(rehearsal=True):
            async with asyncio.timeout(DEADLINE_S):
                await _rehearsed(players or Players(), turns)
    except Exception as error:  # noqa: BLE001 - the stated outcome, whatever went wrong: a start goes on without it
        log.warning("rehearsal_failed", error=f"{type(error).__name__}: {error}")


async def _rehearsed(players: Players, turns: int) -> None:
    world = World()
    async with players.telegram() as telegram:
        company = _Company(world, telegram, players)
        try:
            for number in range(1, turns + 1):
                await company.play(number)
        finally:
            await world.background.drain(DRAIN_S)


class _Company:
    """The three actors of a rehearsal; none of them is started, so that none keeps a loop of its own."""

    def __init__(self, world: World, telegram: Telegram, players: Players) -> None:
        parts: dict[str, Any] = {"clock": world.clock, "chance": world.chance, "background": world.background}
        props, meter = Props(), Meter()
        skills = SkillRegistryActor(files=props, store=props.skills, meter=meter, **parts)
        shard = SessionCacheActor(0, store=props.sessions, images=props.images, meter=meter, **parts)
        self._skills = SkillRegistryRef(skills.name, _carrier(skills, world))
        self._shard = SessionShardRef(shard.name, _carrier(shard, world))
        agent = ChatAgent(
            skills=self._skills,
            sessions=SessionsRef([self._shard]),
            agents=ChatAgentRef(shard.name, _carrier(shard, world)),  # for a turn too many; there is none
            telegram=telegram,
            model=players.model(),
            renderer=players.renderer(),
            **parts,
        )
        self._agent = ChatAgentRef(agent.name, _carrier(agent, world))

    async def play(self, number: int) -> None:
        """Play a turn; raises Unplayed."""
        incoming = Incoming(kind="message", chat=CHAT, user=CHAT, message=number, text=TEXT)
        accept = AcceptUpdate(bot=BOT, update=-number, incoming=incoming)
        _expect(UpdateAccepted, await self._shard.ask(accept))
        taken = _expect(TurnsTaken, await self._agent.ask(TakeTurn(chat=CHAT, bot=BOT, update=-number)))
        if (taken.turns, taken.stopped_by) != (1, "empty"):
            raise Unplayed(f"turn {number}: {taken}")


def _carrier(actor: Actor[Any], world: World) -> LocalTransport:
    return LocalTransport(actor, world.background, DEADLINE_S)


def _expect(kind: type[Reply], reply: Message) -> Reply:
    if not isinstance(reply, kind):
        raise Unplayed(f"{kind.__name__} expected, {reply!r} came")
    return reply
