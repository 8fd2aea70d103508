"""The reads, and how a row becomes a record or is set aside alone."""

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

import msgspec

from actors.stores import ChatState, LeaseRecord, SessionBatch, SessionRecord, StatsBatch, Stray, UpdateRecord
from actors.warm_ports import SessionChanges
from contracts.base import Value
from contracts.skills import SetAside, SkillStats
from contracts.turns import TurnState

R = TypeVar("R", bound=Value)

Updates = tuple[tuple[UpdateRecord, ...], tuple[SetAside, ...]]
"""Updates, and the rows that could not be read as one."""

_NATIVE: Final = (bytes,)  # without this msgspec would take TEXT for base64 of a body
_BOOLS: Final = {0: False, 1: True}
_SESSIONS: Final = "SELECT *, version AS revision FROM sessions"
# A turn that was handed back has no lease, and yet waits as it was told to.
_LEASE: Final = """
    SELECT chat, lease, owner, update_key, attempt, abs(?1 - renewed_at) AS age_s,
        coalesce(wait_s - abs(?1 - told_at), 0.0) AS wait_s
    FROM leases LEFT JOIN waits USING (chat, update_key) WHERE chat = ?2
    UNION ALL
    SELECT chat, '', '', update_key, 0, 0.0, wait_s - abs(?1 - told_at)
    FROM waits WHERE chat = ?2 AND NOT EXISTS (SELECT 1 FROM leases WHERE chat = ?2) AND EXISTS (
        SELECT 1 FROM updates WHERE open = 1 AND chat = ?2 AND bot || ':' || "update" = update_key)
"""
_INTEGERS: Final = 2**63 - 1  # a version spoilt into text sorts above all numbers: a range leaves it out


def read_chat(connection: sqlite3.Connection, chat: int, now: float) -> ChatState:
    """Read the chat: session, open updates in arrival order, lease; `now` in Unix seconds tells its age."""
    sessions, bad_sessions = _sessions(connection.execute(f"{_SESSIONS} WHERE chat = ?", (chat,)))
    found = connection.execute("SELECT * FROM updates WHERE open = 1 AND chat = ? ORDER BY seq", (chat,))
    updates, bad_updates = _records(found, UpdateRecord, "updates")
    # The distance from now: after a clock jumped back, a lease has to run out and not to last longer.
    leases, bad_leases = _records(connection.execute(_LEASE, (now, chat)), LeaseRecord, "mailboxes")
    return ChatState(
        session=sessions[0] if sessions else None,
        open_updates=updates,
        lease=leases[0] if leases else None,
        set_aside=(*bad_sessions, *bad_updates, *bad_leases),
    )


def read_chats(connection: sqlite3.Connection, chats: Sequence[int], now: float) -> Mapping[int, ChatState]:
    """Read each of these chats: three look-ups by key a chat are cheaper than sorting joined rows out again."""
    return {chat: read_chat(connection, chat, now) for chat in dict.fromkeys(chats)}


def read_sessions(connection: sqlite3.Connection, chats: Sequence[int]) -> SessionBatch:
    """Read the sessions of these chats, newest first."""
    query = f"{_SESSIONS} WHERE chat IN (SELECT value FROM json_each(?)) ORDER BY version DESC"  # noqa: S608 ours
    sessions, bad = _sessions(connection.execute(query, (_json(chats),)))
    return SessionBatch(sessions=sessions, set_aside=bad)


def recent_sessions(connection: sqlite3.Connection, shard: int, limit: int) -> SessionBatch:
    """Read the sessions written last; by version, because a clock may jump."""
    query = f"{_SESSIONS} WHERE shard = ? AND body <> x'' ORDER BY version DESC LIMIT ?"
    sessions, bad = _records(connection.execute(query, (shard, limit)), SessionRecord, "telegram_sessions")
    return SessionBatch(sessions=sessions, set_aside=bad)


def changed_sessions(
    connection: sqlite3.Connection, shard: int, since: int, limit: int, most_bytes: int
) -> SessionChanges:
    """Read the sessions written after version `since`, newest first; marks are exact, being versions."""
    query = f"{_SESSIONS} WHERE shard = ? AND version > ? AND version <= ? ORDER BY version DESC LIMIT ?"
    cursor = connection.execute(query, (shard, since, _INTEGERS, max(limit, 1)))
    rows, is_cut = _rows_within(cursor, most_bytes)
    sessions, bad = _readable(rows, SessionRecord, "telegram_sessions")
    ((newest,),) = connection.execute("SELECT value FROM sequence").fetchall()
    reaches = int(rows[-1]["version"]) if is_cut or len(rows) >= max(limit, 1) else since
    return SessionChanges(sessions=sessions, reaches=reaches, watermark=newest, set_aside=bad)


def open_updates(
    connection: sqlite3.Connection, shard: int, limit: int, after: UpdateRecord | None
) -> Updates:
    """Read the shard's updates without an end, by the index of open ones: there are few of them."""
    query = """SELECT * FROM updates INDEXED BY updates_by_chat WHERE open = 1 AND shard = ?
               AND seq > coalesce((SELECT seq FROM updates WHERE bot = ? AND "update" = ?), 0)
               ORDER BY seq LIMIT ?"""
    ids = (after.bot, after.update) if after is not None else (None, None)
    return _records(connection.execute(query, (shard, *ids, limit)), UpdateRecord, "updates")


def open_shards(connection: sqlite3.Connection, limit: int) -> tuple[int, ...]:
    """Read the shards of updates without an end, by the index of open ones."""
    query = "SELECT shard FROM updates INDEXED BY updates_by_chat WHERE open = 1 LIMIT ?"
    return tuple(shard if isinstance(shard, int) else -1 for (shard,) in connection.execute(query, (limit,)))


def strays(connection: sqlite3.Connection, shards: int, limit: int, after: Stray | None) -> tuple[Stray, ...]:
    """Read the updates without an end that belong to shards from that one on, by the same index."""
    query = """SELECT bot, "update", chat, shard FROM updates INDEXED BY updates_by_chat
               WHERE open = 1 AND shard BETWEEN ? AND ? AND (shard, seq) >
                   (?, coalesce((SELECT seq FROM updates WHERE bot = ? AND "update" = ?), 0))
               ORDER BY shard, seq LIMIT ?"""
    place = (after.shard, after.bot, after.update) if after is not None else (shards, None, None)
    found, _ = _records(connection.execute(query, (shards, _INTEGERS, *place, limit)), Stray, "updates")
    return found


def find_updates(connection: sqlite3.Connection, states: Sequence[TurnState], limit: int) -> Updates:
    """Read updates by state, oldest first: a scan, because accepting should not pay for an operator's index."""
    query = """SELECT * FROM updates WHERE state IN (SELECT value FROM json_each(?))
               ORDER BY seq LIMIT ?"""
    return _records(connection.execute(query, (_json(states), limit)), UpdateRecord, "updates")


def unreadable_updates(connection: sqlite3.Connection, limit: int) -> tuple[SetAside, ...]:
    """Read the rows without an end that are no update: open ones, and those whose state or `open` is none."""
    query = """SELECT * FROM updates WHERE open IS NOT 0
               OR coalesce(state, '') NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?"""
    _, bad = _records(connection.execute(query, (_json(get_args(TurnState)), limit)), UpdateRecord, "updates")
    return bad


def read_stats(connection: sqlite3.Connection, skills: Sequence[str]) -> StatsBatch:
    """Read statistics by name, with the success rate and the mean duration that follow from them."""
    query = "SELECT * FROM skills WHERE name IN (SELECT value FROM json_each(?))"
    stats: dict[str, SkillStats] = {}
    set_aside: list[SetAside] = []
    for row in _rows(connection.execute(query, (_json(skills),))):
        try:
            stats[row["name"]] = _derived(msgspec.convert(row, SkillStats))
        except ValueError as error:  # msgspec's ValidationError is one
            set_aside.append(_set_aside("skills", row["name"], error))
    return StatsBatch(stats=stats, set_aside=tuple(set_aside))


def _derived(stats: SkillStats) -> SkillStats:
    if not 0 <= stats.success_count <= stats.run_count or not 0 <= stats.total_duration_ms < math.inf:
        raise ValueError("counts that no runs can give")
    runs = max(stats.run_count, 1)
    return msgspec.structs.replace(
        stats, success_rate=stats.success_count / runs, mean_duration_ms=stats.total_duration_ms / runs
    )


def _records(
    cursor: sqlite3.Cursor, kind: type[R], collection: str
) -> tuple[tuple[R, ...], tuple[SetAside, ...]]:
    return _readable(_rows(cursor), kind, collection)


def _readable(
    rows: Sequence[dict[str, Any]], kind: type[R], collection: str
) -> tuple[tuple[R, ...], tuple[SetAside, ...]]:
    """Give the rows that are records of `kind`; columns are named as its fields, others are ignored."""
    records: list[R] = []
    set_aside: list[SetAside] = []
    for row in rows:
        try:
            records.append(msgspec.convert(row, kind, builtin_types=_NATIVE))
        except msgspec.ValidationError as error:
            set_aside.append(_set_aside(collection, _key(row), error))
    return tuple(records), tuple(set_aside)


def _sessions(cursor: sqlite3.Cursor) -> tuple[tuple[SessionRecord, ...], tuple[SetAside, ...]]:
    """Read sessions; one that can't be read is set aside and comes as an empty one, so that it can be replaced."""
    sessions: list[SessionRecord] = []
    set_aside: list[SetAside] = []
    for row in _rows(cursor):
        try:
            sessions.append(msgspec.convert(row, SessionRecord, builtin_types=_NATIVE))
        except msgspec.ValidationError as error:
            set_aside.append(_set_aside("telegram_sessions", row["chat"], error))
            sessions.append(_blank(row["chat"], row["version"]))
    return tuple(sessions), tuple(set_aside)


def _blank(chat: int, version: object) -> SessionRecord:
    """An empty session at its version; one without a readable version is written over at version 0."""
    known = version if isinstance(version, int) else 0
    return SessionRecord(chat=chat, shard=0, version=known, revision=known)


def _rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    return list(_each_row(cursor))


def _rows_within(cursor: sqlite3.Cursor, most_bytes: int) -> tuple[list[dict[str, Any]], bool]:
    """Read the rows up to the one whose body brings them to so many bytes, and say whether that was one."""
    rows, size = list[dict[str, Any]](), 0
    for row in _each_row(cursor):
        rows.append(row)
        size += len(row["body"]) if isinstance(row["body"], bytes | str) else 0
        if size >= most_bytes:
            return rows, True
    return rows, False


def _each_row(cursor: sqlite3.Cursor) -> Iterator[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    for row in cursor:
        named = dict(zip(names, row, strict=True))
        if "open" in named:
            named["open"] = _BOOLS.get(named["open"])
        yield named


def _key(row: dict[str, Any]) -> object:
    return f"{row['bot']!s}:{row['update']!s}" if "update" in row else row["chat"]


def _set_aside(collection: str, key: object, error: Exception) -> SetAside:
    return SetAside(file=f"{collection}/{str(key)[:100]}", reason=str(error)[:200])


def _json(values: Sequence[int] | Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()
