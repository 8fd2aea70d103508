"""Run statistics of skills: cached for minutes, loaded once for all who wait, never a failure taken for zero."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from actors.cache import Cache
from actors.cache_values import CacheStats, Versioned
from actors.flight import FlightError
from actors.meter import metered
from actors.ports import Background, Clock
from actors.stores import SkillRun, SkillStatsStore, StatsBatch, StoreDown, StoreError
from actors.warming import Tally
from contracts.skills import SkillStats

log = structlog.get_logger(__name__)

TTL_S: Final = 300.0  # other registries count as well: people who look at the numbers see them minutes old
STALE_S: Final = 3600.0  # stale-if-error: older numbers say less about a skill than none
STATS_BYTES: Final = 160  # a SkillStats with its numbers
L1_BYTES: Final = 16 << 20  # room for the 10,000 skills that a scan may give
VERSION: Final = 0  # statistics have no version: a changed document is dropped, and read again


class StatisticsUnreadable(StoreError):
    """The skill's document is there and is no statistics; only an operator can change that."""


class SkillStatistics:
    """The statistics by declared name. Deadlines in seconds: reading ends early, as a skill is useful without."""

    def __init__(
        self,
        store: SkillStatsStore,
        *,
        clock: Clock,
        background: Background,
        failed: Callable[[StoreError], None],
        read_deadline_s: float,
        write_deadline_s: float,
    ) -> None:
        self._store, self._background, self._failed = store, background, failed
        self._read_deadline_s, self._write_deadline_s = read_deadline_s, write_deadline_s
        self._cache: Cache[str, SkillStats] = Cache(
            max_bytes=L1_BYTES,
            ttl_s=TTL_S,
            stale_s=STALE_S,
            weigh=lambda _: STATS_BYTES,
            clock=clock,
            name="skill-stats",
        )
        self._moved: set[str] | None = None  # names read or counted while a warm wave is under way

    async def of(self, name: str) -> SkillStats | None:
        """Give fresh statistics, else what the store says, else stale ones, else None: not known."""
        held = self._cache.get(name)
        if held is not None and not self._cache.is_due(name):
            return held.value  # fresh, or stale a moment after the store has failed
        try:
            async with asyncio.timeout(self._read_deadline_s):
                return (await self._cache.load(name, self._from_store)).value
        except (StoreError, FlightError, TimeoutError) as error:
            if isinstance(error, StoreError):
                self._failed(error)
            log.warning("skill_stats_unknown", skill=name, error=f"{type(error).__name__}: {error}")
            return held.value if held is not None else None

    async def record(self, run: SkillRun) -> None:
        """Count a run; raises StoreError. What is cached is dropped in any case: the write may have happened."""
        try:
            async with asyncio.timeout(self._write_deadline_s):
                await self._store.record_run(run)
        except TimeoutError:
            raise StoreDown(f"the run was not counted within {self._write_deadline_s:g} s") from None
        finally:
            self._note(run.skill)
            self._cache.remove(run.skill)
        self._background.spawn("read skill statistics again", lambda: self._renew(run.skill))

    async def warm(self, names: Sequence[str], tally: Tally) -> None:
        """Read all in one wave; raises StoreError. An unreadable document fails its skill alone."""
        moved = self._moved = set()
        try:
            batch = await self._store.read_stats(names)
        finally:
            self._moved = None
        poison = {aside.file.removeprefix("skills/"): aside.reason for aside in batch.set_aside}
        for skill, reason in poison.items():
            tally.fail(f"{skill}: {reason}")
            log.warning("skill_warm_failed", skill=skill, error=reason)
        known = _known(names, batch, poison)
        seeded = self._cache.seed((name, known[name], VERSION) for name in known if name not in moved)
        tally.loaded += len(known) - seeded.no_room
        tally.skipped += seeded.no_room + max(0, len(names) - len(known) - len(poison))

    def stats(self) -> CacheStats:
        """What the cache tells of itself."""
        return self._cache.stats()

    async def close(self) -> None:
        """Cancel the loads under way."""
        await self._cache.close()

    async def _renew(self, name: str) -> None:
        """Read what was just counted, so that the skill's next answer does not wait for it."""
        with metered(background=True):
            await self._cache.load(name, self._from_store)

    def _note(self, name: str) -> None:
        """Keep a warm wave from putting what it read before over what is known now."""
        if self._moved is not None:
            self._moved.add(name)

    async def _from_store(self, name: str) -> Versioned[SkillStats]:
        batch = await self._store.read_stats((name,))
        if batch.set_aside:
            raise StatisticsUnreadable(batch.set_aside[0].reason)
        self._note(name)
        return Versioned(value=batch.stats.get(name, SkillStats()), version=VERSION)


def _known(names: Sequence[str], batch: StatsBatch, poison: dict[str, str]) -> dict[str, SkillStats]:
    """A name without a document has never run; if it can't be told whose a bad document is, nobody's is absent."""
    never = SkillStats()
    if poison.keys() <= set(names):
        return {name: batch.stats.get(name, never) for name in names if name not in poison}
    return {name: batch.stats[name] for name in names if name in batch.stats}
