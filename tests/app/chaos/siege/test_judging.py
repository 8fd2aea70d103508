"""The verdict: a world in which all went well passes, and each that is broken on purpose fails by its promise."""

from dataclasses import replace

import pytest

from app.chaos.siege.judging import CUT, judge
from app.doctor import Findings
from tests.app.chaos.siege.world import Told, World

WELL = World()
CUT_3 = WELL.with_told(Told(number=3, state="unknown", chunk="unknown", reason=CUT))
UNHEARD_3 = WELL.with_told(Told(number=3, state="unknown", chunk="unknown", reason="no answer"))


@pytest.mark.parametrize(
    "world",
    [
        WELL,
        replace(CUT_3, sending=(3,)),
        replace(CUT_3, sending=(3,), visible=(1, 2, 4, 5)),
        replace(UNHEARD_3, lost_answers=1),
        replace(WELL, remembered=(3, 5)),
    ],
    ids=["all answered", "cut and visible", "cut and not", "unheard", "a history that is bounded"],
)
def test_a_world_that_kept_every_promise_passes(world: World) -> None:
    """An unknown end that a fault explains is no broken promise: it is counted."""
    verdict = judge(world.watched, world.left)
    assert [] == verdict.problems
    unknown = sum(each.state == "unknown" for each in world.told)
    assert (unknown, unknown) == (verdict.ends["unknown"], verdict.cut + verdict.unanswered)


BROKEN = {
    "a message shown twice": (replace(WELL, visible=(1, 2, 3, 3, 4, 5)), "doubled"),
    "a message that nobody planned": (replace(WELL, visible=(1, 2, 3, 4, 5, 9)), "doubled"),
    "a message shown twice, much later": (replace(WELL, visible=(1, 2, 3, 4, 5, 1)), "doubled"),
    "two answers in the wrong order": (replace(WELL, visible=(1, 3, 2, 4, 5)), "out of order"),
    "an answer that nobody saw": (replace(WELL, visible=(1, 2, 4, 5)), "lost"),
    "an update without an end": (
        replace(WELL.with_told(Told(number=5, state="accepted", chunk="planned")), visible=(1, 2, 3, 4)),
        "lost",
    ),
    "an update answered 200 that the store does not have": (replace(WELL, accepted=(1, 5, 6)), "lost"),
    "a message that never came": (replace(WELL, written=6), "lost"),
    "an update that the doctor finds": (replace(WELL, findings=Findings(ok=False, lost=(4,))), "lost"),
    "one that he finds stuck": (replace(WELL, findings=Findings(ok=False, stuck=(4,))), "lost"),
    "a message that became two updates": (replace(WELL, written=4), "doubled"),
    "a send cut although nobody died": (CUT_3, "unknown"),
    "an unknown end without a lost answer": (UNHEARD_3, "unknown"),
    "a history without a question": (replace(WELL, remembered=(1, 3, 5)), "history"),
    "a history with a question twice": (replace(WELL, remembered=(1, 2, 2, 3, 5)), "history"),
    "no history": (replace(WELL, remembered=()), "history"),
}


@pytest.mark.parametrize(("world", "promise"), BROKEN.values(), ids=BROKEN)
def test_a_broken_world_fails_by_the_promise_that_it_breaks(world: World, promise: str) -> None:
    """And by no other."""
    problems = judge(world.watched, world.left).problems
    assert {promise} == {problem.promise for problem in problems}


def test_an_answer_that_does_not_know_the_question_before_is_stale() -> None:
    """It is counted, and no broken promise: another owner had worked the turn before."""
    stale = WELL.with_told(Told(number=3, text="3. " + Told(number=2).reply))
    verdict = judge(stale.watched, stale.left)
    assert (1, []) == (verdict.stale, verdict.problems)
