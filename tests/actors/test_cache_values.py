"""Which values L1 holds: those that no reader can change."""

import msgspec
import pytest

from tests.actors.cache_kit import ManualClock, make_cache, make_untyped_cache


class Point(msgspec.Struct, frozen=True):
    """A value that can't be changed."""

    x: int
    tags: tuple[str, ...] = ()


class Loose(msgspec.Struct):
    """A value that can be changed."""

    x: int = 0


class Leaky(msgspec.Struct, frozen=True):
    """A frozen value with a field that can be changed."""

    tags: list[str] = []


class Nested(msgspec.Struct, frozen=True):
    """A frozen value that holds one that can be changed, two steps down."""

    parts: tuple[Leaky | None, ...] = ()


class Chain(msgspec.Struct, frozen=True):
    """A frozen value of its own kind, for ever."""

    next: "Chain | None" = None


@pytest.mark.parametrize(
    "value",
    [b"x", "x", 1, 1.5, True, (1, 2), frozenset({1}), Point(1), Chain(Chain()), msgspec.Raw(b"1")],
    ids=lambda value: type(value).__name__,
)
def test_values_that_nobody_can_change_are_held(value: object) -> None:
    """Bytes, text, numbers, tuples and frozen Structs come back as the very object."""
    cache = make_untyped_cache(ManualClock())
    cache.put("k", value, 1)
    entry = cache.get("k")
    assert entry is not None
    assert entry.value is value


@pytest.mark.parametrize(
    "value",
    [[], {}, set(), bytearray(), memoryview(b""), object(), Loose(), Leaky(), Nested()],
    ids=lambda value: type(value).__name__,
)
def test_values_that_a_reader_could_change_are_refused(value: object) -> None:
    """A mutable value never gets in, by no door, so that no reader can change what another gets."""
    cache = make_untyped_cache(ManualClock())
    with pytest.raises(TypeError):
        cache.put("k", value, 1)
    with pytest.raises(TypeError):
        cache.seed([("k", value, 1)])
    assert len(cache) == 0


def test_the_refusal_names_the_field() -> None:
    """Who has to change a contract is told where."""
    with pytest.raises(TypeError, match=r"Nested: Nested\.parts: Leaky\.tags: a list"):
        make_untyped_cache(ManualClock()).put("k", Nested(), 1)


def test_what_a_reader_gets_is_frozen() -> None:
    """The entry itself can't be changed by its reader either."""
    cache = make_cache(ManualClock())
    cache.put(1, b"x", 1)
    entry = cache.get(1)
    with pytest.raises(AttributeError):
        entry.version = 9  # type: ignore[union-attr, misc]
