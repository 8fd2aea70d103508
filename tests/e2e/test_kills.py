"""Faults D1, D4, D5, A1, A2, B3, B6: services die at random moments, and nothing is lost, doubled or out of order."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import aiohttp
import pytest

from app.chaos.siege.judging import Verdict
from app.chaos.siege.stage import many_skills
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import CallFault
from tests.e2e.conftest import Environ
from tests.e2e.kill_kit import Plan, besieged, states
from tests.e2e.kill_leaks import leaks
from tests.e2e.kill_place import Place
from tests.e2e.kit import READY_S
from tests.waiting import until

SEED = os.environ.get("KILLS_SEED")
Siegemaster = Callable[[Plan], Coroutine[None, None, None]]


@pytest.mark.slow
@pytest.mark.timeout(180)  # some 25 s, most of it leases of 15 s; the rest is for a busy machine
async def test_a_few_kills_lose_and_double_nothing(store: Environ, siege_of: Siegemaster) -> None:
    """Some turns through four kills and a rolling restart, by two owners of a shard; over SQLite by one, too."""
    file = store["FIRSTLIGHT_STORE"].startswith("sqlite")
    turns, processes = (60, (1, 2)) if file else (40, (2,))
    plans = [Plan(seed=int(SEED or 1), turns=turns, chats=10, rounds=5, processes=each) for each in processes]
    async with asyncio.TaskGroup() as sieges:  # side by side, as most of their time is waiting for leases
        for plan in plans:
            sieges.create_task(siege_of(plan))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A service that has been started and is not warm yet; killed at the end if it still runs."""
    environ = {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'kills.db'}"}
    async with TelegramSimulator() as telegram, aiohttp.ClientSession() as http:
        place = Place(telegram, environ, tmp_path / "serve.log", http)
        await place.start()
        yield place
        await telegram.updates.disconnect()
        await place.kill()


async def test_sigterm_while_warming_ends_a_service_in_order(place: Place) -> None:
    """It listens before it is warm, so from then on it has turns that it must not drop."""
    await place.listening()
    assert 0 == await place.end()


async def test_sigint_ends_a_service_in_order(place: Place) -> None:
    """Ctrl-C is an order to end, too: no traceback, and exit code 0 (D1)."""
    await place.listening()
    assert place.process is not None
    place.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(READY_S):
        assert 0 == await place.process.wait()
    assert "Traceback" not in place.printed()


@pytest.mark.soak
async def test_sigterm_cuts_no_message_that_is_being_sent(place: Place) -> None:
    """An answer of Telegram's that takes 12 s is waited for, so that the update is not `unknown`."""
    await place.ready()
    place.telegram.faults.add(CallFault(kind="slow", method="sendMessage", seconds=12.0))
    place.telegram.updates.connect(place.deliver)
    place.telegram.say(5, "/help")
    await until(lambda: place.telegram.faults.injected["slow"])
    assert 0 == await place.end()
    assert ["answered"] == await states(place.environ)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2])
async def test_many_kills_lose_and_double_nothing(siege_of: Siegemaster, processes: int) -> None:
    """Five hundred turns through some thirty kills and ten rolling restarts, with a new seed in each run."""
    seed = int(SEED or random.SystemRandom().randrange(1_000_000))
    pause_s = (0.2, 3.6)
    await siege_of(
        Plan(seed=seed, turns=520, chats=24, rounds=40, processes=processes, pause_s=pause_s, settle_s=120.0)
    )


@pytest.fixture
def siege_of(
    store: Environ,
    tmp_path: Path,
    injected: Counter[str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Siegemaster:
    """Carries out a plan on a store of its own; a failure says how to run the same dice again."""

    async def besiege(plan: Plan) -> None:
        folder = tmp_path / f"{plan.processes}"
        environ = dict(store) | {
            "FIRSTLIGHT_STORE": f"{store['FIRSTLIGHT_STORE']}-{plan.processes}",
            "FIRSTLIGHT_SKILLS_DIR": str(many_skills(folder / "skills")),
        }
        async with besieged(plan, environ, folder) as siege:
            try:
                verdict = await siege.run()
                assert [] == verdict.problems, "\n".join(map(str, verdict.problems))
                assert len(siege.accepted) == verdict.turns == plan.turns
                assert [] == list(leaks(siege.telegram.token, siege.places, environ))
            except BaseException as failure:
                failure.add_note(_again(plan, request))
                raise
            finally:
                injected.update(siege.injected)
        with capsys.disabled():
            sys.stdout.write(_told(plan, verdict, siege.injected))

    return besiege


def _again(plan: Plan, request: pytest.FixtureRequest) -> str:
    """How to run the same dice again; the moments of a kill are the machine's own all the same."""
    marked = " -m soak" if request.node.get_closest_marker("soak") else ""
    return f"run it again: KILLS_SEED={plan.seed} pytest{marked} '{request.node.nodeid}'"


def _told(plan: Plan, verdict: Verdict, faults: Counter[str]) -> str:
    ends, injected = (
        ", ".join(f"{kind} {count}" for kind, count in sorted(each.items()))
        for each in (verdict.ends, faults)
    )
    unknown = (
        f"unknown: {verdict.cut} of {verdict.in_flight} sends in flight at a kill, "
        f"{verdict.unanswered} of {verdict.lost_answers} lost answers"
    )
    what = f"{verdict.turns} turns, seed {plan.seed}: {ends}; lost, doubled or out of order: {len(verdict.problems)}"
    return f"\n{what}; {unknown}; stale answers {verdict.stale}; injected: {injected}\n"
