"""A Firestore database on one event loop: commit, read by path, query."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.cloud.firestore_v1 import types

from actors.stores import StoreDenied, StoreDown, StoreMeter
from app.store.firestore_answers import Found, Gathering, Reader, as_it_came
from app.store.firestore_attempts import Attempt, Attempts, Limits, Uniform
from app.store.firestore_channel import Dial, Line, dial_emulator, dial_google
from app.store.firestore_errors import AlreadyExists, MissingIndex, NotOpen, PreconditionFailed
from app.store.firestore_requests import Change, Search, When, fill_write, to_query
from app.store.firestore_values import micros
from contracts.base import Value

_Commit: Final[Any] = types.CommitRequest.pb()
_BatchGet: Final[Any] = types.BatchGetDocumentsRequest.pb()
_RunQuery: Final[Any] = types.RunQueryRequest.pb()
_CHUNK: Final = 250  # documents a BatchGet: above it the client's CPU is the cost, so chunks run in parallel


_LONG: Final = 100_000  # bytes: above it others have their turn between two writes


class Applied(Value, frozen=True, kw_only=True):
    """What a commit did to one document: its new version, and the results of the change's increments."""

    version: int
    results: tuple[int, ...] = ()


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
        self._attempts: Attempts | None = None
        self._adapters: set[object] = set()
        self.missing_indexes: set[str] = set()

    async def open(self) -> None:
        """Open the connection on the running loop; idempotent. Raises StoreDenied without credentials."""
        if self._attempts is not None:
            return
        dial = dial_emulator(self._emulator_host) if self._emulator_host else None
        self.connect(dial or await dial_google(self._credentials_json))

    def connect(self, dial: Dial, uniform: Uniform = random.uniform) -> None:
        """Open the connection on the running loop by this dial; `uniform` spreads the waits between attempts."""
        self._attempts = Attempts(dial, self._limits, uniform)

    async def close(self) -> None:
        """Close the connection; idempotent. Calls that still run end in StoreDown."""
        attempts, self._attempts = self._attempts, None
        if attempts is not None:
            await attempts.connection.close()

    @property
    def connections_replaced(self) -> int:
        """How often the connection was taken for dead since `open`."""
        return self._attempts.connection.replaced if self._attempts else 0

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
        request = await self._packed(changes)
        metadata = _routed(self._metadata, database=self._name)

        async def attempt(line: Line, timeout_s: float) -> tuple[Applied, ...]:
            answer = await line.commit(request, timeout=timeout_s, metadata=metadata)
            meter.write(len(changes))
            return tuple(map(_applied, answer.write_results))

        try:
            return await self._opened().call(attempt, meter.write)
        except PreconditionFailed as error:
            if _was_asked_for(error, changes):
                raise
            raise StoreDenied(str(error)) from error  # so it is no answer: the database is of another kind

    async def _packed(self, changes: Sequence[Change]) -> bytes:
        """Give the request of a commit, packed write by write: in one go, the 10 MB of a warm image stop the loop.

        Packed messages of a kind, one behind the other, are the message with all that they repeat.
        """
        parts = [_Commit(database=self._name).SerializeToString()]
        for change in changes:
            part = _Commit()
            fill_write(part.writes.add(), change, self._root)
            parts.append(part.SerializeToString())
            if len(parts[-1]) > _LONG:
                await asyncio.sleep(0)
        return b"".join(parts)

    async def get_all(self, paths: Sequence[str], meter: StoreMeter, read: Reader = as_it_came) -> Found:
        """Read documents by path in one wave of parallel chunks; absent ones are left out."""
        unique = list(dict.fromkeys(paths))
        chunks = [unique[start : start + _CHUNK] for start in range(0, len(unique), _CHUNK)]
        parts = await _together([self._get_chunk(chunk, meter, read) for chunk in chunks])
        documents = {path: document for part in parts for path, document in part.documents.items()}
        return Found(documents=documents, read_at_us=min((part.read_at_us for part in parts), default=0))

    async def _get_chunk(self, paths: Sequence[str], meter: StoreMeter, read: Reader) -> Found:
        request = _BatchGet(database=self._name, documents=[f"{self._root}/{path}" for path in paths])
        metadata = _routed(self._metadata, database=self._name)

        async def attempt(line: Line, timeout_s: float) -> Found:
            gathering = self._gathering(read)
            async for answer in line.batch_get(request, timeout=timeout_s, metadata=metadata):
                gathering.add(answer, answer.found if answer.HasField("found") else None)
            _check_whole(gathering.answers, len(paths))
            return _metered(gathering.found(), meter)

        return await self._read(attempt, meter)

    async def query(self, search: Search, meter: StoreMeter, read: Reader = as_it_came) -> Found:
        """Run a query; documents come in its order. Raises MissingIndex, StoreDown, StoreDenied."""
        request = _RunQuery(parent=self._root, structured_query=to_query(search, self._root))
        metadata = _routed(self._metadata, parent=self._root)

        async def attempt(line: Line, timeout_s: float) -> Found:
            gathering = self._gathering(read, search.most_bytes)
            stream = line.run_query(request, timeout=timeout_s, metadata=metadata)
            async for answer in stream:
                gathering.add(answer, answer.document if answer.HasField("document") else None)
                if gathering.is_full:
                    stream.cancel()
                    break
            return _metered(gathering.found(), meter)

        try:
            return await self._read(attempt, meter)
        except MissingIndex as error:
            self.missing_indexes.add(search.index)
            raise MissingIndex(f"the database has no index {search.index}") from error

    async def _read(self, attempt: Attempt[Found], meter: StoreMeter) -> Found:
        try:
            return await self._opened().call(attempt, meter.read)
        except PreconditionFailed as error:  # a read has none: the database is of another kind, or gone
            raise StoreDenied(str(error)) from error

    def _gathering(self, read: Reader, most_bytes: int | None = None) -> Gathering:
        return Gathering(read, skip=len(self._root) + 1, most_bytes=most_bytes)

    def _opened(self) -> Attempts:
        if self._attempts is None:
            raise NotOpen("the Firestore connection is not open")
        return self._attempts


def _was_asked_for(error: PreconditionFailed, changes: Sequence[Change]) -> bool:
    conditions = {change.when for change in changes}
    if isinstance(error, AlreadyExists):
        return When.ABSENT in conditions
    return bool(conditions - {When.ALWAYS, When.ABSENT})


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


def _metered(found: Found, meter: StoreMeter) -> Found:
    meter.read(len(found.documents))
    return found


def _applied(result: Any) -> Applied:
    return Applied(
        version=micros(result.update_time),
        results=tuple(int(value.integer_value) for value in result.transform_results),
    )


def _routed(metadata: tuple[tuple[str, str], ...], **where: str) -> tuple[tuple[str, str], ...]:
    """Add the header by which Google finds the database's region, as its generated client does for its calls."""
    header: Any = to_grpc_metadata  # not typed
    return (*metadata, header(where))


def _metadata(database: str, *, emulated: bool) -> tuple[tuple[str, str], ...]:
    """The database's name, as Google's own client sends it; an emulator's `owner` is above its rules."""
    prefix = ("google-cloud-resource-prefix", database)
    return (prefix, ("authorization", "Bearer owner")) if emulated else (prefix,)
