"""How fast the past should fade: the score's half-life, and what was tried beside it, on traces made for that."""

from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from statistics import mean
from typing import Final

from actors.score import HALF_LIFE_S, Scores
from tests.bench.bench_hits import TRACES
from tests.bench.choosing import ByFrequency, ByRecency, ByScore, Choice, measure, measure_perfect
from tests.bench.kit import Effort, Row, Table, on_all_cores

SEEDS: Final = (101, 102)  # for training: no other benchmark uses them
HOUR_S: Final = 3600.0
HOURS: Final = (1, 6, 24, 48, 72, 120, 168, 336)
SESSION_S: Final = 1_800.0
RECENCY: Final = "recency only"
NOISE: Final = 0.003  # about what another seed changes
LEAST, MEAN = "least of the traces", "mean of the traces"


class Blended:
    """The score moved towards the last touch by `share` of the way."""

    def __init__(self, scores: Scores, share: float) -> None:
        self._scores, self._share = scores, share
        self._last: dict[int, float] = {}

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        self._scores.touch(chat, now_s)
        self._last[chat] = now_s

    def image(self, k: int) -> list[int]:
        """The `k` chats of the highest blends."""
        return nlargest(k, self._last, key=self._blend)

    def _blend(self, chat: int) -> float:
        return (1 - self._share) * self._scores.get(chat) + self._share * self._last[chat]


class BySession(ByScore):
    """A session counts once, however many messages it has."""

    def __init__(self, scores: Scores) -> None:
        super().__init__(scores)
        self._last: dict[int, float] = {}

    def touch(self, chat: int, now_s: float) -> None:
        """Take note of a request."""
        if now_s - self._last.get(chat, 0.0) > SESSION_S:
            super().touch(chat, now_s)
        self._last[chat] = now_s


def run(effort: Effort) -> Table:
    """Compare every choice with the perfect one, on each trace, for two sizes of image and two counts of requests."""
    population, seeds = effort.pick(1_000, 5_000), effort.pick(SEEDS[:1], SEEDS)
    found: dict[str, list[float]] = {name: [] for name in _contenders()}
    cases = [(name, population, seed) for name in TRACES for seed in seeds]
    for by_choice in on_all_cores(_shares, cases, effort):
        for choice, shares in by_choice.items():
            found[choice] += shares
    rows = _rows(found, len(seeds))
    return Table(
        name="halflife",
        title="The share of the perfect choice's hits that an image of each kind reaches",
        ratio_of=LEAST,
        rows=rows,
        reading=_reading(rows),
    )


# ---------------------------------------------------------------- helpers


def _contenders() -> dict[str, Callable[[], Choice]]:
    half_lives = {f"half-life {hours} h": _of_half_life(hours) for hours in HOURS}
    return {
        RECENCY: ByRecency,
        **half_lives,
        "frequency only": ByFrequency,
        "half-life 72 h, a quarter recency": lambda: Blended(Scores(half_life_s=72 * HOUR_S), 0.25),
        "half-life 72 h, half recency": lambda: Blended(Scores(half_life_s=72 * HOUR_S), 0.5),
        "half-life 72 h, a session counts once": lambda: BySession(Scores(half_life_s=72 * HOUR_S)),
    }


def _of_half_life(hours: int) -> Callable[[], Choice]:
    return lambda: ByScore(Scores(half_life_s=hours * HOUR_S))


def _shares(name: str, population: int, seed: int) -> Mapping[str, Sequence[float]]:
    """For each choice its shares of the perfect hits, always in the same order."""
    trace = TRACES[name](population, seed)
    sizes = (trace.population // 10, trace.population // 100)
    perfect = measure_perfect(trace, sizes)
    ours = {name: measure(make(), trace, sizes) for name, make in _contenders().items()}
    return {name: [hits[case] / perfect[case] for case in perfect] for name, hits in ours.items()}


def _rows(found: Mapping[str, Sequence[float]], seeds: int) -> tuple[Row, ...]:
    values = {name: {LEAST: _least(shares, seeds), MEAN: mean(shares)} for name, shares in found.items()}
    recency = values[RECENCY][LEAST]
    others = [
        Row(name, each, RECENCY, each[LEAST] / recency) for name, each in values.items() if name != RECENCY
    ]
    return (Row(RECENCY, values[RECENCY]), *others)


def _least(shares: Sequence[float], seeds: int) -> float:
    """The lowest mean over the seeds of a trace: 4 shares each."""
    step = 4 * seeds
    return min(mean(shares[at : at + step]) for at in range(0, len(shares), step))


def _reading(rows: Sequence[Row]) -> str:
    best = max(row.values[LEAST] for row in rows)
    good = ", ".join(row.name for row in rows if row.values[LEAST] > best - NOISE)
    return (
        "Over all traces, images of 10 % and 1 % of the chats, the first 100 and 1,000 requests. Within"
        f" {NOISE} of the best where it is worst: {good}. In use is {HALF_LIFE_S / HOUR_S:.0f} h."
    )
