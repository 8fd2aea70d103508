"""The web application whose first request asks the actors to warm."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from app.fleet import AGENT, SESSIONS, SKILLS, Fleet
from app.metrics import Metrics
from app.runtime import Tasks
from app.web.server import FIRST_WARM, WebParts, WebServer, create_app
from app.web.webhook import WebhookRules
from tests.app.web.web_kit import ManualClock, Scripted

Running = tuple[str, list[Scripted], asyncio.Event]


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The service's URL, its actors, and the event of its first warm's end."""
    actors = [Scripted(SKILLS), Scripted(SESSIONS, 0), Scripted(AGENT)]
    skills, shard, agent = actors
    parts = WebParts(
        fleet=Fleet(
            SkillRegistryRef(SKILLS, skills),
            SessionsRef([SessionShardRef(SESSIONS, shard)]),
            ChatAgentRef(AGENT, agent),
        ),
        rules=WebhookRules(secret=b"secret", bot=1),
        identity=lambda: None,
        background=Tasks(),
        metrics=Metrics(),
        clock=ManualClock(),
        lazy_warm=request.param,
    )
    app = create_app(parts)
    server = WebServer(app, "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{server.port}", actors, app[FIRST_WARM].ended
    await server.stop()


async def test_every_actor_is_asked_to_warm_once_by_the_first_request(running: Running) -> None:
    """Whenever the warm began, it has been asked for when the first request is answered, and only once."""
    url, actors, ended = running
    async with aiohttp.ClientSession() as http:
        for _ in range(3):
            async with http.get(f"{url}/livez") as response:
                assert response.status == 200
            async with asyncio.timeout(5):
                await ended.wait()
    assert [len(actor.warmed) for actor in actors] == [1, 1, 1]


@pytest.mark.parametrize("running", [True], indirect=True, ids=["lazy"])
async def test_no_actor_is_woken_before_a_request(running: Running) -> None:
    """A lazy start costs no container of an actor."""
    _, actors, ended = running
    await asyncio.sleep(0.01)
    assert ([len(actor.warmed) for actor in actors], ended.is_set()) == ([0, 0, 0], False)


@pytest.mark.parametrize("running", [False], indirect=True, ids=["eager"])
async def test_an_eager_start_waits_for_no_request(running: Running) -> None:
    """The gateway's actors are warm before the first update."""
    _, actors, ended = running
    async with asyncio.timeout(5):
        await ended.wait()
    assert [len(actor.warmed) for actor in actors] == [1, 1, 1]
