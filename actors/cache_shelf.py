"""The shelf of L1: entries bounded by bytes, of which the coldest leave, with expiry and a version guard."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from sys import getsizeof
from typing import Final, Generic, TypeVar
from zlib import crc32

import msgspec

from actors.cache_values import Entry, Seeded, Versioned, refuse_mutable

K = TypeVar("K", bound=int | str)
V = TypeVar("V")

ENTRY_BYTES: Final = 288
"""Memory of an entry beside key and value: Struct, numbers, dict slot, list node (tracemalloc, CPython)."""

LARGEST_SHARE: Final = 0.25
"""A value over this share of the bound is not kept: one giant must not push out the hot keys of many."""

JITTER: Final = 0.1
"""Lifetimes vary by this share of themselves, so that what was warmed together does not expire together."""

LOOKS: Final = 8
"""Coldest entries among which the one of the least worth leaves: within 0.01 of the best policy (decision 0011)."""

LOOKED_AT: Final = 16
"""Of so many entries one is looked at: among a few dozen, the newest need their time."""

NEVER: Final = float("-inf")

_ROUNDING_S: Final = 1e-6  # of times that were added to and subtracted from

_SHORTEST: Final = 1.0 - JITTER
_STEP: Final = 2.0 * JITTER / 0xFFFFFFFF  # of a 32-bit digest


class Floor:
    """What a load under way must not fall below; lives as long as the load.

    `version` only rises, by every write of the key. `void` says that the key was removed since the loader
    was last called, so that what it returns may be from before the removal.
    """

    __slots__ = ("version", "void")

    def __init__(self, version: int) -> None:
        self.version = version
        self.void = False


class Shelf(Generic[K, V]):
    """Holds values by key; see `actors.cache.Cache`, which adds reading and loading."""

    __slots__ = (
        "_bytes",
        "_clock",
        "_confirmed_at",
        "_confirmed_from",
        "_entries",
        "_evictions",
        "_floors",
        "_immutable",
        "_largest",
        "_max_bytes",
        "_negative_ttl_s",
        "_oversized",
        "_rejected",
        "_stale_s",
        "_touch",
        "_ttl_s",
        "_weigh",
        "_worth",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        ttl_s: float,
        negative_ttl_s: float,
        stale_s: float,
        weigh: Callable[[V], int],
        clock: Callable[[], float],
        worth: Callable[[K], float] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._largest = int(max_bytes * LARGEST_SHARE)
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._stale_s = stale_s
        self._weigh = weigh
        self._clock = clock
        self._worth = worth
        self._entries: OrderedDict[K, Entry[V]] = (
            OrderedDict()
        )  # coldest first; evicting from a dict scans its holes
        self._touch: Callable[[K], None] = self._entries.move_to_end  # bound once: a hit pays for each dot
        self._floors: dict[K, Floor] = {}
        self._immutable: set[type] = set()
        self._confirmed_at = self._confirmed_from = NEVER
        self._bytes = self._evictions = self._rejected = self._oversized = 0

    def __len__(self) -> int:
        """Count the entries, the absent and the expired ones among them."""
        return len(self._entries)

    def peek(self, key: K) -> Versioned[V] | None:
        """Give what `get` would, without counting it or making it recent."""
        entry = self._entries.get(key)
        return entry if entry is not None and self._lives(key, entry, self._clock()) else None

    def keys(self) -> list[K]:
        """List the keys, hottest first, the absent and the expired ones among them."""
        return list(reversed(self._entries))

    def items(self) -> list[tuple[K, V, int]]:
        """List (key, value, version) of what is not past its end, hottest first, as `seed` takes them."""
        now = self._clock()
        return [
            (key, entry.value, entry.version)
            for key, entry in reversed(self._entries.items())
            if entry.value is not None and self._lives(key, entry, now)
        ]

    def peek_since(self, key: K, since: float) -> Versioned[V] | None:
        """Give a value that was read from the store, or confirmed, at the clock's `since` or later."""
        entry = self._entries.get(key)
        if entry is None or entry.value is None or not self._lives(key, entry, self._clock()):
            return None
        return entry if self._read_at(key, entry) >= since - _ROUNDING_S else None

    def confirm(self, read_at: float, since: float = NEVER) -> None:
        """Count ages from `read_at`: all values that are held now, and were read at `since` or later, still stood.

        It costs the same however much is held, and a hit nothing: a value is renewed when its time is over, also
        one whose time was over before. Absences are not renewed, they are short-lived anyway.
        """
        self._confirmed_at, self._confirmed_from = read_at, since

    def put(self, key: K, value: V, version: int) -> bool:
        """Hold what was durably written or read at `version`; gives whether it is held now.

        An older version than the one held, or than one seen while the key loads, is refused. An equal one
        starts the lifetime afresh. A value too large to be kept still drops what it outdates.
        Raises TypeError when the value could be changed by who gets it.
        """
        size = self._size(key, value)
        return self._admit(key, version) and self._hold(key, value, version, size, self._clock())

    def put_absent(self, key: K, version: int) -> bool:
        """Hold that the document is known to be absent as of `version`, by the same rules as `put`.

        A delete that knows no version is a `remove`.
        """
        return self._admit(key, version) and self._hold(
            key, None, version, self._size(key, None), self._clock()
        )

    def seed(self, entries: Iterable[tuple[K, V, int]], read_at: float | None = None) -> Seeded:
        """Hold many (key, value, version) at once, hottest first, each colder than all that was there before.

        Seeding pushes nothing out: what finds no room is left to be loaded on demand. Ages count from
        `read_at` (now). Raises as `put`.
        """
        now = self._clock() if read_at is None else read_at
        kept = newer = no_room = 0
        for key, value, version in entries:
            size = self._size(key, value)
            if not self._admit(key, version):
                newer += 1
            elif self._seed_one(key, value, version, size, now):
                kept += 1
            else:
                no_room += 1
        return Seeded(kept=kept, newer=newer, no_room=no_room)

    def invalidate(self, key: K, version: int) -> bool:
        """Drop what is older than `version`, also in a running load; gives whether something was dropped."""
        floor = self._floors.get(key)
        if floor is not None:
            floor.version = max(floor.version, version)
        entry = self._entries.get(key)
        return entry is not None and entry.version < version and self._drop(key)

    def remove(self, key: K) -> bool:
        """Drop the key, also what a running load has read so far; gives whether something was dropped."""
        floor = self._floors.get(key)
        if floor is not None:
            floor.void = True
        return self._drop(key)

    def _admit(self, key: K, version: int) -> bool:
        """Refuse a version older than one held or seen during a load; else make it the floor of the load."""
        entry = self._entries.get(key)
        floor = self._floors.get(key)
        if (entry is not None and version < entry.version) or (floor is not None and version < floor.version):
            self._rejected += 1
            return False
        if floor is not None:
            floor.version = version
        return True

    def _size(self, key: K, value: V | None) -> int:
        if value is None:
            return ENTRY_BYTES + getsizeof(key)
        if type(value) not in self._immutable:
            refuse_mutable(type(value))
            self._immutable.add(type(value))
        return ENTRY_BYTES + getsizeof(key) + self._weigh(value)

    def _hold(self, key: K, value: V | None, version: int, size: int, read_at: float) -> bool:
        """Put an admitted value at the hot end, its age counted from `read_at`; others are evicted for its room."""
        self._drop(key)
        if size > self._largest:
            self._oversized += 1
            return False
        while self._bytes + size > self._max_bytes:
            self._drop(self._least())
            self._evictions += 1
        self._entries[key] = self._entry(key, value, version, size, read_at)
        self._bytes += size
        return True

    def _least(self) -> K:
        """Give the coldest key, or that of the least worth among the coldest: the others become recent."""
        if self._worth is None:
            return next(iter(self._entries))
        coldest = list(islice(self._entries, min(LOOKS, 1 + len(self._entries) // LOOKED_AT)))
        for key in coldest:
            self._entries.move_to_end(key)
        return min(coldest, key=self._worth)

    def _seed_one(self, key: K, value: V, version: int, size: int, now: float) -> bool:
        """Put an admitted value where its key stands, or at the cold end, if there is room for it."""
        held = self._entries.get(key)
        taken = self._bytes - (held.size if held is not None else 0)
        if size > self._largest or taken + size > self._max_bytes:
            self._oversized += size > self._largest
            self._drop(key)
            return False
        self._entries[key] = self._entry(key, value, version, size, now)
        self._bytes = taken + size
        if held is None:
            self._entries.move_to_end(key, last=False)
        return True

    def _entry(self, key: K, value: V | None, version: int, size: int, read_at: float) -> Entry[V]:
        if value is None:
            end = read_at + self._negative_ttl_s * spread(key)
            return Entry(value, version, fresh_until=NEVER, expires_at=end, refresh_at=end, size=size)
        end = read_at + self._ttl_s * spread(key)
        return Entry(
            value, version, fresh_until=end, expires_at=end + self._stale_s, refresh_at=end, size=size
        )

    def _renewed(self, key: K, entry: Entry[V]) -> Entry[V]:
        """Give the entry with its age counted from the last confirmation, if that covers it."""
        end = self._end(key, entry)
        if end <= entry.expires_at:
            return entry
        fresh_until = end - self._stale_s
        return msgspec.structs.replace(
            entry, fresh_until=fresh_until, expires_at=end, refresh_at=fresh_until, failures=0
        )

    def _lives(self, key: K, entry: Entry[V], now: float) -> bool:
        return now < entry.expires_at or now < self._end(key, entry)

    def _end(self, key: K, entry: Entry[V]) -> float:
        """When the entry's time is over, by its own reading or by a later confirmation."""
        if self._confirmed_at == NEVER or entry.value is None:
            return entry.expires_at
        if not self._confirmed_from - _ROUNDING_S <= self._read_at(key, entry) < self._confirmed_at:
            return entry.expires_at
        return self._confirmed_at + self._ttl_s * spread(key) + self._stale_s

    def _read_at(self, key: K, entry: Entry[V]) -> float:
        """When a value was read: worked out, because hits need only its end."""
        return entry.fresh_until - self._ttl_s * spread(key)

    def _drop(self, key: K) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry.size
        return True


def spread(key: int | str) -> float:
    """Give the key's factor of a lifetime, 1 - JITTER to 1 + JITTER, the same in every process."""
    digest = crc32(str(key).encode("utf-8", "backslashreplace"))  # ids may hold lone surrogates
    return _SHORTEST + _STEP * digest
