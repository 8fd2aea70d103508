"""What a warm image should hold: hits of the first requests after a restart, by how its chats were chosen."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean, stdev
from typing import Final

from actors.cache_shelf import LOOKS
from actors.score import Scores
from tests.bench.choosing import (
    ByFrequency,
    ByRecency,
    ByScore,
    ByScoreWithinL1,
    Choice,
    Hits,
    Nothing,
    measure,
    measure_perfect,
)
from tests.bench.kit import Effort, Row, Table, on_all_cores
from tests.bench.recorded import recorded
from tests.bench.traces import MAKERS, Maker

SEEDS: Final = (1, 2, 3)  # others than those on which the half-life was chosen
PERFECT, SCORE, RECENCY = "perfect", "score", "recency only"
FIRST_100: Final = "first 100 at 10 %"
TRACES: Final[dict[str, Maker]] = {**MAKERS, "recorded": recorded}

Values = Mapping[str, float]


def run(effort: Effort) -> Table:
    """Play every trace once for each choice and seed."""
    population, seeds = effort.pick(1_000, 20_000), effort.pick(SEEDS[:2], SEEDS)
    cases = [(name, population, seed) for name in TRACES for seed in seeds]
    found = on_all_cores(_measure_all, cases, effort)
    rows: list[Row] = []
    for name in TRACES:
        runs = [values for case, values in zip(cases, found, strict=True) if case[0] == name]
        rows += [_row(name, choice, runs) for choice in runs[0]]
    table = Table(
        name="hits",
        title=f"Hits after a restart, by what was warmed ({population:,} chats, image of 10 % or 1 % of them)",
        ratio_of=FIRST_100,
        rows=tuple(rows),
        reading="",
    )
    return Table(
        name=table.name, title=table.title, ratio_of=FIRST_100, rows=table.rows, reading=_reading(table)
    )


# ---------------------------------------------------------------- helpers


def _contenders(sizes: Sequence[int]) -> dict[str, Callable[[], Choice]]:
    return {
        SCORE: lambda: ByScore(Scores()),
        "score, within an L1 twice as large by ages": lambda: ByScoreWithinL1(sizes, times=2, evicting=False),
        f"score, within L1 of {LOOKS} looks": lambda: ByScoreWithinL1(sizes, times=1, evicting=True),
        RECENCY: ByRecency,
        "frequency only": ByFrequency,
        "no warming": Nothing,
    }


def _measure_all(name: str, population: int, seed: int) -> dict[str, Values]:
    trace = TRACES[name](population, seed)
    sizes = (trace.population // 10, trace.population // 100)
    found = {PERFECT: _named(measure_perfect(trace, sizes), sizes)}
    for choice, make in _contenders(sizes).items():
        found[choice] = _named(measure(make(), trace, sizes), sizes)
    return found


def _named(hits: Hits, sizes: tuple[int, int]) -> Values:
    tenth, hundredth = sizes
    return {
        FIRST_100: hits[tenth, 100],
        "first 1,000 at 10 %": hits[tenth, 1_000],
        "first 100 at 1 %": hits[hundredth, 100],
        "first 1,000 at 1 %": hits[hundredth, 1_000],
    }


def _row(trace: str, choice: str, runs: Sequence[Mapping[str, Values]]) -> Row:
    """Means over the seeds, and how far the first measure spreads over them."""
    values = {measure: mean(run[choice][measure] for run in runs) for measure in runs[0][choice]}
    values["spread"] = stdev(run[choice][FIRST_100] for run in runs)
    if choice == PERFECT:
        return Row(f"{trace}: {choice}", values)
    ratio = values[FIRST_100] / mean(run[PERFECT][FIRST_100] for run in runs)
    return Row(f"{trace}: {choice}", values, f"{trace}: {PERFECT}", ratio)


def _reading(table: Table) -> str:
    share = partial(_share, table)
    least = min(TRACES, key=lambda trace: share(trace, SCORE))
    return (
        "Means over the seeds; `spread` is their standard deviation in the first column. A chat that was loaded by an"
        f" earlier request counts as a hit. On Zipf 1.0 the score reaches {share('zipf 1.0', SCORE):.1%} of what the"
        f" perfect choice does, recency {share('zipf 1.0', RECENCY):.1%}; after a scan {share('scan', SCORE):.1%}"
        f" against {share('scan', RECENCY):.1%}; in recorded conversations {share('recorded', SCORE):.1%} against"
        f" {share('recorded', RECENCY):.1%}. The score's least is {share(least, SCORE):.1%} ({least})."
    )


def _share(table: Table, trace: str, choice: str) -> float:
    return table.row(f"{trace}: {choice}").ratio or 0.0
