"""What stands on the shelf of L1: a value with its times, size and marks of use; and what binds a load under way."""

from typing import Final, Generic, TypeVar
from zlib import crc32

from actors.cache_values import Versioned

V = TypeVar("V")

ENTRY_BYTES: Final = 320
"""Memory of an entry beside key and value: objects, numbers, dict slot, list node (tracemalloc, CPython)."""

JITTER: Final = 0.1
"""Lifetimes vary by this share of themselves, so that what was warmed together does not expire together."""

NEVER: Final = float("-inf")

_SHORTEST: Final = 1.0 - JITTER
_STEP: Final = 2.0 * JITTER / 0xFFFFFFFF  # of a 32-bit digest


class Entry(Generic[V]):
    """What stands on the shelf; readers get `given`, which is frozen, and never the entry, which changes.

    Times in seconds of the cache's clock. The value was read from the store, or confirmed, at `read_at`. Before
    `fresh_until` it is a hit without another look: as long as any key's jitter grants at first, then exactly. An
    absence never is, which keeps its check off the path of a hit. No refresh starts before `refresh_at`; `failures`
    counts those in a row. `size` is in bytes with all overhead. `placed` and `used` are the shelf's ages when the
    entry got its place in the order, and when it was last used: equal as long as it needs no other place.
    """

    __slots__ = ("failures", "fresh_until", "given", "placed", "read_at", "refresh_at", "size", "used")

    given: Versioned[V]
    size: int
    read_at: float
    fresh_until: float
    refresh_at: float
    failures: int
    placed: int
    used: int


class Floor:
    """What a load under way must not fall below; lives as long as the load.

    `version` only rises, by every write of the key. `void` says that the key was removed since the loader
    was last called, so that what it returns may be from before the removal.
    """

    __slots__ = ("version", "void")

    def __init__(self, version: int) -> None:
        self.version = version
        self.void = False


def spread(key: int | str) -> float:
    """Give the key's factor of a lifetime, 1 - JITTER to 1 + JITTER, the same in every process."""
    if isinstance(key, int):
        return _SHORTEST + _STEP * crc32(b"%d" % key)
    try:
        return _SHORTEST + _STEP * crc32(key.encode())
    except UnicodeEncodeError:  # ids may hold lone surrogates
        return _SHORTEST + _STEP * crc32(key.encode("utf-8", "backslashreplace"))
