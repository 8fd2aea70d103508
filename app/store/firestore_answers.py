"""What a stream of documents brings: each is read as it comes in, so that thousands never hold up the event loop."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app.store.firestore_values import UnreadableDocument, kind_of, micros, read_micros
from contracts.base import Value

T = TypeVar("T")

Reader = Callable[[str, Any, int], Any]
"""What to keep of a document: of its path, its protobuf, and the store time (microseconds) of its reading.

It raises nothing: one document would lose the whole answer.
"""


class Found(Value, frozen=True, kw_only=True):
    """What was kept of documents, by path below the database's root, and the store time of the reading.

    `last` is the last document of the stream as it came, whatever was kept of it. `is_cut`: the search's
    `most_bytes` were reached, so that more may have stood behind it.
    """

    documents: Mapping[str, Any]
    read_at_us: int
    last: Any = None
    is_cut: bool = False


class Unread(Value, frozen=True, kw_only=True):
    """Kept of a document that can't be read: the reason, and what stands in its place."""

    reason: str
    instead: Any = None


def as_it_came(path: str, document: Any, read_at_us: int) -> Any:  # noqa: ARG001  # a Reader
    """Keep the document, for a caller who looks at a few."""
    return document


def living(read: Callable[[str, Any], T]) -> Callable[[str, Any, int], T | Unread | None]:
    """Give a Reader that keeps None of what has expired, and Unread of what `read` refuses."""

    def keep(path: str, document: Any, read_at_us: int) -> T | Unread | None:
        if is_expired(document, read_at_us):
            return None
        try:
            return read(path, document)
        except UnreadableDocument as error:
            return Unread(reason=str(error))

    return keep


def is_expired(document: Any, read_at_us: int) -> bool:
    """Whether its time is over: the database's own deletion can lag by a day."""
    if kind_of(document.fields, "expires_at") != "timestamp_value":
        return False
    return read_micros(document.fields, "expires_at") <= read_at_us


class Gathering:
    """The answers of one stream so far; `skip` is the length of what document names begin with.

    It is full when its documents have come to `most_bytes`.
    """

    def __init__(self, read: Reader, skip: int, most_bytes: int | None = None) -> None:
        self._read, self._skip = read, skip
        self._left = most_bytes
        self._documents: dict[str, Any] = {}
        self._read_at_us = 0
        self._last: Any = None
        self.answers = 0

    def add(self, answer: Any, document: Any | None) -> None:
        """One answer (protobuf) with its document, if it has one."""
        self.answers += 1
        read_at_us = micros(answer.read_time)
        self._read_at_us = max(self._read_at_us, read_at_us)
        if document is not None:
            path = document.name[self._skip :]
            self._documents[path] = self._read(path, document, read_at_us)
            self._last = document
            if self._left is not None:
                self._left -= document.ByteSize()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is wanted."""
        return self._left is not None and self._left <= 0

    def found(self) -> Found:
        """All of it."""
        return Found(
            documents=self._documents, read_at_us=self._read_at_us, last=self._last, is_cut=self.is_full
        )
