"""The recorder of a container's start: what adds up, what is told, and that it is told once."""

import time

import pytest
from structlog.testing import capture_logs

from app.cold_start import BUDGETS, ColdStart, process_age_s
from contracts.warming import WarmReport


async def test_phases_add_up_and_are_told_once_with_the_last_first_answer() -> None:
    """A phase that comes again adds up; the pause of a snapshot belongs to none; the second answer tells nothing."""
    cold = ColdStart("SessionCacheActor", 3, born_s=time.monotonic() - 2.0)
    cold.ended("imports")
    cold._mark_s -= 5.0  # as if a snapshot had lain between
    cold.resume()
    for phase in ("clients", "warm", "imports"):
        cold.ended(phase)
    cold.warmed(WarmReport(actor="SessionCacheActor", shard=3, phases={"sessions": 20.0}, duration_ms=21.0))
    first = cold.first("first_accept")
    with capture_logs() as logs:
        cold.ready()
        first(7.0)
        first(9.0)
        cold.tell()
    (told,) = logs
    assert ("cold_start", "SessionCacheActor", 3) == (told["event"], told["role"], told["shard"])
    assert 2000 <= told["imports_ms"] < 4000
    assert told["clients_ms"] + told["warm_ms"] < 1000
    assert 7.0 == told["first_accept_ms"]
    assert told["ready_ms"] == pytest.approx(
        told["imports_ms"] + told["clients_ms"] + told["warm_ms"], abs=0.3
    )
    assert {"SessionCacheActor[3]": {"sessions": 20.0, "all": 21.0}} == told["warming"]
    assert ["imports"] == told["over"]


async def test_a_container_that_nobody_asked_tells_when_it_ends() -> None:
    """Without a first answer, and only of one that became ready."""
    cold = ColdStart("ChatAgent")
    with capture_logs() as logs:
        cold.tell()
        assert [] == logs
        cold.ended("imports")
        cold.ready()
        cold.tell()
    assert ["cold_start"] == [line["event"] for line in logs]
    assert "first_reply_ms" not in logs[0]


async def test_the_service_waits_for_both_of_its_first_answers() -> None:
    """The first accept alone tells nothing yet."""
    cold = ColdStart("serve")
    cold.ready()
    with capture_logs() as logs:
        cold.first("first_accept")(3.0)
        assert [] == logs
        cold.first("first_reply")(300.0)
    assert (3.0, 300.0) == (logs[0]["first_accept_ms"], logs[0]["first_reply_ms"])


def test_a_process_knows_its_age() -> None:
    """Linux tells when it started; this one is older than a moment and younger than the machine."""
    assert 0.0 < process_age_s() < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_each_budget_says_why() -> None:
    """No number without a reason, and no phase may wait for more than a turn does."""
    budgets = [budget for phases in BUDGETS.values() for budget in phases.values()]
    assert all(budget.reason and budget.ms > 0 and 0 <= budget.trips <= 6 for budget in budgets)
