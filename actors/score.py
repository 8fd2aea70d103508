"""How much a key is worth keeping: how often and how lately it was wanted, as one number that never goes stale."""

from collections.abc import Iterable
from heapq import nlargest
from math import exp, isfinite, log, log1p
from typing import Final

__all__ = ["HALF_LIFE_S", "MAX_KEYS", "UNKNOWN", "Scores"]

HALF_LIFE_S: Final = 3 * 24 * 3600.0
"""A touch this much older counts half: best for the worst of the traces tried (decision 0011)."""

MAX_KEYS: Final = 50_000
"""Several times the sessions that L1's default bound holds, in some 6 MB."""

UNKNOWN: Final = 0.0
"""The score of a key never seen: as if wanted once in 1970, so finite, and below every other."""

PRUNED_SHARE: Final = 8
"""One in so many goes when the table is full: some 10 ms once in 6,000 new keys, under 2 us for each."""


class Scores:
    """Decayed frequencies of a bounded number of keys, each held as a time in Unix seconds.

    A score is the moment at which a single touch would be worth as much as all the key's touches are together:
    half_life * log2(sum of weight * 2 ** (touched_at / half_life)). What decays is the worth of the past against
    a touch of today, so a stored score stays right without being renewed, two scores compare at any time, and
    they go through an image and a restart as they are (forward decay: Cormode and others, ICDE 2009). A key
    wanted twice as often stands a half-life higher; one wanted once has the time of that as its score, and so
    `updated_at` of a document is a score too.

    Meant to be touched once an accepted update, not once a read of L1: a turn reads its session several times.
    Touches add up in any order, so a clock that jumped back only makes some of them count less; what was touched
    while a clock ran ahead stays ahead by as much.
    """

    __slots__ = ("_max_keys", "_rate", "_scale", "_scores")

    def __init__(self, *, half_life_s: float = HALF_LIFE_S, max_keys: int = MAX_KEYS) -> None:
        """Raises ValueError unless both are positive."""
        if not (isfinite(half_life_s) and half_life_s > 0 and max_keys > 0):
            raise ValueError("a half-life and a number of keys are above 0")
        self._scale = half_life_s / log(2)
        self._rate = 1 / self._scale
        self._max_keys = max_keys
        self._scores: dict[int, float] = {}

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._scores)

    def touch(self, key: int, now_s: float, weight: float = 1.0) -> None:
        """Count that the key was wanted at `now_s` (Unix seconds), `weight` times; some 0.3 us.

        Raises ValueError when the weight is not above 0, or the time not finite.
        """
        if weight != 1.0:
            now_s += self._scale * _log(weight)
        if not isfinite(now_s):
            raise ValueError(f"a touch is at a Unix time, not {now_s}")
        held = self._scores.get(key)
        if held is None:
            self.put(key, now_s)
            return
        later, earlier = (held, now_s) if held > now_s else (now_s, held)
        self._scores[key] = later + self._scale * log1p(exp((earlier - later) * self._rate))

    def get(self, key: int) -> float:
        """Give the score (Unix seconds), UNKNOWN for a key that is not held."""
        return self._scores.get(key, UNKNOWN)

    def put(self, key: int, score: float) -> None:
        """Take over a score from an image; a higher one that is held stays. Raises ValueError if it is not finite."""
        if not isfinite(score):
            raise ValueError(f"a score is a time in Unix seconds, not {score}")
        self._scores[key] = max(score, self._scores.get(key, score))
        if len(self._scores) > self._max_keys:
            self._prune()

    def drop(self, key: int) -> None:
        """Forget the key."""
        self._scores.pop(key, None)

    def top(self, keys: Iterable[int], k: int) -> list[int]:
        """The `k` of these keys with the highest scores, highest first; equal ones in the order given."""
        return nlargest(k, keys, key=self.get)

    def _prune(self) -> None:
        """Let the lowest go, many at once; of equal ones those that came first."""
        surplus = 1 + self._max_keys // PRUNED_SHARE
        for key in sorted(self._scores, key=self._scores.__getitem__)[:surplus]:
            del self._scores[key]


def _log(weight: float) -> float:
    if weight <= 0:
        raise ValueError(f"a touch weighs more than 0, not {weight}")
    return log(weight)
