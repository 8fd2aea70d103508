"""The main job through a real process and a real socket: answered once, in order, and warm after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.telegram.simulator import TelegramSimulator
from tests.commands import free_port
from tests.e2e.conftest import Environ
from tests.e2e.kit import ended, point, serving

REPLY_S = 30.0
CHATS = range(1001, 1051)


def _update(update_id: int, chat: int, text: str) -> bytes:
    person = {"id": chat, "is_bot": False, "first_name": "Ada"}
    message = {
        "message_id": update_id,
        "date": 1_700_000_000,
        "chat": {"id": chat, "type": "private", "first_name": "Ada"},
        "from": person,
        "text": text,
    }
    return msgspec.json.encode({"update_id": update_id, "message": message})


def _reads(stats: dict[str, Any]) -> dict[str, int]:
    return {name: each["store_reads"]["calls"] for name, each in stats.items()}


async def test_after_a_restart_every_warmed_chat_is_served_without_a_store_read(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """The promise: fifty chats talk, the service is killed, and the first request of each finds all in L1."""
    api, port, log = telegram.url, free_port(), tmp_path / "serve.log"
    async with serving(telegram, api, store, port, log) as served:
        await point(telegram, api, port)
        for chat in CHATS:
            telegram.say(chat, "/mode brief")
        await asyncio.gather(*(telegram.wait_for_reply(chat, 1, REPLY_S) for chat in CHATS))
        await ended(store)
        served.kill()
    async with serving(telegram, api, store, port, log) as served:
        warm = {report["actor"]: report for report in await served.warm()}
        assert warm["SessionCacheActor"]["status"] == "warm"
        for chat in CHATS:
            telegram.say(chat, "What can you cook with tomatoes?")
        await asyncio.gather(*(telegram.wait_for_reply(chat, 2, REPLY_S) for chat in CHATS))
        stats = await served.stats()
    assert _reads(stats) == {"SkillRegistryActor": 0, "SessionCacheActor[0]": 0, "ChatAgent": 0}
    assert stats["SessionCacheActor[0]"]["first_request"]["store_reads"] == 0
    assert dict.fromkeys(CHATS, 2) == {chat: len(telegram.replies(chat)) for chat in CHATS}


async def test_what_a_chat_set_is_there_after_a_restart(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """A partial update keeps every other field, on a cold cache too."""
    api, port, log = telegram.url, free_port(), tmp_path / "serve.log"
    async with serving(telegram, api, store, port, log) as served:
        await point(telegram, api, port)
        for number, text in enumerate(("/mode detailed", "What can I cook with eggs?"), 1):
            telegram.say(7, text)
            await telegram.wait_for_reply(7, number, REPLY_S)
        assert await served.end() == 0
    async with serving(telegram, api, store, port, log):
        for number, text in enumerate(("/mode brief", "/status", "What did I say before?"), 3):
            telegram.say(7, text)
            await telegram.wait_for_reply(7, number, REPLY_S)
    status, before = [reply.text for reply in telegram.replies(7)[-2:]]
    assert "mode: brief" in status
    assert "remembered messages: 2" in status
    assert "What can I cook with eggs?" in before


async def test_the_same_update_five_times_at_once_is_answered_once(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """A1: every delivery is answered 200, one of them works."""
    api, port = telegram.url, free_port()
    telegram.open_chat(chat=9)
    async with serving(telegram, api, store, port, tmp_path / "serve.log") as served:
        body = _update(5_000, 9, "/help")
        assert await asyncio.gather(*(served.post(body) for _ in range(5))) == [200] * 5
        await telegram.wait_for_reply(9, 1, REPLY_S)
        assert await served.post(body) == 200
        await asyncio.sleep(0.3)
        assert (await served.stats())["SessionCacheActor[0]"]["counters"]["duplicates"] == 5
    assert len(telegram.replies(9)) == 1


async def test_fifty_chats_at_once_keep_their_order(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path
) -> None:
    """Each chat's messages are answered in the order of their arrival, whatever the others do."""
    api, port = telegram.url, free_port()
    said = ["/mode brief", "/status", "/mode detailed", "/status"]
    async with serving(telegram, api, store, port, tmp_path / "serve.log"):
        await point(telegram, api, port)
        for text in said:
            for chat in CHATS:
                telegram.say(chat, text)
        await asyncio.gather(*(telegram.wait_for_reply(chat, len(said), 2 * REPLY_S) for chat in CHATS))
    for chat in CHATS:
        answers = [reply.text for reply in telegram.replies(chat)]
        assert len(answers) == 4
        assert ["Mode brief" in answers[0], "mode: brief" in answers[1]] == [True, True]
        assert ["Mode detailed" in answers[2], "mode: detailed" in answers[3]] == [True, True]


@pytest.mark.parametrize(
    "moment_s",
    [
        0.02,
        *(pytest.param(each, marks=pytest.mark.soak) for each in (0.0, 0.1)),
    ],  # each waits for a lease to end
)
async def test_what_was_accepted_before_a_kill_is_answered_after_it(
    telegram: TelegramSimulator, store: Environ, tmp_path: Path, moment_s: float
) -> None:
    """A2: killed with -9 right after the 200 or in the middle of turns, each message has one answer or is unknown."""
    api, port, log = telegram.url, free_port(), tmp_path / "serve.log"
    chats = range(1, 13)
    for chat in chats:
        telegram.open_chat(chat=chat)
    async with serving(telegram, api, store, port, log) as served:
        bodies = [_update(6_000 + chat, chat, "/help") for chat in chats]
        assert [200] * len(chats) == await asyncio.gather(*map(served.post, bodies))
        await asyncio.sleep(moment_s)
        served.kill()
    async with serving(telegram, api, store, port, log):
        unknown = await ended(store)
        answered = sum(len(telegram.replies(chat)) for chat in chats)
    assert all(len(telegram.replies(chat)) <= 1 for chat in chats)
    assert len(chats) - unknown <= answered <= len(chats)
