"""Who should leave a full L1: hit ratios under one byte bound, by policy."""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Final

from actors.cache_shelf import LOOKS
from actors.score import Scores
from tests.bench.bench_hits import SEEDS, TRACES
from tests.bench.evicting import (
    OVERHEAD,
    Policy,
    S3Fifo,
    ScoredL1,
    Sieve,
    TinyLfu,
    by_ages,
    farthest,
    fifo,
    lru,
)
from tests.bench.kit import Effort, Row, Table, on_all_cores
from tests.bench.traces import Trace

LRU, SCORED, BEST = "LRU", f"L1, score of {LOOKS} looks", "farthest next use"
AT_TENTH: Final = "hits at 10 %"
SHARES: Final = {AT_TENTH: 0.1, "hits at 1 %": 0.01}
MEDIAN_BYTES, LARGEST_BYTES = 8.5, 30_000  # ln of 4.9 kB: a session of some 20 messages; its bound

Values = Mapping[str, float]


def run(effort: Effort) -> Table:
    """Play every trace through every policy; its second half counts."""
    population, seeds = effort.pick(1_000, 20_000), effort.pick(SEEDS[:1], SEEDS[:2])
    cases = [(name, population, seed) for name in TRACES for seed in seeds]
    found = on_all_cores(_measure_all, cases, effort)
    rows: list[Row] = []
    for name in TRACES:
        runs = [values for case, values in zip(cases, found, strict=True) if case[0] == name]
        rows += [_row(name, policy, runs) for policy in runs[0]]
    return Table(
        name="evict",
        title=f"Hits of a full L1, by who leaves it ({population:,} chats, bound of 10 % or 1 % of their bytes)",
        ratio_of=AT_TENTH,
        rows=tuple(rows),
        reading=_reading({row.name: row.values for row in rows}),
    )


# ---------------------------------------------------------------- helpers


def _contenders(chats: Sequence[int]) -> dict[str, Callable[[int], Policy]]:
    return {
        LRU: lru,
        "L1, by ages": by_ages,
        "FIFO": fifo,
        "SIEVE": Sieve,
        "S3-FIFO": S3Fifo,
        "W-TinyLFU": TinyLfu,
        SCORED: lambda bound: ScoredL1(bound, Scores()),
        BEST: lambda bound: farthest(bound, chats),
    }


def _measure_all(name: str, population: int, seed: int) -> dict[str, Values]:
    trace = TRACES[name](population, seed)
    sizes = _sizes(trace, seed)
    whole = sum(sizes[: trace.population])
    found: dict[str, Values] = {}
    for policy, make in _contenders(trace.chats).items():
        found[policy] = {at: _hits(make(int(whole * share)), trace, sizes) for at, share in SHARES.items()}
    return found


def _sizes(trace: Trace, seed: int) -> list[int]:
    """What each chat's session takes in L1, the entry included; the same for every policy."""
    dice = random.Random(seed)
    bodies = (int(dice.lognormvariate(MEDIAN_BYTES, 0.9)) for _ in range(max(trace.chats) + 1))
    return [OVERHEAD + min(body, LARGEST_BYTES) for body in bodies]


def _hits(policy: Policy, trace: Trace, sizes: Sequence[int]) -> float:
    half, hits = len(trace.chats) // 2, 0
    for index, (now_s, chat) in enumerate(zip(trace.times, trace.chats, strict=True)):
        hits += policy(chat, sizes[chat], now_s) and index >= half
    return hits / (len(trace.chats) - half)


def _row(trace: str, policy: str, runs: Sequence[Mapping[str, Values]]) -> Row:
    values = {at: mean(run[policy][at] for run in runs) for at in SHARES}
    if policy == LRU:
        return Row(f"{trace}: {policy}", values)
    ratio = values[AT_TENTH] / mean(run[LRU][AT_TENTH] for run in runs)
    return Row(f"{trace}: {policy}", values, f"{trace}: {LRU}", ratio)


def _reading(values: Mapping[str, Values]) -> str:
    def points(trace: str, policy: str) -> float:
        return 100 * (values[f"{trace}: {policy}"][AT_TENTH] - values[f"{trace}: {LRU}"][AT_TENTH])

    least = min(TRACES, key=lambda trace: points(trace, SCORED))
    return (
        "Means over the seeds. To LRU, an L1 that lets go of the lowest score among its"
        f" {LOOKS} coldest gains {points('zipf 1.0', SCORED):.1f} points on Zipf 1.0, {points('scan', SCORED):.1f}"
        f" during a scan, {points('sessions', SCORED):.1f} on sessions and {points('recorded', SCORED):.1f} in recorded"
        f" conversations; its least is {points(least, SCORED):.1f} ({least}). `{BEST}` knows the future: with entries"
        " of equal size nothing can do better."
    )
