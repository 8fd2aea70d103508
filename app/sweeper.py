"""Takes up turns that nobody works on: their owner died, or the call that should have started them got lost."""

from typing import Final

import structlog

from actors.ports import Clock, Unreachable
from actors.refs import SessionShardRef
from app.fleet import Fleet
from contracts.sessions import SweepTurns, TurnsStranded

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0  # a lease ends after 15 s, and a dead owner's turn goes on within 30 s


async def sweep(fleet: Fleet) -> int:
    """Hand every chat with a stranded turn to the agents; gives how many there were."""
    total = 0
    for shard in fleet.sessions.shards:
        chats = await _stranded(shard)
        for chat in chats:
            await fleet.agent.take_turn(chat)
        total += len(chats)
    if total:
        log.info("turns_swept", chats=total)
    return total


async def sweep_forever(fleet: Fleet, clock: Clock) -> None:
    """Sweep again and again; a shard that does not answer is swept the next time."""
    while True:
        try:
            await sweep(fleet)
        except Unreachable as away:
            log.warning("sweep_failed", error=str(away))
        await clock.sleep(EVERY_S)


async def _stranded(shard: SessionShardRef) -> tuple[int, ...]:
    reply = await shard.ask(SweepTurns())
    if isinstance(reply, TurnsStranded):
        return reply.chats
    log.warning("sweep_failed", error=repr(reply))
    return ()
