"""Takes up turns that nobody works on: their owner died, or the call that should have started them got lost."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Final

import structlog

from actors.mailbox import LEASE_S
from actors.ports import Clock, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef
from actors.stores import LeaseRecord, SessionStore, StoreError
from app.fleet import Fleet
from contracts.sessions import SweepTurns, TurnsStranded

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0  # a lease ends after 15 s, and a dead owner's turn goes on within 30 s
LOOKED_AT: Final = (
    100  # open updates: where there are as many, every shard is asked, and strays are looked for
)
STRAYS_EVERY: Final = 12  # sweeps in one process, a minute: its number of shards changes with a restart only
STRAYS: Final = 1_000  # updates in one sweep: once answered they make room for the rest, and no new ones come
CHATS_AT_ONCE: Final = 200  # what the port's `read_chats` takes in one wave


async def sweep(fleet: Fleet) -> int:
    """Hand every chat with a stranded turn to the agents; gives how many. Raises nothing: the next sweep comes soon."""
    return await _sweep(fleet, range(len(fleet.sessions.shards)))


async def sweep_open(fleet: Fleet, store: SessionStore) -> int:
    """The same, and only the shards that have something open are asked: no other container is woken or kept awake.

    Updates of shards that there are no more, since FIRSTLIGHT_SHARDS was lowered, are handed over as well: the
    agents ask for a turn by its chat, whose shard is now another one. They are asked for by themselves where what
    was looked at holds one or is not all there is: others that wait never hide them. A store that does not tell
    leaves every shard to be asked. Raises nothing.
    """
    count = len(fleet.sessions.shards)
    try:
        found = await store.open_shards(LOOKED_AT)
        shards = set(found) if len(found) < LOOKED_AT else set(range(count))
        may_stray = len(found) >= LOOKED_AT or max(found, default=0) >= count
        strays = await _strays(store, count) if may_stray else ()
    except StoreError as error:
        log.warning("sweep_failed", error=str(error))
        return await sweep(fleet)
    return await _sweep(fleet, sorted(shards & set(range(count))), strays)


async def sweep_forever(fleet: Fleet, clock: Clock, store: SessionStore | None = None) -> None:
    """Sweep again and again; with a store, also what belongs to shards that there are no more."""
    for number in itertools.count():
        await sweep(fleet)
        if store is not None and number % STRAYS_EVERY == 0:
            await _sweep_strays(fleet, store)
        await clock.sleep(EVERY_S)


# ---------------------------------------------------------------- helpers


async def _sweep(fleet: Fleet, shards: Iterable[int], strays: Iterable[int] = ()) -> int:
    asked = (_sweep_shard(fleet.sessions.shards[shard], fleet.agent) for shard in shards)
    swept = sum(await asyncio.gather(*asked, _handed(strays, fleet.agent)))
    if swept:
        log.info("turns_swept", chats=swept)
    return swept


async def _sweep_shard(shard: SessionShardRef, agent: ChatAgentRef) -> int:
    """Sweep one shard; one that does not answer keeps no other from being swept."""
    try:
        chats = await _stranded(shard)
    except Unreachable as away:  # an alarm: for as long as this goes on, the shard accepts nothing (D7)
        log.error("sweep_failed", shard=shard.name, error=str(away))
        return 0
    return await _handed(chats, agent)


async def _handed(chats: Iterable[int], agent: ChatAgentRef) -> int:
    handed = 0
    try:
        for chat in chats:
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


async def _sweep_strays(fleet: Fleet, store: SessionStore) -> int:
    try:
        strays = await _strays(store, len(fleet.sessions.shards))
    except StoreError as error:
        log.warning("sweep_failed", error=str(error))
        return 0
    return await _sweep(fleet, (), strays)


async def _strays(store: SessionStore, shards: int) -> tuple[int, ...]:
    """The chats of shards from that one on whose turns nobody works on, by the stored leases; raises StoreError."""
    chats = tuple(dict.fromkeys(await store.stray_chats(shards, STRAYS)))
    leases: dict[int, LeaseRecord | None] = {}
    for start in range(0, len(chats), CHATS_AT_ONCE):
        states = await store.read_chats(chats[start : start + CHATS_AT_ONCE])
        leases |= {chat: state.lease for chat, state in states.items()}
    return tuple(chat for chat, lease in leases.items() if lease is None or lease.age_s > LEASE_S)
