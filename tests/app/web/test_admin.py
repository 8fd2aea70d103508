"""What an operator with the token may do, and nobody else."""

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web as aiohttp_web

from actors.ports import Unreachable
from contracts.warming import ActorStats, StoreUse, Warm, WarmReport
from tests.app.web.web_kit import TOKEN, Service, service

BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def _warm(web: Service, **how: Any) -> tuple[int, Any]:
    async with web.http.post(web.url + "/admin/warm", headers=BEARER, **how) as response:
        return response.status, msgspec.json.decode(await response.read())


async def _status(web: Service, route: tuple[str, str], headers: dict[str, str]) -> int:
    method, path = route
    async with web.http.request(method, web.url + path, headers=headers) as response:
        return response.status


def _admin_routes(web: Service) -> list[tuple[str, str]]:
    routes = web.app.router.routes()
    found = [(route.method, route.resource.canonical) for route in routes if route.resource is not None]
    return [(method, path) for method, path in found if path.startswith("/admin")]


async def test_every_admin_route_asks_for_the_token() -> None:
    """Whatever the router holds below /admin is 401 without the right token, and asks no actor."""
    async with service() as web:
        web.skills.warmed.clear()
        routes = _admin_routes(web)
        assert ("POST", "/admin/warm") in routes
        assert ("GET", "/admin/stats") in routes
        given = ("", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer ключ", f"Basic {TOKEN}")
        wrong: list[dict[str, str]] = [{}, *({"Authorization": value} for value in given)]
        tried = [await _status(web, route, headers) for route in routes for headers in wrong]
        assert tried == [401] * len(routes) * len(wrong)
        assert web.agent.stats_asked == 0


async def test_two_tokens_are_no_token() -> None:
    """A repeated header is 401, even with the right token in it."""
    async with service() as web:
        headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
        assert (await web.get("/admin/stats", headers=headers))[0] == 401


@pytest.mark.parametrize("token", [None, b""])
async def test_without_a_token_there_are_no_admin_routes(token: bytes | None) -> None:
    """404, with or without a bearer."""
    async with service(admin_token=token) as web:
        assert _admin_routes(web) == []
        for headers in ({}, BEARER, {"Authorization": "Bearer "}):
            async with web.http.post(web.url + "/admin/warm", headers=headers) as response:
                assert response.status == 404
            assert (await web.get("/admin/stats", headers=headers))[0] == 404


async def test_warm_reports_each_actor_and_shard() -> None:
    """A report for each, with actor and shard, in a fixed order."""
    async with service(shards=2) as web:
        status, answer = await _warm(web)
        assert (status, list(answer)) == (200, ["reports"])
        assert [(r["actor"], r["shard"], r["status"]) for r in answer["reports"]] == [
            ("SkillRegistryActor", None, "warm"),
            ("SessionCacheActor", 0, "warm"),
            ("SessionCacheActor", 1, "warm"),
            ("ChatAgent", None, "warm"),
        ]


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"params": {"actor": "SessionCacheActor"}}, [0, 1]),
        ({"params": {"actor": "session_cache", "shard": "1"}}, [1]),
        ({"json": {"actor": "SessionCacheActor", "shard": 1}}, [1]),
        ({"json": {"actor": "SessionCacheActor[0]"}}, [0]),
        ({"params": {"actor": "ChatAgent"}}, [None]),
        ({"json": {"shard": 1}}, [1]),
    ],
)
async def test_warm_can_be_told_whom(how: Any, named: list[int | None]) -> None:
    """One actor, or one shard, by query or by JSON."""
    async with service(shards=2) as web:
        status, answer = await _warm(web, **how)
        assert (status, [r["shard"] for r in answer["reports"]]) == (200, named)


@pytest.mark.parametrize(
    ("how", "forced"),
    [
        ({"params": {"force": "true"}}, True),
        ({"json": {"force": True}}, True),
        ({"params": {"force": "0"}}, False),
    ],
)
async def test_warm_can_be_forced(how: Any, forced: bool) -> None:
    """`force` reaches the actor."""
    async with service() as web:
        await _warm(web, **how)
        assert web.skills.warmed[-1] == Warm(force=forced)


@pytest.mark.parametrize(
    "how",
    [
        {"params": {"actor": "Nobody"}},
        {"params": {"actor": ""}},
        {"params": {"shard": "7"}},
        {"params": {"shard": "x"}},
        {"params": {"force": "perhaps"}},
        {"json": {"actor": "ChatAgent", "shard": 0}},
        {"json": {"actr": "ChatAgent"}},
        {"json": ["ChatAgent"]},
        {"data": b"{"},
        {"data": b"\xff"},
    ],
)
async def test_a_wish_that_nobody_can_fulfil_is_400(how: Any) -> None:
    """One line says what was wrong, and nobody is warmed."""
    async with service() as web:
        await asyncio.sleep(0.01)
        before = len(web.skills.warmed)
        status, answer = await _warm(web, **how)
        assert (status, list(answer), len(web.skills.warmed)) == (400, ["error"], before)
        assert answer["error"].count("\n") == 0


async def test_an_actor_out_of_reach_is_reported_cold() -> None:
    """Its report says why; the others are warmed all the same."""
    async with service() as web:
        web.shards[0].report = Unreachable("no container")
        _, answer = await _warm(web)
        cold = answer["reports"][1]
        assert (cold["actor"], cold["shard"], cold["status"]) == ("SessionCacheActor", 0, "cold")
        assert cold["errors"] == ["unreachable: no container"]
        assert [r["status"] for r in answer["reports"]] == ["warm", "cold", "warm"]


async def test_stats_are_exactly_the_actors_by_name() -> None:
    """`{"actors": {NAME: {...}}}`, asked at that moment, store use as calls and documents."""
    async with service() as web:
        web.shards[0].statistics = ActorStats(
            actor="SessionCacheActor",
            shard=0,
            store_reads=StoreUse(calls=2, documents=9),
            warm=WarmReport(actor="SessionCacheActor", shard=0, status="warm"),
        )
        status, body = await web.get("/admin/stats", headers=BEARER)
        answer = msgspec.json.decode(body)
        assert (status, list(answer)) == (200, ["actors"])
        assert list(answer["actors"]) == ["SkillRegistryActor", "SessionCacheActor[0]", "ChatAgent"]
        shard = answer["actors"]["SessionCacheActor[0]"]
        assert shard["store_reads"] == {"calls": 2, "documents": 9}
        assert shard["store_writes"] == {"calls": 0, "documents": 0}
        assert shard["warm"]["status"] == "warm"


async def test_stats_name_who_is_out_of_reach() -> None:
    """One that does not answer does not hide the others."""
    async with service() as web:
        web.agent.statistics = Unreachable("no container")
        _, body = await web.get("/admin/stats", headers=BEARER)
        answer = msgspec.json.decode(body)
        assert answer["actors"]["ChatAgent"] == {"unreachable": "unreachable: no container"}
        assert answer["actors"]["SkillRegistryActor"]["actor"] == "SkillRegistryActor"


async def test_a_defect_is_told_in_one_word() -> None:
    """No traceback and no HTML, also for a browser; it stands in the log."""
    async with service() as web:
        web.agent.statistics = RuntimeError("at line 5 of secret.py")
        for path in ("/admin/stats", "/health"):
            headers = BEARER | {"Accept": "text/html"}
            assert await web.get(path, headers=headers) == (500, b'{"error":"internal"}')


async def test_a_large_wish_is_refused() -> None:
    """Nobody needs more than 64 KiB to name an actor."""
    async with service() as web:
        status, answer = await _warm(web, data=b" " * 65_537)
        assert (status, list(answer)) == (aiohttp_web.HTTPRequestEntityTooLarge.status_code, ["error"])
