"""Group commit: the writes of many callers in one transaction, each with an outcome of its own."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Final

import msgspec

from actors.ports import Appended, StoreDown, StoreError, UpdateRecord
from app.store.sqlite_errors import UNSTORABLE, is_broken, is_passing, translated

_ROWS_MOST: Final = 64  # of ten values each; a longer statement is no faster
_INSERTS: Final = {
    rows: f"""
    INSERT INTO updates (seq, version, accepted_at, expires_at, operation,
                         bot, "update", chat, shard, state, open, reason, body)
    SELECT number, number, ?, CASE WHEN column7 THEN NULL ELSE ? END, '',
           column2, column3, column4, column5, column6, column7, column8, column9
    FROM (SELECT (SELECT value FROM sequence) + ? + column1 AS number, *
          FROM (VALUES {", ".join(f"({row}, {', '.join('?' * 10)})" for row in range(1, rows + 1))}))
    WHERE true ON CONFLICT (bot, "update") DO NOTHING
    """  # noqa: S608 made of nothing but the text above
    for rows in (1, 2, 4, 8, 16, 32, _ROWS_MOST)
}
"""Updates that are new, numbered in their order from the sequence on; a row is an UpdateRecord, field by field."""

SESSION_VERSION: Final = "CASE WHEN typeof(version) = 'integer' THEN version ELSE 0 END"
"""A session's version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""

_TAKE_VERSIONS: Final = f"""
    UPDATE sequence SET value = value + ? RETURNING value, (
        SELECT json_group_array(json_array(
            seq,
            (SELECT count(*) FROM updates WHERE new.open AND open = 1 AND chat = new.chat AND seq <= new.seq),
            coalesce((SELECT {SESSION_VERSION} FROM sessions WHERE chat = new.chat), 0)
        )) FROM updates AS new WHERE seq > sequence.value - ?
    )
"""  # noqa: S608 made of nothing but the text above
"""Give the newest version, and of each update inserted just now its version, how many wait, the revision.

One row, as each row that SQLite gives hands the interpreter's lock over and has to wait for it.
"""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What a write works with: the open transaction, its own version, store time, when what ends now expires."""

    connection: sqlite3.Connection
    version: int
    now: float
    expires_at: float


Change = Callable[[Commit], object]
"""A write. It raises VersionConflict before it has written anything, so that it spoils no other."""

Job = UpdateRecord | Change
"""An update to append, or any other write."""

_DUPLICATE: Final = Appended(created=False)
_read_created: Final = msgspec.json.Decoder(list[tuple[int, int, int]]).decode


class GroupCommit:
    """Runs batches of writes in the writer's thread; keeps its connection, and opens it anew after a fault."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], path: str, keep_s: float) -> None:
        self._connect = connect
        self._path = path
        self._keep_s = keep_s
        self._connection: sqlite3.Connection | None = None
        self.commits = 0

    def __call__(self, jobs: Sequence[Job]) -> Sequence[object]:
        """Commit the jobs together and give their outcomes; a failed commit is everybody's StoreDown."""
        try:
            return self._commit(jobs)
        except StoreError as error:  # the file could not be opened
            return [type(error)(str(error)) for _ in jobs]
        except (sqlite3.Error, *UNSTORABLE) as error:
            if is_passing(error) or len(jobs) == 1:
                return [translated(error, self._path) for _ in jobs]
        return self._commit_one_by_one(jobs)

    def close(self) -> None:
        """Close the connection; the last one to a file folds its log into it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, jobs: Sequence[Job]) -> list[object]:
        connection = self._connection = self._connection or self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = self._write(connection, jobs)
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        self.commits += 1
        return outcomes

    def _commit_one_by_one(self, jobs: Sequence[Job]) -> list[object]:
        """Give each job its own transaction, because one of them can't be stored; that is rare."""
        outcomes: list[object] = []
        for job in jobs:
            down = outcomes and isinstance(outcomes[-1], StoreDown)  # don't wait for the same lock again
            outcomes.append(StoreDown(str(outcomes[-1])) if down else self((job,))[0])
        return outcomes

    def _write(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[object]:
        """Appends first, in one go, then the rest in order: callers of one batch know no order."""
        now = time.time()
        appends = [job for job in jobs if isinstance(job, UpdateRecord)]
        _insert(connection, appends, now, now + self._keep_s)
        versions = (len(jobs), len(jobs))
        ((newest, created),) = connection.execute(_TAKE_VERSIONS, versions).fetchall()
        version = newest - len(jobs)
        appended = iter(_appended(version, len(appends), created))
        if len(appends) == len(jobs):
            return list(appended)
        later = count(version + len(appends) + 1)
        return [
            next(appended)
            if isinstance(job, UpdateRecord)
            else self._change(connection, job, next(later), now)
            for job in jobs
        ]

    def _change(self, connection: sqlite3.Connection, change: Change, version: int, now: float) -> object:
        expires_at = now + self._keep_s
        try:
            return change(Commit(connection=connection, version=version, now=now, expires_at=expires_at))
        except StoreError as conflict:
            return conflict

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """End the transaction; a connection that has met the disk's fault is not used again."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        if is_broken(error):
            self.close()


def _insert(
    connection: sqlite3.Connection, appends: Sequence[UpdateRecord], now: float, expires_at: float
) -> None:
    """Insert the updates that are new.

    Many rows a statement, because each statement gives the interpreter's lock away and waits to get it back.
    """
    done = 0
    while left := len(appends) - done:
        size = min(_ROWS_MOST, 1 << left.bit_length() - 1)
        values = chain.from_iterable(map(msgspec.structs.astuple, appends[done : done + size]))
        connection.execute(_INSERTS[size], (now, expires_at, done, *values))
        done += size


def _appended(before: int, many: int, created: str) -> Sequence[Appended]:
    """The outcomes of `many` appends whose versions follow `before`; what was not created is a duplicate."""
    outcomes = [_DUPLICATE] * many
    for version, waiting, revision in _read_created(created):
        outcomes[version - before - 1] = Appended(
            created=True, version=version, waiting=waiting, revision=revision
        )
    return outcomes
