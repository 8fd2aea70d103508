"""Faults D1, D4, D5, A1, A2, B3, B6: services die at random moments, and nothing is lost, doubled or out of order."""

import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_ports import ScaledClock
from tests.e2e.conftest import Environ
from tests.e2e.kill_kit import Place, Plan, Siege, Verdict, many_skills

SEED = os.environ.get("KILLS_SEED")
QUICK = 4.0  # Telegram's delays, up to two minutes, pass at this multiple of their pace


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulated Telegram whose redeliveries do not take the minutes that they take."""
    async with TelegramSimulator(clock=ScaledClock(QUICK)) as simulator:
        yield simulator


@pytest.mark.slow
@pytest.mark.timeout(
    110
)  # a dead owner's lease lasts 15 s, the sweeper comes every 5 s, and services start cold
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_few_kills_lose_and_double_nothing(
    telegram: TelegramSimulator,
    store: Environ,
    tmp_path: Path,
    injected: Counter[str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    processes: int,
) -> None:
    """Some sixty turns through four kills and a rolling restart, by one service or two owners of one shard."""
    turns = 60 if store["FIRSTLIGHT_STORE"].startswith("sqlite") else 40
    plan = Plan(seed=int(SEED or 1), turns=turns, chats=10, rounds=5, processes=processes)
    await _besiege(plan, telegram, store, tmp_path, injected, capsys, request)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2])
async def test_many_kills_lose_and_double_nothing(
    telegram: TelegramSimulator,
    store: Environ,
    tmp_path: Path,
    injected: Counter[str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    processes: int,
) -> None:
    """Five hundred turns through some forty kills and rolling restarts, with a new seed in each run."""
    seed = int(SEED or random.SystemRandom().randrange(1_000_000))
    plan = Plan(
        seed=seed, turns=520, chats=24, rounds=40, processes=processes, pause_s=(0.5, 4.0), settle_s=120.0
    )
    await _besiege(plan, telegram, store, tmp_path, injected, capsys, request)


async def _besiege(
    plan: Plan,
    telegram: TelegramSimulator,
    store: Environ,
    folder: Path,
    injected: Counter[str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    environ = {**store, "FIRSTLIGHT_SKILLS_DIR": str(many_skills(folder / "skills"))}
    async with aiohttp.ClientSession() as http:
        places = [
            Place(telegram, environ, folder / f"serve-{number}.log", http) for number in range(plan.processes)
        ]
        siege = Siege(plan, telegram, places, store)
        try:
            verdict = await siege.run()
            assert verdict.problems == []
            assert len(siege.accepted) == verdict.turns == plan.turns
        except BaseException as failure:
            failure.add_note(_again(plan, request))
            raise
        finally:
            injected.update(siege.injected)
    with capsys.disabled():
        sys.stdout.write(_told(plan, verdict, siege.injected))


def _again(plan: Plan, request: pytest.FixtureRequest) -> str:
    """How to run the same dice again; the moments of a kill are the machine's own all the same."""
    marked = " -m soak" if request.node.get_closest_marker("soak") else ""
    return f"run it again: KILLS_SEED={plan.seed} pytest{marked} '{request.node.nodeid}'"


def _told(plan: Plan, verdict: Verdict, faults: Counter[str]) -> str:
    ends, injected = (
        ", ".join(f"{kind} {count}" for kind, count in sorted(each.items()))
        for each in (verdict.ends, faults)
    )
    return f"\n{verdict.turns} turns, seed {plan.seed}: {ends}; stale answers {verdict.stale}; injected: {injected}\n"
