"""A turn that is written and taken back in one commit, so that the first real ones find all ready.

A third of what the first turn's commits cost, and half of the time of the first one, was the compiling of statements,
the reading of pages, and the beginning of the log, whose header is synced apart. The commits of the next sixty turns
cost two fifths more CPU, and two thirds more time, as each made the log longer: its sync wrote the new length, too.
"""

import os
import sqlite3
from collections.abc import Callable
from typing import Final

import msgspec

from actors.stores import LeaseRecord, SessionRecord, SkillRun, TurnWrite, UpdateRecord
from app.store.sqlite_appends import append
from app.store.sqlite_changes import count_run, write_turn
from app.store.sqlite_writer import Commit

_NOBODY: Final = -(1 << 60)  # no chat, bot or update of Telegram's
_UPDATE: Final = UpdateRecord(
    bot=_NOBODY, update=_NOBODY, chat=_NOBODY, shard=0, state="accepted", open=True, body=b"rehearsal"
)
_LEASE: Final = LeaseRecord(lease="rehearsal", owner="rehearsal", update_key=_UPDATE.key)
_SESSION: Final = SessionRecord(chat=_NOBODY, shard=0, body=b"rehearsal")
_RUN: Final = SkillRun(skill="", run="rehearsal", succeeded=True, duration_ms=0.0)  # every skill has a name
_LOG_BYTES: Final = 1_000 * 4_120  # it begins anew after so many pages (PRAGMA wal_autocheckpoint)
_FILL: Final = "INSERT INTO warm_blobs (name, slot, body) VALUES ('rehearsal', 0, zeroblob(?))"


def rehearse(commit: Commit) -> None:
    """A change after which the file is as before, but for the number of the newest write, which is a real commit's."""
    _taken_back(_write_turn, commit)


def lengthen_log(commit: Commit) -> None:
    """A change that leaves the log as long as it ever becomes, some 4 MB; else as `rehearse`, which comes after it.

    In a commit of its own: the first one after it, over what was only just synced, costs half as much again.
    """
    _taken_back(_overflow, commit)


def _taken_back(change: Callable[[Commit], None], commit: Commit) -> None:
    commit.connection.execute("SAVEPOINT rehearsal")
    try:
        change(commit)
    finally:
        if commit.connection.in_transaction:  # a full disk may have ended it
            commit.connection.execute("ROLLBACK TO rehearsal")
            commit.connection.execute("RELEASE rehearsal")


def _overflow(commit: Commit) -> None:
    """Write what does not fit into memory, so that it goes into the log at once; later commits are written over it."""
    connection = commit.connection
    missing = _LOG_BYTES - _log_bytes(connection)
    if missing <= 0:  # left by a process that did not end well: the log goes with the last one that does
        return
    ((pages,),) = connection.execute("PRAGMA cache_size").fetchall()
    connection.execute("PRAGMA cache_size = 0")
    try:
        connection.execute(_FILL, (missing,))
    finally:
        connection.execute(f"PRAGMA cache_size = {pages}")


def _log_bytes(connection: sqlite3.Connection) -> int:
    """The length of the log, which a transaction that writes has opened; one that can't be looked at is let be."""
    _, _, path = connection.execute("PRAGMA database_list").fetchall()[0]
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:
        return _LOG_BYTES


def _write_turn(commit: Commit) -> None:
    """From the update's acceptance to its end, as the SessionCacheActor and the registry write them."""
    (appended,) = append(commit.connection, (_UPDATE,), commit.now, commit.expires_at)
    accepted = msgspec.structs.replace(_UPDATE, version=appended.version)
    first = TurnWrite(operation="commit", update=accepted, session=_SESSION, lease=_LEASE)
    committed = write_turn(commit, first)
    count_run(commit, _RUN)
    answered = msgspec.structs.replace(
        accepted, state="answered", open=False, version=committed.update_version
    )
    write_turn(commit, TurnWrite(operation="end", update=answered))
