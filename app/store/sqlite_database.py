"""One SQLite file for all the adapters of a process: a thread that writes and a thread that reads."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from actors.stores import Appended, StoreError, UpdateRecord
from app.store.sqlite_appends import APPENDS_MOST
from app.store.sqlite_errors import UNSTORABLE, translated
from app.store.sqlite_file import OpenedFile
from app.store.sqlite_schema import connect, look
from app.store.sqlite_worker import Worker
from app.store.sqlite_writer import Commit, GroupCommit, Job, nothing

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], object]

DEADLINE_S: Final = 5.0
"""How long a caller waits: enough for a checkpoint on a slow disk, short of Telegram's 60 s."""

KEEP_S: Final = 7 * 24 * 3600.0
"""How long ended updates and run ids stay: far over the 24 h in which Telegram sends again."""

TOMBSTONES_S: Final = 30 * 24 * 3600.0
"""How long a forgotten session's tombstone stays; a warm image older than that is set aside."""

_MAX_WAITING: Final = 10_000  # calls: about a second's worth; more would only time out
_WRITE_BATCH: Final = APPENDS_MOST // 2
"""Writes after which no more are taken into a transaction, so that it takes some ms and other processes get their
turn. What came in one turn of the loop, up to as many again, still does."""

_READ_BATCH: Final = 16  # reads in a snapshot, so that none holds the log for long


class SqliteDatabase:
    """The file at `path`, opened by the first call; `durable=False` may lose the last commits with the machine.

    `read_only` changes nothing in the file, neither does it make one or bring its tables up to date.

    Writes of all callers share commits. Reads have their own thread as well, even those of a few
    microseconds: they come where L1 missed, and on a hung disk a read on the event loop would stop it.
    Every call gives its answer or raises within `deadline_s`; a write past its deadline may still happen.
    `now` is store time in Unix seconds; `worker` makes what runs the calls, for a simulation one without a thread.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        durable: bool = True,
        read_only: bool = False,
        deadline_s: float = DEADLINE_S,
        keep_s: float = KEEP_S,
        tombstones_s: float = TOMBSTONES_S,
        max_waiting: int = _MAX_WAITING,
        now: Callable[[], float] = time.time,
        worker: Callable[..., Worker[Any]] = Worker,
    ) -> None:
        self.now = now
        self.path = Path(path).absolute()
        connecting = look if read_only else partial(connect, durable=durable)
        file = OpenedFile(self.path)

        def open_file() -> sqlite3.Connection:
            file.check()
            connection = connecting(self.path, deadline_s=deadline_s)
            file.note()
            return connection

        self._commit = GroupCommit(open_file, str(self.path), keep_s, tombstones_s, now, file.check)
        self._snapshot = _Snapshot(open_file, str(self.path), file.check)
        self._writer: Worker[Job] = worker(
            f"sqlite writer of {self.path}",
            self._commit,
            self._commit.close,
            deadline_s=deadline_s,
            max_waiting=max_waiting,
            max_batch=_WRITE_BATCH,
            rest=self._commit.rest,
        )
        self._reader: Worker[Query] = worker(
            f"sqlite reader of {self.path}",
            self._snapshot,
            self._snapshot.close,
            deadline_s=deadline_s,
            max_waiting=max_waiting,
            max_batch=_READ_BATCH,
        )
        self._users = 0

    @property
    def commits(self) -> int:
        """How many transactions of writes have been committed."""
        return self._commit.commits

    async def open(self) -> None:
        """Open the file for reading and for writing, so that no request has to; writes nothing to one that is there."""
        await asyncio.gather(self._reader.call(_nothing), self._writer.call(nothing))

    async def append(self, record: UpdateRecord) -> Appended:
        """Append an update, in one commit with whatever else waits."""
        return cast(Appended, await self._writer.call(record))

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Append updates in one commit, again with whatever else waits; gives an outcome for each."""
        return cast(Sequence[Appended | StoreError], await self._writer.call_all(records))

    async def write(self, change: Callable[[Commit], T]) -> T:
        """Run a change in the next commit."""
        return cast(T, await self._writer.call(change))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a snapshot that holds every write acknowledged before."""
        return cast(T, await self._reader.call(query))

    def share(self) -> None:
        """Count one more user; the database closes when the last one has released it."""
        self._users += 1

    async def release(self) -> None:
        """Give one use back."""
        self._users -= 1
        if self._users == 0:
            await self.close()

    async def close(self) -> None:
        """Finish what waits, within the deadline, and close the file; idempotent."""
        await asyncio.gather(self._reader.close(), self._writer.close())


def _nothing(_connection: sqlite3.Connection) -> None:
    """A query for nothing: what counts is the opening before it."""


class _Snapshot:
    """Runs queries together in one read transaction."""

    def __init__(
        self, open_file: Callable[[], sqlite3.Connection], path: str, check: Callable[[], None]
    ) -> None:
        self._open_file, self._check = open_file, check
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __call__(self, queries: Sequence[Query]) -> Sequence[object]:
        try:
            return self._read(queries)
        except StoreError as error:  # the file could not be opened, or is another one by now
            return [type(error)(str(error)) for _ in queries]
        except sqlite3.Error as error:
            return [translated(error, self._path) for _ in queries]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, queries: Sequence[Query]) -> list[object]:
        connection = self._connection = self._connection or self._open_file()
        self._check()
        try:
            connection.execute("BEGIN")
            outcomes = [self._outcome(connection, query) for query in queries]
            connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        return outcomes

    def _outcome(self, connection: sqlite3.Connection, query: Query) -> object:
        try:
            return query(connection)
        except (sqlite3.Error, *UNSTORABLE) as error:
            return translated(error, self._path)
