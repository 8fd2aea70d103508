"""The writes that change what is stored: turns, sessions, leases, erasing, purging; each inside a commit."""

from typing import Final

from actors.stores import (
    LeaseRecord,
    SessionRecord,
    SkillRun,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from app.store.sqlite_appends import SESSION_VERSION
from app.store.sqlite_writer import Commit

_WRITE_UPDATE: Final = """
    UPDATE updates SET state = ?, open = ?, reason = ?, body = ?, version = ?, operation = ?, expires_at = ?
    WHERE bot = ? AND "update" = ?
"""
_WRITE_SESSION: Final = """
    INSERT INTO sessions (chat, shard, body, version, updated_at, operation, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (chat) DO UPDATE SET shard = excluded.shard, body = excluded.body, version = excluded.version,
        updated_at = excluded.updated_at, operation = excluded.operation, expires_at = excluded.expires_at
"""
_IS_OPEN: Final = """
    EXISTS (SELECT 1 FROM updates WHERE open = 1 AND chat = ?1 AND bot || ':' || "update" = ?2)
"""
_WRITE_LEASE: Final = f"""
    INSERT OR REPLACE INTO leases (chat, update_key, lease, owner, attempt, renewed_at)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE {_IS_OPEN}
"""
_WRITE_WAIT: Final = f"""
    INSERT OR REPLACE INTO waits (chat, update_key, wait_s, told_at)
    SELECT ?1, ?2, ?3, ?4 WHERE {_IS_OPEN}
"""
_DROPS: Final = (
    "DELETE FROM leases WHERE chat = ? AND update_key = ?",
    "DELETE FROM waits WHERE chat = ? AND update_key = ?",
)
_COUNT_RUN: Final = """
    INSERT INTO skills VALUES (?, 1, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET run_count = run_count + 1,
        success_count = success_count + excluded.success_count,
        total_duration_ms = total_duration_ms + excluded.total_duration_ms,
        last_run_at = max(last_run_at, excluded.last_run_at)
"""
_PURGES: Final = (
    "DELETE FROM updates WHERE seq IN (SELECT seq FROM updates WHERE expires_at <= ? LIMIT ?)",
    "DELETE FROM sessions WHERE chat IN (SELECT chat FROM sessions WHERE expires_at <= ? LIMIT ?)",
    "DELETE FROM skill_runs WHERE (skill, run) IN"
    " (SELECT skill, run FROM skill_runs WHERE expires_at <= ? LIMIT ?)",
)
_PURGE_WAITS: Final = """
    DELETE FROM waits WHERE NOT EXISTS (
        SELECT 1 FROM updates WHERE open = 1 AND chat = waits.chat AND bot || ':' || "update" = update_key
    )
"""


def write_turn(commit: Commit, write: TurnWrite) -> TurnWritten:
    """Write update and session if both are at their versions; a repeated operation writes nothing again."""
    stored = _stored_update(commit, write.update)
    if stored is None:
        raise VersionConflict("update")
    version, operation = stored
    if operation == write.operation:
        return _written(commit, write, version, _session_version_of(commit, write), repeated=True)
    if version != write.update.version:
        raise VersionConflict("update")
    if write.session is not None and _session_version(commit, write.session.chat) != write.session.version:
        raise VersionConflict("session")
    _put_update(commit, write.update, write.operation)
    if write.session is not None:
        _put_session(commit, write.session, write.operation)
    if write.update.open and write.lease is not None:
        write_lease(commit, write.update.chat, write.lease)
    return _written(commit, write, commit.version, commit.version)


def write_session(commit: Commit, session: SessionRecord, operation: str) -> int:
    """Write the session if it is at its version; a repeated operation writes nothing again."""
    query = f"SELECT {SESSION_VERSION}, operation FROM sessions WHERE chat = ?"  # noqa: S608 our own text
    version, newest = commit.connection.execute(query, (session.chat,)).fetchone() or (0, None)
    if newest == operation:
        return int(version)
    if version != session.version:
        raise VersionConflict("session")
    _put_session(commit, session, operation)
    return commit.version


def write_lease(commit: Commit, chat: int, lease: LeaseRecord | None) -> None:
    """Write the chat's lease as renewed now, or drop it; one of an update that has ended comes too late."""
    if lease is None:
        commit.connection.execute("DELETE FROM leases WHERE chat = ?", (chat,))
        return
    turn = (chat, lease.update_key)
    commit.connection.execute(_WRITE_LEASE, (*turn, lease.lease, lease.owner, lease.attempt, commit.now))
    if lease.wait_s > 0:
        commit.connection.execute(_WRITE_WAIT, (*turn, lease.wait_s, commit.now))


def erase_updates(commit: Commit, chat: int) -> int:
    """Empty the bodies of the chat's ended updates; ids and states stay."""
    erase = "UPDATE updates SET body = x'', version = ? WHERE open = 0 AND chat = ? AND body <> x''"
    return commit.connection.execute(erase, (commit.version, chat)).rowcount


def purge(commit: Commit, limit: int) -> int:
    """Drop up to `limit` ended updates, tombstones and run ids that are past their expiry.

    And the waits of turns that a program ended which knows none: there are few, and at most one a chat.
    """
    commit.connection.execute(_PURGE_WAITS)
    left = limit
    for statement in _PURGES:
        left -= commit.connection.execute(statement, (commit.now, left)).rowcount
    return limit - left


def count_run(commit: Commit, run: SkillRun) -> bool:
    """Count the run, unless it was counted before."""
    remember = "INSERT INTO skill_runs VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    if not commit.connection.execute(remember, (run.skill, run.run, commit.expires_at)).rowcount:
        return False
    commit.connection.execute(_COUNT_RUN, (run.skill, int(run.succeeded), run.duration_ms, commit.now))
    return True


def _stored_update(commit: Commit, update: UpdateRecord) -> tuple[int, str] | None:
    query = 'SELECT version, operation FROM updates WHERE bot = ? AND "update" = ?'
    row: tuple[int, str] | None = commit.connection.execute(query, (update.bot, update.update)).fetchone()
    return row


def _written(
    commit: Commit, write: TurnWrite, update_version: int, session_version: int, *, repeated: bool = False
) -> TurnWritten:
    """What the port tells; a session's version is its revision."""
    wrote_session = write.session is not None
    return TurnWritten(
        update_version=update_version,
        session_version=session_version if wrote_session else 0,
        waiting=_waiting(commit, write.update.chat),
        revision=session_version if wrote_session else _session_version(commit, write.update.chat),
        repeated=repeated,
    )


def _session_version_of(commit: Commit, write: TurnWrite) -> int:
    """The version that an earlier try gave the session; once it was written again, the one before that."""
    if write.session is None:
        return 0
    query = f"SELECT {SESSION_VERSION} FROM sessions WHERE chat = ? AND operation = ?"  # noqa: S608 our own text
    row = commit.connection.execute(query, (write.session.chat, write.operation)).fetchone()
    return int(row[0]) if row else write.session.version


def _session_version(commit: Commit, chat: int) -> int:
    query = f"SELECT {SESSION_VERSION} FROM sessions WHERE chat = ?"  # noqa: S608 our own text
    row = commit.connection.execute(query, (chat,)).fetchone()
    return row[0] if row else 0


def _put_update(commit: Commit, update: UpdateRecord, operation: str) -> None:
    """Write the update; one that has ended takes its lease and its wait along."""
    expires_at = None if update.open else commit.expires_at
    new = (update.state, update.open, update.reason, update.body, commit.version, operation, expires_at)
    commit.connection.execute(_WRITE_UPDATE, (*new, update.bot, update.update))
    if not update.open:
        for drop in _DROPS:
            commit.connection.execute(drop, (update.chat, update.key))


def _put_session(commit: Commit, session: SessionRecord, operation: str) -> None:
    expires_at = None if session.body else commit.tombstone_expires_at
    row = (session.chat, session.shard, session.body, commit.version, commit.now, operation, expires_at)
    commit.connection.execute(_WRITE_SESSION, row)


def _waiting(commit: Commit, chat: int) -> int:
    query = "SELECT count(*) FROM updates WHERE open = 1 AND chat = ?"
    return int(commit.connection.execute(query, (chat,)).fetchone()[0])
