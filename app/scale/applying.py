"""Brings the pools to what the file asks for, and remembers it."""

from collections.abc import Sequence
from pathlib import Path

from app.scale.desired import Desired, Wanted
from app.scale.pools import (
    Applied,
    Change,
    Pool,
    Pools,
    PoolsRefused,
    contradicting,
    differing,
    same_deployment,
)
from app.scale.record import read_applied, write_applied
from app.targets.note import FOLDER
from app.targets.place import Place


async def apply(pools: Pools, desired: Desired, place: Place, folder: Path = FOLDER) -> tuple[Change, ...]:
    """Change what differs, and nothing else; gives what was changed. Raises PoolsRefused, OSError."""
    if not desired:
        return ()
    live, applied = await pools.deployment(), read_applied(place, folder)
    found = await pools.look()
    if wrong := contradicting(desired, found):
        raise PoolsRefused(wrong)
    changes = differing(desired, found, applied, live)
    for pool, wanted in _by_pool(changes).items():
        await pools.change(pool, wanted)
    earlier = applied.settings if same_deployment(applied, live) else {}
    settings = {**earlier, **_all_wanted(desired, found)}
    write_applied(place, Applied(deployment=live, settings=settings), folder)
    return changes


# ---------------------------------------------------------------- helpers


def _by_pool(changes: Sequence[Change]) -> dict[str, Wanted]:
    pools = dict.fromkeys(change.pool for change in changes)
    return {pool: {each.key: each.wanted for each in changes if each.pool == pool} for pool in pools}


def _all_wanted(desired: Desired, pools: Sequence[Pool]) -> dict[str, Wanted]:
    return {pool.name: desired[pool.actor] for pool in pools if pool.actor in desired}
