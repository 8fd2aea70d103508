"""Group commit: the writes of many callers in one transaction, each with an outcome of its own."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from actors.ports import Appended, StoreDown, StoreError, UpdateRecord
from app.store.sqlite_errors import UNSTORABLE, is_broken, is_passing, translated

_TAKE_VERSIONS: Final = "UPDATE sequence SET value = value + ? RETURNING value"
_INSERTS: Final = {
    rows: f"""
    INSERT INTO updates (seq, bot, "update", chat, shard, state, open, reason, body, version,
                         accepted_at, operation, expires_at)
    VALUES {", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)"] * rows)}
    ON CONFLICT (bot, "update") DO NOTHING
    """  # noqa: S608 made of nothing but the text above
    for rows in (1, 2, 4, 8, 16, 32, 64)
}
SESSION_VERSION: Final = "CASE WHEN typeof(version) = 'integer' THEN version ELSE 0 END"
"""A session's version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""

_REVISIONS: Final = (
    f"SELECT chat, {SESSION_VERSION} FROM sessions"  # noqa: S608 made of nothing but the text above
    " WHERE chat IN (SELECT value FROM json_each(?))"
)
_WAITING: Final = """
    SELECT chat, count(*) FROM updates
    WHERE open = 1 AND chat IN (SELECT value FROM json_each(?)) GROUP BY chat
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

Numbered = Sequence[tuple[int, UpdateRecord]]
"""Updates with the version that each gets, which is its place in the order of appending as well."""


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
        ((newest,),) = connection.execute(_TAKE_VERSIONS, (len(jobs),)).fetchall()
        now = time.time()
        numbered = list(enumerate(jobs, newest - len(jobs) + 1))
        appends = [(version, job) for version, job in numbered if isinstance(job, UpdateRecord)]
        outcomes: dict[int, object] = dict(_append(connection, appends, now, now + self._keep_s))
        for version, job in numbered:
            if not isinstance(job, UpdateRecord):
                commit = Commit(
                    connection=connection, version=version, now=now, expires_at=now + self._keep_s
                )
                outcomes[version] = _changed(job, commit)
        return [outcomes[version] for version, _ in numbered]

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """End the transaction; a connection that has met the disk's fault is not used again."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        if is_broken(error):
            self.close()


def _changed(change: Change, commit: Commit) -> object:
    try:
        return change(commit)
    except StoreError as conflict:
        return conflict


def _append(
    connection: sqlite3.Connection, appends: Numbered, now: float, expires_at: float
) -> Iterator[tuple[int, Appended]]:
    """Insert the updates that are new; give each with its outcome, by its version."""
    if not appends:
        return
    rows = [_row(version, record, now, expires_at) for version, record in appends]
    created = appends if _insert(connection, rows) == len(rows) else _created(connection, appends)
    yield from dict.fromkeys((version for version, _ in appends), Appended(created=False)).items()
    chats = {record.chat for _, record in created if record.open}
    left, revisions = _by_chat(connection, _WAITING, chats), _by_chat(connection, _REVISIONS, chats)
    for version, record in reversed(created):  # each counts itself and those before it, as if alone
        waiting = left[record.chat] if record.open else 0
        revision = revisions[record.chat]
        yield version, Appended(created=True, version=version, waiting=waiting, revision=revision)
        left[record.chat] -= record.open


def _row(version: int, record: UpdateRecord, now: float, expires_at: float) -> tuple[object, ...]:
    expiry = None if record.open else expires_at
    return (
        version, record.bot, record.update, record.chat, record.shard, record.state, record.open,
        record.reason, record.body, version, now, expiry,
    )  # fmt: skip


def _insert(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> int:
    """Insert the rows that are new and give how many.

    Many rows a statement, because each statement gives the interpreter's lock away and waits to get it back.
    """
    inserted = done = 0
    while left := len(rows) - done:
        size = min(64, 1 << left.bit_length() - 1)
        values = list(chain.from_iterable(rows[done : done + size]))
        inserted += connection.execute(_INSERTS[size], values).rowcount
        done += size
    return inserted


def _created(connection: sqlite3.Connection, appends: Numbered) -> Numbered:
    query = "SELECT seq FROM updates WHERE seq >= ?"
    new = {seq for (seq,) in connection.execute(query, (appends[0][0],))}
    return [(version, record) for version, record in appends if version in new]


def _by_chat(connection: sqlite3.Connection, query: str, chats: set[int]) -> Counter[int]:
    if not chats:
        return Counter()
    return Counter(dict(connection.execute(query, (msgspec.json.encode(list(chats)).decode(),)).fetchall()))
