"""What warming asks and reports, and what an actor tells of itself."""

from typing import Literal

from contracts.base import Message, Value

WarmStatus = Literal["warm", "partial", "cold"]
WarmSource = Literal["image", "query", "files", "none"]


class Warm(Message, frozen=True, kw_only=True, tag="warm"):
    """Load the slice; joins a pass that is under way unless `force` asks for a fresh one."""

    force: bool = False


class WarmReport(Message, frozen=True, kw_only=True, tag="warm.report"):
    """What one warming pass did, truthful to the entry.

    `warm`: all that was planned is loaded; `partial`: some of it; `cold`: nothing although something was
    planned. `store_reads` counts store calls, `documents` what they returned, `phases` milliseconds by name.
    """

    actor: str
    shard: int | None = None
    status: WarmStatus = "cold"
    source: WarmSource = "none"
    requested: int = 0
    loaded: int = 0
    failed: int = 0
    skipped: int = 0
    store_reads: int = 0
    documents: int = 0
    bytes: int = 0
    duration_ms: float = 0.0
    phases: dict[str, float] = {}
    errors: tuple[str, ...] = ()


class StoreUse(Value, frozen=True, kw_only=True):
    """Store calls, and the documents that they read or wrote."""

    calls: int = 0
    documents: int = 0


class FirstRequest(Value, frozen=True, kw_only=True):
    """What the first `ask` after the start cost: store read calls, their documents, milliseconds."""

    store_reads: int = 0
    documents: int = 0
    duration_ms: float = 0.0


class ActorStats(Message, frozen=True, kw_only=True, tag="stats"):
    """What an actor tells of itself; `started_at` is a Unix time in seconds, `bytes` what L1 holds.

    `degraded` is why it does not serve as it should, in one line, and `denied` that only an operator can help,
    because the store refuses us. `cold_start` is how its container became ready, in milliseconds by phase; empty
    where it has none of its own.
    """

    actor: str
    shard: int | None = None
    started_at: float = 0.0
    store_reads: StoreUse = StoreUse()
    store_writes: StoreUse = StoreUse()
    background_reads: StoreUse = StoreUse()
    background_writes: StoreUse = StoreUse()
    hits: int = 0
    misses: int = 0
    loads: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0
    degraded: str = ""
    denied: bool = False
    warm: WarmReport | None = None
    first_request: FirstRequest | None = None
    counters: dict[str, int] = {}
    cold_start: dict[str, float] = {}
