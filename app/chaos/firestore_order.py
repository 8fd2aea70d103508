"""How Firestore compares values: first by type, then within the type; an integer equals the same double."""

import math
from typing import Any, Final

from app.store.firestore_values import micros

Key = tuple[Any, ...]
"""Of two keys of one rank, or of two ranks, the smaller belongs to the value that comes first."""

_RANKS: Final = {
    name: rank
    for rank, name in enumerate(
        (
            "null_value",
            "boolean_value",
            "number",
            "timestamp_value",
            "string_value",
            "bytes_value",
            "reference_value",
            "geo_point_value",
            "array_value",
            "map_value",
        )
    )
}


def key_of(value: Any) -> Key:
    """Give the key of a protobuf Value; equal keys are equal values [Firestore's page on data types]."""
    match value.WhichOneof("value_type"):
        case "integer_value" | "double_value" as kind:
            return _RANKS["number"], *_number(getattr(value, kind))
        case "timestamp_value":
            return _RANKS["timestamp_value"], micros(value.timestamp_value)
        case "string_value" | "reference_value" as kind:
            return _RANKS[kind], name_key(getattr(value, kind))
        case "geo_point_value":
            return _RANKS["geo_point_value"], value.geo_point_value.latitude, value.geo_point_value.longitude
        case "array_value":
            return _RANKS["array_value"], tuple(map(key_of, value.array_value.values))
        case "map_value":
            fields = value.map_value.fields
            return _RANKS["map_value"], tuple(
                (name_key(name), key_of(fields[name])) for name in sorted(fields)
            )
        case "null_value":
            return (_RANKS["null_value"],)
        case kind:
            return _RANKS[kind], getattr(value, kind)


def is_of_one_type(one: Key, other: Key) -> bool:
    """Whether a range that begins at one of them can hold the other."""
    return bool(one[0] == other[0])


def name_key(text: str) -> bytes:
    """Texts and names come in the order of their UTF-8 bytes."""
    return text.encode()


def _number(number: float) -> tuple[int, float]:
    """NaN equals itself and comes before every other number."""
    return (0, 0.0) if math.isnan(number) else (1, number)
