"""What L1 holds and tells: versioned values that no caller can change, and truthful counters."""

from typing import Generic, TypeVar

import msgspec
from msgspec import inspect as shapes

V = TypeVar("V")

_PLAIN = (bytes, str, int, float, tuple, frozenset, msgspec.Raw)
_MUTABLE = (
    shapes.ListType,
    shapes.SetType,
    shapes.DictType,
    shapes.TypedDictType,
    shapes.DataclassType,
    shapes.ByteArrayType,
)


class Versioned(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """A value at a version of its document; `value` None means known to be absent.

    Versions grow with each write of the document. An absence that the store knows no version of has 0.
    """

    value: V | None
    version: int = 0


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the cache was made; `entries` and `bytes` are what it holds now.

    Every read is exactly one of hit (fresh value), stale hit, negative hit (known absent), miss: a stale
    or negative hit is no hit. `loads` counts calls of a loader; `load_failures` loads that gave nothing
    (failed, overtaken, cancelled). `rejected` counts values refused for a newer version, `oversized` those
    too large to be kept, `expirations` entries found past their end by a read.
    """

    hits: int
    stale_hits: int
    negative_hits: int
    misses: int
    loads: int
    load_failures: int
    evictions: int
    expirations: int
    rejected: int
    oversized: int
    entries: int
    bytes: int


class Seeded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the entries given to `seed`; the three add up to them.

    `kept` are held now, `newer` found a newer version there, `no_room` did not fit.
    """

    kept: int = 0
    newer: int = 0
    no_room: int = 0


def refuse_mutable(kind: type) -> None:
    """Raise TypeError unless values of this type can't be changed by who gets them.

    Allowed are bytes, str, numbers, tuples, frozensets, and frozen Structs whose fields are declared
    immutable all the way down. What a bare tuple holds is not looked at: that would cost at each put.
    """
    if issubclass(kind, _PLAIN):
        return
    if not issubclass(kind, msgspec.Struct):
        raise TypeError(f"L1 holds bytes, tuples and frozen Structs, not {kind.__name__}")
    culprit = _mutable_part(shapes.type_info(kind), set())
    if culprit:
        raise TypeError(f"L1 can't hold {kind.__name__}: {culprit} can be changed by a reader")


def _mutable_part(shape: shapes.Type, seen: set[type]) -> str:
    """Name the first mutable part of a declared shape, or give an empty string."""
    match shape:
        case shapes.StructType(cls=kind, fields=fields):
            return _mutable_field(kind, fields, seen)
        case shapes.UnionType(types=parts) | shapes.TupleType(item_types=parts):
            return next(filter(None, (_mutable_part(part, seen) for part in parts)), "")
        case shapes.VarTupleType(item_type=item) | shapes.FrozenSetType(item_type=item):
            return _mutable_part(item, seen)
        case _ if isinstance(shape, _MUTABLE):
            return f"a {type(shape).__name__.removesuffix('Type').lower()}"
    return ""


def _mutable_field(kind: type[msgspec.Struct], fields: tuple[shapes.Field, ...], seen: set[type]) -> str:
    if not kind.__struct_config__.frozen:
        return f"{kind.__name__} (not frozen)"
    if kind in seen:
        return ""
    seen.add(kind)
    for field in fields:
        culprit = _mutable_part(field.type, seen)
        if culprit:
            return f"{kind.__name__}.{field.name}: {culprit}"
    return ""
