"""The warm image through a real process: over an exit with hundreds of chats, and over a kill with changes after it."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.telegram.simulator import TelegramSimulator
from tests.commands import free_port
from tests.e2e.conftest import Environ
from tests.e2e.kit import Served, ended, point, serving

REPLY_S = 60.0
MARKS_LAG_S = 5.0  # Firestore's mark is 4 s old: what changed after it is read again at the start
SHARD = "SessionCacheActor[0]"


@pytest.mark.timeout(180)  # some 10 s, and a busy machine takes several times as long
async def test_after_an_exit_all_chats_come_from_the_image(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """Ten times as many as a start without one loads: SIGTERM writes them, and no first request reads the store."""
    sqlite = store["FIRSTLIGHT_STORE"].startswith("sqlite")
    chats, lag_s = (range(2001, 2501), 0.0) if sqlite else (range(2001, 2101), MARKS_LAG_S)
    port, log = free_port(), tmp_path / "serve.log"
    async with serving(telegram, telegram.url, store, port, log) as served:
        await point(telegram, telegram.url, port)
        await _say(telegram, chats, "/mode brief")
        await asyncio.sleep(lag_s)
        assert await served.end() == 0
    async with serving(telegram, telegram.url, store, port, log) as served:
        warm = await _warm(served)
        assert (warm["status"], warm["source"], warm["loaded"]) == ("warm", "image", len(chats))
        assert warm["documents"] <= 20
        await _say(telegram, chats[::5], "What can you cook with tomatoes?")
        stats = (await served.stats())[SHARD]
    assert (stats["store_reads"]["calls"], stats["first_request"]["store_reads"]) == (0, 0)


@pytest.mark.timeout(120)  # some 5 s, and a busy machine takes several times as long
async def test_after_a_kill_the_image_is_as_good_as_the_changes_since(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """Killed with -9 some changes after its image, a service starts with the image and the newest of everything."""
    chats, port, log = range(3001, 3031), free_port(), tmp_path / "serve.log"
    changed = chats[:15]
    async with serving(telegram, telegram.url, store, port, log) as served:
        await point(telegram, telegram.url, port)
        await _say(telegram, chats, "/mode brief")
        assert await served.end() == 0
    async with serving(telegram, telegram.url, store, port, log) as served:
        await _say(telegram, changed, "/mode detailed")
        await _say(telegram, changed[:1], "/forget")
        await ended(store)
        served.kill()
    async with serving(telegram, telegram.url, store, port, log) as served:
        warm = await _warm(served)
        assert (warm["status"], warm["source"], warm["loaded"]) == ("warm", "image", len(chats) - 1)
        await _say(telegram, chats[1:], "/status")
        stats = (await served.stats())[SHARD]
        await _say(telegram, chats[:1], "/status")
    modes = ["detailed" if chat in changed else "brief" for chat in chats[1:]]
    told = [telegram.replies(chat)[-1].text for chat in chats]
    assert [f"mode: {mode}" in text for mode, text in zip(modes, told[1:], strict=True)] == [True] * 29
    assert ("mode: normal" in told[0], stats["store_reads"]["calls"]) == (True, 0)


async def _say(telegram: TelegramSimulator, chats: Iterable[int], text: str) -> None:
    """Let each of them say it, and wait for their replies."""
    before = {chat: len(telegram.replies(chat)) for chat in chats}
    for chat in before:
        telegram.say(chat, text)
    await asyncio.gather(*(telegram.wait_for_reply(chat, seen + 1, REPLY_S) for chat, seen in before.items()))


async def _warm(served: Served) -> dict[str, Any]:
    """What the shard tells of its start."""
    report: dict[str, Any] = (await served.stats())[SHARD]["warm"]
    return report
