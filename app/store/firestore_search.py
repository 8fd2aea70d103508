"""Queries that go on when an index is missing, or when bad documents crowd out the good ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog

from actors.stores import StoreMeter
from app.store.firestore_answers import Found, living
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_errors import MissingIndex
from app.store.firestore_poison import Poison
from app.store.firestore_requests import Search

T = TypeVar("T")

_WIDER: Final = 8  # a plan without index reads that many times the limit, to choose from
_WIDEST: Final = 2000  # documents: bodies come with them, and a warm has a deadline

_log: Final[Any] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """A search that a composite index serves, and how to do without that index.

    `plain` needs none; of its wider answer those that `keep` accepts are taken in the order of `rank`. So it
    can overlook what lies beyond its own limit, which is why the indexes are shipped.
    """

    search: Search
    plain: Search
    read: Callable[[str, Any], T]
    keep: Callable[[T], bool]
    rank: Callable[[T], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found, `limit` documents at most, each as `living`; `plain`: it went without the index."""

    found: Found
    limit: int
    plain: bool


async def find(database: FirestoreDatabase, plan: Plan[T], meter: StoreMeter) -> tuple[tuple[T, ...], Poison]:
    """Give at most the plan's limit of records, in order, and what was set aside."""
    poison = Poison()
    records, documents = await _find(database, plan, meter, poison)
    if len(poison) and documents >= plan.search.limit:
        # Firestore sorts mixed types by type, so bad documents can fill the whole answer.
        records, _ = await _find(database, _times_only(plan), meter, Poison())
    return records[: plan.search.limit], poison


async def answer(database: FirestoreDatabase, plan: Plan[T], meter: StoreMeter) -> Answer:
    """Ask the plan's search, or the plain one when its index is missing."""
    try:
        found = await database.query(plan.search, meter, living(plan.read))
        return Answer(found=found, limit=plan.search.limit, plain=False)
    except MissingIndex as error:
        _log.warning("store_index_missing", index=plan.search.index, error=str(error))
    wider = _wider(plan)
    found = await database.query(wider, meter, living(plan.read))
    return Answer(found=found, limit=wider.limit, plain=True)


async def _find(
    database: FirestoreDatabase, plan: Plan[T], meter: StoreMeter, poison: Poison
) -> tuple[tuple[T, ...], int]:
    given = await answer(database, plan, meter)
    records: tuple[T, ...] = poison.sound(given.found.documents)
    if given.plain:
        records = tuple(sorted(filter(plan.keep, records), key=plan.rank))
    return records, len(given.found.documents)


def _wider(plan: Plan[T]) -> Search:
    return msgspec.structs.replace(plan.plain, limit=min(plan.search.limit * _WIDER, _WIDEST))


def _times_only(plan: Plan[T]) -> Plan[T]:
    return Plan(
        search=msgspec.structs.replace(plan.search, times_only=True),
        plain=msgspec.structs.replace(plan.plain, times_only=bool(plan.plain.order)),
        read=plan.read,
        keep=plan.keep,
        rank=plan.rank,
    )
