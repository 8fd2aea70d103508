"""What probes and Prometheus read."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from actors.ports import Unreachable
from actors.stores import StoreDenied, StoreTooLarge
from contracts.codec import encode
from contracts.faults import Unsupported
from contracts.sessions import LoadSession
from contracts.warming import ActorStats, StoreUse, WarmReport
from tests.actors.turn_kit import CHAT, World
from tests.app.web.web_kit import Answer, Service, message, service

WARM = WarmReport(actor="x", status="warm")


async def _health(web: Service) -> Mapping[str, Any]:
    status, body = await web.get("/health")
    assert status == 200
    decoded: Mapping[str, Any] = msgspec.json.decode(body)
    return decoded


async def test_health_names_every_actor_and_shard() -> None:
    """Warm when each has all that it planned."""
    async with service(shards=2) as web:
        health = await _health(web)
        assert health["status"] == "warm"
        assert list(health["actors"]) == [
            "SkillRegistryActor",
            "SessionCacheActor[0]",
            "SessionCacheActor[1]",
            "ChatAgent",
        ]
        assert health["actors"]["ChatAgent"]["status"] == "warm"


@pytest.mark.parametrize(
    ("shard", "agent", "status"),
    [
        (ActorStats(actor="x"), ActorStats(actor="x", warm=WARM), "warming"),
        (ActorStats(actor="x"), Unreachable("away"), "warming"),
        (
            ActorStats(actor="x", warm=WARM, degraded="StoreDown: x"),
            ActorStats(actor="x", warm=WARM),
            "degraded",
        ),
        (Unreachable("no container"), ActorStats(actor="x", warm=WARM), "degraded"),
        (Unsupported(), ActorStats(actor="x", warm=WARM), "degraded"),
        (ActorStats(actor="x", warm=WARM), ActorStats(actor="x", warm=WARM), "warm"),
    ],
)
async def test_health_is_the_worst_of_the_actors(shard: Answer, agent: Answer, status: str) -> None:
    """Warming until each first warm has ended, degraded when one says so or can't be reached; always 200."""
    async with service() as web:
        web.shards[0].statistics, web.agent.statistics = shard, agent
        assert (await _health(web))["status"] == status


async def test_health_says_why() -> None:
    """An operator reads the reason of the one that is degraded."""
    async with service() as web:
        web.agent.statistics = ActorStats(actor="ChatAgent", warm=WARM, degraded="StoreDown: no route")
        assert (await _health(web))["actors"]["ChatAgent"]["reason"] == "StoreDown: no route"


async def test_asking_often_does_not_load_the_actors() -> None:
    """All who ask within a second, and at once, share one question to each actor."""
    async with service() as web:
        await asyncio.gather(*(web.get(path) for path in ("/health", "/metrics", "/health", "/readyz") * 5))
        await web.get("/health")
        assert web.agent.stats_asked == 1
        web.clock.now += 1.5
        await web.get("/health")
        assert web.agent.stats_asked == 2


async def test_live_while_the_loop_runs() -> None:
    """Liveness asks nobody."""
    async with service() as web:
        assert await web.get("/livez") == (200, b"live\n")
        assert web.agent.stats_asked == 0


async def test_ready_when_the_first_warm_has_ended() -> None:
    """503 until then, though updates are served already."""
    slow = asyncio.Event()
    async with service(slow_warm=slow) as web:
        assert await web.get("/readyz") == (503, b"warming\n")
        assert (await web.post(message())).status == 200
        slow.set()
        await _until_ready(web)


async def test_ready_when_the_first_warm_met_its_deadline() -> None:
    """An actor that hangs keeps nobody from serving."""
    async with service(slow_warm=asyncio.Event(), warm_deadline_s=0.02) as web:
        await _until_ready(web)


async def test_an_actor_that_cannot_be_reached_at_the_start_raises_an_alarm() -> None:
    """An error in the log names it (D7): its containers may crash as they start; updates are taken all the same."""
    with capture_logs() as lines:
        async with service(warm_failure=Unreachable("no container")) as web:
            await _until_ready(web)
    alarms = [line for line in lines if line["log_level"] == "error"]
    assert [("actors_unreachable", ["SkillRegistryActor"])] == [
        (each["event"], each["actors"]) for each in alarms
    ]


async def test_not_ready_when_the_store_refuses_us() -> None:
    """An expired key helps itself in no retry: 503 with the cause as the shard tells it, until it serves one (C3)."""
    container = World().make()
    container.store.refusal = StoreDenied("key expired")
    async with service() as web:
        await container.shard.start()
        web.shards[0].statistics = container.shard.statistics()
        await _until(web, 503, b"warm image: key expired\n")
        container.store.refusal = None
        await container.shard.ask(encode(LoadSession(chat=CHAT)))
        web.shards[0].statistics = container.shard.statistics()
        web.clock.now += 1.5
        await _until(web, 200, b"ready\n")
        await container.shard.stop()


@pytest.mark.parametrize("denied", [StoreDenied("key expired"), StoreTooLarge("a session")])
async def test_a_request_that_the_store_refuses_for_its_size_shuts_nobody_out(denied: StoreDenied) -> None:
    """The next one may be smaller: only what an operator has to change makes a service not ready."""
    shard = World().make().shard
    shard.store_failed(denied)
    assert denied.shut_out == shard.statistics().denied


async def test_the_start_asks_every_actor_and_shard_to_warm() -> None:
    """So that no update finds one cold; once each."""
    async with service(shards=3) as web:
        await _until_ready(web)
        everyone: Sequence[Any] = (web.skills, *web.shards, web.agent)
        assert [len(actor.warmed) for actor in everyone] == [1] * 5


async def test_metrics_show_updates_and_actors() -> None:
    """Counts of this process, and what each actor tells of itself, by actor and shard."""
    async with service() as web:
        web.shards[0].statistics = ActorStats(
            actor="SessionCacheActor", shard=0, hits=5, store_reads=StoreUse(calls=3), counters={"claims": 2}
        )
        await web.post(message())
        await web.post({"update_id": 2, "hologram": {}})
        status, page = await web.get("/metrics")
        lines = page.decode().splitlines()
        assert status == 200
        for line in (
            'firstlight_updates_total{kind="message",outcome="queue"} 1.0',
            'firstlight_updates_unanswered_total{reason="unknown",verdict="ignored"} 1.0',
            "firstlight_accept_seconds_count 2.0",
            'firstlight_actor_hits_total{actor="SessionCacheActor",shard="0"} 5.0',
            'firstlight_actor_store_reads_total{actor="SessionCacheActor",shard="0"} 3.0',
            'firstlight_actor_events_total{actor="SessionCacheActor",event="claims",shard="0"} 2.0',
            'firstlight_actor_warm{actor="ChatAgent",shard=""} 1.0',
        ):
            assert line in lines


async def _until_ready(web: Service) -> None:
    await _until(web, 200, b"ready\n")


async def _until(web: Service, *expected: object) -> None:
    async with asyncio.timeout(5.0):
        while await web.get("/readyz") != expected:  # noqa: ASYNC110 - over a socket, as a probe asks
            await asyncio.sleep(0.005)
