"""One warming pass at a time, within its deadline, told truthfully, and tried again while the store is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from actors.meter import Scope, metered
from actors.ports import Background, Chance, Clock, Unreachable
from actors.stores import StoreDenied, StoreError, StoreExhausted
from contracts.warming import WarmReport, WarmSource, WarmStatus

log = structlog.get_logger(__name__)

FIRST_RETRY_S = 1.0  # a store that blinked is back by then
LAST_RETRY_S = 60.0  # an outage of hours costs one pass a minute
REFUSED_S = 10.0  # the store refuses us: once it does not any more, nobody else may tell (see `refused`)
ERRORS_KEPT = 20  # a report stays readable, and far below a message's limit


class WarmFailed(Exception):
    """A part of the plan could not be loaded; `retry` says whether a later pass may load it."""

    def __init__(self, detail: str, *, retry: bool) -> None:
        super().__init__(detail)
        self.retry = retry


@dataclass(slots=True)
class Tally:
    """What a pass has done so far; the plan fills it in while it loads."""

    clock: Clock
    source: WarmSource = "none"
    requested: int = 0
    loaded: int = 0
    failed: int = 0
    skipped: int = 0
    bytes: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    retry: bool = False
    denied: bool = False
    exhausted: bool = False
    _harmless: int = 0
    _reason: str = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the pass, in milliseconds."""
        started = self.clock.monotonic_s()
        try:
            yield
        finally:
            self.phases[name] = round((self.clock.monotonic_s() - started) * 1000, 3)

    def refused(self, error: Exception) -> None:
        """Note that the store refuses us, or us for now, if that is what the error says."""
        self.denied = self.denied or (isinstance(error, StoreDenied) and error.shut_out)
        self.exhausted = self.exhausted or isinstance(error, StoreExhausted)

    def fail(self, error: str, *, entries: int = 1, retry: bool = False, degrades: bool = True) -> None:
        """Note that `entries` planned entries were not loaded, and why.

        One that does not `degrade` is no fault of ours, say a broken file of one author: told, no alarm.
        """
        self.failed += entries
        self._harmless += 0 if degrades else entries
        if degrades and not self._reason:
            self._reason = error[:300]
        self.retry = self.retry or retry
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(error[:300])

    def status(self) -> WarmStatus:
        """`warm` when all that was planned is loaded, also when there was nothing to load."""
        if not self.errors and self.loaded >= self.requested:
            return "warm"
        return "partial" if self.loaded else "cold"

    def degraded(self) -> str:
        """Why the slice is not whole, in one line; empty when it is, but for entries that do not degrade."""
        if self._reason or self.loaded + self._harmless >= self.requested:
            return self._reason
        return f"warmed {self.status()}"


Plan = Callable[[Tally], Awaitable[None]]


class Warmer:
    """Runs an actor's warming plan: single flight, deadline, report, retries in the background.

    `last` is the last pass's report, `degraded` in one line why its slice is not whole; empty when it is.
    `denied`: because the store refuses us, so that only an operator can help; then passes go on, as a probe.
    `on_granted` is called when a pass has asked the store and was not refused.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        actor: str,
        shard: int | None,
        clock: Clock,
        chance: Chance,
        background: Background,
        deadline_s: float,
    ) -> None:
        self._plan, self._actor, self._shard = plan, actor, shard
        self._clock, self._chance, self._background = clock, chance, background
        self._deadline_s = deadline_s
        self._running: asyncio.Task[WarmReport] | None = None
        self._waiting: asyncio.Task[WarmReport] | None = None
        self._retry_wanted = self._retrying = self._stopped = self._exhausted = False
        self._retry: asyncio.Task[object] | None = None
        self.last: WarmReport | None = None
        self.degraded, self.denied = "", False
        self.on_granted: Callable[[], None] = _unheard

    async def run(self, *, force: bool = False) -> WarmReport:
        """Give the report of the pass under way, or of a new one; with `force` always of one that begins later.

        However many ask, one pass runs and one waits: all that ask while it waits share it.
        """
        if self._running is None:
            self._running = self._begin(None)
        elif force:
            self._waiting = self._waiting or self._begin(self._running)
            return await asyncio.shield(self._waiting)
        return await asyncio.shield(self._running)

    def refused(self) -> None:
        """The store refused a request: pass again from time to time, for as long as it refuses.

        Who is not ready is sent no request, so that none would ever find out that the store is granted again.
        """
        self.denied = True
        self._see_to_it()

    async def stop(self) -> None:
        """Cancel what runs, and what would run later."""
        self._stopped = True
        ending = [task for task in (self._retry, self._running, self._waiting) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _begin(self, earlier: asyncio.Task[WarmReport] | None) -> asyncio.Task[WarmReport]:
        return asyncio.create_task(self._after(earlier), name=f"warm {self._actor}")

    async def _after(self, earlier: asyncio.Task[WarmReport] | None) -> WarmReport:
        if earlier is not None:
            await asyncio.gather(earlier, return_exceptions=True)
        try:
            return await self._pass()
        finally:
            self._running, self._waiting = (
                self._waiting,
                None,
            )  # at once, so that nobody begins another beside it

    async def _pass(self) -> WarmReport:
        tally = Tally(self._clock)
        started = self._clock.monotonic_s()
        with metered(background=True) as scope:
            await self._load(tally)
        self.last, self._retry_wanted = self._report(tally, scope, started), tally.retry or tally.denied
        self.degraded, self.denied, self._exhausted = tally.degraded(), tally.denied, tally.exhausted
        if scope.reads.calls and not tally.denied:
            self.on_granted()
        self._see_to_it()
        return self.last

    def _see_to_it(self) -> None:
        """Have further passes done beside the requests, if they are wanted."""
        if self._is_wanted() and not self._retrying:
            self._retrying = True
            self._background.spawn(f"warm again {self._actor}", self._again)

    def _is_wanted(self) -> bool:
        return (self._retry_wanted or self.denied) and not self._stopped

    async def _load(self, tally: Tally) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._plan(tally)
        except TimeoutError:
            self._failed(tally, f"deadline of {self._deadline_s:g} s passed", retry=True)
        except (StoreError, Unreachable, WarmFailed) as error:
            tally.refused(error)
            self._failed(tally, f"{type(error).__name__}: {error}", retry=getattr(error, "retry", True))
        except Exception as error:
            log.exception("warm_plan_defect", actor=self._actor)
            self._failed(tally, f"{type(error).__name__}: {error}", retry=False)

    def _failed(self, tally: Tally, error: str, *, retry: bool) -> None:
        missing = max(0, tally.requested - tally.loaded - tally.failed - tally.skipped)
        tally.fail(error, entries=missing, retry=retry)
        log.warning("cache_warming_failed", actor=self._actor, shard=self._shard, error=error)

    def _report(self, tally: Tally, scope: Scope, started: float) -> WarmReport:
        return WarmReport(
            actor=self._actor,
            shard=self._shard,
            status=tally.status(),
            source=tally.source,
            requested=tally.requested,
            loaded=tally.loaded,
            failed=tally.failed,
            skipped=tally.skipped,
            store_reads=scope.reads.calls,
            documents=scope.reads.documents,
            bytes=tally.bytes,
            duration_ms=round((self._clock.monotonic_s() - started) * 1000, 3),
            phases=dict(tally.phases),
            errors=tuple(tally.errors),
        )

    async def _again(self) -> None:
        """Run further passes for as long as one more can load what the last could not."""
        delay, self._retry = FIRST_RETRY_S, asyncio.current_task()
        try:
            while self._is_wanted():
                if self._exhausted:  # warming again is optional, and the quota is the turns'
                    delay = LAST_RETRY_S
                elif self.denied:
                    delay = REFUSED_S
                await self._clock.sleep(delay * self._chance.uniform(0.8, 1.2))
                if self._is_wanted():  # else a request was answered meanwhile
                    await self.run()
                delay = min(delay * 2, LAST_RETRY_S)
        finally:
            self._retrying, self._retry = False, None


def _unheard() -> None:
    pass
