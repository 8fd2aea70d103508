"""How long a container took from its process's start to its first answer, phase by phase, told in one log event."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from contracts.warming import WarmReport

log = structlog.get_logger(__name__)

TELL_AFTER_S: Final = 60.0  # a container that nobody asks tells without its first answer
_STAT: Final = Path("/proc/self/stat")


class Budget(NamedTuple):
    """What a phase may take: round trips, one after another, and milliseconds at 20 ms a round trip."""

    trips: int
    ms: float
    reason: str


_IMPORTS: Final = Budget(
    0, 1500.0, "half a core reads bytecode at a third of a laptop's pace; in a snapshot, once"
)
_HEAVY: Final = Budget(0, 4000.0, "a model's SDK alone is 1.1 s on a whole core; in a snapshot, once")
_SKILLS: Final = Budget(0, 2000.0, "102 skill files of a network volume; in a snapshot, once")
_REHEARSAL: Final = Budget(0, 200.0, "some turns of milliseconds, for nobody; in a snapshot, once")
_CLIENTS: Final = Budget(0, 100.0, "clients are made without a word to anybody")
WITHOUT_IMAGE: Final = Budget(2, 400.0, "its recent sessions follow, of a shard that never ended yet")
_GOOGLE: Final = "clients are made without a word to anybody, but for Google's metadata server"

BUDGETS: Final[Mapping[str, Mapping[str, Budget]]] = {
    "SkillRegistryActor": {
        "imports": _IMPORTS,
        "skills": _SKILLS,
        "rehearsal": _REHEARSAL,
        "clients": Budget(0, 150.0, _GOOGLE),
        "warm": Budget(1, 300.0, "all statistics in one read, which opens the channel"),
        "first_answer": Budget(0, 20.0, "catalog and skills are in memory"),
    },
    "SessionCacheActor": {
        "imports": _IMPORTS,
        "rehearsal": _REHEARSAL,
        "clients": Budget(0, 150.0, _GOOGLE),
        "warm": Budget(1, 300.0, "the image and what changed since, at once"),
        "first_accept": Budget(1, 100.0, "one commit that needs no read"),
    },
    "ChatAgent": {
        "imports": _HEAVY,
        "rehearsal": _REHEARSAL,
        "clients": _CLIENTS,
        "warm": Budget(1, 500.0, "catalog, Telegram, model and the look-up of the shards, all at once"),
        "first_reply": Budget(
            6, 5000.0, "claim, skill, model, commit, send, record; all but the model's own thinking"
        ),
    },
    "TelegramGateway": {
        "imports": _IMPORTS,
        "warm": Budget(2, 6000.0, "look the actors up, then ask all to warm; a cold one ends within 5 s"),
        "listen": Budget(0, 100.0, "a socket"),
        "first_accept": Budget(1, 200.0, "one call of a shard"),
    },
    "serve": {
        "imports": Budget(0, 5000.0, "all libraries, and the clients made of them"),
        "listen": Budget(0, 100.0, "a socket"),
        "warm": Budget(1, 500.0, "all actors at once, each in one trip"),
        "first_accept": Budget(1, 150.0, "one commit that needs no read"),
        "first_reply": Budget(
            6, 5000.0, "claim, model, commit, send, record; all but the model's own thinking"
        ),
    },
}
"""The cold-start budget by role and phase. The tests hold every role to the round trips, over both stores, and with
half a second to spare to the milliseconds, by which a container's own log event measures itself (`over`). A shard
that finds no image warms in WITHOUT_IMAGE."""


class Span(NamedTuple):
    """A phase, or a part of one, in seconds of the monotonic clock."""

    phase: str
    began_s: float
    ended_s: float


class ColdStart:
    """The phases of one container, as they end; told once, when its first answers are given or nobody asks.

    A snapshot is made between two phases: `resume` leaves out what the container spent in it.
    """

    def __init__(self, role: str, shard: int | None = None, *, born_s: float | None = None) -> None:
        self.role, self.shard = role, shard
        self.spans: list[Span] = []
        self._mark_s = born_s if born_s is not None else time.monotonic() - process_age_s()
        self._awaited = {phase for phase in BUDGETS[role] if phase.startswith("first_")}
        self._warm: dict[str, Mapping[str, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def ended(self, phase: str) -> None:
        """The phase that began with the end of the last one ends now; one that comes again adds up."""
        now_s = time.monotonic()
        self.spans.append(Span(phase, self._mark_s, now_s))
        self._mark_s = now_s

    def resume(self) -> None:
        """The next phase begins now."""
        self._mark_s = time.monotonic()

    def warmed(self, report: WarmReport) -> None:
        """Take over what an actor's own warming was made of, in milliseconds."""
        label = report.actor if report.shard is None else f"{report.actor}[{report.shard}]"
        self._warm[label] = {**report.phases, "all": report.duration_ms}

    def ready(self) -> None:
        """The container answers: its first answers are waited for, for a while."""
        self._timer = asyncio.get_running_loop().call_later(TELL_AFTER_S, self.tell)
        if not self._awaited:
            self.tell()

    def first(self, phase: str) -> Callable[[float], None]:
        """Give what hears how many milliseconds a first answer took; what hears the last one tells all."""

        def answered(duration_ms: float) -> None:
            now_s = time.monotonic()
            self.spans.append(Span(phase, now_s - duration_ms / 1000, now_s))
            self._awaited.discard(phase)
            if not self._awaited:
                self.tell()

        return answered

    @property
    def phases(self) -> Mapping[str, float]:
        """Milliseconds by phase, in the order in which they began."""
        spent: dict[str, float] = {}
        for span in self.spans:
            spent[span.phase] = spent.get(span.phase, 0.0) + (span.ended_s - span.began_s) * 1000
        return {phase: round(ms, 1) for phase, ms in spent.items()}

    def tell(self) -> None:
        """Write the event, once, of a container that became ready; also when it ends before anybody asked."""
        if self._timer is None or self._told:
            return
        self._told = True
        self._timer.cancel()
        phases, budgets = self.phases, BUDGETS[self.role]
        log.info(
            "cold_start",
            role=self.role,
            shard=self.shard,
            **{f"{phase}_ms": ms for phase, ms in phases.items()},
            ready_ms=round(sum(ms for phase, ms in phases.items() if not phase.startswith("first_")), 1),
            warming=self._warm,
            over=[phase for phase, ms in phases.items() if ms > budgets[phase].ms],
        )


def process_age_s() -> float:
    """How long ago this process started: proc(5), `starttime` in ticks since boot; 0 where nobody says."""
    try:
        after_name = _STAT.read_text().rpartition(")")[2].split()
        started_s = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
    except (OSError, ValueError, IndexError, AttributeError):  # no Linux, or a sandbox that does not tell
        return 0.0
    return age_s if started_s > 0 else 0.0
