"""The first turns after cold starts are judged chat by chat, over all starts."""

import pytest

from tests.bench import bench_first
from tests.bench.first_turns import (
    CPU,
    FIRSTS,
    REPEATED,
    ROWS,
    SLOWEST,
    SLOWEST_REPEATED,
    VERY_FIRST,
    WORST,
    WORST_REPEATED,
    Starts,
)
from tests.bench.kit import ratio_between
from tests.bench.turning import Turn, Turns


def turn(cpu_ms: float, reads: int = 0) -> Turn:
    """A turn that waits as long as it works."""
    return Turn(2 * cpu_ms, cpu_ms, reads)


def starts() -> Starts:
    """Of three chats in three starts: the second is dear in each, and in each another one meets something else."""
    firsts = ([9.0, 1.5, 1.0], [1.2, 1.5, 9.0], [1.2, 9.0, 1.0])
    rounds = ([1.0, 4.0, 1.0] * 2, [1.0, 1.0, 5.0] * 2, [1.0, 1.1, 1.1] * 2)
    runs = zip(firsts, rounds, strict=True)
    return Starts([Turns(list(map(turn, first)), list(map(turn, later))) for first, later in runs])


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        (FIRSTS, 1.5),
        (WORST, 1.5),
        (VERY_FIRST, 1.2),
        (SLOWEST, 9.0),
        (WORST_REPEATED, 1.0),
        (SLOWEST_REPEATED, 4.0),
    ],
)
def test_each_row_says_what_it_is_called(row: str, ratio: float) -> None:
    """A chat counts by the median over the starts; only the slowest single turn is what one start has met."""
    found = starts().samples()
    assert set(ROWS) == set(found)
    assert ratio == pytest.approx(ratio_between(found, row, REPEATED, CPU))


def test_the_reading_names_the_worst_chat() -> None:
    """Whoever reads of a worst chat wants to know which one it was."""
    said = bench_first.reading({"by a query": starts()})
    assert "the worst of 3 chats takes 1.50 (1.50) times as long (chat 2)" in said
    assert "over 3 cold starts" in said
    assert said.endswith("The most store reads in any turn: 0.")
