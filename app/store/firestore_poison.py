"""Documents that can't be read: set aside one by one, each with its reason, while the rest loads."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from app.store.firestore_answers import Unread
from app.store.firestore_values import UnreadableDocument
from contracts.skills import SetAside

T = TypeVar("T")

_log: Final[Any] = structlog.get_logger(__name__)


class Poison:
    """What one call has set aside."""

    def __init__(self) -> None:
        self._found: list[SetAside] = []

    @property
    def found(self) -> tuple[SetAside, ...]:
        """All of it, in the order of reading."""
        return tuple(self._found)

    def __len__(self) -> int:
        """Count what was set aside."""
        return len(self._found)

    def readable(self, documents: Mapping[str, Any | None], read: Callable[[str, Any], T]) -> tuple[T, ...]:
        """Give the documents that `read` can read, in order; absent ones and all others are set aside."""
        for path in (path for path, document in documents.items() if document is None):
            self.set_aside(path, "the document is missing")
        results = (self.guard(path, document, read) for path, document in documents.items())
        return tuple(result for result in results if result is not None)

    def sound(self, kept: Mapping[str, T | Unread | None]) -> tuple[T, ...]:
        """Give what `living` has kept, in order; what could not be read is set aside."""
        for path, each in kept.items():
            if isinstance(each, Unread):
                self.set_aside(path, each.reason)
        return tuple(each for each in kept.values() if each is not None and not isinstance(each, Unread))

    def guard(self, path: str, document: Any | None, read: Callable[[str, Any], T]) -> T | None:
        """Give what `read` makes of the document; None when it is absent or was set aside."""
        if document is None:
            return None
        try:
            return read(path, document)
        except UnreadableDocument as error:
            self.set_aside(path, str(error))
            return None

    def set_aside(self, path: str, reason: str) -> None:
        """Note a document; logged, because not every method of the port can hand it to its caller."""
        self._found.append(SetAside(file=path, reason=reason))
        _log.warning("store_document_set_aside", document=path, reason=reason)
