"""Turns under way while their container dies, their calls are lost, nothing can start, and new code is deployed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.fleet import AGENT, GATEWAY, SESSIONS
from tests.app.plane.kit import until
from tests.e2e.plane.kit import APP, OnPlane, on_plane
from tests.e2e.plane.tree import copy_of_the_code

pytestmark = [pytest.mark.modal, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

KILLED, LOST, WAITING = range(1, 21), range(51, 61), range(81, 87)
ROLLED, AFTERWARDS = range(101, 113), range(201, 207)
MOST_DURING = 100  # messages while a deploy runs, one each tenth of a second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnPlane]:
    """The app at its first version, whose turns end when they are let go."""
    home = tmp_path_factory.mktemp("rolling")
    async with on_plane(home) as app:
        app.began.touch()
        await app.deploy(copy_of_the_code(home, "v1"), FIRSTLIGHT_SHARDS="2")
        await app.open_webhook()
        yield app


@pytest.mark.timeout(120)  # some 20 s, most of it a lease of 15 s; the rest is for a busy machine
async def test_a_container_killed_under_twenty_turns_loses_none(app: OnPlane) -> None:
    """D1: its inputs run again elsewhere, and when the dead owner's leases end, the schedule takes the turns up."""
    app.hold.touch()
    app.say(KILLED)
    await until(lambda: len(KILLED) == _turns_begun(app))
    (agent,) = app.containers(AGENT)
    assert len(KILLED) == agent.running
    app.plane.faults.kill(agent.id)
    await app.gone(agent)
    app.hold.unlink()
    replies = await app.replies(KILLED)
    assert [] == await app.judge()
    assert dict.fromkeys(KILLED, 1) == {chat: len(texts) for chat, texts in replies.items()}
    assert _is_logged(app, "sweep_turns", "turns_swept")


async def test_calls_that_run_twice_or_late_or_again_double_nothing(
    app: OnPlane, injected: Counter[str]
) -> None:
    """D4: the caller was told that they are lost, and made them again; the store knows better."""
    faults = app.plane.faults
    for name, times in ((SESSIONS, 20), (AGENT, 5)):
        faults.lose_reply(name, times)
        faults.drop(name, times)
        faults.delay(name, 0.05, times)
    app.say(LOST)
    await app.replies(LOST)
    assert [] == await app.judge()
    assert {"lose_reply": 25, "drop": 25, "delay": 25}.items() <= faults.injected.items()
    injected.update(dict.fromkeys(("lose_reply", "drop", "delay"), 25))


async def test_without_capacity_messages_are_accepted_and_wait(app: OnPlane, injected: Counter[str]) -> None:
    """D6: no agent can start, each update is answered 200 all the same, and the turns begin when one can."""
    (agent,) = app.containers(AGENT)
    app.plane.faults.refuse_capacity(AGENT)
    app.plane.faults.kill(agent.id)
    await app.gone(agent)
    app.say(WAITING)
    await app.telegram.updates.idle()
    assert [] == app.plane.containers(AGENT)
    assert [] == [reply for chat in WAITING for reply in app.telegram.replies(chat)]
    app.plane.faults.grant_capacity(AGENT)
    await app.replies(WAITING)
    assert [] == await app.judge()
    injected.update(("refuse_capacity",))


@pytest.mark.timeout(120)  # a few seconds; a deploy and eight containers on a busy machine take longer
async def test_a_rolling_deploy_answers_every_message_once_and_in_order(app: OnPlane) -> None:
    """Turns end in the code that they began in, messages that come meanwhile wait, and then the new code answers.

    The two speak different versions of the protocol with one another.
    """
    app.hold.touch()
    begun = _turns_begun(app)
    app.say(ROLLED)
    await until(lambda: begun + len(ROLLED) == _turns_begun(app))
    new = copy_of_the_code(app.home, "v2", protocol=2)
    deploy = asyncio.create_task(app.deploy(new, FIRSTLIGHT_SHARDS="2"))
    await _talk_during(app, deploy)
    await until(lambda: {1, 2} == app.versions(AGENT) and {2} == app.versions(GATEWAY))
    app.hold.unlink()
    replies = await app.replies(ROLLED)
    assert [] == await app.judge()
    assert {"v1"} == {texts[0][:2] for texts in replies.values()}
    await until(lambda: {2} == app.versions(AGENT) == app.versions(SESSIONS))
    app.say(AFTERWARDS)
    assert {"v2"} == {text[:2] for (text,) in (await app.replies(AFTERWARDS)).values()}
    assert 1 == app.plane.most_seen(SESSIONS)


async def _talk_during(app: OnPlane, deploy: asyncio.Task[None]) -> None:
    """Have people write on for as long as the deploy takes."""
    chats = list(ROLLED)
    for number in range(MOST_DURING):
        if deploy.done():
            break
        app.say([chats[number % len(chats)]])
        await asyncio.sleep(0.1)
    await deploy


def _turns_begun(app: OnPlane) -> int:
    return len(app.began.read_text().splitlines())


def _is_logged(app: OnPlane, function: str, event: str) -> bool:
    lines = app.plane.logs.lines(app.plane.apps.named(APP).id)
    return any(line.function == function and event in line.text for line in lines)
