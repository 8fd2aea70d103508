"""Takes up turns that nobody works on: their owner died, or the call that should have started them got lost."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import structlog

from actors.mailbox import LEASE_S
from actors.ports import Clock, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef
from actors.stores import LeaseRecord, SessionStore, StoreError, Stray
from app.fleet import Fleet
from contracts.sessions import SweepTurns, TurnsStranded

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0  # a lease ends after 15 s, and a dead owner's turn goes on within 30 s
LOOKED_AT: Final = (
    100  # open updates: where there are as many, every shard is asked, and strays are looked for
)
STRAYS_EVERY: Final = 12  # sweeps in one process, a minute: its number of shards changes with a restart only
STRAYS: Final = (
    1_000  # updates looked at together, and chats in one sweep: once answered they make room for the rest
)
STRAY_PAGES: Final = (
    10  # behind so many that wait or are worked on a later sweep looks: a sweep has 45 s on Modal
)
CHATS_AT_ONCE: Final = 200  # what the port's `read_chats` takes in one wave


class Stranded(NamedTuple):
    """A turn that nobody works on, as in TakeTurn: whether it ended meanwhile is known by its id without a look."""

    chat: int
    bot: int = 0
    update: int = 0


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
    swept = sum(await asyncio.gather(*asked, _handed(map(Stranded, strays), fleet.agent)))
    if swept:
        log.info("turns_swept", chats=swept)
    return swept


async def _sweep_shard(shard: SessionShardRef, agent: ChatAgentRef) -> int:
    """Sweep one shard; one that does not answer keeps no other from being swept."""
    try:
        stranded = await _stranded(shard)
    except Unreachable as away:  # an alarm: for as long as this goes on, the shard accepts nothing
        log.error("sweep_failed", shard=shard.name, error=str(away))
        return 0
    return await _handed(stranded, agent)


async def _handed(stranded: Iterable[Stranded], agent: ChatAgentRef) -> int:
    handed = 0
    try:
        for chat, bot, update in stranded:
            await agent.take_turn(chat, bot, update)
            handed += 1
    except Unreachable as away:
        log.warning("sweep_failed", error=str(away))
    return handed


async def _stranded(shard: SessionShardRef) -> tuple[Stranded, ...]:
    reply = await shard.ask(SweepTurns())
    if isinstance(reply, TurnsStranded):  # one of before names no turns
        named = itertools.chain(reply.updates, itertools.repeat((0, 0)))
        return tuple(Stranded(chat, *turn) for chat, turn in zip(reply.chats, named, strict=False))
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
    """The chats of shards from that one on whose turns nobody works on, by the stored leases; raises StoreError.

    It goes on behind those who are worked on or wait, so that they hide no others.
    """
    stranded: dict[int, None] = {}
    after: Stray | None = None
    for _ in range(STRAY_PAGES):
        page = await store.strays(shards, STRAYS, after)
        stranded |= dict.fromkeys(await _unattended(store, tuple(dict.fromkeys(each.chat for each in page))))
        # A page may come short although it is not the last, as updates that can't be read are left out of it.
        if len(page) <= STRAYS // 2 or len(stranded) >= STRAYS:
            break
        after = page[-1]
    return tuple(stranded)


async def _unattended(store: SessionStore, chats: Sequence[int]) -> list[int]:
    leases: dict[int, LeaseRecord | None] = {}
    for start in range(0, len(chats), CHATS_AT_ONCE):
        states = await store.read_chats(chats[start : start + CHATS_AT_ONCE])
        leases |= {chat: state.lease for chat, state in states.items()}
    return [chat for chat, lease in leases.items() if lease is None or not _holds(lease)]


def _holds(lease: LeaseRecord) -> bool:
    """Whether somebody works under it, or its chat has still to wait; of a turn that was handed back it is nobody's."""
    return lease.wait_s > 0 or (bool(lease.owner) and lease.age_s <= LEASE_S)
