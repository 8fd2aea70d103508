"""What the study of warming and eviction rests on: its traces, its references, and the one figure that must hold."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from actors.score import Scores
from tests.bench.choosing import (
    ByFrequency,
    ByRecency,
    ByScore,
    ByScoreWithinL1,
    Choice,
    Nothing,
    hit_ratio,
    measure,
    measure_perfect,
)
from tests.bench.evicting import Policy, S3Fifo, ScoredL1, Sieve, TinyLfu, by_ages, farthest, fifo, lru
from tests.bench.recorded import recorded
from tests.bench.traces import MAKERS, Maker, zipf

POPULATION = 1_000
TENTH = POPULATION // 10
ENOUGH = 1 << 40
POLICIES: dict[str, Callable[[int], Policy]] = {
    "lru": lru,
    "fifo": fifo,
    "sieve": Sieve,
    "s3-fifo": S3Fifo,
    "w-tinylfu": TinyLfu,
    "by ages": by_ages,
    "score": lambda bound: ScoredL1(bound, Scores()),
}


def hits(policy: Policy, chats: list[int]) -> list[bool]:
    """Play these requests, a second apart and of one size."""
    return [policy(chat, 1_000, float(at)) for at, chat in enumerate(chats)]


@pytest.mark.parametrize("name", ["zipf 1.0", "scan"])
def test_the_score_chooses_nearly_as_well_as_the_perfect_choice(name: str) -> None:
    """At 10 % capacity the first 100 requests hit at least 0.9 of what they can; recency alone does not reach that."""
    trace = MAKERS[name](POPULATION, 7)
    case = (TENTH, 100)
    perfect = measure_perfect(trace, [TENTH])[case]
    ours, recency = (measure(each, trace, [TENTH])[case] for each in (ByScore(Scores()), ByRecency()))
    assert ours >= 0.9 * perfect
    assert recency < 0.9 * perfect


def test_an_l1_that_asks_the_score_holds_what_an_image_needs() -> None:
    """The same holds when only what L1 kept can be chosen, if it evicts by score; of an LRU it would not."""
    trace = zipf(1.0, POPULATION, 7)
    perfect = measure_perfect(trace, [TENTH])[TENTH, 100]
    scored, plain = (
        measure(ByScoreWithinL1([TENTH], times=1, evicting=evicting), trace, [TENTH])[TENTH, 100]
        for evicting in (True, False)
    )
    assert scored >= 0.9 * perfect
    assert plain < 0.9 * perfect


def test_a_request_makes_the_next_one_of_its_chat_a_hit() -> None:
    """What was warmed hits, and what was loaded on demand."""
    assert 0.5 == hit_ratio([1], [1, 2, 2, 3])
    assert 0.25 == hit_ratio([], [1, 2, 2, 3])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ByScore(Scores(half_life_s=10.0)), [2, 1]),
        (ByRecency(), [3, 2]),
        (ByFrequency(), [1, 2]),
        (Nothing(), []),
    ],
)
def test_each_choice_is_what_its_name_says(choice: Choice, expected: list[int]) -> None:
    """A chat of the past, one of now and then, and one seen once just now."""
    for chat, at in [*[(1, 0.0)] * 9, *[(2, 20.0)] * 5, (3, 21.0)]:
        choice.touch(chat, at)
    assert expected == choice.image(2)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_trace_is_its_seed(make: Maker) -> None:
    """The same seed gives the same requests, another seed others; time never runs back, restarts leave some to come."""
    trace, again, other = make(200, 1), make(200, 1), make(200, 2)
    assert (trace.times, trace.chats, trace.restarts) == (again.times, again.chats, again.restarts)
    assert trace.chats != other.chats
    assert all(before <= after for before, after in pairwise(trace.times))
    assert all(0 < restart < len(trace.chats) - 20 for restart in trace.restarts)
    assert 200 == len(trace.popularity(trace.times[0]))


def test_the_perfect_choice_is_the_most_popular() -> None:
    """It names the chats in the order of their shares, and a tenth of a Zipf's chats is most of its requests."""
    trace = zipf(1.0, POPULATION, 1)
    shares = trace.popularity(0.0)
    best = trace.best(trace.restarts[0], TENTH)
    assert sorted(shares, reverse=True)[:TENTH] == [shares[chat] for chat in best]
    wanted = sum(chat in set(best) for chat in trace.chats) / len(trace.chats)
    assert sum(shares[chat] for chat in best) / sum(shares) == pytest.approx(wanted, abs=0.01)


def test_the_recording_is_whole() -> None:
    """All turns of all people are there, in order; the first one is by somebody new, and most answer one another."""
    trace = recorded(0, 1)
    assert (138_737, 138_737, 1_315) == (len(trace.times), len(trace.chats), trace.population)
    assert set(range(1_315)) == set(trace.chats)
    assert 1_542_388_140.0 == trace.times[-1]
    assert 12_572 == trace.chats.count(158)


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_with_room_for_all_only_the_first_request_misses(make: Callable[[int], Policy]) -> None:
    """A reference that lost or invented something would compare wrongly."""
    chats = zipf(1.0, 100, 1).chats.tolist()
    firsts = {chats.index(chat) for chat in set(chats)}
    assert [at not in firsts for at in range(len(chats))] == hits(make(ENOUGH), chats)


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_nothing_beats_the_one_that_knows_the_future(make: Callable[[int], Policy]) -> None:
    """With equal sizes the farthest next use is the best to let go, and each reference hits something."""
    chats = zipf(1.0, 200, 1).chats.tolist()
    possible = sum(hits(farthest(20_000, chats), chats))
    assert 0.3 * possible < sum(hits(make(20_000), chats)) < possible


@pytest.mark.parametrize(
    ("make", "room", "chats", "last"),
    [
        (lru, 4, [1, 2, 3, 4, 1, 5, 1], True),  # 1 was used lately
        (fifo, 4, [1, 2, 3, 4, 1, 5, 1], False),  # 1 came first
        (Sieve, 4, [1, 2, 3, 4, 1, 5, 1], True),  # 1 was visited, so the hand passes on to 2
        (Sieve, 4, [1, 2, 3, 4, 1, 5, 2], False),
        (POLICIES["score"], 16, [1, *range(1, 18), 1], True),  # 1 was wanted twice, 2 once
        (POLICIES["score"], 16, [1, *range(1, 18), 2], False),
        (lru, 16, [1, *range(1, 18), 1], False),
    ],
)
def test_who_leaves(make: Callable[[int], Policy], room: int, chats: list[int], last: bool) -> None:
    """The last request tells who left when there was no room for one more."""
    assert last == hits(make(1_000 * room), chats)[-1]
