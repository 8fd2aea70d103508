"""What Firestore's refusals and silences mean to a caller, as errors of the store port.

StoreDown
├── PastDeadline        no answer in time: the write may have happened
├── Exhausted           over quota: come back later than usual
└── NotOpen             not opened, or closed since: asking again within the call can't help
StoreDenied
├── MissingIndex        a query that the shipped indexes would serve
└── StoreTooLarge       a request over the bytes that a side takes
PreconditionFailed      a document is not in the state that the commit requires (never leaves app/store)
└── AlreadyExists       it exists
"""

from typing import Any, Final

import grpc

from actors.stores import StoreDenied, StoreDown, StoreError, StoreExhausted, StoreTooLarge

Code = grpc.StatusCode

FOREIGN: Final = (grpc.RpcError, grpc.aio.BaseError)
"""All that gRPC raises for a call that did not succeed."""


class PastDeadline(StoreDown):
    """No answer within the attempt's deadline."""


class Exhausted(StoreExhausted):
    """RESOURCE_EXHAUSTED: over quota, or more writes than the database takes now."""


class NotOpen(StoreDown):
    """The connection is not open."""


class MissingIndex(StoreDenied):
    """The query needs a composite index that the database does not have."""

    shut_out = False


class PreconditionFailed(StoreError):
    """A document exists, is absent, or is at another version than the commit requires; nothing was written.

    `unsure` says that an earlier attempt of the same commit got no answer, so it may have been that one.
    """

    unsure = False


class AlreadyExists(PreconditionFailed):
    """A document exists that the commit wants to create."""


_RETRIED: Final = frozenset(
    {Code.UNAVAILABLE, Code.ABORTED, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}
)
_TOO_LARGE: Final = (
    "exceeds maximum size",
    "larger than max",
    "payload size exceeds the limit",
    "Transaction too big",
)
_PRECONDITIONS: Final = frozenset({Code.FAILED_PRECONDITION, Code.NOT_FOUND})


def store_error(error: Exception) -> StoreError:
    """Give the port's error for one of FOREIGN."""
    code, detail = _code(error), _detail(error)
    if _is_refused_key(detail):
        return StoreDenied(f"Google refuses the service account: {detail}")
    match code:
        case Code.DEADLINE_EXCEEDED:
            return PastDeadline(f"Firestore did not answer in time: {detail}")
        case Code.ALREADY_EXISTS:
            return AlreadyExists(f"ALREADY_EXISTS: {detail}")
        case Code.RESOURCE_EXHAUSTED | Code.INVALID_ARGUMENT if _is_too_large(detail):
            return StoreTooLarge(detail)
        case Code.RESOURCE_EXHAUSTED:
            return Exhausted(f"Firestore is over its quota: {detail}")
        case Code.FAILED_PRECONDITION if _is_missing_index(detail):
            return MissingIndex(detail)
        case Code.NOT_FOUND if _is_missing_database(detail):
            return StoreDenied(detail)
        case _ if code in _PRECONDITIONS or _is_future_version(detail):
            return PreconditionFailed(f"{code.name}: {detail}")
        case _ if code in _RETRIED:
            return StoreDown(f"{code.name}: {detail}")
    return StoreDenied(f"{code.name}: {detail}")


def _code(error: Exception) -> grpc.StatusCode:
    """What ended a call has a status; what gRPC says of its own use, a call on a closed channel say, has none."""
    code: Any = getattr(error, "code", None)
    status = code() if callable(code) else None
    return status if isinstance(status, grpc.StatusCode) else Code.UNKNOWN


def _detail(error: Exception) -> str:
    """One line, cut: a detail can carry a whole document name or a console link."""
    details: Any = getattr(error, "details", None)  # the text of the error itself has many lines
    return " ".join(str(details() if callable(details) else error).split())[:500]


def _is_missing_index(detail: str) -> bool:
    """Nothing but the text tells it from a version mismatch: "The query requires an index"."""
    return "index" in detail


def _is_too_large(detail: str) -> bool:
    """gRPC's words for a message over a side's bound (the emulator's: 4 MiB), which is no quota: it stays too large.

    And the service's own, for a request over 10 MiB and for a commit of which its indexes make too much.
    """
    return any(words in detail for words in _TOO_LARGE)


def _is_future_version(detail: str) -> bool:
    """A version above the stored one comes back as INVALID_ARGUMENT: "Invalid base version, it is greater"."""
    return "base version" in detail


def _is_missing_database(detail: str) -> bool:
    return "database" in detail and "does not exist" in detail


def _is_refused_key(detail: str) -> bool:
    """The auth plugin says UNAVAILABLE for a revoked key, too; OAuth's word is `invalid_grant`."""
    return "metadata from plugin failed" in detail and "invalid_" in detail
