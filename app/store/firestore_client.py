"""A Firestore database on one event loop: three calls, each with deadlines and retries of ours.

`timeout=` alone does not bound a call of Google's client (its own retries reach 300 s), so each attempt goes
out with `retry=None`, a deadline on the wire and one of ours around it, and the whole call has a budget.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import stamina
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient

from actors.ports import StoreDenied, StoreDown, StoreError, StoreMeter
from app.store.firestore_channel import Connection, Line, dial_emulator, dial_google
from app.store.firestore_errors import (
    FOREIGN,
    Exhausted,
    MissingIndex,
    PastDeadline,
    PreconditionFailed,
    store_error,
)
from app.store.firestore_requests import Change, Search, to_query, to_write
from app.store.firestore_values import micros
from contracts.base import Value

T = TypeVar("T")

_CHUNK: Final = 250  # documents a BatchGet: above it the client's CPU is the cost, so chunks run in parallel
_WIRE_FIRST_S: Final = 0.25  # gRPC's own deadline ends an attempt tidily; ours is for when it does not
_WAIT_FIRST_S: Final = 0.05
_WAIT_MOST_S: Final = 1.0
_WAIT_JITTER_S: Final = 0.1


class Limits(Value, frozen=True, kw_only=True):
    """How long a call may take: each attempt, and all of them with the waits between.

    Two attempts that end by their deadline replace the connection, and the budget leaves time for a third.
    """

    attempt_s: float = 3.0
    budget_s: float = 9.0
    attempts: int = 8
    exhausted_wait_s: float = 1.0  # over quota: soon again would make it worse


class Applied(Value, frozen=True, kw_only=True):
    """What a commit did to one document: its new version, and the results of the change's increments."""

    version: int
    results: tuple[int, ...] = ()


class Found(Value, frozen=True, kw_only=True):
    """Documents (protobuf) by path below the database's root, and the store time of the reading."""

    documents: Mapping[str, Any]
    read_at_us: int


class FirestoreDatabase:
    """A database, opened on the event loop that uses it. Calls raise StoreError and nothing of Google's.

    The adapters on it share its connection; it closes with the last of them, or with `close`.
    """

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        *,
        credentials_json: str | None = None,
        emulator_host: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        if credentials_json and emulator_host:
            raise StoreDenied("credentials and an emulator exclude each other")
        self._name = f"projects/{project}/databases/{database}"
        self._root = f"{self._name}/documents"
        self._credentials_json = credentials_json
        self._emulator_host = emulator_host
        self._limits = limits or Limits()
        self._metadata = _metadata(self._name, emulated=emulator_host is not None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self._adapters: set[object] = set()
        self.missing_indexes: set[str] = set()

    async def open(self) -> None:
        """Open the connection on the running loop; idempotent. Raises StoreDenied without credentials."""
        if self._connection is not None:
            return
        dial = dial_emulator(self._emulator_host) if self._emulator_host else None
        dial = dial or await dial_google(self._credentials_json)
        self._connection = Connection(dial, linger_s=self._limits.attempt_s + _WIRE_FIRST_S)
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close the connection; idempotent. Calls that still run end in StoreDown."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def connections_replaced(self) -> int:
        """How often the connection was taken for dead since `open`."""
        return self._connection.replaced if self._connection else 0

    def join(self, adapter: object) -> None:
        """Count an adapter that uses this database."""
        self._adapters.add(adapter)

    async def leave(self, adapter: object) -> None:
        """An adapter is done; the last one closes the connection."""
        self._adapters.discard(adapter)
        if not self._adapters:
            await self.close()

    # ------------------------------------------------------------ calls

    async def commit(self, changes: Sequence[Change], meter: StoreMeter) -> tuple[Applied, ...]:
        """Apply all changes or none; gives what each did, in their order.

        Raises PreconditionFailed, StoreDown (it may have happened), StoreDenied.
        """
        request = types.CommitRequest(database=self._name)
        types.CommitRequest.pb(request).writes.extend(to_write(change, self._root) for change in changes)

        async def attempt(api: FirestoreAsyncClient, timeout_s: float) -> tuple[Applied, ...]:
            answer = await api.commit(request, retry=None, timeout=timeout_s, metadata=self._metadata)
            meter.write(len(changes))
            return tuple(map(_applied, types.CommitResponse.pb(answer).write_results))

        return await self._call(attempt, meter.write)

    async def get_all(self, paths: Sequence[str], meter: StoreMeter) -> Found:
        """Read documents by path in one wave of parallel chunks; absent ones are left out."""
        unique = list(dict.fromkeys(paths))
        chunks = [unique[start : start + _CHUNK] for start in range(0, len(unique), _CHUNK)]
        parts = await _together([self._get_chunk(chunk, meter) for chunk in chunks])
        documents = {path: document for part in parts for path, document in part.documents.items()}
        return Found(documents=documents, read_at_us=min((part.read_at_us for part in parts), default=0))

    async def _get_chunk(self, paths: Sequence[str], meter: StoreMeter) -> Found:
        names = [f"{self._root}/{path}" for path in paths]
        request = types.BatchGetDocumentsRequest(database=self._name, documents=names)

        async def attempt(api: FirestoreAsyncClient, timeout_s: float) -> Found:
            stream = await api.batch_get_documents(
                request, retry=None, timeout=timeout_s, metadata=self._metadata
            )
            answers = [types.BatchGetDocumentsResponse.pb(answer) async for answer in stream]
            documents = [answer.found for answer in answers if answer.HasField("found")]
            found = self._found(documents, answers)
            _check_whole(len(answers), len(paths))
            meter.read(len(found.documents))
            return found

        return await self._read(attempt, meter)

    async def query(self, search: Search, meter: StoreMeter) -> Found:
        """Run a query; documents come in its order. Raises MissingIndex, StoreDown, StoreDenied."""
        request = types.RunQueryRequest(parent=self._root)
        types.RunQueryRequest.pb(request).structured_query.CopyFrom(to_query(search))

        async def attempt(api: FirestoreAsyncClient, timeout_s: float) -> Found:
            stream = await api.run_query(request, retry=None, timeout=timeout_s, metadata=self._metadata)
            answers = [types.RunQueryResponse.pb(answer) async for answer in stream]
            found = self._found(
                [answer.document for answer in answers if answer.HasField("document")], answers
            )
            meter.read(len(found.documents))
            return found

        try:
            return await self._read(attempt, meter)
        except MissingIndex as error:
            self.missing_indexes.add(search.index)
            raise MissingIndex(f"the database has no index {search.index}") from error

    async def _read(
        self, attempt: Callable[[FirestoreAsyncClient, float], Awaitable[Found]], meter: StoreMeter
    ) -> Found:
        try:
            return await self._call(attempt, meter.read)
        except PreconditionFailed as error:  # a read has none: the database is of another kind, or gone
            raise StoreDenied(str(error)) from error

    def _found(self, documents: list[Any], answers: list[Any]) -> Found:
        skip = len(self._root) + 1
        return Found(
            documents={document.name[skip:]: document for document in documents},
            read_at_us=max((micros(answer.read_time) for answer in answers), default=0),
        )

    # ------------------------------------------------------------ attempts

    async def _call(
        self,
        attempt: Callable[[FirestoreAsyncClient, float], Awaitable[T]],
        spent: Callable[[int], None],
    ) -> T:
        """Attempt until it succeeds, is refused, or the budget is spent."""
        try:
            async with asyncio.timeout(self._limits.budget_s):
                async for tried in self._attempts():
                    with tried:
                        return await self._attempt(attempt, spent, first=tried.num == 1)
        except TimeoutError as error:
            raise PastDeadline(f"Firestore did not answer in {self._limits.budget_s:g} s") from error
        raise AssertionError("the last attempt returns or raises")

    def _attempts(self) -> Any:
        return stamina.retry_context(
            on=self._again,
            attempts=self._limits.attempts,
            timeout=None,  # the budget around it bounds the attempt that runs, too
            wait_initial=_WAIT_FIRST_S,
            wait_max=_WAIT_MOST_S,
            wait_jitter=_WAIT_JITTER_S,
        )

    def _again(self, error: Exception) -> bool | float:
        """Whether to try again; a number says after how many seconds instead of the usual."""
        if isinstance(error, Exhausted):
            return self._limits.exhausted_wait_s * random.uniform(1.0, 2.0)
        return isinstance(error, StoreDown)

    async def _attempt(
        self,
        attempt: Callable[[FirestoreAsyncClient, float], Awaitable[T]],
        spent: Callable[[int], None],
        *,
        first: bool,
    ) -> T:
        connection = self._opened()
        line = connection.line
        try:
            answer = await self._bounded(attempt(line.api, self._limits.attempt_s))
        except StoreError as error:
            spent(0)
            _report(connection, line, error)
            if isinstance(error, PreconditionFailed):
                error.unsure = not first
            raise
        connection.answered(line)
        return answer

    async def _bounded(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.attempt_s + _WIRE_FIRST_S):
                return await _ours(call)
        except TimeoutError as error:
            raise PastDeadline(f"Firestore did not answer in {self._limits.attempt_s:g} s") from error

    def _opened(self) -> Connection:
        if self._connection is None:
            raise StoreDown("the Firestore connection is not open")
        if self._loop is not asyncio.get_running_loop():
            raise StoreDenied("the Firestore connection belongs to another event loop")
        return self._connection


def _report(connection: Connection, line: Line, error: StoreError) -> None:
    if isinstance(error, PastDeadline):
        connection.timed_out(line)
    else:
        connection.answered(line)


async def _ours(call: Awaitable[T]) -> T:
    """Await a call of Google's; whatever it raises comes out as a StoreError."""
    try:
        return await call
    except FOREIGN as error:
        raise store_error(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # A channel that closes cancels its calls; nobody cancelled this task.
        raise StoreDown("the connection was closed during the call") from error


async def _together(calls: Sequence[Any]) -> list[Any]:
    """Await all at once; the first failure cancels the others and is raised itself."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


def _check_whole(got: int, asked: int) -> None:
    """A stream that ended early is no answer: what it lacks is not absent."""
    if got < asked:
        raise StoreDown(f"Firestore answered for {got} of {asked} documents")


def _applied(result: Any) -> Applied:
    return Applied(
        version=micros(result.update_time),
        results=tuple(int(value.integer_value) for value in result.transform_results),
    )


def _metadata(database: str, *, emulated: bool) -> tuple[tuple[str, str], ...]:
    """The database's name, as Google's own client sends it; an emulator's `owner` is above its rules."""
    prefix = ("google-cloud-resource-prefix", database)
    return (prefix, ("authorization", "Bearer owner")) if emulated else (prefix,)
