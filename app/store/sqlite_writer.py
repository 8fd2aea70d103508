"""Group commit: the writes of many callers in one transaction, each with an outcome of its own."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from actors.stores import StoreDown, StoreError, UpdateRecord
from app.store.sqlite_appends import APPENDS_MOST, append, prepare
from app.store.sqlite_errors import UNSTORABLE, is_broken, is_passing, translated

FOLD_AFTER: Final = 100
"""Commits after which the log is folded into the file: of a turn's three with some 20 pages, less than the 1,000 pages
after which SQLite does so by itself, inside of somebody's commit."""

_TAKE_VERSIONS: Final = "UPDATE sequence SET value = value + ? RETURNING value"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What a write works with: the open transaction, its own version, store time, when what ends now expires.

    A session's tombstone has an expiry of its own.
    """

    connection: sqlite3.Connection
    version: int
    now: float
    expires_at: float
    tombstone_expires_at: float


Change = Callable[[Commit], object]
"""A write. It raises VersionConflict before it has written anything, so that it spoils no other."""

Job = UpdateRecord | Change
"""An update to append, or any other write."""


def nothing(_: Commit) -> None:
    """A write of nothing: when no other came with it, it opens the file and is no transaction."""


class GroupCommit:
    """Runs batches of writes in the writer's thread; keeps its connection, and opens it anew after a fault."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        path: str,
        keep_s: float,
        tombstones_s: float,
        now: Callable[[], float] = time.time,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`now` gives store time in Unix seconds; `check` raises StoreDown where the file is no longer the one."""
        self._connect, self._check = connect, check
        self._path = path
        self._keep_s, self._tombstones_s, self._now = keep_s, tombstones_s, now
        self._connection: sqlite3.Connection | None = None
        self.commits = self._folded = 0

    def __call__(self, jobs: Sequence[Job]) -> Sequence[object]:
        """Commit the jobs together and give their outcomes; a failed commit is everybody's StoreDown."""
        try:
            return self._commit(jobs)
        except StoreError as error:  # the file could not be opened, or is another one by now
            return [type(error)(str(error)) for _ in jobs]
        except (sqlite3.Error, *UNSTORABLE) as error:
            if is_passing(error) or len(jobs) == 1:
                return [translated(error, self._path) for _ in jobs]
        return self._commit_one_by_one(jobs)

    def rest(self) -> None:
        """Fold the log into the file when it has grown, while nobody waits."""
        if self._connection is None or self.commits < self._folded + FOLD_AFTER:
            return
        self._folded = self.commits
        with suppress(
            sqlite3.Error
        ):  # the disk's faults are told by the next commit, which folds the log if need be
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the connection; the last one to a file folds its log into it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, jobs: Sequence[Job]) -> list[object]:
        connection = self._connection = self._connection or self._open()
        if all(job is nothing for job in jobs):
            return [None for _ in jobs]
        try:
            outcomes = self._write(connection, jobs)
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        self._check()  # after the commit, so that nothing is acknowledged which went into a file that is gone
        self.commits += 1
        return outcomes

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        prepare(connection)
        return connection

    def _write(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[object]:
        """Appends first, in one go, then the rest in order: callers of one batch know no order."""
        records = [job for job in jobs if isinstance(job, UpdateRecord)]
        changes = [job for job in jobs if not isinstance(job, UpdateRecord)]
        if not changes and len(records) <= APPENDS_MOST:
            return self._append(connection, records)
        connection.execute("BEGIN IMMEDIATE")
        appended = iter(self._append(connection, records))
        changed = iter(self._change(connection, changes) if changes else ())
        connection.execute("COMMIT")
        return [next(appended if isinstance(job, UpdateRecord) else changed) for job in jobs]

    def _append(self, connection: sqlite3.Connection, records: Sequence[UpdateRecord]) -> list[object]:
        now = self._now()
        outcomes = list[object]()
        for start in range(0, len(records), APPENDS_MOST):
            several = records[start : start + APPENDS_MOST]
            outcomes += append(connection, several, now, now + self._keep_s)
        return outcomes

    def _change(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> list[object]:
        now = self._now()
        ((newest,),) = connection.execute(_TAKE_VERSIONS, (len(changes),)).fetchall()
        return [
            _outcome(change, self._commit_at(connection, version, now))
            for version, change in enumerate(changes, newest - len(changes) + 1)
        ]

    def _commit_at(self, connection: sqlite3.Connection, version: int, now: float) -> Commit:
        return Commit(
            connection=connection,
            version=version,
            now=now,
            expires_at=now + self._keep_s,
            tombstone_expires_at=now + self._tombstones_s,
        )

    def _commit_one_by_one(self, jobs: Sequence[Job]) -> list[object]:
        """Give each job its own transaction, because one of them can't be stored; that is rare."""
        outcomes: list[object] = []
        for job in jobs:
            down = outcomes and isinstance(outcomes[-1], StoreDown)  # don't wait for the same lock again
            outcomes.append(StoreDown(str(outcomes[-1])) if down else self((job,))[0])
        return outcomes

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """End the transaction; a connection that has met the disk's fault is not used again."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        if is_broken(error):
            self.close()


def _outcome(change: Change, commit: Commit) -> object:
    try:
        return change(commit)
    except StoreError as conflict:
        return conflict
