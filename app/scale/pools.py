"""What is known of a deployed app's pools of containers, and how what is wished for differs from it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.scale.desired import KEYS, Desired, Wanted
from contracts.base import Value


class Deployment(Value, frozen=True, kw_only=True):
    """Which deployment of the app is live; 0 and "" where the other side does not say."""

    app_id: str = ""
    version: int = 0


class Pool(Value, frozen=True, kw_only=True):
    """One pool: a class, a shard of one, or the gateway. None is what the other side does not say."""

    name: str
    actor: str
    settings: Mapping[str, int | None] | None = None
    containers: int | None = None
    waiting: int | None = None


class Change(Value, frozen=True, kw_only=True):
    """A value that is not as wished for; `reset_by` is the version of the deploy that undid an earlier apply."""

    pool: str
    key: str
    now: int | None
    wanted: int
    reset_by: int = 0


class Applied(Value, frozen=True, kw_only=True):
    """What was applied last, and to which deployment."""

    deployment: Deployment = Deployment()
    settings: Mapping[str, Wanted] = {}


class PoolsRefused(Exception):
    """The pools can't be read or changed: one line."""


class Pools(Protocol):
    """The pools of one app; every method raises PoolsRefused."""

    async def deployment(self) -> Deployment:
        """Which deployment is live."""

    async def look(self) -> Sequence[Pool]:
        """All of them, as they are now."""

    async def change(self, pool: str, wanted: Wanted) -> None:
        """Override these values until the next deploy."""


def differing(
    desired: Desired, pools: Sequence[Pool], applied: Applied, live: Deployment
) -> tuple[Change, ...]:
    """Every value that is not as wished for. Where a pool does not tell, what was applied to it counts."""
    return tuple(
        change
        for pool in pools
        for key, wanted in desired.get(pool.actor, {}).items()
        if (change := _changed(pool, key, wanted, applied, live)) is not None
    )


def contradicting(desired: Desired, pools: Sequence[Pool]) -> str | None:
    """One line that names a pool whose minimum would be above its maximum, with what it keeps of its own."""
    for pool in pools:
        wanted = desired.get(pool.actor, {})
        least, most = ((dict(pool.settings or {}) | dict(wanted)).get(key) for key in KEYS[:2])
        if wanted and most and least is not None and least > most:
            return (
                f"{pool.name} can't have min_containers {least} above max_containers {most}: "
                f"set both under [{pool.actor}]"
            )
    return None


def same_deployment(applied: Applied, live: Deployment) -> bool:
    """Whether nothing was deployed since the apply, as far as the other side tells which deployment is live."""
    return live.version > 0 and applied.deployment == live


# ---------------------------------------------------------------- helpers


def _changed(pool: Pool, key: str, wanted: int, applied: Applied, live: Deployment) -> Change | None:
    was = applied.settings.get(pool.name, {}).get(key)
    now = _now(pool, key, was if same_deployment(applied, live) else None)
    if now == wanted:
        return None
    undone = was == wanted and not same_deployment(applied, live)
    return Change(pool=pool.name, key=key, now=now, wanted=wanted, reset_by=live.version if undone else 0)


def _now(pool: Pool, key: str, applied: int | None) -> int | None:
    if pool.settings is None:
        return applied
    value = pool.settings.get(key)
    return 0 if value is None and key in ("min_containers", "buffer_containers") else value


def settings_of(answer: Any) -> dict[str, int | None]:
    """The values by key, of whatever the client answers with."""
    return {key: getattr(answer, key) for key in KEYS}
