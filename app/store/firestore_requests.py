"""What is asked of Firestore, as values of ours: changes (writes of a commit) and searches (queries)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from google.cloud.firestore_v1 import types

from app.store.firestore_values import fill_value, to_value
from contracts.base import Value

_Query: Final[Any] = types.StructuredQuery.pb()
_NOW: Final = types.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME
_Operator: Final = types.StructuredQuery.FieldFilter.Operator
_Direction: Final = types.StructuredQuery.Direction
_FIRST_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class When(Enum):
    """What a change asks of its document, where it does not name a version."""

    ALWAYS = "always"
    ABSENT = "absent"
    PRESENT = "present"


class Change(Value, frozen=True, kw_only=True):
    """One write of a commit: it merges the named fields and leaves the others, never replaces a document.

    `paths` names parts of the fields, by dotted paths, where not the whole of them is meant.

    `increments` and `server_times` may name a field inside of a map by a dotted path; the results of
    `increments` come back with the commit. `added` and `removed` are elements of arrays. `when` may be a
    version (update time in microseconds) that the document must have. `deleted` names nothing and deletes the
    document, whether it is there or not.
    """

    document: str
    fields: Mapping[str, Any] = {}
    paths: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    increments: Mapping[str, int | float] = {}
    server_times: tuple[str, ...] = ()
    added: Mapping[str, Sequence[str]] = {}
    removed: Mapping[str, Sequence[str]] = {}
    when: When | int = When.ALWAYS
    deleted: bool = False


class Search(Value, frozen=True, kw_only=True):
    """One query of a collection: equal fields, at most one `any_of`, ordered by at most one field.

    `times_only` leaves out documents whose order field is no timestamp (Firestore sorts mixed types by type);
    `after_us` does, too, and gives only those with a later time than that (microseconds since 1970).
    `only` names the fields that are given, all if it is empty; `__name__` alone gives none.
    `at_least` gives only those whose order field is a number from that one on.
    `after` is the place of a document in that order, its field and its path: what stands behind it is found.
    The answer ends behind the document that brings it to `most_bytes`, if any are named.
    """

    collection: str
    limit: int
    equal: Mapping[str, Any] = {}
    any_of: tuple[str, Sequence[str]] | None = None
    order: str = ""
    descending: bool = False
    times_only: bool = False
    after_us: int | None = None
    at_least: int | None = None
    only: tuple[str, ...] = ()
    after: tuple[datetime | int, str] | None = None
    most_bytes: int | None = None

    @property
    def index(self) -> str:
        """The composite index that serves it, as firestore.indexes.json lists it."""
        fields = [*self.equal, *([self.any_of[0]] if self.any_of else [])]
        order = f"{self.order} {'DESCENDING' if self.descending else 'ASCENDING'}"
        return f"{self.collection}: {', '.join([*(f'{name} ASCENDING' for name in fields), order])}"


def fill_write(write: Any, change: Change, root: str) -> None:
    """Fill the protobuf Write of a change where it stands; `root` is the path that document names begin with."""
    if change.deleted:
        write.delete = f"{root}/{change.document}"
        return
    write.update.name = f"{root}/{change.document}"
    for name, plain in change.fields.items():
        fill_value(write.update.fields[name], plain)
    if change.when is not When.ABSENT:  # a new document goes out whole, as Google's own `create` sends it
        # An empty mask changes no field; without one the document would be replaced.
        write.update_mask.SetInParent()
        write.update_mask.field_paths.extend((*(change.paths or change.fields), *change.cleared))
    _add_transforms(write, change)
    _set_condition(write, change.when)


def _add_transforms(write: Any, change: Change) -> None:
    """Increments come first, because their results are read by position."""
    add = write.update_transforms.add
    for path, step in change.increments.items():
        add(field_path=path).increment.CopyFrom(to_value(step))
    for path in change.server_times:
        add(field_path=path).set_to_server_value = _NOW
    for path, items in change.added.items():
        add(field_path=path).append_missing_elements.values.extend(map(to_value, items))
    for path, items in change.removed.items():
        add(field_path=path).remove_all_from_array.values.extend(map(to_value, items))


def _set_condition(write: Any, when: When | int) -> None:
    match when:
        case When.ALWAYS:
            return
        case When.ABSENT | When.PRESENT:
            write.current_document.exists = when is When.PRESENT
        case version:
            write.current_document.update_time.FromMicroseconds(version)


def to_query(search: Search, root: str) -> Any:
    """Give the protobuf StructuredQuery of a search; `root` as above."""
    query = _Query()
    query.from_.add(collection_id=search.collection)
    for path, operator, plain in _conditions(search):
        part = query.where.composite_filter.filters.add().field_filter
        part.field.field_path, part.op = path, operator
        part.value.CopyFrom(to_value(plain))
    if query.HasField("where"):
        query.where.composite_filter.op = types.StructuredQuery.CompositeFilter.Operator.AND
    direction = _Direction.DESCENDING if search.descending else _Direction.ASCENDING
    if search.order:
        query.order_by.add(direction=direction).field.field_path = search.order
    if search.after:
        query.order_by.add(direction=direction).field.field_path = "__name__"  # as Firestore itself adds it
        field, path = search.after
        query.start_at.before = False
        query.start_at.values.add().CopyFrom(to_value(field))
        query.start_at.values.add().reference_value = f"{root}/{path}"
    for path in search.only:
        query.select.fields.add(field_path=path)
    query.limit.value = search.limit
    return query


def _conditions(search: Search) -> list[tuple[str, Any, Any]]:
    conditions = [(path, _Operator.EQUAL, plain) for path, plain in search.equal.items()]
    if search.any_of:
        conditions.append((search.any_of[0], _Operator.IN, list(search.any_of[1])))
    if search.times_only:  # a range matches values of its own type only
        conditions.append((search.order, _Operator.GREATER_THAN_OR_EQUAL, _FIRST_TIME))
    if search.after_us is not None:
        after = _EPOCH + timedelta(microseconds=search.after_us)
        conditions.append((search.order, _Operator.GREATER_THAN, after))
    if search.at_least is not None:
        conditions.append((search.order, _Operator.GREATER_THAN_OR_EQUAL, search.at_least))
    return conditions
