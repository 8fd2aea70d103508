"""The checks can fail: each thing that is broken on purpose is noticed, by the promise that it breaks."""

import pytest

from app.chaos.crowd import Size
from app.chaos.simulation import Plan, simulate
from tests.app.chaos import mutant_stores, mutants
from tests.app.chaos.mutants import Mutant, with_crew, with_database

SMALL = Size(people=10, groups=2)


def plan(*only: str, minutes: float = 2, seed: int = 1, intensity: float = 20.0) -> Plan:
    """A short run with these faults, and many of them."""
    return Plan(seed=seed, minutes=minutes, size=SMALL, only=only, intensity=intensity)


CASES: dict[str, tuple[type[Mutant], Plan, str]] = {
    "a store that forgets the precondition of create": (
        with_database(mutants.CreatesAgain),
        plan("update_duplicate", "update_at_once", "second_owner"),
        "I1 one end",
    ),
    "a store that compares no versions of updates": (
        with_database(mutants.FencesNothing),
        plan("store_late", "ask_twice", minutes=4),
        "I1 one end",
    ),
    "a store that compares no versions of sessions": (
        with_database(mutants.OverwritesSessions),
        plan("store_contention", minutes=6),
        "I4 overwritten",
    ),
    "a store that gives mailboxes in the wrong order": (
        with_database(mutants.ReadsBackwards),
        plan("shard_killed"),
        "I3 order",
    ),
    "a read whose failure is taken for absence": (
        with_crew(
            mutant_stores.WithStore,
            store_class=mutant_stores.TakesFailuresForAbsence,
            warm_class=mutant_stores.NoImages,
        ),
        plan("store_unavailable", "shard_killed", minutes=10, seed=2),
        "I5 absent",
    ),
    "a shard that acknowledges before it writes": (
        with_crew(mutant_stores.Hasty),
        plan("store_unavailable"),
        "I1 lost",
    ),
    "a shard that serves what was never written": (
        with_crew(mutant_stores.WithStore, store_class=mutant_stores.MakesUpSessions),
        plan("shard_killed"),
        "I4 durable",
    ),
    "an image whose mark is that of its writing": (
        with_crew(mutant_stores.WithStore, warm_class=mutant_stores.MovesItsMark),
        plan("second_owner", "shard_killed", "rolling_deploy", minutes=5, intensity=8.0),
        "I6 outdated",
    ),
    "changes without tombstones": (
        with_crew(mutant_stores.WithStore, warm_class=mutant_stores.IgnoresTombstones),
        plan("shard_killed", minutes=4, intensity=8.0),
        "I6 outdated",
    ),
    "a defect in a shard": (
        with_crew(mutant_stores.WithStore, store_class=mutant_stores.Trips),
        plan("model_slow"),
        "defect",
    ),
    "a mailbox without a bound": (
        with_crew(mutant_stores.Boundless),
        plan("model_fails", minutes=10),
        "I7 bounded",
    ),
    "a sender that sends again what may have been sent": (
        with_crew(mutants.WithTelegram, telegram_class=mutants.SendsAgain),
        plan("telegram_reset_after"),
        "I2 one answer",
    ),
    "a sender that calls sent what was not": (
        with_crew(mutants.WithTelegram, telegram_class=mutants.ClaimsToHaveSent),
        plan("telegram_5xx"),
        "I1 lost",
    ),
    "a sender that doubts for nothing": (
        with_crew(mutants.WithTelegram, telegram_class=mutants.DoubtsForNothing),
        plan("model_fails"),
        "I2 unknown",
    ),
    "a store that forgets how long a chat waits": (
        with_database(mutants.ForgetsWaits),
        plan("telegram_429_long", "shard_killed", minutes=6, intensity=8.0),
        "B1 told",
    ),
    "a sender that does not hear how long to wait": (
        with_crew(mutants.WithTelegram, telegram_class=mutants.HearsNoWait),
        plan("telegram_429_long", intensity=8.0),
        "B1 told",
    ),
    "a gateway that says 200 to everything": (
        with_crew(mutants.Agreeable),
        plan("store_unavailable"),
        "I1 lost",
    ),
    "one of two registries that never reads its files again": (
        with_crew(mutants.HalfBlind),
        Plan(seed=1, minutes=12, size=Size(people=20, groups=2, registries=2), only=("model_fails",)),
        "I4 skill",
    ),
    "agents that keep the texts of skills": (
        with_crew(mutants.Hoarding),
        plan("model_fails", minutes=10),
        "I4 skill",
    ),
    "no sweeper": (
        with_crew(mutants.Unswept),
        plan("tell_lost"),
        "I2 takeover",
    ),
    "an agent that leaks tasks": (
        with_crew(mutants.Leaky),
        plan("model_fails"),
        "I7 idle",
    ),
}


def test_a_chat_that_is_forgotten_behind_an_image_stays_so() -> None:
    """What the tombstones' mutant is measured by: with them told, nothing is broken."""
    sound = with_crew(mutant_stores.WithStore, warm_class=mutant_stores.ForgetsBehind)
    assert simulate(plan("shard_killed", minutes=4, intensity=8.0), make=sound).violations == ()


def test_what_the_waits_mutants_are_measured_by() -> None:
    """With the waits kept, nobody comes too early, whoever was killed meanwhile."""
    kinds = ("telegram_429_long", "shard_killed", "agent_killed", "second_owner")
    account = simulate(plan(*kinds, minutes=6, intensity=8.0))
    assert account.violations == ()
    assert all(account.faults[kind] for kind in kinds)


POISONED = plan("chat_poisoned", minutes=45, intensity=4.0)


@pytest.mark.soak
def test_a_chat_that_nobody_can_write_to_goes_on() -> None:
    """Its turns are dead-lettered one after another, those of the others answered."""
    account = simulate(POISONED)
    assert account.violations == ()
    assert account.ends["dead_lettered"] > 0


@pytest.mark.soak
def test_a_reply_that_is_tried_for_ever_is_noticed() -> None:
    """As all others that are broken."""
    account = simulate(POISONED, make=with_crew(mutants.NeverGivesUp))
    assert "I1 bounded" in {violation.promise for violation in account.violations}


@pytest.mark.parametrize("name", CASES)
def test_what_is_broken_is_noticed(name: str) -> None:
    """The run ends with violations, among them of the promise that this breaks."""
    mutant, short, promise = CASES[name]
    account = simulate(short, make=mutant)
    assert promise in {violation.promise for violation in account.violations}
