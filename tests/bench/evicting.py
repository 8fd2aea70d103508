"""Eviction policies under one byte bound: ours and small references of others, each told of one request at a time."""

from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from sys import getsizeof
from typing import Final

from actors.cache import Cache
from actors.cache_entry import ENTRY_BYTES
from actors.cache_shelf import LARGEST_SHARE
from actors.ports import Monotonic
from actors.score import Scores

Policy = Callable[[int, int, float], bool]
"""Takes a chat, its bytes and the time of a request; says whether it was held, and holds it if the policy wants to."""

FOREVER_S: Final = 1e9
NEVER: Final = 1 << 60
OVERHEAD: Final = ENTRY_BYTES + getsizeof(1)
"""What L1 counts for an entry beside its value; in the sizes that a policy is told it is included."""


class Still(Monotonic):
    """Time that stands still: nothing expires."""

    def monotonic_s(self) -> float:
        """The beginning."""
        return 0.0


def lru(bound: int) -> Policy:
    """What was used longest ago goes; a giant is not kept, as in L1."""
    shelf = _Shelf(bound)

    def request(chat: int, size: int, now_s: float) -> bool:
        if chat in shelf.sizes:
            shelf.sizes.move_to_end(chat)
            return True
        if size <= bound * LARGEST_SHARE:
            shelf.add(chat, size)
        while shelf.over():
            shelf.drop(next(iter(shelf.sizes)))
        return False

    return request


def by_ages(bound: int) -> Policy:
    """Our L1 without scores, as skills have it."""
    cache: Cache[int, int] = Cache(max_bytes=bound, ttl_s=FOREVER_S, weigh=int, clock=Still(), name="bench")

    def request(chat: int, size: int, now_s: float) -> bool:
        held = cache.get(chat) is not None
        if not held:
            cache.put(chat, size - OVERHEAD, 1)
        return held

    return request


def fifo(bound: int) -> Policy:
    """What came first goes first."""
    shelf = _Shelf(bound)

    def request(chat: int, size: int, now_s: float) -> bool:
        if chat in shelf.sizes:
            return True
        shelf.add(chat, size)
        while shelf.over():
            shelf.drop(next(iter(shelf.sizes)))
        return False

    return request


class Sieve:
    """A queue with a hand: what the hand finds unvisited goes, what was visited stays where it is (NSDI 2024)."""

    def __init__(self, bound: int) -> None:
        self._shelf = _Shelf(bound)
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._visited: dict[int, bool] = {}
        self._hand = self._head = NEVER

    def __call__(self, chat: int, size: int, now_s: float) -> bool:
        """As Policy."""
        if chat in self._visited:
            self._visited[chat] = True
            return True
        self._push(chat)
        self._shelf.add(chat, size)
        while self._shelf.over():
            self._evict()
        return False

    def _push(self, chat: int) -> None:
        self._older[chat], self._newer[chat] = self._head, NEVER
        self._visited[chat] = False
        if self._head != NEVER:
            self._newer[self._head] = chat
        if self._hand == NEVER and self._head == NEVER:
            self._hand = chat
        self._head = chat

    def _evict(self) -> None:
        """Walk from old to new and around again, until one is found that nobody wanted since the last walk."""
        victim = self._hand if self._hand != NEVER else next(iter(self._shelf.sizes))
        while self._visited[victim]:
            self._visited[victim] = False
            following = self._newer[victim]
            victim = following if following != NEVER else next(iter(self._shelf.sizes))
        self._hand = self._newer[victim]
        self._unlink(victim)
        self._shelf.drop(victim)

    def _unlink(self, chat: int) -> None:
        older, newer = self._older.pop(chat), self._newer.pop(chat)
        del self._visited[chat]
        if older != NEVER:
            self._newer[older] = newer
        if newer != NEVER:
            self._older[newer] = older
        else:
            self._head = older


class S3Fifo:
    """Newcomers on trial in a tenth of the room, the proven in the rest, and the names of who failed (SOSP 2023)."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._small, self._main = _Shelf(bound // 10), _Shelf(bound - bound // 10)
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._uses: dict[int, int] = {}

    def __call__(self, chat: int, size: int, now_s: float) -> bool:
        """As Policy."""
        if chat in self._uses:
            self._uses[chat] = min(self._uses[chat] + 1, 3)
            return True
        self._uses[chat] = 0
        proven = chat in self._ghosts
        self._ghosts.pop(chat, None)
        (self._main if proven else self._small).add(chat, size)
        while self._small.bytes + self._main.bytes > self._bound:
            self._evict()
        return False

    def _evict(self) -> None:
        if self._small.over() or not self._main.sizes:
            self._end_trial()
        else:
            self._evict_main()

    def _end_trial(self) -> None:
        chat = next(iter(self._small.sizes))
        size = self._small.drop(chat)
        if self._uses[chat] > 1:
            self._uses[chat] = 0
            self._main.add(chat, size)
            return
        del self._uses[chat]
        self._ghosts[chat] = None
        while len(self._ghosts) > len(self._main.sizes) + 1:
            self._ghosts.popitem(last=False)

    def _evict_main(self) -> None:
        chat = next(iter(self._main.sizes))
        if self._uses[chat]:
            self._uses[chat] -= 1
            self._main.sizes.move_to_end(chat)
            return
        self._main.drop(chat)
        del self._uses[chat]


class TinyLfu:
    """W-TinyLFU: behind a window of 1 % two segments, entered only by who is wanted more often than who must go.

    The counts are exact and halved now and then, where the real one has a sketch: no worse than that (ToS 2017).
    """

    def __init__(self, bound: int) -> None:
        self._window, self._probation, self._protected = (
            _Shelf(bound // 100),
            _Shelf(bound),
            _Shelf(bound * 79 // 100),
        )
        self._room = bound - bound // 100
        self._counts: Counter[int] = Counter()
        self._seen = 0

    def __call__(self, chat: int, size: int, now_s: float) -> bool:
        """As Policy."""
        self._count(chat)
        if chat in self._window.sizes:
            self._window.sizes.move_to_end(chat)
        elif chat in self._protected.sizes:
            self._protected.sizes.move_to_end(chat)
        elif chat in self._probation.sizes:
            self._promote(chat)
        else:
            self._window.add(chat, size)
            while self._window.over():
                self._leave_window()
            return False
        return True

    def _count(self, chat: int) -> None:
        self._counts[chat] += 1
        self._seen += 1
        held = len(self._window.sizes) + len(self._probation.sizes) + len(self._protected.sizes)
        if self._seen > 10 * held + 1_000:
            self._seen //= 2
            self._counts = Counter({key: count // 2 for key, count in self._counts.items() if count > 1})

    def _promote(self, chat: int) -> None:
        self._protected.add(chat, self._probation.drop(chat))
        while self._protected.over():
            coldest = next(iter(self._protected.sizes))
            self._probation.add(coldest, self._protected.drop(coldest))

    def _leave_window(self) -> None:
        chat = next(iter(self._window.sizes))
        self._probation.add(chat, self._window.drop(chat))
        while self._probation.bytes + self._protected.bytes > self._room:
            coldest = next(iter(self._probation.sizes))
            keeps = self._counts[coldest] >= self._counts[chat] and chat in self._probation.sizes
            self._probation.drop(chat if keeps else coldest)


class ScoredL1:
    """Our L1 as sessions have it: of the coldest the one of the lowest score goes, the others become recent.

    Without `asking` the scores it goes by ages alone, and still counts them.
    """

    def __init__(self, bound: int, scores: Scores, *, asking: bool = True) -> None:
        self._scores = scores
        self._cache: Cache[int, int] = Cache(
            max_bytes=bound,
            ttl_s=FOREVER_S,
            weigh=int,
            clock=Still(),
            worth=scores.get if asking else None,
            name="bench",
        )

    def __call__(self, chat: int, size: int, now_s: float) -> bool:
        """As Policy."""
        self._scores.touch(chat, now_s)
        held = self._cache.get(chat) is not None
        if not held:
            self._cache.put(chat, size - OVERHEAD, 1)
        return held

    def best(self, k: int) -> list[int]:
        """The `k` held chats of the highest scores."""
        return self._scores.top(self._cache.keys(), k)


def farthest(bound: int, chats: Sequence[int]) -> Policy:
    """Belady's: what is wanted latest goes, the newcomer too. A bound for equal sizes, nearly one for ours."""
    upcoming, shelf = iter(_next_uses(chats)), _Shelf(bound)
    heap: list[tuple[int, int]] = []
    wanted: dict[int, int] = {}

    def request(chat: int, size: int, now_s: float) -> bool:
        held = chat in shelf.sizes
        wanted[chat] = next(upcoming)
        heappush(heap, (-wanted[chat], chat))
        if not held:
            shelf.add(chat, size)
        while shelf.over():
            when, farthest_chat = heappop(heap)
            if farthest_chat in shelf.sizes and wanted[farthest_chat] == -when:
                shelf.drop(farthest_chat)
        return held

    return request


# ---------------------------------------------------------------- helpers


class _Shelf:
    """Sizes by chat in order of arrival, and their sum."""

    def __init__(self, bound: int) -> None:
        self.bound, self.bytes = bound, 0
        self.sizes: OrderedDict[int, int] = OrderedDict()

    def over(self) -> bool:
        return self.bytes > self.bound

    def add(self, chat: int, size: int) -> None:
        self.sizes[chat] = size
        self.bytes += size

    def drop(self, chat: int) -> int:
        size = self.sizes.pop(chat)
        self.bytes -= size
        return size


def _next_uses(chats: Sequence[int]) -> "array[int]":
    """For each request the index of the same chat's next one."""
    uses, last = array("q", [NEVER]) * len(chats), dict[int, int]()
    for index in range(len(chats) - 1, -1, -1):
        uses[index] = last.get(chats[index], NEVER)
        last[chats[index]] = index
    return uses
