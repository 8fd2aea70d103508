"""Ways to choose what a warm image holds, and how the first requests after a restart fare with each."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nlargest
from statistics import mean
from typing import Final, Protocol

from actors.score import Scores
from tests.bench.evicting import OVERHEAD, ScoredL1
from tests.bench.traces import Trace

FIRST: Final = (100, 1_000)
"""The requests after a restart that are looked at."""


Hits = Mapping[tuple[int, int], float]
"""Hit ratios by (chats in the image, first requests looked at)."""


class Choice(Protocol):
    """Watches the requests, and names the chats for an image when asked."""

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""

    def image(self, k: int) -> list[int]:
        """The `k` chats to warm."""


class ByScore:
    """Ours."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._seen: dict[int, None] = {}

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        self._seen[chat] = None
        self._scores.touch(chat, now_s)

    def image(self, k: int) -> list[int]:
        """The `k` chats of the highest scores."""
        return self._scores.top(self._seen, k)


class ByRecency:
    """The chats written last, which is what `order by updated_at` gives."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        self._last[chat] = now_s

    def image(self, k: int) -> list[int]:
        """The `k` chats written last."""
        return nlargest(k, self._last, key=self._last.__getitem__)


class ByFrequency:
    """The chats written most often since the beginning of time."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        self._counts[chat] += 1

    def image(self, k: int) -> list[int]:
        """The `k` chats written most."""
        return nlargest(k, self._counts, key=self._counts.__getitem__)


class ByScoreWithinL1:
    """Our score, asked only about what an L1 holds that is `times` as large as the image; `evicting` by it, or not."""

    def __init__(self, sizes: Iterable[int], *, times: int, evicting: bool) -> None:
        self._caches = {k: ScoredL1(times * k * OVERHEAD, Scores(), asking=evicting) for k in sizes}

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        for cache in self._caches.values():
            cache(chat, OVERHEAD, now_s)

    def image(self, k: int) -> list[int]:
        """The held chats, highest score first."""
        return self._caches[k].best(k)


class Nothing:
    """No warming: each chat is loaded when it first writes."""

    def touch(self, chat: int, now_s: float) -> None:
        """Take no note."""

    def image(self, k: int) -> list[int]:
        """None."""
        return []


def measure(choice: Choice, trace: Trace, sizes: Sequence[int]) -> Hits:
    """The hit ratios after the trace's restarts, on average."""
    found = _Found(trace, sizes)
    upcoming = iter((*trace.restarts, len(trace.chats)))
    restart = next(upcoming)
    for index, (now_s, chat) in enumerate(zip(trace.times, trace.chats, strict=True)):
        while index == restart:
            found.restart(index, choice.image)
            restart = next(upcoming)
        choice.touch(chat, now_s)
    return found.means()


def measure_perfect(trace: Trace, sizes: Sequence[int]) -> Hits:
    """The same for the choice that knows the popularity to come."""
    found = _Found(trace, sizes)
    for restart in trace.restarts:
        found.restart(restart, partial(trace.best, restart))
    return found.means()


def hit_ratio(image: Iterable[int], requests: Sequence[int]) -> float:
    """The share of requests whose chat was warmed, or loaded by a request before it."""
    held, hits = set(image), 0
    for chat in requests:
        hits += chat in held
        held.add(chat)
    return hits / len(requests)


class _Found:
    def __init__(self, trace: Trace, sizes: Sequence[int]) -> None:
        self._trace = trace
        self._ratios: dict[tuple[int, int], list[float]] = {(k, n): [] for k in sizes for n in FIRST}

    def restart(self, index: int, image: Callable[[int], list[int]]) -> None:
        images = {k: image(k) for k in dict.fromkeys(k for k, _ in self._ratios)}
        for (k, first), ratios in self._ratios.items():
            ratios.append(hit_ratio(images[k], self._trace.chats[index : index + first]))

    def means(self) -> Hits:
        return {key: mean(ratios) for key, ratios in self._ratios.items()}
