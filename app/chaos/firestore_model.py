"""A small Firestore in memory: the three calls that our adapter makes, with Firestore's own semantics.

What it claims is measured against Google's emulator, by the conformance suite and call by call.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import grpc
from google.cloud.firestore_v1 import types

from app.chaos.firestore_fields import merge, segments, transform
from app.chaos.firestore_queries import answer, conditions_of
from app.store.firestore_values import micros

Code = grpc.StatusCode

REQUEST_MOST: Final = 10 * 1024 * 1024
"""Bytes of a request [Firestore's limits]."""
_DOCUMENT_MOST: Final = 1_048_576
_PROPERTY_MOST: Final = 1_048_487

_Document: Final[Any] = types.Document.pb()
_Committed: Final[Any] = types.CommitResponse.pb()
_Result: Final[Any] = types.WriteResult.pb()
_Value: Final[Any] = types.Value.pb()
_Got: Final[Any] = types.BatchGetDocumentsResponse.pb()
_Ran: Final[Any] = types.RunQueryResponse.pb()


class Written(NamedTuple):
    """What a commit did to one document: the Write, and the document before and after it (protobuf), None for none."""

    write: Any
    before: Any
    after: Any


Listener = Callable[[Sequence[Written]], None]
"""Hears of each commit at the moment of it."""


class FirestoreModel:
    """The documents of all databases by their names; `now` gives its time in Unix seconds.

    Raises grpc.aio.AioRpcError as the service refuses; takes no time and never fails otherwise.
    """

    def __init__(self, now: Callable[[], float], listener: Listener = lambda _: None) -> None:
        self._now, self._listener = now, listener
        self._collections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._index: defaultdict[tuple[str, str, bytes], dict[str, None]] = defaultdict(dict)
        self._last_us = 0

    # ------------------------------------------------------------ the three calls

    def batch_get(self, request: Any) -> list[Any]:
        """Give an answer for each document that is named, all of one moment."""
        read_time = self._read_time()
        return [self._got(name, read_time) for name in dict.fromkeys(request.documents)]

    def run_query(self, request: Any) -> list[Any]:
        """Give an answer for each document that is found, all of one moment; one without any if none is."""
        query, read_time = request.structured_query, self._read_time()
        collection = f"{request.parent}/{query.from_[0].collection_id}"
        found = answer(query, self._candidates(collection, query))
        return [_Ran(document=each, read_time=read_time) for each in found] or [_Ran(read_time=read_time)]

    def commit(self, request: Any, began_us: int = 0) -> Any:
        """Apply all writes or none; the request's time is that of its beginning (now if none is given)."""
        if request.ByteSize() > REQUEST_MOST:
            raise refusal(
                Code.INVALID_ARGUMENT, f"Request payload size exceeds the limit: {REQUEST_MOST} bytes."
            )
        for write in request.writes:
            _check_paths(write.update_transforms)
        began = began_us or self.now_us()
        commit_us = max(self.now_us(), self._last_us + 1)
        commit = _Staging(self.document, began - began % 1000, commit_us)  # its own times are of milliseconds
        response = _Committed(write_results=[commit.apply(write) for write in request.writes])
        response.commit_time.FromMicroseconds(commit_us)
        self._last_us = commit_us
        for name, document in commit.staged.items():
            self._store(name, document)
        self._listener(commit.written)
        return response

    # ------------------------------------------------------------ what lies beneath

    def now_us(self) -> int:
        """Its clock, in microseconds."""
        return round(self._now() * 1e6)

    def document(self, name: str) -> Any | None:
        """The document of that name, not to be changed; None when there is none."""
        return self._collections[_collection_of(name)].get(name)

    def _got(self, name: str, read_time: Any) -> Any:
        document = self.document(name)
        if document is None:
            return _Got(missing=name, read_time=read_time)
        return _Got(found=document, read_time=read_time)

    def _read_time(self) -> Any:
        """No commit after a reading has its time, or an earlier one."""
        self._last_us = max(self._last_us, self.now_us())
        return _timestamp(self._last_us)

    def _candidates(self, collection: str, query: Any) -> Iterable[Any]:
        """The documents that an index of one field leaves to look at; there are indexes of truth values only."""
        documents = self._collections[collection]
        indexed = [
            self._index[collection, condition.path, condition.value.SerializeToString()]
            for condition in conditions_of(query)
            if condition.operator == _EQUAL and _is_indexed(condition.value)
        ]
        return [documents[name] for name in min(indexed, key=len)] if indexed else documents.values()

    def _store(self, name: str, document: Any | None) -> None:
        collection = _collection_of(name)
        for entry in _entries(collection, self._collections[collection].pop(name, None)):
            self._index[entry].pop(name, None)
        if document is not None:
            self._collections[collection][name] = document
        for entry in _entries(collection, document):
            self._index[entry][name] = None


class _Staging:
    """A commit on its way: what it writes is seen by nobody before all of it holds."""

    def __init__(self, look: Callable[[str], Any | None], request_us: int, commit_us: int) -> None:
        self._look, self._request_time, self._commit_us = look, _timestamp(request_us), commit_us
        self.staged: dict[str, Any | None] = {}
        self.written: list[Written] = []

    def apply(self, write: Any) -> Any:
        """Stage one write and give its result."""
        name = write.delete or write.update.name
        if name in self.staged:
            raise NotImplementedError("the model knows no commit that writes a document twice")
        before = self._look(name)
        _check(write, before)
        result = _Result()
        after = None if write.delete else self._changed(write, before, result)
        self.staged[name] = after
        self.written.append(Written(write, before, after))
        if after is not None:
            result.update_time.CopyFrom(after.update_time)
        return result

    def _changed(self, write: Any, before: Any | None, result: Any) -> Any:
        """The document after the write; one that changes nothing leaves it at its update time."""
        after = _Document(name=write.update.name)
        if before is not None and write.HasField("update_mask"):
            after.CopyFrom(before)
        if write.HasField("update_mask"):
            merge(after.fields, write.update.fields, write.update_mask.field_paths)
        else:
            after.MergeFrom(write.update)
        result.transform_results.extend(
            transform(after.fields, step, self._request_time) for step in write.update_transforms
        )
        _check_size(after)
        now = _timestamp(self._commit_us)
        after.create_time.CopyFrom(before.create_time if before is not None else now)
        after.update_time.CopyFrom(before.update_time if before is not None else now)
        if after == before:
            return before
        after.update_time.CopyFrom(now)
        return after


def refusal(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    """Give the error that gRPC raises for a call that the service refused."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def _check_paths(steps: Iterable[Any]) -> None:
    """No transform may be of a part of what another one is of."""
    paths = sorted(segments(step.field_path) for step in steps)
    if any(longer != path and longer[: len(path)] == path for path, longer in pairwise(paths)):
        raise refusal(Code.INVALID_ARGUMENT, "the paths of the transforms conflict")


def _check(write: Any, before: Any | None) -> None:
    """Preconditions, with the statuses and the words of the service."""
    condition = write.current_document
    match condition.WhichOneof("condition_type"):
        case "exists" if condition.exists and before is None:
            raise refusal(Code.NOT_FOUND, "no entity to update")
        case "exists" if before is not None and not condition.exists:
            raise refusal(Code.ALREADY_EXISTS, f"entity already exists: {before.name}")
        case "update_time":
            _check_version(
                micros(before.update_time) if before is not None else 0, micros(condition.update_time)
            )


def _check_version(stored: int, wanted: int) -> None:
    if stored and wanted > stored:
        raise refusal(Code.INVALID_ARGUMENT, "Invalid base version, it is greater than the stored version")
    if wanted != stored or not stored:
        raise refusal(
            Code.FAILED_PRECONDITION,
            f"the stored version ({stored}) does not match the required base version ({wanted})",
        )


def _check_size(document: Any) -> None:
    for name, value in document.fields.items():
        if value.ByteSize() > _PROPERTY_MOST + 4:  # protobuf's tag and length
            raise refusal(
                Code.INVALID_ARGUMENT,
                f'The value of property "{name}" is longer than {_PROPERTY_MOST} bytes.',
            )
    if document.ByteSize() > _DOCUMENT_MOST:
        raise refusal(Code.INVALID_ARGUMENT, f"Document '{document.name}' exceeds the maximum allowed size")


_EQUAL: Final = types.StructuredQuery.FieldFilter.Operator.EQUAL


def _entries(collection: str, document: Any | None) -> list[tuple[str, str, bytes]]:
    """The places of a document in the index."""
    if document is None:
        return []
    return [
        (collection, name, value.SerializeToString())
        for name, value in document.fields.items()
        if _is_indexed(value)
    ]


def _is_indexed(value: Any) -> bool:
    return bool(value.WhichOneof("value_type") == "boolean_value")


def _collection_of(name: str) -> str:
    return name.rpartition("/")[0]


def _timestamp(time_us: int) -> Any:
    time = _Value().timestamp_value
    time.FromMicroseconds(time_us)
    return time
