"""Scaling settings, as containers are counted; and a first message after there were none, served from a warm cache."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.warming import ActorStats, StoreUse
from tests.app.plane.kit import ROOT, until
from tests.e2e.plane.kit import ACTORS, AGENT, GATEWAY, SESSIONS, SKILLS, OnPlane, on_plane

pytestmark = [
    pytest.mark.modal,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    # Modal tells to use `Function.autoscaler` instead, which an instance of a class does not have
    pytest.mark.filterwarnings("ignore:.*update_autoscaler:modal.exception.DeprecationError"),
]

CHATS = range(1, 31)
AT_FIRST = {
    "FIRSTLIGHT_CHAT_AGENT_MIN_CONTAINERS": "2",
    "FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": "3",
    "FIRSTLIGHT_CHAT_AGENT_SCALEDOWN_WINDOW": "2",
}
TO_ZERO = {
    f"FIRSTLIGHT_{actor}_{setting}": value
    for actor in ("SKILL_REGISTRY", "SESSION_CACHE", "CHAT_AGENT")
    for setting, value in (("MIN_CONTAINERS", "0"), ("SCALEDOWN_WINDOW", "2"))
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnPlane]:
    """The app with agents that are always two, and three at most."""
    async with on_plane(tmp_path_factory.mktemp("scaling")) as app:
        await app.deploy(ROOT, **AT_FIRST)
        await app.open_webhook()
        yield app


async def test_settings_of_the_deploy_and_live_ones_are_seen_in_the_number_of_containers(
    app: OnPlane,
) -> None:
    """Two by the environment, three when told so while it runs and never more, two again when told so."""
    await app.scaled(AGENT, 2)
    agent = app.actor(AGENT)
    await agent.update_autoscaler.aio(min_containers=5)
    await app.scaled(AGENT, 3)
    await agent.update_autoscaler.aio(min_containers=2)
    await app.scaled(AGENT, 2)
    assert 3 == app.plane.most_seen(AGENT)
    assert 1 == app.plane.most_seen(SESSIONS)


@pytest.mark.timeout(120)  # a few seconds; the containers of two generations on a busy machine take longer
async def test_after_scaling_to_zero_the_first_request_of_each_actor_reads_nothing_from_the_store(
    app: OnPlane,
) -> None:
    """The promise: all containers go, a message comes in, and cold ones that are warm by then answer it."""
    app.say(CHATS)
    await app.replies(CHATS)
    await app.deploy(ROOT, **TO_ZERO)
    await until(lambda: {2} == app.versions(GATEWAY))  # which asked all actors to warm
    await until(lambda: not any(app.plane.containers(name) for name in ACTORS))
    for name in ACTORS:  # long enough to be asked how the start was
        await app.actor(name).update_autoscaler.aio(scaledown_window=60)
    app.say(CHATS)
    await app.replies(CHATS)
    stats = {name: await app.stats(name) for name in ACTORS}
    assert dict.fromkeys(ACTORS, 0) == {name: _first_reads(each) for name, each in stats.items()}
    assert dict.fromkeys(ACTORS, StoreUse()) == {name: each.store_reads for name, each in stats.items()}
    assert "warm" == (await app.warm(SKILLS)).status
    assert [] == await app.judge()


def _first_reads(stats: ActorStats) -> int:
    assert stats.first_request is not None, f"{stats.actor} was not asked anything since its start"
    return stats.first_request.store_reads
