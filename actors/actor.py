"""What every actor is: one message method, a warm method, statistics, a start and a stop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, TypeVar

import structlog

from actors.meter import Meter, Scope, metered
from actors.ports import Background, Chance, Clock
from actors.stores import StoreDenied, StoreError, VersionConflict
from actors.warming import Plan, Warmer
from contracts.base import Message
from contracts.codec import Decoder, UnreadableFrame, encode, read_warm
from contracts.faults import Internal, StoreRefused, StoreUnavailable
from contracts.warming import ActorStats, FirstRequest, Warm

log = structlog.get_logger(__name__)

Request = TypeVar("Request", bound=Message)


class Actor(ABC, Generic[Request]):
    """Decodes, answers and counts; a subclass says what each message means.

    Subclasses set `warmer` and may be asked before their first warm has ended: they load on demand.
    Who places an actor may set `on_first`, which hears how many milliseconds the first request took, and
    `cold_start`, how many each phase of its container's start took.
    """

    name: ClassVar[str]
    reads: Decoder[Request]
    housekeeping: ClassVar[tuple[type[Message], ...]] = ()

    def __init__(self, *, clock: Clock, meter: Meter, shard: int | None = None) -> None:
        self.clock, self.meter, self.shard = clock, meter, shard
        self._started_at = 0.0
        self._first: FirstRequest | None = None
        self._trouble, self._denied, self._failures = "", False, 0
        self.counters: dict[str, int] = {}
        self.on_first: Callable[[float], None] = _unheard
        self.cold_start: Mapping[str, float] = {}

    warmer: Warmer

    # ------------------------------------------------------------ the five methods

    async def start(self) -> None:
        """Open what is needed and warm within the deadline; idempotent, never raises for a store's failure."""
        if self._started_at:
            return
        self._started_at = self.clock.unix_s()
        await self.open()
        await self.warmer.run()
        log.info("cache_warming_done", actor=self.name, shard=self.shard)

    async def stop(self) -> None:
        """Finish or hand back what runs, and close; idempotent."""
        await self.warmer.stop()
        await self.close()

    async def ask(self, frame: bytes) -> bytes:
        """Answer one message of the actor's union; errors are answers."""
        try:
            request = self.reads(frame)
        except UnreadableFrame as unreadable:
            self.count("unreadable")
            return encode(unreadable.fault)
        started, failures = self.clock.monotonic_s(), self._failures
        with metered(background=isinstance(request, self.housekeeping)) as scope:
            reply = await self._answer(request)
        if scope.reads.calls + scope.writes.calls and self._failures == failures:
            self._trouble, self._denied, self.warmer.denied = "", False, False
        if self._first is None and not scope.background:
            self._first = self._cost(scope, started)
            self.on_first(self._first.duration_ms)
        return encode(reply)

    async def warm(self, frame: bytes = b"") -> bytes:
        """Load the slice and give the WarmReport; an empty frame asks for `Warm()`."""
        try:
            request = read_warm(frame) if frame else Warm()
        except UnreadableFrame as unreadable:
            return encode(unreadable.fault)
        return encode(await self.warmer.run(force=request.force))

    async def stats(self) -> bytes:
        """Give the ActorStats."""
        return encode(self.statistics())

    # ------------------------------------------------------------ what a subclass says

    @abstractmethod
    async def answer(self, request: Request) -> Message:
        """Answer a request; may raise StoreError."""

    @abstractmethod
    def statistics(self) -> ActorStats:
        """The actor's statistics: `base_stats` with the cache's counters."""

    async def open(self) -> None:
        """Open connections; must not raise for a store that is away."""

    async def close(self) -> None:
        """Close what `open` opened."""

    # ------------------------------------------------------------ for subclasses

    def count(self, what: str, by: int = 1) -> None:
        """Add to a counter; `what` is from a fixed vocabulary, never from input."""
        self.counters[what] = self.counters.get(what, 0) + by

    def warmer_of(self, plan: Plan, *, chance: Chance, background: Background, deadline_s: float) -> Warmer:
        """The actor's `warmer`, by its plan."""
        warmer = Warmer(
            plan,
            actor=self.name,
            shard=self.shard,
            clock=self.clock,
            chance=chance,
            background=background,
            deadline_s=deadline_s,
        )
        warmer.on_granted = self._granted
        return warmer

    def store_failed(self, error: StoreError) -> None:
        """Note that the store did not answer a request: the actor is degraded until it answers one again."""
        self._failures += 1
        self._trouble = f"{type(error).__name__}: {error}"[:300]
        self._denied = isinstance(error, StoreDenied) and error.shut_out
        if self._denied:
            self.warmer.refused()

    def fault_of(self, error: StoreError) -> StoreRefused | StoreUnavailable:
        """What to answer to a request that the store has failed; noted and logged."""
        if isinstance(error, StoreDenied):
            self.store_failed(error)
            log.error("store_denied", actor=self.name, error=str(error))
            return StoreRefused(detail=str(error))
        if not isinstance(error, VersionConflict):  # the store answered: somebody else was faster
            self.store_failed(error)
        log.warning("store_down", actor=self.name, error=str(error))
        return StoreUnavailable(detail=str(error))

    def base_stats(self) -> ActorStats:
        """The statistics that all actors share; use `msgspec.structs.replace` to add a cache's."""
        return ActorStats(
            actor=self.name,
            shard=self.shard,
            started_at=self._started_at,
            store_reads=self.meter.request_reads.use(),
            store_writes=self.meter.request_writes.use(),
            background_reads=self.meter.background_reads.use(),
            background_writes=self.meter.background_writes.use(),
            degraded=self._trouble or self.warmer.degraded,
            denied=self._denied if self._trouble else self.warmer.denied,
            warm=self.warmer.last,
            first_request=self._first,
            counters=dict(self.counters),
            cold_start=dict(self.cold_start),
        )

    # ------------------------------------------------------------ helpers

    def _granted(self) -> None:
        """A warming pass was answered by a store that had refused a request."""
        if self._denied:
            self._trouble, self._denied = "", False

    async def _answer(self, request: Request) -> Message:
        try:
            return await self.answer(request)
        except StoreError as error:
            return self.fault_of(error)
        except Exception as defect:
            log.exception("actor_defect", actor=self.name, request=type(request).__name__)
            return Internal(detail=f"{type(defect).__name__} in {type(request).__name__}")

    def _cost(self, scope: Scope, started: float) -> FirstRequest:
        return FirstRequest(
            store_reads=scope.reads.calls,
            documents=scope.reads.documents,
            duration_ms=round((self.clock.monotonic_s() - started) * 1000, 3),
        )


def _unheard(_duration_ms: float) -> None:
    pass
