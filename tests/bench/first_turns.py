"""What the turns of several cold starts come to: of each chat over all starts, and of each start over all chats."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from tests.bench.kit import Samples, Values
from tests.bench.turning import Turn, Turns

MS, CPU, READS = "ms a turn", "CPU ms a turn", "store reads, the most"
REPEATED, FIRSTS, VERY_FIRST = "repeated, median", "first of each chat, median", "very first"
WORST, WORST_REPEATED = "first of each chat, worst chat", "repeated, worst chat of as many"
SLOWEST, SLOWEST_REPEATED = "first of each chat, slowest single", "repeated, slowest single of as many"
ROWS: Final = (REPEATED, WORST_REPEATED, SLOWEST_REPEATED, FIRSTS, WORST, VERY_FIRST, SLOWEST)

Same = Sequence[Values]
"""What the same turn, such as the first one of a chat, took in each start."""


class Starts:
    """Several starts, whose chats take their turns in one order."""

    def __init__(self, runs: Sequence[Turns]) -> None:
        self.times, self.chats = len(runs), len(runs[0].firsts)
        self._middles = [_middle([alone(turn) for turn in run.repeats]) for run in runs]
        self._firsts = _same([run.firsts for run in runs])
        repeats = _same([run.repeats for run in runs])
        self._rounds = [repeats[begin : begin + self.chats] for begin in range(0, len(repeats), self.chats)]

    def samples(self, measure: str = CPU) -> Samples:
        """The values of each of ROWS in each start; what is worst or slowest is so by `measure`."""
        worst = [self._worst(turns, measure) for turns in self._rounds]
        slowest = [_slowest(turns, measure) for turns in self._rounds]
        found = {
            REPEATED: self._middles,
            WORST_REPEATED: sorted(worst, key=lambda turns: self._ratio(turns, measure))[len(worst) // 2],
            SLOWEST_REPEATED: _middles(slowest),
            FIRSTS: _middles(self._firsts),
            WORST: self._worst(self._firsts, measure),
            VERY_FIRST: self._firsts[0],
            SLOWEST: _slowest(self._firsts, measure),
        }
        return {name: found[name] for name in ROWS}

    def worst_chat(self, measure: str) -> int:
        """Whose first turn is the dearest, from 1 on."""
        return 1 + self._firsts.index(self._worst(self._firsts, measure))

    def _worst(self, several: Sequence[Same], measure: str) -> Same:
        return max(several, key=lambda turns: self._ratio(turns, measure))

    def _ratio(self, turns: Same, measure: str) -> float:
        """The median over the starts, so that what else happened in one of them does not count."""
        pairs = zip(turns, self._middles, strict=True)
        return median(turn[measure] / repeated[measure] for turn, repeated in pairs)


def alone(turn: Turn) -> Values:
    """What it took."""
    return {MS: turn.wall_ms, CPU: turn.cpu_ms, READS: float(turn.reads)}


def _same(runs: Sequence[Sequence[Turn]]) -> list[Same]:
    return [[alone(turn) for turn in turns] for turns in zip(*runs, strict=True)]


def _middles(several: Sequence[Same]) -> Same:
    return [_middle(turns) for turns in zip(*several, strict=True)]


def _middle(turns: Sequence[Values]) -> Values:
    return {
        MS: median(turn[MS] for turn in turns),
        CPU: median(turn[CPU] for turn in turns),
        READS: max(turn[READS] for turn in turns),
    }


def _slowest(several: Sequence[Same], measure: str) -> Same:
    return [max(turns, key=lambda turn: turn[measure]) for turns in zip(*several, strict=True)]
