"""Takes up turns that nobody works on: their owner died, or the call that should have started them got lost."""

import asyncio
from typing import Final

import structlog

from actors.ports import Clock, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef
from app.fleet import Fleet
from contracts.sessions import SweepTurns, TurnsStranded

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0  # a lease ends after 15 s, and a dead owner's turn goes on within 30 s


async def sweep(fleet: Fleet) -> int:
    """Hand every chat with a stranded turn to the agents; gives how many. Raises nothing: the next sweep comes soon."""
    swept = await asyncio.gather(*(_sweep_shard(shard, fleet.agent) for shard in fleet.sessions.shards))
    if any(swept):
        log.info("turns_swept", chats=sum(swept))
    return sum(swept)


async def sweep_forever(fleet: Fleet, clock: Clock) -> None:
    """Sweep again and again."""
    while True:
        await sweep(fleet)
        await clock.sleep(EVERY_S)


async def _sweep_shard(shard: SessionShardRef, agent: ChatAgentRef) -> int:
    """Sweep one shard; one that does not answer keeps no other from being swept."""
    handed = 0
    try:
        for chat in await _stranded(shard):
            await agent.take_turn(chat)
            handed += 1
    except Unreachable as away:
        log.warning("sweep_failed", error=str(away))
    return handed


async def _stranded(shard: SessionShardRef) -> tuple[int, ...]:
    reply = await shard.ask(SweepTurns())
    if isinstance(reply, TurnsStranded):
        return reply.chats
    log.warning("sweep_failed", error=repr(reply))
    return ()
