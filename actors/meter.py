"""Counts store calls, and tells those that requests caused from those of the background."""

from contextvars import ContextVar, Token
from dataclasses import dataclass, field

from contracts.warming import StoreUse


@dataclass(slots=True)
class Count:
    """Calls and documents, growing."""

    calls: int = 0
    documents: int = 0

    def add(self, documents: int) -> None:
        """One more call."""
        self.calls += 1
        self.documents += documents

    def use(self) -> StoreUse:
        """The count as a message's value."""
        return StoreUse(calls=self.calls, documents=self.documents)


@dataclass(slots=True)
class Scope:
    """What one request, or one piece of background work, cost."""

    background: bool
    reads: Count = field(default_factory=Count)
    writes: Count = field(default_factory=Count)


_scope: ContextVar[Scope | None] = ContextVar("firstlight_scope", default=None)


class Metering:
    """Entered with `with`, as `metered` says; no generator, because every request enters one."""

    __slots__ = ("_token", "scope")
    _token: Token[Scope | None]

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __enter__(self) -> Scope:
        self._token = _scope.set(self.scope)
        return self.scope

    def __exit__(self, *_error: object) -> None:
        _scope.reset(self._token)


def metered(*, background: bool) -> Metering:
    """Attribute the store calls made inside, and in tasks started inside, to a new scope."""
    return Metering(Scope(background=background))


class Meter:
    """One actor's counts; the port `StoreMeter` for its store."""

    def __init__(self) -> None:
        self.request_reads = Count()
        self.request_writes = Count()
        self.background_reads = Count()
        self.background_writes = Count()

    def read(self, documents: int) -> None:
        """One read call that gave `documents` documents."""
        scope = _scope.get()
        counts = self.background_reads if scope is None or scope.background else self.request_reads
        counts.add(documents)
        if scope is not None:
            scope.reads.add(documents)

    def write(self, documents: int) -> None:
        """One write call that touched `documents` documents."""
        scope = _scope.get()
        counts = self.background_writes if scope is None or scope.background else self.request_writes
        counts.add(documents)
        if scope is not None:
            scope.writes.add(documents)
