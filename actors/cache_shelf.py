"""The shelf of L1: entries bounded by bytes, of which the coldest leave, with expiry and a version guard."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Generic, TypeVar

from actors.cache_entry import ENTRY_BYTES, JITTER, NEVER, Entry, Floor, spread
from actors.cache_values import Seeded, Versioned, refuse_mutable
from actors.ports import Monotonic

K = TypeVar("K", bound=int | str)
V = TypeVar("V")

LARGEST_SHARE: Final = 0.25
"""A value over this share of the bound is not kept: one giant must not push out the hot keys of many."""

LOOKS: Final = 12
"""Coldest entries among which the one of the least worth leaves: within 0.01 of the best policy (decision 0011)."""

LOOKED_AT: Final = 12
"""Of so many entries one is looked at: among a few dozen, the newest need their time."""

AGES: Final = 16
"""The shelf ages by one when a sixteenth of its entries is new: uses within one age count as one (decision 0017)."""

NOBODYS: Final = -1
"""The age at which seeds are placed: their first use here is a later one."""

SPARED_MOST: Final = 250
"""Entries that one eviction spares: some 40 us of work, then the coldest goes though it was used."""


class Shelf(Generic[K, V]):
    """Holds values by key; see `actors.cache.Cache`, which adds reading and loading.

    The order is that of placing. A use only marks its entry with the shelf's age, and moves nothing: an entry that
    comes to the cold end, and was used at a later age than it was placed, goes to the hot end once more. So a use
    costs next to nothing, and nobody is moved who was not about to leave.
    """

    __slots__ = (
        "_age",
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
        "_newcomers",
        "_oversized",
        "_rejected",
        "_stale_s",
        "_surely_fresh_s",
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
        clock: Monotonic,
        worth: Callable[[K], float] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._largest = int(max_bytes * LARGEST_SHARE)
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._stale_s = stale_s
        self._surely_fresh_s = ttl_s * (1.0 - JITTER)
        self._weigh = weigh
        self._clock = clock
        self._worth = worth
        # coldest first; evicting from a dict scans its holes
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._floors: dict[K, Floor] = {}
        self._immutable: set[type] = set()
        self._confirmed_at, self._confirmed_from = NEVER, math.inf
        self._age = self._newcomers = 0  # the newcomers of this age
        self._bytes = self._evictions = self._rejected = self._oversized = 0

    def __len__(self) -> int:
        """Count the entries, the absent and the expired ones among them."""
        return len(self._entries)

    def peek(self, key: K) -> Versioned[V] | None:
        """Give what `get` would, without counting it or making it recent."""
        entry = self._entries.get(key)
        if entry is None or not self._lives(key, entry, self._clock.monotonic_s()):
            return None
        return entry.given

    def keys(self) -> list[K]:
        """List the keys, who leaves last first, the absent and the expired ones among them."""
        return [key for key, _ in self._hottest_first()]

    def items(self) -> list[tuple[K, V, int]]:
        """List (key, value, version) of what is not past its end, who leaves last first, as `seed` takes them."""
        now = self._clock.monotonic_s()
        return [
            (key, entry.given.value, entry.given.version)
            for key, entry in self._hottest_first()
            if entry.given.value is not None and self._lives(key, entry, now)
        ]

    def is_due(self, key: K) -> bool:
        """Whether it is time to load the key: nothing fresh is held, and no load has just failed."""
        entry, now = self._entries.get(key), self._clock.monotonic_s()
        return entry is None or now >= max(self._fresh_until(key, entry), entry.refresh_at)

    def peek_since(self, key: K, since: float) -> Versioned[V] | None:
        """Give a value that was read from the store, or confirmed, at the clock's `since` or later."""
        entry, given = self._entries.get(key), self.peek(key)
        if entry is None or given is None or given.value is None:
            return None
        return given if self._read_at(entry) >= since else None

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
        held = self._entries.get(key)
        size = self._size(key, value)
        if not self._admit(key, held, version):
            return False
        return self._hold(key, held, Versioned(value, version), size, self._clock.monotonic_s())

    def put_absent(self, key: K, version: int) -> bool:
        """Hold that the document is known to be absent as of `version`, by the same rules as `put`.

        A delete that knows no version is a `remove`.
        """
        held = self._entries.get(key)
        if not self._admit(key, held, version):
            return False
        return self._hold(
            key, held, Versioned(None, version), self._size(key, None), self._clock.monotonic_s()
        )

    def seed(self, entries: Iterable[tuple[K, V, int]], read_at: float | None = None) -> Seeded:
        """Hold many (key, value, version) at once, hottest first, each colder than all that was there before.

        Seeding pushes nothing out: what finds no room is left to be loaded on demand. Ages count from
        `read_at` (now). Raises as `put`.
        """
        now = self._clock.monotonic_s() if read_at is None else read_at
        kept = newer = no_room = 0
        for key, value, version in entries:
            held, size = self._entries.get(key), self._size(key, value)
            if not self._admit(key, held, version):
                newer += 1
            elif self._seed_one(key, held, Versioned(value, version), size, now):
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
        return entry is not None and entry.given.version < version and self._drop(key)

    def remove(self, key: K) -> bool:
        """Drop the key, also what a running load has read so far; gives whether something was dropped."""
        floor = self._floors.get(key)
        if floor is not None:
            floor.void = True
        return self._drop(key)

    # ------------------------------------------------------------ admitting

    def _admit(self, key: K, held: Entry[V] | None, version: int) -> bool:
        """Refuse a version older than one held or seen during a load; else make it the floor of the load."""
        floor = self._floors.get(key)
        if (held is not None and version < held.given.version) or (
            floor is not None and version < floor.version
        ):
            self._rejected += 1
            return False
        if floor is not None:
            floor.version = version
        return True

    def _size(self, key: K, value: V | None) -> int:
        if value is None:
            return ENTRY_BYTES + key.__sizeof__()
        if type(value) not in self._immutable:
            refuse_mutable(type(value))
            self._immutable.add(type(value))
        return ENTRY_BYTES + key.__sizeof__() + self._weigh(value)

    def _hold(self, key: K, held: Entry[V] | None, given: Versioned[V], size: int, read_at: float) -> bool:
        """Put an admitted value where its key stands, or at the hot end, its age counted from `read_at`."""
        if size > self._largest:
            self._oversized += 1
            self._drop(key)
            return False
        entry = self._entry(given, size, read_at)
        if held is not None and self._bytes - held.size + size <= self._max_bytes:
            entry.placed = held.placed
            self._entries[key] = entry
            self._bytes += size - held.size
            return True
        if held is not None:
            self._drop(key)
        self._place(key, entry)
        return True

    def _place(self, key: K, entry: Entry[V]) -> None:
        """Put a newcomer at the hot end; others leave for its room."""
        if self._bytes + entry.size > self._max_bytes:
            self._make_room(entry.size)
        self._bytes += entry.size
        self._entries[key] = entry
        self._newcomers += 1
        if self._newcomers * AGES > len(self._entries):
            self._age, self._newcomers = self._age + 1, 0
            entry.placed = entry.used = self._age

    def _seed_one(
        self, key: K, held: Entry[V] | None, given: Versioned[V], size: int, read_at: float
    ) -> bool:
        """Put an admitted value where its key stands, or at the cold end, if there is room for it."""
        taken = self._bytes - (held.size if held is not None else 0) + size
        if size > self._largest or taken > self._max_bytes:
            self._oversized += size > self._largest
            self._drop(key)
            return False
        entry = self._entry(given, size, read_at)
        entry.placed, entry.used = (held.placed, held.used) if held is not None else (NOBODYS, NOBODYS)
        self._entries[key] = entry
        self._bytes = taken
        if held is None:
            self._entries.move_to_end(key, last=False)
        return True

    def _entry(self, given: Versioned[V], size: int, read_at: float) -> Entry[V]:
        """Make an entry that is used now; without a constructor, whose call would cost as much as all the rest."""
        entry: Entry[V] = Entry()
        entry.given, entry.size, entry.read_at = given, size, read_at
        entry.fresh_until = NEVER if given.value is None else read_at + self._surely_fresh_s
        entry.refresh_at, entry.failures = NEVER, 0
        entry.placed = entry.used = self._age
        return entry

    # ------------------------------------------------------------ leaving

    def _make_room(self, size: int) -> None:
        """Let entries leave until there is so much room."""
        while self._bytes + size > self._max_bytes:
            gone = self._pop_coldest() if self._worth is None else self._pop_least(self._worth)
            self._bytes -= gone.size
            self._evictions += 1

    def _pop_coldest(self) -> Entry[V]:
        """Take the coldest out; who was used since its placing is spared, and placed anew at the hot end."""
        for _ in range(SPARED_MOST):
            key, entry = self._entries.popitem(last=False)
            if entry.used == entry.placed:
                return entry
            entry.placed = entry.used
            self._entries[key] = entry
        return self._entries.popitem(last=False)[1]

    def _pop_least(self, worth: Callable[[K], float]) -> Entry[V]:
        """Take out the one of the least worth among the coldest; the others, as the spared, go to the hot end."""
        looks = min(LOOKS, 1 + len(self._entries) // LOOKED_AT)
        passed, coldest = list[K](), list[K]()
        for key, entry in islice(self._entries.items(), SPARED_MOST):
            passed.append(key)
            if entry.used != entry.placed:
                entry.placed = entry.used
                continue
            coldest.append(key)
            if len(coldest) == looks:
                break
        for key in passed:
            self._entries.move_to_end(key)
        return self._entries.pop(min(coldest or passed[:looks], key=worth))

    def _drop(self, key: K) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry.size
        return True

    def _hottest_first(self) -> list[tuple[K, Entry[V]]]:
        spared, others = list[tuple[K, Entry[V]]](), list[tuple[K, Entry[V]]]()
        for key, entry in reversed(self._entries.items()):
            (others if entry.used == entry.placed else spared).append((key, entry))
        return spared + others

    # ------------------------------------------------------------ ages

    def _renew(self, entry: Entry[V]) -> None:
        """Let the last confirmation count as a reading, if it covers the entry."""
        read_at = self._read_at(entry)
        if read_at > entry.read_at:
            entry.read_at, entry.refresh_at, entry.failures = read_at, NEVER, 0

    def _read_at(self, entry: Entry[V]) -> float:
        """When a value was last known to be the store's: by its own reading or by a later confirmation."""
        covered = entry.given.value is not None and self._confirmed_from <= entry.read_at
        return max(entry.read_at, self._confirmed_at) if covered else entry.read_at

    def _fresh_until(self, key: K, entry: Entry[V]) -> float:
        """When the entry's time is over, an absence's too."""
        ttl_s = self._ttl_s if entry.given.value is not None else self._negative_ttl_s
        return self._read_at(entry) + ttl_s * spread(key)

    def _lives(self, key: K, entry: Entry[V], now: float) -> bool:
        return now < entry.fresh_until or now < self._fresh_until(key, entry) + self._stale_for(entry)

    def _stale_for(self, entry: Entry[V]) -> float:
        return self._stale_s if entry.given.value is not None else 0.0
