"""What a process does on its way out while its store answers nobody."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from app.dev import point_webhook, simulated
from app.exiting import Exit
from app.service import Service
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import CallFault
from tests.app.service_kit import locked, settings
from tests.waiting import until


async def test_steps_share_one_deadline_and_what_is_cut_is_told_in_one_line() -> None:
    """A step that takes all the time leaves the later ones none, and each is named."""
    leaving = Exit(0.02)
    with capture_logs() as logs:
        await leaving.step("quick", asyncio.sleep(0))
        await leaving.step("slow", asyncio.sleep(60))
        await leaving.step("after it", asyncio.sleep(60))
        leaving.tell()
    assert [["slow", "after it"]] == _left(logs)


async def test_a_step_leaves_time_for_those_behind_it() -> None:
    """What is spared is there for the next step."""
    leaving = Exit(10.0)
    with capture_logs() as logs:
        await leaving.step("greedy", asyncio.sleep(60), spare_s=10.0)
        await leaving.step("modest", asyncio.sleep(0))
        leaving.tell()
    assert [["greedy"]] == _left(logs)


async def test_who_got_to_everything_says_nothing() -> None:
    """An exit in order has no line."""
    with capture_logs() as logs:
        leaving = Exit()
        await leaving.step("all", asyncio.sleep(0))
        leaving.tell()
    assert [] == _left(logs)


async def test_a_locked_store_does_not_keep_a_service_with_turns_under_way(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """D1: all steps together meet one deadline, here of a second, and what they left to do is told."""
    chosen = simulated(settings(tmp_path), telegram, telegram.url)
    service = Service(chosen)
    telegram.faults.add(CallFault(kind="slow", method="sendMessage", seconds=0.3))
    await service.start()
    await point_webhook(telegram, telegram.url, service)
    telegram.say(5, "/help")
    await until(lambda: telegram.faults.injected["slow"])
    with locked(tmp_path / "kit.db"), capture_logs() as logs:
        async with asyncio.timeout(15.0):  # one after the other, the steps took 40 s
            await service.stop(Exit(1.0))
    (left,) = _left(logs)
    assert "turns" in left


def _left(logs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [each["what"] for each in logs if each["event"] == "left_to_next_start"]
