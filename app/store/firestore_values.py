"""Firestore's values in their own protobuf: writing them, and reading them without trust.

Google's snapshots decode a document whole while the answer streams in: one bad document loses all the
others, and each costs 139 us. So documents stay protobuf here, and a reader takes the fields that it needs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from google.cloud.firestore_v1 import types

from actors.stores import StoreDenied

Fields = Mapping[str, Any]
"""A document's or map's fields: protobuf Values by name."""

_Value: Final[Any] = types.Value.pb()
_INT64: Final = range(-(2**63), 2**63)


class UnreadableDocument(ValueError):
    """A stored document is not what it should be; the message is the reason, without the content."""


def to_value(plain: object) -> Any:
    """Give a protobuf Value; raises StoreDenied for a number outside of 64 bits."""
    value = _Value()
    fill_value(value, plain)
    return value


def fill_value(value: Any, plain: object) -> None:
    """Fill a protobuf Value where it stands, without a copy: a blob has a megabyte. Raises as `to_value`."""
    match plain:
        case bool():
            value.boolean_value = plain
        case int():
            value.integer_value = _int64(plain)
        case float():
            value.double_value = plain
        case str():
            value.string_value = _utf8(plain)
        case bytes():
            value.bytes_value = plain
        case datetime():
            value.timestamp_value.FromDatetime(plain)
        case Mapping():
            _fill_map(value, plain)
        case Sequence():
            value.array_value.SetInParent()
            value.array_value.values.extend(to_value(item) for item in plain)
        case _:
            raise TypeError(f"no Firestore value for {type(plain).__name__}")


def _fill_map(value: Any, plain: Mapping[str, object]) -> None:
    value.map_value.SetInParent()
    for name, item in plain.items():
        fill_value(value.map_value.fields[name], item)


def _int64(number: int) -> int:
    if number not in _INT64:
        raise StoreDenied("a number is outside of 64 bits")
    return number


def _utf8(text: str) -> str:
    """Firestore takes UTF-8 only: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


# ---------------------------------------------------------------- reading


def read_int(fields: Fields, name: str) -> int:
    """Give an integer field."""
    return int(_read(fields, name, "integer_value"))


def read_bool(fields: Fields, name: str) -> bool:
    """Give a boolean field."""
    return bool(_read(fields, name, "boolean_value"))


def read_text(fields: Fields, name: str) -> str:
    """Give a string field."""
    return str(_read(fields, name, "string_value"))


def read_bytes(fields: Fields, name: str) -> bytes:
    """Give a bytes field."""
    return bytes(_read(fields, name, "bytes_value"))


def read_map(fields: Fields, name: str) -> Fields:
    """Give the fields of a map field."""
    read: Fields = _read(fields, name, "map_value").fields
    return read


def read_list(fields: Fields, name: str) -> Sequence[Any]:
    """Give the values of an array field."""
    values: Sequence[Any] = _read(fields, name, "array_value").values
    return values


def read_micros(fields: Fields, name: str) -> int:
    """Give a timestamp field in microseconds since 1970."""
    return micros(_read(fields, name, "timestamp_value"))


def read_number(fields: Fields, name: str) -> float:
    """Give an integer or double field that is finite and not negative."""
    value = _present(fields, name)
    kind = value.WhichOneof("value_type")
    if kind not in ("integer_value", "double_value"):
        raise UnreadableDocument(f"{name} is no number")
    number = float(getattr(value, kind))
    if not 0.0 <= number < float("inf"):
        raise UnreadableDocument(f"{name} is out of range")
    return number


def kind_of(fields: Fields, name: str) -> str | None:
    """Give the kind of a field (`timestamp_value`, ...), None when it is absent."""
    return fields[name].WhichOneof("value_type") if name in fields else None


def micros(timestamp: Any) -> int:
    """Give a protobuf Timestamp in microseconds since 1970."""
    return int(timestamp.seconds) * 1_000_000 + int(timestamp.nanos) // 1000


def _read(fields: Fields, name: str, kind: str) -> Any:
    return _of_kind(_present(fields, name), kind, name)


def _present(fields: Fields, name: str) -> Any:
    if name not in fields:
        raise UnreadableDocument(f"{name} is missing")
    return fields[name]


def _of_kind(value: Any, kind: str, name: str) -> Any:
    found = value.WhichOneof("value_type")
    if found != kind:
        raise UnreadableDocument(f"{name} is a {found}, not a {kind}")
    return getattr(value, kind)
