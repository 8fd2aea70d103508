"""What a write does to the fields of a document: masks, dotted paths, and the transforms behind them."""

import re
from collections.abc import Sequence
from typing import Any, Final

from google.cloud.firestore_v1 import types

from app.chaos.firestore_order import key_of

_Value: Final[Any] = types.Value.pb()
_SEGMENT: Final = re.compile(r"(?:`((?:[^`\\]|\\.)*)`|([^.`]+))(?:\.|$)")
_INT64_MOST: Final = 2**63 - 1


def segments(path: str) -> list[str]:
    """Take a field path apart: a segment in backticks may hold dots."""
    return [_unquoted(found[1]) if found[1] is not None else found[2] for found in _SEGMENT.finditer(path)]


def merge(fields: Any, update: Any, mask: Sequence[str]) -> None:
    """Of the fields that the mask names, set those that the update has, and delete the others."""
    for path in map(segments, mask):
        value = find(update, path)
        if value is None:
            _delete(fields, path)
        else:
            _set(fields, path, value)


def find(fields: Any, path: Sequence[str]) -> Any | None:
    """Give the value at a path, None where nothing is."""
    *parents, last = path
    for name in parents:
        if name not in fields or fields[name].WhichOneof("value_type") != "map_value":
            return None
        fields = fields[name].map_value.fields
    return fields.get(last)


def transform(fields: Any, step: Any, request_time: Any) -> Any:
    """Apply a FieldTransform and give its result, a Value; `request_time` is a Timestamp."""
    path = segments(step.field_path)
    before, result = find(fields, path), _Value(null_value=0)
    match step.WhichOneof("transform_type"):
        case "set_to_server_value":
            after = result = _Value(timestamp_value=request_time)
        case "increment":
            after = result = _sum(before, step.increment)
        case "append_missing_elements":
            after = _appended(before, step.append_missing_elements.values)
        case "remove_all_from_array":
            after = _without(before, step.remove_all_from_array.values)
        case other:
            raise NotImplementedError(f"the model knows no {other}")
    _set(fields, path, after)
    return result


def _set(fields: Any, path: Sequence[str], value: Any) -> None:
    """What stands on the way and is no map is replaced by one."""
    *parents, last = path
    for name in parents:
        fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    fields[last].CopyFrom(value)


def _delete(fields: Any, path: Sequence[str]) -> None:
    *parents, last = path
    if parents:
        parent = find(fields, parents)
        if parent is None or parent.WhichOneof("value_type") != "map_value":
            return
        fields = parent.map_value.fields
    if last in fields:
        del fields[last]


def _sum(before: Any | None, step: Any) -> Any:
    """Integers stay within 64 bits; what is no number counts as none [FieldTransform.increment]."""
    if before is None or before.WhichOneof("value_type") not in ("integer_value", "double_value"):
        return _Value.FromString(step.SerializeToString())
    total = _number(before) + _number(step)
    if isinstance(total, int):
        return _Value(integer_value=max(-_INT64_MOST - 1, min(total, _INT64_MOST)))
    return _Value(double_value=total)


def _number(value: Any) -> int | float:
    number: int | float = getattr(value, value.WhichOneof("value_type"))
    return number


def _appended(before: Any | None, values: Sequence[Any]) -> Any:
    array = _array(before)
    held = {key_of(value) for value in array.array_value.values}
    for value in values:
        if key_of(value) not in held:
            array.array_value.values.append(value)
            held.add(key_of(value))
    return array


def _without(before: Any | None, values: Sequence[Any]) -> Any:
    gone, array = {key_of(value) for value in values}, _Value()
    array.array_value.SetInParent()
    array.array_value.values.extend(
        value for value in _array(before).array_value.values if key_of(value) not in gone
    )
    return array


def _array(before: Any | None) -> Any:
    """A copy; what is no array counts as an empty one."""
    array = _Value()
    array.array_value.SetInParent()
    if before is not None and before.WhichOneof("value_type") == "array_value":
        array.CopyFrom(before)
    return array


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
