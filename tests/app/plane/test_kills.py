"""Many calls while containers are killed at random: the plane loses none."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from app.plane import Options
from tests.app.plane.kit import Deployed, running

pytestmark = pytest.mark.modal

APP = """
import asyncio
import modal

app = modal.App("many")

@app.cls(image=modal.Image.debian_slim(), min_containers=2, max_containers=2)
@modal.concurrent(max_inputs=20)
class Echo:
    @modal.method()
    async def say(self, number):
        await asyncio.sleep(0.001)
        return number
"""
ASKERS = 20


@pytest.mark.parametrize(("calls", "kills"), [(200, 4), pytest.param(1_000, 20, marks=pytest.mark.soak)])
async def test_no_call_is_lost_to_killed_containers(
    tmp_path: Path, injected: Counter[str], calls: int, kills: int
) -> None:
    """Every call is answered with its own answer, and the pool never has more containers than it may."""
    async with running(tmp_path, Options(redeliveries=20)) as deployed:
        await deployed.deploy(APP, "many")
        answers = await _ask(deployed, calls, kills)
        assert list(range(calls)) == sorted(answers)
        assert 2 == deployed.plane.most_seen("Echo")
        assert {"kill": kills} == deployed.plane.faults.injected
        injected.update(deployed.plane.faults.injected)


async def _ask(deployed: Deployed, calls: int, kills: int) -> list[int]:
    """Ask all numbers, and kill one container after each `calls / kills` answers."""
    echo, numbers, answers = deployed.cls("Echo", "many")(), iter(range(calls)), list[int]()
    chance = random.Random(7)

    async def ask() -> None:
        for number in numbers:
            answers.append(await echo.say.remote.aio(number))
            if len(answers) % (calls // kills) == 0:
                _kill_one(deployed, chance)

    await asyncio.gather(*(ask() for _ in range(ASKERS)))
    return answers


def _kill_one(deployed: Deployed, chance: random.Random) -> None:
    running = [container for container in deployed.plane.containers("Echo") if container.running]
    deployed.plane.faults.kill(chance.choice(running or deployed.plane.containers("Echo")).id)
