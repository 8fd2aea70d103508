"""Queries of the Firestore in memory: the documents of one collection that match, in order, from a place on."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from google.cloud.firestore_v1 import types

from app.chaos.firestore_fields import find, segments
from app.chaos.firestore_order import Key, is_of_one_type, key_of, name_key

_Document: Final[Any] = types.Document.pb()
_Operator: Final = types.StructuredQuery.FieldFilter.Operator
_Or: Final = types.StructuredQuery.CompositeFilter.Operator.OR
_DESCENDING: Final = types.StructuredQuery.Direction.DESCENDING
_NAME: Final = "__name__"

Place = tuple[Key, ...]
"""Where a document stands in the order of a query: a key for each of the fields, its name last."""


class Condition(NamedTuple):
    """A filter on one field."""

    path: str
    operator: int
    value: Any


def answer(query: Any, documents: Iterable[Any]) -> list[Any]:
    """Give the documents (protobuf) that a StructuredQuery finds among these."""
    _refuse_others(query)
    conditions, order = conditions_of(query), _order(query)
    placed = [
        (_place(document, order), document)
        for document in documents
        if all(_holds(document, condition) for condition in conditions) and _has(document, order)
    ]
    for number, (_, is_descending) in reversed(list(enumerate(order))):
        placed.sort(key=partial(_by, number), reverse=is_descending)
    if query.HasField("start_at"):
        placed = [each for each in placed if _is_behind(each[0], query.start_at, order)]
    found = [document for _, document in placed]
    found = found[: query.limit.value] if query.HasField("limit") else found
    return [_selected(document, query) for document in found]


def conditions_of(query: Any) -> list[Condition]:
    """Give the filters, all of which a document has to meet."""
    if not query.HasField("where"):
        return []
    parts = (
        query.where.composite_filter.filters if query.where.HasField("composite_filter") else [query.where]
    )
    return [
        Condition(part.field_filter.field.field_path, part.field_filter.op, part.field_filter.value)
        for part in parts
    ]


def _refuse_others(query: Any) -> None:
    """What is asked for here, and is not looked at, would be answered wrongly."""
    known = ("select", "from_", "where", "order_by", "start_at", "limit")
    unknown = [field.name for field, _ in query.ListFields() if field.name not in known]
    if unknown or query.where.composite_filter.op == _Or:
        raise NotImplementedError(f"the model knows no query with {unknown or 'OR'}")


def needs_index(query: Any) -> bool:
    """Whether only a composite index serves it: more than one field, one of them in order or a range."""
    fields = {condition.path for condition in conditions_of(query)}
    ordered = {order.field.field_path for order in query.order_by} - {_NAME}
    return bool(ordered) and len(fields | ordered) > 1


def _order(query: Any) -> list[tuple[str, bool]]:
    """The fields, and whether they descend; the name, if it is not named, goes as the last field goes."""
    order = [(each.field.field_path, each.direction == _DESCENDING) for each in query.order_by]
    if not order:
        ranges = (each.path for each in conditions_of(query) if each.operator in _RANGES)
        order = [(path, False) for path in dict.fromkeys(ranges)]
    if not any(path == _NAME for path, _ in order):
        order.append((_NAME, order[-1][1] if order else False))
    return order


def _holds(document: Any, condition: Condition) -> bool:
    value = find(document.fields, segments(condition.path))
    return value is not None and _OPERATORS[condition.operator](key_of(value), condition.value)


def _is_equal(held: Key, wanted: Any) -> bool:
    return held == key_of(wanted)


def _is_one_of(held: Key, wanted: Any) -> bool:
    return any(held == key_of(each) for each in wanted.array_value.values)


def _is_greater(held: Key, wanted: Any) -> bool:
    key = key_of(wanted)
    return is_of_one_type(held, key) and held > key


def _is_at_least(held: Key, wanted: Any) -> bool:
    return _is_equal(held, wanted) or _is_greater(held, wanted)


_OPERATORS: Final[dict[int, Callable[[Key, Any], bool]]] = {
    _Operator.EQUAL: _is_equal,
    _Operator.IN: _is_one_of,
    _Operator.GREATER_THAN: _is_greater,
    _Operator.GREATER_THAN_OR_EQUAL: _is_at_least,
}
"""Those that the adapter uses; another one is a KeyError, and so a defect that a run tells of."""
_RANGES: Final = (_Operator.GREATER_THAN, _Operator.GREATER_THAN_OR_EQUAL)


def _has(document: Any, order: Sequence[tuple[str, bool]]) -> bool:
    """A document without the field is not in the field's index."""
    return all(path == _NAME or find(document.fields, segments(path)) is not None for path, _ in order)


def _place(document: Any, order: Sequence[tuple[str, bool]]) -> Place:
    return tuple(
        _name_place(document.name) if path == _NAME else key_of(find(document.fields, segments(path)))
        for path, _ in order
    )


def _by(number: int, placed: tuple[Place, Any]) -> Key:
    return placed[0][number]


def _is_behind(place: Place, cursor: Any, order: Sequence[tuple[str, bool]]) -> bool:
    """Whether it stands at or behind the cursor (`before`), or surely behind it."""
    for held, value, (path, is_descending) in zip(place, cursor.values, order, strict=False):
        wanted = _name_place(value.reference_value) if path == _NAME else key_of(value)
        if held != wanted:
            return (held < wanted) if is_descending else (held > wanted)
    return bool(cursor.before)


def _name_place(name: str) -> Key:
    return (name_key(name),)


def _selected(document: Any, query: Any) -> Any:
    if not query.HasField("select"):
        return document
    part = _Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    for field in query.select.fields:
        if field.field_path in document.fields:
            part.fields[field.field_path].CopyFrom(document.fields[field.field_path])
    return part
