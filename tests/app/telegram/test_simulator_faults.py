"""The simulated Bot API fails as it is told to, and counts it."""

from typing import Any

import aiohttp
import pytest

from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import CallFault
from tests.app.telegram.bot_kit import CHAT, Bot


@pytest.mark.parametrize(
    ("fault", "status", "description", "applied"),
    [
        (CallFault(kind="retry_after", seconds=3), 429, "Too Many Requests: retry after 3", 0),
        (CallFault(kind="retry_after"), 429, "Too Many Requests", 0),
        (CallFault(kind="server_error", status=502), 502, "Bad Gateway", 0),
        (CallFault(kind="forbidden"), 403, "Forbidden: bot was blocked by the user", 0),
        (CallFault(kind="slow", seconds=0.01), 200, None, 1),
    ],
)
async def test_scripted_answers(
    telegram: TelegramSimulator,
    bot: Bot,
    fault: CallFault,
    status: int,
    description: str | None,
    applied: int,
) -> None:
    """A scripted fault strikes the next call only, is counted by kind, and applies what it says."""
    telegram.faults.add(fault)
    async with bot.http.post(f"{bot.base}/sendMessage", json={"chat_id": CHAT, "text": "x"}) as answer:
        body = await answer.json()
        assert (answer.status, body.get("description")) == (status, description)
        if fault.kind == "retry_after" and fault.seconds:
            assert body["parameters"] == {"retry_after": 3}
    assert len(telegram.replies(CHAT)) == applied
    assert dict(telegram.faults.injected) == {fault.kind: 1}
    assert (await bot.call("sendMessage", chat_id=CHAT, text="x"))["ok"] is True


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("reset_before", 0), ("reset_after", 1), ("hang", 0), ("hang_after", 1), ("malformed", 1)],
)
async def test_scripted_broken_connections(
    telegram: TelegramSimulator, bot: Bot, kind: Any, applied: int
) -> None:
    """Without a readable answer the caller can't tell; the transcript can."""
    telegram.faults.add(
        CallFault(kind=kind, method="sendMessage", chat=CHAT if kind != "reset_before" else None)
    )
    with pytest.raises((aiohttp.ClientError, TimeoutError, ValueError)):
        async with bot.http.post(
            f"{bot.base}/sendMessage",
            json={"chat_id": CHAT, "text": "x"},
            timeout=aiohttp.ClientTimeout(total=0.2),
        ) as answer:
            await answer.json()
    assert len(telegram.replies(CHAT)) == applied
    assert dict(telegram.faults.injected) == {kind: 1}


async def test_a_fault_waits_for_its_method_chat_and_times(telegram: TelegramSimulator, bot: Bot) -> None:
    """Faults strike only the calls that they name, as often as they say."""
    telegram.say(8, "hello")
    telegram.faults.add(CallFault(kind="forbidden", method="sendMessage", chat=8, times=2))
    codes = [
        (await bot.call("sendMessage", chat_id=chat, text="x")).get("error_code") for chat in (CHAT, 8, 8, 8)
    ]
    assert codes == [None, 403, 403, None]
