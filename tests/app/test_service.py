"""The whole service in one process: its restarts, its allow-list, its way out."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from actors.stores import StoreDenied
from app.dev import simulated
from app.fleet import stats_of
from app.polling import Polling
from app.service import Service
from app.settings import Secret, SqliteAddress
from app.sweeper import sweep
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import CallFault, DeliveryFault
from contracts.warming import ActorStats
from tests.app.service_kit import REPLY_S, locked, serving, settings
from tests.waiting import until


async def _stats(service: Service, name: str) -> ActorStats:
    known = (await stats_of(service.system.fleet.members, 5.0))[name]
    assert isinstance(known, ActorStats)
    return known


async def test_a_cold_restart_serves_its_first_request_from_l1(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """After a restart the session, the catalog and the skill are warm, and no request reads the store."""
    async with serving(telegram, settings(tmp_path)) as service:
        telegram.say(5, "/mode brief")
        await telegram.wait_for_reply(5, 1, REPLY_S)
        await service.system.restart_cold()
        assert "warm" == getattr((await _stats(service, "SessionCacheActor[0]")).warm, "status", None)
        telegram.say(5, "/status")
        await telegram.wait_for_reply(5, 2, REPLY_S)
        stats = await _stats(service, "SessionCacheActor[0]")
    assert stats.first_request is not None
    assert 0 == stats.first_request.store_reads == stats.store_reads.calls
    assert "mode: brief" in telegram.replies(5)[1].text


async def test_chats_of_all_shards_are_answered(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """Each chat belongs to one shard, and every shard works."""
    async with serving(telegram, settings(tmp_path, shards=3)) as service:
        for chat in range(1, 10):
            telegram.say(chat, "/help")
        await asyncio.gather(*(telegram.wait_for_reply(chat, 1, REPLY_S) for chat in range(1, 10)))
        writes = [
            (await _stats(service, f"SessionCacheActor[{shard}]")).store_writes.calls for shard in range(3)
        ]
    assert all(writes)


async def test_a_reply_comes_in_the_topic_of_its_question(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """In a forum each topic has its answers, what is said in none too, and those of a deleted one come outside."""
    kept, deleted = telegram.open_topic(-1001), telegram.open_topic(-1001)
    telegram.say(-1001, "/help", thread=kept)
    telegram.say(-1001, "/help", thread=deleted)
    telegram.say(-1001, "/help")
    telegram.delete_topic(-1001, deleted)
    async with serving(telegram, settings(tmp_path)):
        await telegram.wait_for_reply(-1001, 3, REPLY_S)
    assert [kept, 0, 0] == [each.thread for each in telegram.replies(-1001)]


async def test_a_stranger_costs_nothing(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """A user who is not on the allow-list gets no answer, no model call and no session."""
    async with serving(telegram, settings(tmp_path, allowed_users=frozenset({7}))) as service:
        telegram.say(8, "hello")
        telegram.say(7, "/help")
        await telegram.wait_for_reply(7, 1, REPLY_S)
        await asyncio.sleep(0.2)
        agent, shard = await _stats(service, "ChatAgent"), await _stats(service, "SessionCacheActor[0]")
    assert 1 == agent.counters["turns"]
    assert 1 == shard.entries
    assert () == tuple(telegram.replies(8))


async def test_a_redelivered_update_is_answered_once(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """Telegram delivers again when our 200 is lost; the person sees one answer."""
    telegram.faults.add(DeliveryFault(kind="answer_lost", times=2), DeliveryFault(kind="duplicate_at_once"))
    async with serving(telegram, settings(tmp_path)) as service:
        telegram.say(5, "/help")
        telegram.say(5, "/status")
        await telegram.wait_for_reply(5, 2, REPLY_S)
        await asyncio.sleep(0.2)
        counters = (await _stats(service, "SessionCacheActor[0]")).counters
    assert 2 == len(telegram.replies(5))
    assert 3 == telegram.updates.counts.duplicates == counters["duplicates"]


async def test_a_reply_that_telegram_did_not_take_is_sent_again(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """A 500 and a short 429 delay the answer and lose nothing."""
    telegram.faults.add(
        CallFault(kind="server_error", method="sendMessage"),
        CallFault(kind="retry_after", method="sendMessage", seconds=1),
    )
    async with serving(telegram, settings(tmp_path)):
        telegram.say(5, "/help")
        await telegram.wait_for_reply(5, 1, REPLY_S)
    assert 1 == len(telegram.replies(5))


async def test_a_reply_that_may_have_been_sent_is_not_repeated(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """I2: the connection broke after the message was applied; it is unknown, and the chat goes on."""
    telegram.faults.add(CallFault(kind="reset_after", method="sendMessage"))
    async with serving(telegram, settings(tmp_path)) as service:
        telegram.say(5, "/help")
        telegram.say(5, "/status")
        await telegram.wait_for_reply(5, 2, REPLY_S)
        await asyncio.sleep(0.2)
        counters = (await _stats(service, "SessionCacheActor[0]")).counters
    assert 2 == len(telegram.replies(5))
    assert 1 == counters["turns_unknown"]


async def test_a_refused_token_is_told_in_health_and_log(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """B4: stop and alarm: `degraded` with the reason in one line, which does not hold the token."""
    revoked = simulated(settings(tmp_path), telegram, telegram.url)
    service = Service(msgspec.structs.replace(revoked, telegram_token=Secret("42:canary")))
    with capture_logs() as logs:
        await service.start()
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{service.url}/health") as answer:
                health = await answer.json()
            await until(lambda: _alarms(logs))
        finally:
            await service.stop()
    assert "degraded" == health["status"]
    assert "telegram: getMe: 401 Unauthorized" == health["actors"]["ChatAgent"]["reason"]
    assert "canary" not in repr(logs)


def _alarms(logs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        each for each in logs if ("telegram_token_refused", "error") == (each["event"], each["log_level"])
    ]


async def test_a_store_that_can_not_be_used_stops_the_start(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """A folder that is not there is a wrong setting, and no outage."""
    nowhere = SqliteAddress(tmp_path / "no" / "such" / "folder.db")
    service = Service(simulated(settings(tmp_path, store=nowhere), telegram, telegram.url))
    with pytest.raises(StoreDenied, match=r"folder\.db"):
        await service.start()
    await service.stop()


async def test_a_locked_store_keeps_no_probe_waiting_at_the_start(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """C1: a process is told to be alive, and why it is not ready, while it waits for a file that another one holds."""
    chosen = settings(tmp_path)
    service = Service(simulated(chosen, telegram, telegram.url))
    with locked(tmp_path / "kit.db"), capture_logs() as logs:
        starting = asyncio.create_task(service.start())
        async with aiohttp.ClientSession() as http:
            await until(lambda: service.listening)
            async with http.get(f"{service.url}/livez") as live, http.get(f"{service.url}/readyz") as ready:
                assert [200, 503] == [live.status, ready.status]
        assert "store_open_failed" not in {each["event"] for each in logs}  # it is still being opened
    await starting
    await service.stop()


async def test_a_taken_port_is_noticed_before_anything_is_begun(
    telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """No store is opened and Telegram is not called for a service that can't listen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        chosen = settings(tmp_path, port=taken.getsockname()[1])
        service = Service(simulated(chosen, telegram, telegram.url))
        with pytest.raises(OSError, match="in use"):
            await service.start()
        await service.stop()
    assert {} == dict(telegram.server.calls)
    assert not os.listdir(tmp_path)


async def test_polling_is_the_same_pipeline(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """Updates fetched are answered as updates delivered, and confirmed."""
    polling = Polling(simulated(settings(tmp_path), telegram, telegram.url))
    telegram.say(5, "/help")
    await polling.start()
    try:
        await telegram.wait_for_reply(5, 1, REPLY_S)
        telegram.say(5, "/status")
        await telegram.wait_for_reply(5, 2, REPLY_S)
    finally:
        await polling.stop()
    assert 2 == len(telegram.replies(5))


async def test_a_sweep_finds_nothing_when_nothing_waits(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """The sweeper leaves an idle system alone."""
    async with serving(telegram, settings(tmp_path)) as service:
        telegram.say(5, "/help")
        await telegram.wait_for_reply(5, 1, REPLY_S)
        await asyncio.sleep(0.2)
        assert 0 == await sweep(service.system.fleet)
