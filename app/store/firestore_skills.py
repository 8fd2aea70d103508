"""Skill statistics in Firestore: read in one wave, counted by increments, each run once.

`skills/{name}`              stats {runCount, successCount, totalDurationMs, lastRun}; name
`skills/{name}/runs/{run}`   expires_at: its being there says that the run was counted
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from actors.stores import SkillRun, SkillStatsStore, StatsBatch, StoreMeter
from app.store.firestore_adapter import Adapter
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_docs import utc
from app.store.firestore_errors import AlreadyExists
from app.store.firestore_poison import Poison
from app.store.firestore_requests import Change, When
from app.store.firestore_values import (
    Fields,
    UnreadableDocument,
    kind_of,
    read_map,
    read_micros,
    read_number,
    read_text,
)
from contracts.skills import SkillStats

_RUN_KEPT: Final = timedelta(days=7)  # a run is reported again within minutes; a week covers any outage
_ID_LIMIT: Final = 1500  # bytes [Firestore's limits]
_ESCAPED: Final = re.compile(r"[/%\x00-\x1f\x7f\ud800-\udfff]")
_RESERVED: Final = re.compile(r"\.{0,2}|__.*__")  # the empty id, `.`, `..`, `__x__`


class FirestoreSkillStatsStore(Adapter, SkillStatsStore):
    """The SkillStatsStore port on an open FirestoreDatabase; `unix_s` serves to date expiries, days ahead."""

    def __init__(
        self, database: FirestoreDatabase, meter: StoreMeter, *, unix_s: Callable[[], float] = time.time
    ) -> None:
        super().__init__(database, meter)
        self._unix_s = unix_s

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Read the statistics of these skills; what can't be read is set aside."""
        poison = Poison()
        paths = {skill: skill_path(skill) for skill in skills}
        found = await self._database.get_all(list(paths.values()), self._meter)
        read = {
            skill: poison.guard(path, found.documents.get(path), _read_stats) for skill, path in paths.items()
        }
        return StatsBatch(
            stats={skill: stats for skill, stats in read.items() if stats is not None},
            set_aside=poison.found,
        )

    async def record_run(self, run: SkillRun) -> None:
        """Count a run in one commit; a run that is there was counted."""
        try:
            await self._database.commit(_run_changes(run, utc(self._unix_s())), self._meter)
        except AlreadyExists:
            return  # also when it was our own earlier attempt that had no answer


def skill_path(skill: str) -> str:
    """Give the path of a skill's document."""
    return f"skills/{document_id(skill)}"


def document_id(name: str) -> str:
    """Give a name as a document id: itself where Firestore allows it, else percent-encoded.

    No two names share an id. A name too long for an id goes by its digest; its document keeps it whole.
    """
    escaped = _ESCAPED.sub(lambda found: _percent(found[0]), name)
    if _RESERVED.fullmatch(escaped):
        escaped = _percent(escaped[0]) + escaped[1:] if escaped else "%"
    return escaped if len(escaped.encode()) <= _ID_LIMIT else _digest(name)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _digest(name: str) -> str:
    """`%~` is no percent-encoding, so it can't be another name's id."""
    return "%~" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _run_changes(run: SkillRun, now: datetime) -> list[Change]:
    """Increments on what is no number, or on `stats` that is no map, begin anew from the run's own values."""
    path = skill_path(run.skill)
    counted = Change(
        document=f"{path}/runs/{document_id(run.run)}",
        fields={"expires_at": now + _RUN_KEPT},
        when=When.ABSENT,
    )
    stats = Change(
        document=path,
        fields={"name": run.skill} if path.endswith(_digest(run.skill)) else {},
        increments={
            "stats.runCount": 1,
            "stats.successCount": int(run.succeeded),
            "stats.totalDurationMs": float(run.duration_ms),
        },
        server_times=("stats.lastRun",),
    )
    return [counted, stats]


def _read_stats(_: str, document: Any) -> SkillStats:
    """Read counts and total; documents of an older system may hold the rate and the mean instead."""
    if "stats" not in document.fields:
        return SkillStats()
    stats = read_map(document.fields, "stats")
    runs = int(_number(stats, "runCount"))
    rate, mean = _number(stats, "successRate"), _number(stats, "avgDurationMs")
    successes = int(_number(stats, "successCount", rate * runs + 0.5))
    total_ms = _number(stats, "totalDurationMs", mean * runs)
    return SkillStats(
        run_count=runs,
        success_count=successes,
        total_duration_ms=total_ms,
        last_run_at=_last_run(stats),
        success_rate=successes / runs if runs and "successCount" in stats else rate,
        mean_duration_ms=total_ms / runs if runs and "totalDurationMs" in stats else mean,
    )


def _number(stats: Fields, name: str, otherwise: float = 0.0) -> float:
    return read_number(stats, name) if name in stats else otherwise


def _last_run(stats: Fields) -> float:
    match kind_of(stats, "lastRun"):
        case None | "null_value":
            return 0.0
        case "timestamp_value":
            return read_micros(stats, "lastRun") / 1e6
        case "string_value":
            return _unix_s(read_text(stats, "lastRun"))
    return read_number(stats, "lastRun")


def _unix_s(text: str) -> float:
    """An ISO 8601 time; without a zone it is taken for UTC."""
    try:
        time_of = datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableDocument("lastRun is no time") from None
    return (time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)).timestamp()
