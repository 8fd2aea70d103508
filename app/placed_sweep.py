"""What the schedule on Modal consists of: one look into the store, and a sweep of the shards that have work."""

import asyncio
from typing import Final

import structlog

from actors.meter import Meter
from app.placed import begin, told_in_one_line
from app.store.database import choose
from app.sweeper import sweep_open
from app.transport.remote import RemoteFleet
from app.wiring import open_store

log = structlog.get_logger(__name__)

SWEEP_S: Final = 45.0  # below the function's own timeout


async def sweep_once(fleet: RemoteFleet) -> int:
    """Take up stranded turns, and say how many; what is not done in time is done the next time.

    The store's client lives as long as the sweep: between two of them this container's loop stands still.
    """
    with told_in_one_line():
        database = choose(begin(serves=False))
    try:
        async with asyncio.timeout(SWEEP_S):
            await open_store(database)
            return await sweep_open(fleet, database.sessions(Meter()))
    except TimeoutError:
        log.warning("sweep_failed", error=f"not done within {SWEEP_S:g} s")
        return 0
    finally:
        await database.close()
