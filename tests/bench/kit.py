"""What the benchmarks share: tables of named rows, and contenders measured in turns so that noise meets all alike."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")

Values = Mapping[str, float]
"""What one run of a contender gave, by the name of the measure with its unit (`requests/s`, `CPU us/request`)."""

Contender = Callable[[], Values]
Awaited = Callable[[], Awaitable[Values]]
Samples = Mapping[str, Sequence[Values]]
"""The runs of each contender, in the order of the rounds."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a run may cost; `step` tells the person who waits what is measured now."""

    quick: bool
    step: Callable[[str], None] = lambda _: None

    def pick(self, quick: T, full: T) -> T:
        """The one or the other."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's medians; `ratio` is to the row named `against` (None for a baseline itself)."""

    name: str
    values: Values
    against: str | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One benchmark's outcome: `ratio_of` names the measure that the ratios compare, `reading` says what they mean."""

    name: str
    title: str
    ratio_of: str
    rows: tuple[Row, ...]
    reading: str

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns, in the order in which the rows name them."""
        return tuple(dict.fromkeys(measure for row in self.rows for measure in row.values))

    def row(self, name: str) -> Row:
        """The row of that name; raises KeyError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)


Bench = Callable[[Effort], Table]


def rounds(contenders: Mapping[str, Contender], times: int, effort: Effort) -> Samples:
    """Run every contender `times` times, one after another, so that a busy minute slows all of them."""
    samples: dict[str, list[Values]] = {name: [] for name in contenders}
    for number in range(times):
        for name, run in contenders.items():
            effort.step(f"{name}, round {number + 1} of {times}")
            samples[name].append(run())
    return samples


async def rounds_on_loop(contenders: Mapping[str, Awaited], times: int, effort: Effort) -> Samples:
    """The same for contenders that share an event loop."""
    samples: dict[str, list[Values]] = {name: [] for name in contenders}
    for number in range(times):
        for name, run in contenders.items():
            effort.step(f"{name}, round {number + 1} of {times}")
            samples[name].append(await run())
    return samples


def rows(samples: Samples, ratio_of: str, against: Mapping[str, str] | str) -> tuple[Row, ...]:
    """The medians of each contender, and the median of its rounds' ratios to its baseline's same round."""
    return tuple(_row(name, samples, ratio_of, _baseline(name, against)) for name in samples)


def one_after_another(several: Iterable[Samples]) -> Samples:
    """The rounds of all as one."""
    joined: dict[str, list[Values]] = {}
    for samples in several:
        for name, runs in samples.items():
            joined.setdefault(name, []).extend(runs)
    return joined


def ratios(samples: Samples, name: str, baseline: str, measure: str) -> list[float]:
    """One contender's measure divided by another's, for each round."""
    pairs = zip(samples[name], samples[baseline], strict=True)
    return [ours[measure] / theirs[measure] for ours, theirs in pairs]


def ratio_between(samples: Samples, name: str, baseline: str, measure: str) -> float:
    """The median over the rounds of one contender's measure divided by another's."""
    return median(ratios(samples, name, baseline, measure))


# ---------------------------------------------------------------- helpers


def _baseline(name: str, against: Mapping[str, str] | str) -> str | None:
    if isinstance(against, str):
        return against if name != against else None
    return against.get(name)


def _row(name: str, samples: Samples, ratio_of: str, baseline: str | None) -> Row:
    runs = samples[name]
    values = {measure: median(run[measure] for run in runs) for measure in runs[0]}
    ratio = ratio_between(samples, name, baseline, ratio_of) if baseline else None
    return Row(name, values, baseline, ratio)


def on_all_cores(work: Callable[..., T], cases: Sequence[tuple[Any, ...]], effort: Effort) -> list[T]:
    """Give what each case comes to, in their order, worked out side by side: for what is counted, and not timed."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        waited = [pool.submit(work, *case) for case in cases]
        for number, _ in enumerate(as_completed(waited), start=1):
            effort.step(f"{number} of {len(cases)} done")
        return [each.result() for each in waited]
