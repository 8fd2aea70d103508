"""Looks through a live store for updates without an end, and for ends that an operator should know of."""

import time
from typing import Final

from actors.mailbox import LEASE_S
from actors.meter import Meter
from actors.ports import SessionStore, UpdateRecord
from app.store.database import Database
from contracts.base import Value

LOOKED_AT: Final = 10_000  # records of each kind: enough to see that something is wrong, and bounded
RUNNING_S: Final = 30.0  # a younger turn may still be running, or a dead owner's still be taken up


class Findings(Value, frozen=True, kw_only=True):
    """Update ids. `lost`: no end and no owner; `stuck`: an owner took it and stopped; `unknown`, `dead`: ended so.

    `ok` says that nothing is lost or stuck: an unknown or dead end is an end, with its reason in the store.
    """

    ok: bool
    lost: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()


async def examine(database: Database) -> Findings:
    """Examine the store; raises StoreError."""
    store = database.sessions(Meter())
    try:
        return await _examine(store)
    finally:
        await store.close()


async def _examine(store: SessionStore) -> Findings:
    waiting = await store.find_updates(("accepted", "committed"), LOOKED_AT)
    ended = await store.find_updates(("unknown", "dead_lettered"), LOOKED_AT)
    stuck = [record for record in waiting if await _left_alone(store, record)]
    lost = [record for record in stuck if record.state == "accepted"]
    held = [record for record in stuck if record.state == "committed"]
    return Findings(
        ok=not stuck,
        lost=_ids(lost),
        stuck=_ids(held),
        unknown=_ids([record for record in ended if record.state == "unknown"]),
        dead=_ids([record for record in ended if record.state == "dead_lettered"]),
    )


async def _left_alone(store: SessionStore, record: UpdateRecord) -> bool:
    if time.time() - record.accepted_at < RUNNING_S:
        return False
    lease = (await store.read_chat(record.chat)).lease
    return lease is None or lease.age_s > LEASE_S


def _ids(records: list[UpdateRecord]) -> tuple[int, ...]:
    return tuple(record.update for record in records)
