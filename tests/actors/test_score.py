"""Scores against the plain sum that they stand for, their bound, and the scan that must not displace anything."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.score import UNKNOWN, Scores

NOW_S = 1_800_000_000.0
HALF_LIFE_S = 3_600.0
CHATS = st.integers(1, 5)
AGES = st.integers(-50_000, 50_000)  # also touches after "now": a clock that jumped back
WEIGHTS = st.sampled_from([0.25, 1.0, 3.0])
TOUCHES = st.lists(st.tuples(CHATS, AGES, WEIGHTS), max_size=40)


def scores(max_keys: int = 1_000) -> Scores:
    """Scores of a short half-life."""
    return Scores(half_life_s=HALF_LIFE_S, max_keys=max_keys)


def touched(touches: list[tuple[int, int, float]]) -> Scores:
    """Scores after these touches: chat, age in seconds, weight."""
    made = scores()
    for chat, age, weight in touches:
        made.touch(chat, NOW_S - age, weight)
    return made


def worth(touches: list[tuple[int, int, float]], chat: int) -> float:
    """What the chat's touches are worth at NOW_S: the sum of their weights, each halved every half-life."""
    return math.fsum(weight * 2.0 ** (-age / HALF_LIFE_S) for each, age, weight in touches if each == chat)


@given(TOUCHES)
def test_a_score_is_the_decayed_sum(touches: list[tuple[int, int, float]]) -> None:
    """Read back as a worth at any moment, a score is the plain sum of the decayed touches; unknown is unknown."""
    made = touched(touches)
    for chat in range(1, 6):
        expected = worth(touches, chat)
        if expected == 0:
            assert UNKNOWN == made.get(chat)
        else:
            assert math.log2(expected) == pytest.approx((made.get(chat) - NOW_S) / HALF_LIFE_S, abs=1e-6)


@given(TOUCHES, st.integers(0, 6))
def test_the_top_is_what_the_sums_say(touches: list[tuple[int, int, float]], k: int) -> None:
    """The k chosen are k of the highest sums, highest first."""
    best = touched(touches).top(range(1, 6), k)
    sums = [worth(touches, chat) for chat in best]
    assert min(k, 5) == len(set(best))
    assert all(left >= right * (1 - 1e-6) for left, right in pairwise(sums))
    left_out = [worth(touches, chat) for chat in range(1, 6) if chat not in best]
    assert not sums or not left_out or min(sums) >= max(left_out) * (1 - 1e-6)


@given(st.permutations([(1, age, 1.0) for age in (0, 40, 4_000, 40_000, 400_000)]))
def test_the_order_of_touches_does_not_matter(touches: list[tuple[int, int, float]]) -> None:
    """A clock that jumps back between touches leaves the sum as it is."""
    assert touched(sorted(touches)).get(1) == pytest.approx(touched(touches).get(1), abs=1e-4)


@given(TOUCHES, TOUCHES)
def test_a_restart_changes_nothing(
    before: list[tuple[int, int, float]], after: list[tuple[int, int, float]]
) -> None:
    """Scores that went through an image go on as if there had been no restart."""
    old, new, straight = touched(before), scores(), touched([*before, *after])
    for chat in range(1, 6):
        if old.get(chat) != UNKNOWN:
            new.put(chat, old.get(chat))
    for chat, age, weight in after:
        new.touch(chat, NOW_S - age, weight)
    assert [straight.get(chat) for chat in range(1, 6)] == [new.get(chat) for chat in range(1, 6)]


def test_twice_as_often_is_a_half_life_higher() -> None:
    """One touch stands at its time, two at a half-life more, and a half-life without any costs as much."""
    made = touched([(1, 0, 1.0), (2, 0, 1.0), (2, 0, 1.0), (3, 3_600, 2.0)])
    assert [NOW_S, NOW_S + HALF_LIFE_S, NOW_S] == [round(made.get(chat), 3) for chat in (1, 2, 3)]
    assert [2, 1, 3, 9] == made.top([9, 1, 3, 2], 4)


def test_a_lower_score_from_an_image_changes_nothing() -> None:
    """What was touched since the image was written keeps its score when the image arrives; a dropped key has none."""
    made = scores()
    made.touch(1, NOW_S)
    made.put(1, NOW_S - 1)
    assert NOW_S == made.get(1)
    made.put(1, NOW_S + 1)
    assert NOW_S + 1 == made.get(1)
    made.drop(1)
    made.drop(1)
    assert UNKNOWN == made.get(1)


def test_a_scan_of_cold_chats_displaces_no_hot_one() -> None:
    """However many chats are seen once, those wanted often stay, and the table keeps its bound."""
    made = scores(max_keys=200)
    for round_ in range(8):
        for chat in range(100):
            made.touch(chat, NOW_S + round_)
    for cold in range(20_000):
        made.touch(1_000 + cold, NOW_S + 10 + cold * HALF_LIFE_S / 20_000)
        assert len(made) <= 200
    assert set(range(100)) == set(made.top([*range(100), *range(1_000, 21_000)], 100))


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=120))
def test_what_is_pruned_is_the_lowest(max_keys: int, puts: list[tuple[int, int]]) -> None:
    """Nothing that is gone stood higher than what is held."""
    made = scores(max_keys)
    highest: dict[int, float] = {}
    for key, score in puts:
        made.put(key, NOW_S + score)
        highest[key] = max(made.get(key), NOW_S + score)
        assert len(made) <= max_keys
    held = [key for key in highest if made.get(key) != UNKNOWN]
    gone = [score for key, score in highest.items() if key not in held]
    assert not held or not gone or min(made.get(key) for key in held) >= min(gone)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_time_is_refused(bad: float) -> None:
    """A number that can't be compared never gets in, and what was held stays."""
    made = scores()
    made.touch(1, NOW_S)
    for key in (1, 2):
        with pytest.raises(ValueError, match="Unix"):
            made.touch(key, bad)
        with pytest.raises(ValueError, match="Unix"):
            made.put(key, bad)
    assert (1, NOW_S) == (len(made), made.get(1))


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_touch_weighs_something(weight: float) -> None:
    """Nothing and less than nothing are no touches."""
    with pytest.raises(ValueError, match="more than 0"):
        scores().touch(1, NOW_S, weight)


@pytest.mark.parametrize(
    ("half_life_s", "max_keys"), [(0.0, 1), (-1.0, 1), (math.nan, 1), (math.inf, 1), (1.0, 0)]
)
def test_bad_bounds_are_refused(half_life_s: float, max_keys: int) -> None:
    """A half-life is a finite time, a bound a number of keys."""
    with pytest.raises(ValueError, match="above 0"):
        Scores(half_life_s=half_life_s, max_keys=max_keys)


def test_the_stored_number_is_exact_for_a_year() -> None:
    """A year of touches, one a half-life, ends where the sum 1 + 1/2 + 1/4 + ... ends: at twice the last one."""
    made = scores()
    for hour in range(365 * 24):
        made.touch(1, NOW_S + hour * HALF_LIFE_S)
    assert NOW_S + 365 * 24 * HALF_LIFE_S == pytest.approx(made.get(1), abs=1e-3)
