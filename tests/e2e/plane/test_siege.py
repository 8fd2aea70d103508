"""Shards under load while containers of every kind are killed, preempted and doubled: nothing is lost or doubled."""

import os
import random
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.app.plane.kit import ROOT
from tests.e2e.kill_kit import Plan, Verdict
from tests.e2e.plane.kit import AGENT, SESSIONS, SKILLS, OnPlane, on_plane
from tests.e2e.plane.siege import PlanePlace, PlaneSiege

pytestmark = pytest.mark.modal

SEED = os.environ.get("KILLS_SEED")
SETTINGS = {
    "FIRSTLIGHT_SHARDS": "2",
    "FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": "1",
    "FIRSTLIGHT_SKILL_REGISTRY_MAX_CONTAINERS": "1",
    "FIRSTLIGHT_SESSION_CACHE_SCALEDOWN_WINDOW": "2",
}


@pytest.mark.soak
@pytest.mark.timeout(180)  # some 30 s, most of it leases of 15 s; the rest is for a busy machine
async def test_kills_and_second_owners_lose_and_double_nothing(
    tmp_path: Path, injected: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """D1, D4, D5: a few rounds of messages, each with a container that dies or a shard that gets a second owner."""
    plan = Plan(seed=int(SEED or 1), turns=40, chats=8, rounds=4, roll_every=4, pause_s=(0.2, 0.8))
    await _besiege(tmp_path, plan, injected, capsys)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_many_kills_and_second_owners_lose_and_double_nothing(
    tmp_path: Path, injected: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for hundreds of turns and some thirty dead containers, with a new seed in each run."""
    seed = int(SEED or random.SystemRandom().randrange(1_000_000))
    plan = Plan(seed=seed, turns=400, chats=24, rounds=40, pause_s=(0.2, 3.6), settle_s=120.0)
    await _besiege(tmp_path, plan, injected, capsys)


async def _besiege(
    home: Path, plan: Plan, injected: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Carry a plan out, and see that all its promises hold."""
    async with on_plane(home, redeliveries=20) as app, aiohttp.ClientSession() as http:
        await app.deploy(ROOT, **SETTINGS)
        place = PlanePlace(app.telegram, {}, home / "log", http, app=app, dice=random.Random(plan.seed))
        siege = PlaneSiege(plan, app.telegram, [place], {"FIRSTLIGHT_STORE": app.store})
        try:
            verdict = await siege.run()
        finally:
            injected.update(siege.injected + Counter(app.plane.faults.injected))
        assert [] == verdict.problems, f"seed {plan.seed}:\n" + "\n".join(verdict.problems)
        assert len(siege.accepted) == verdict.turns == plan.turns
        _check_numbers(app, place)
    with capsys.disabled():
        sys.stdout.write(_told(plan, verdict, place))


def _check_numbers(app: OnPlane, place: PlanePlace) -> None:
    """Limits held, but for the owners that were forced."""
    assert {SKILLS: 1, SESSIONS: 1, AGENT: 1} == place.most_before
    assert [1, 1] == [app.plane.most_seen(name) for name in (SKILLS, AGENT)]
    assert app.plane.most_seen(SESSIONS) > 1


def _told(plan: Plan, verdict: Verdict, place: PlanePlace) -> str:
    ends, killed = (
        ", ".join(f"{what} {count}" for what, count in sorted(each.items()))
        for each in (verdict.ends, place.killed)
    )
    return f"\n{verdict.turns} turns, seed {plan.seed}: {ends}; stale answers {verdict.stale}; killed: {killed}\n"
