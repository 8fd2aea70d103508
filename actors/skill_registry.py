"""The SkillRegistryActor: every skill file parsed, and each skill's run statistics, warm in L1."""

import asyncio
import math
from dataclasses import dataclass

import msgspec
import structlog

from actors.actor import Actor
from actors.coherence import RESCAN_S
from actors.flight import SingleFlight
from actors.meter import Meter
from actors.ports import Background, Chance, Clock, ResourceUnavailable, SkillFile, SkillFiles, SkillScan
from actors.skill_library import SkillLibrary
from actors.skill_statistics import SkillStatistics
from actors.stores import SkillRun, SkillStatsStore
from actors.ticker import Ticker
from actors.warming import Tally, WarmFailed
from contracts.base import Message
from contracts.codec import read_skill_request
from contracts.faults import BadRequest, Busy, Fault, ResourceNotFound, SkillNotFound
from contracts.skills import (
    Catalog,
    CatalogNotModified,
    GetCatalog,
    GetResource,
    GetSkill,
    ReloadSkills,
    ReportRun,
    Resource,
    RunRecorded,
    SetAside,
    Skill,
    SkillRequest,
    SkillsReloaded,
    SkillStats,
)
from contracts.warming import ActorStats

log = structlog.get_logger(__name__)

MAX_RUN_CHARS = 200  # the bound of the port's SkillRun
ECHOED_CHARS = 200  # of a caller's words in a fault
NOT_LISTED = "the skill lists no such file"


@dataclass(frozen=True, slots=True)
class SkillRegistryOptions:
    """Deadlines in seconds; a skill is answered without statistics when they take longer than theirs."""

    warm_deadline_s: float = 5.0
    scan_deadline_s: float = 30.0
    stats_deadline_s: float = 1.0
    write_deadline_s: float = 10.0
    resource_deadline_s: float = 5.0


class SkillRegistryActor(Actor[SkillRequest]):
    """Owns the skills. Files are read into a library that is replaced whole; statistics are cached by name."""

    name = "SkillRegistryActor"
    reads = read_skill_request
    housekeeping = (ReloadSkills,)

    def __init__(
        self,
        *,
        files: SkillFiles,
        store: SkillStatsStore,
        meter: Meter,
        clock: Clock,
        chance: Chance,
        background: Background,
        options: SkillRegistryOptions | None = None,
    ) -> None:
        super().__init__(clock=clock, meter=meter)
        self._options = options or SkillRegistryOptions()
        self._files = files
        self._library: SkillLibrary | None = None
        self._scans: SingleFlight[str, SkillLibrary] = SingleFlight(max_running=1, name="skill-scan")
        self._statistics = SkillStatistics(
            store,
            clock=clock,
            background=background,
            failed=self.store_failed,
            read_deadline_s=self._options.stats_deadline_s,
            write_deadline_s=self._options.write_deadline_s,
        )
        self._rescans = Ticker("read the skills again", self._reload, RESCAN_S, clock, chance)
        self.warmer = self.warmer_of(
            self._plan,
            chance=chance,
            background=background,
            deadline_s=self._options.warm_deadline_s,
        )

    async def parse(self) -> SkillLibrary:
        """Give the parsed skills, reading the files if nobody did; asks no store, so a snapshot may hold them."""
        if self._library is not None:
            return self._library
        return await self._scans.join("scan", self._scan)

    async def answer(self, request: SkillRequest) -> Message:
        """Answer a request; raises StoreError for a run that may not have been counted."""
        match request:
            case GetCatalog(known=known):
                return await self._catalog(known)
            case GetSkill(name=name):
                return await self._skill(name)
            case GetResource(skill=skill, path=path):
                return await self._resource(skill, path)
            case ReloadSkills():
                return await self._reload()
            case ReportRun():
                return await self._record(request)

    def statistics(self) -> ActorStats:
        """What the actor tells of itself; a skill and its statistics are an entry each."""
        held = self._statistics.stats()
        library = self._library
        return msgspec.structs.replace(
            self.base_stats(),
            hits=held.hits,
            misses=held.misses + held.stale_hits,
            loads=held.loads,
            evictions=held.evictions,
            entries=held.entries + (len(library) if library else 0),
            bytes=held.bytes + (library.bytes if library else 0),
        )

    async def open(self) -> None:
        """Read the files again from time to time; see SKILL_STALE_S."""
        self._rescans.start()

    async def close(self) -> None:
        """Cancel the loads and the scan under way."""
        await self._rescans.stop()
        await self._statistics.close()
        await self._scans.close()

    # ------------------------------------------------------------ requests

    async def _catalog(self, known: str) -> Catalog | CatalogNotModified:
        catalog = (await self.parse()).catalog
        return CatalogNotModified(fingerprint=known) if known == catalog.fingerprint else catalog

    async def _skill(self, name: str) -> Skill | Fault:
        found = await self._find(name)
        if isinstance(found, Fault):
            return found
        catalog = (await self.parse()).catalog.fingerprint
        stats = await self._statistics.of(found.summary.name)
        return Skill(
            name=found.summary.name,
            description=found.summary.description,
            deployment=found.summary.deployment,
            body=found.body,
            memory=found.memory,
            error_history=found.error_history,
            resources=found.resources,
            stats=stats or SkillStats(),
            stats_known=stats is not None,
            fingerprint=found.digest,
            catalog=catalog,
        )

    async def _resource(self, name: str, path: str) -> Resource | Fault:
        """Give a file that the skill lists: whatever else lies in its folder is not for those who chat."""
        found = await self._find(name)
        if isinstance(found, Fault):
            return found
        skill = found.summary.name
        if path not in found.resources:
            return ResourceNotFound(skill=skill, path=path[:ECHOED_CHARS], detail=NOT_LISTED)
        try:
            async with asyncio.timeout(self._options.resource_deadline_s):  # a network volume can hang
                content = await self._files.read_resource(found.summary.path, path)
        except ResourceUnavailable as unavailable:
            return ResourceNotFound(skill=skill, path=path[:ECHOED_CHARS], detail=str(unavailable))
        except TimeoutError:
            return Busy(detail=f"the file was not read within {self._options.resource_deadline_s:g} s")
        return Resource(skill=skill, path=path, content=content, fingerprint=found.digest)

    async def _record(self, report: ReportRun) -> RunRecorded | Fault:
        if not 0 <= report.duration_ms < math.inf:  # false for NaN, too
            return BadRequest(detail="duration_ms must be a finite number, at least 0")
        if not 0 < len(report.run) <= MAX_RUN_CHARS:
            return BadRequest(detail=f"run must have 1 to {MAX_RUN_CHARS} characters")
        found = await self._find(report.skill)
        if isinstance(found, Fault):
            return found
        skill = found.summary.name
        await self._statistics.record(
            SkillRun(skill=skill, run=report.run, succeeded=report.succeeded, duration_ms=report.duration_ms)
        )
        return RunRecorded(skill=skill)

    async def _find(self, name: str) -> SkillFile | Fault:
        """Give the skill, or the fault that answers for it: files that were not read are never taken for absent."""
        library = await self.parse()
        skill = library.find(name)
        if skill is not None:
            return skill
        if library.unread:
            return Fault(detail=f"no skill could be read: {library.unread}", retry=True)
        echoed = name[:ECHOED_CHARS]
        return SkillNotFound(name=echoed, suggestions=library.suggest(name), detail="no skill of that name")

    async def _reload(self) -> SkillsReloaded | Fault:
        """Scan beside the answers of the old library; a scan that could read nothing replaces nothing."""
        before = await self.parse()
        if scan := self._scans.running("scan"):  # it may have passed what the caller has just changed
            await asyncio.wait((scan,))
        after = await self._scans.join("scan", self._scan)
        if after.unread:
            return Fault(detail=f"skills not reloaded: {after.unread}", retry=True)
        return before.changes_to(after)

    # ------------------------------------------------------------ files

    async def _scan(self) -> SkillLibrary:
        """Read the files, and let the answers have them at once."""
        library = SkillLibrary(await self._read_files())
        known = self._library.catalog.set_aside if self._library is not None else ()
        if self._library is None or self._library.unread or not library.unread:
            self._library = library
        for aside in library.catalog.set_aside:
            if aside not in known:  # told once, not with each scan
                log.warning("skill_warm_failed", skill=aside.file, error=aside.reason)
        return library

    async def _read_files(self) -> SkillScan:
        try:
            async with asyncio.timeout(self._options.scan_deadline_s):
                return await self._files.scan()
        except TimeoutError:
            late = f"the skills folder was not read within {self._options.scan_deadline_s:g} s"
            return SkillScan(set_aside=(SetAside(file=".", reason=late),))

    # ------------------------------------------------------------ warming

    async def _plan(self, tally: Tally) -> None:
        """Parse what is not parsed yet, and read all statistics in one wave; an entry is a skill with both."""
        tally.source = "files"
        with tally.phase("files"):
            library = await self._readable()
        aside = library.catalog.set_aside
        tally.requested, tally.bytes = len(library) + len(aside), library.bytes
        for file in aside:
            tally.fail(f"{file.file}: {file.reason}", degrades=False)
        log.info("cache_warming_skills", count=len(library))
        if library.names:
            with tally.phase("statistics"):
                await self._statistics.warm(library.names, tally)
        log.info("cache_warming_complete", actor=self.name, cached=tally.loaded)

    async def _readable(self) -> SkillLibrary:
        earlier = self._library
        library = await self.parse()
        if library is earlier and library.unread:  # a volume that came late: read again at the retries' pace
            library = await self._scans.join("scan", self._scan)
        if library.unread:
            raise WarmFailed(library.unread, retry=True)
        return library
