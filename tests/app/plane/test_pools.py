"""How many containers there are, of which version, and what the client's own commands show of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from modal_proto import api_pb2

from app.plane import Options, Plane
from app.plane.tables import shared_table
from tests.app.plane.kit import Deployed, running, until
from tests.app.plane.toys import TOY

pytestmark = [pytest.mark.modal, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """One plane for all tests here; each leaves the app deployed, and no fault behind."""
    home = tmp_path_factory.mktemp("pools")
    (home / "notes").touch()
    async with running(home, Options(scaledown_s=2.0, grace_s=1.0)) as deployed:
        await deploy(deployed)
        yield deployed


async def deploy(toy: Deployed, version: str = "1") -> None:
    """Deploy the toy app again, as code of another version."""
    await toy.deploy(f"{TOY}\n# {version}\n", NOTES=str(toy.home / "notes"), VERSION=version)


async def test_there_are_never_more_containers_than_the_limit(toy: Deployed) -> None:
    """Many slow calls, two at a time in each of two containers; every one is answered."""
    slow = toy.cls("Slow")()
    answers = await asyncio.gather(*(slow.work.remote.aio(0.02) for _ in range(40)))
    assert 40 == len(answers)
    assert 2 == toy.plane.most_seen("Slow")


async def test_a_dropped_call_is_made_again_and_one_with_a_lost_reply_runs_twice(toy: Deployed) -> None:
    """What the network may do to a caller: the client repeats by itself, and a delay is only late."""
    counter = toy.cls("Counter")(name="faults")
    await counter.add.remote.aio(0)
    toy.plane.faults.drop("Counter", 2)
    assert 1 == (await counter.add.remote.aio(1))[1]
    toy.plane.faults.lose_reply("Counter")
    assert 3 == (await counter.add.remote.aio(1))[1]
    toy.plane.faults.delay("Counter", 0.01)
    assert 4 == (await counter.add.remote.aio(1))[1]
    assert {"drop": 2, "lose_reply": 1, "delay": 1}.items() <= toy.plane.faults.injected.items()


async def test_without_capacity_a_call_waits(toy: Deployed) -> None:
    """And is answered when there is some again."""
    toy.plane.faults.refuse_capacity("hasty")
    call = await toy.function("hasty").spawn.aio(0)
    with pytest.raises(TimeoutError):
        await call.get.aio(timeout=0)
    assert [] == toy.plane.containers("hasty")
    toy.plane.faults.grant_capacity("hasty")
    assert 0 == await call.get.aio(timeout=20)


async def test_scaling_is_updated_live_until_the_next_deploy(toy: Deployed) -> None:
    """A minimum starts a container at once; a deploy goes back to what the code says."""
    hasty = toy.function("hasty")
    await hasty.autoscaler.update.aio(min_containers=2, scaledown_window=2)
    await until(lambda: 2 == _count(toy, "hasty", "ready"))
    assert 2 == (await hasty.autoscaler.settings.aio()).min_containers
    assert 2 == (await hasty.get_current_stats.aio()).num_total_runners
    await deploy(toy)
    await until(lambda: [] == toy.plane.containers("hasty"))


async def test_an_exit_hook_that_outlives_its_grace_is_killed(toy: Deployed) -> None:
    """It was asked to end, and then it is ended."""
    await toy.cls("Stubborn")().ask.remote.aio()
    (container,) = toy.plane.containers("Stubborn")
    toy.plane.faults.preempt(container.id)
    await until(lambda: [] == toy.plane.containers("Stubborn"))
    assert "will not go" in (toy.home / "notes").read_text()


async def test_a_rolling_deploy_lets_old_containers_finish(toy: Deployed) -> None:
    """What runs ends in the code that it began in, the next call gets the new code, and the limit holds."""
    slow = toy.cls("Slow")()
    notes, release = toy.home / "notes", toy.home / "release"
    old = asyncio.create_task(slow.hold.remote.aio(str(release)))
    single = asyncio.create_task(toy.cls("Single")().hold.remote.aio(str(release)))
    await until(lambda: "holds" in notes.read_text() and "single" in notes.read_text())
    (before,) = {container.version for container in toy.plane.containers("Slow")}
    await deploy(toy, "2")
    await until(lambda: _versions(toy, "Slow", "ready") == {before + 1})
    assert "2" == (await slow.work.remote.aio(0))[1]
    assert not old.done()
    after = asyncio.create_task(toy.cls("Single")().hold.remote.aio(str(release)))
    release.touch()
    assert ["1", "2"] == [await single, await after]
    assert 1 == toy.plane.most_seen("Single")
    assert "1" == (await old)[1]
    assert 2 == toy.plane.most_seen("Slow")


async def test_a_run_ends_with_its_client(toy: Deployed) -> None:
    """`modal run` prints what its containers print, and leaves no app behind."""
    printed = await toy.modal("run", "toy.py::double", "--number", "21", NOTES=str(toy.home / "notes"))
    assert "twice that is 42" in printed
    listed = json.loads(await toy.modal("app", "list", "--json"))
    assert {"deployed", "stopped"} == {app["state"] for app in listed}


async def test_a_run_ends_although_its_client_was_killed(tmp_path: Path) -> None:
    """A client that does not say that it goes is missed, and one that is heard of is not; a deploy has none."""
    plane = Plane(tmp_path, Options(unheard_s=0.04))
    heard, missed, deployed = [
        (await plane.apps.create(api_pb2.AppCreateRequest(description="some", app_state=state))).app_id
        for state in (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_DEPLOYED)
    ]
    await asyncio.sleep(0.05)
    await shared_table(plane)["AppHeartbeat"](api_pb2.AppHeartbeatRequest(app_id=heard))
    plane.apps.tick()
    stopped = [app_id for app_id in (heard, missed, deployed) if plane.apps.get(app_id).is_stopped]
    assert [missed] == stopped


async def test_a_forced_fault_runs_one_container_too_many(toy: Deployed) -> None:
    """As on Modal, where a limit is no promise."""
    slow = toy.cls("Slow")()
    await asyncio.gather(*(slow.work.remote.aio(0.3) for _ in range(8)))
    toy.plane.faults.double("Slow")
    assert 3 == len(toy.plane.containers("Slow"))


async def test_the_clients_commands_list_the_app_and_its_logs(toy: Deployed) -> None:
    """`modal app list`, `modal container list` and `modal app logs`, as on Modal."""
    await until(lambda: any(container.state == "ready" for container in toy.plane.containers("tick")))
    await until(lambda: "tick" in (toy.home / "notes").read_text())
    apps, containers, logs = await asyncio.gather(
        toy.modal("app", "list", "--json"),
        toy.modal("container", "list", "--json"),
        toy.modal("app", "logs", "toy"),
    )
    assert {"toy"} == {app["description"] for app in json.loads(apps)}
    listed = {row["container_id"] for row in json.loads(containers)}
    assert listed & {container.id for container in toy.plane.containers()}
    assert "printed by tick" in logs


async def test_a_stopped_app_has_no_containers_and_takes_no_calls(toy: Deployed) -> None:
    """`modal app stop` ends everything and leaves no code; the next deploy begins anew."""
    waiting = await toy.cls("Slow")().work.spawn.aio(60)
    await toy.modal("app", "stop", "toy", "--yes")
    await until(lambda: [] == toy.plane.containers())
    assert [] == list((toy.home / "plane" / "code").iterdir())
    with pytest.raises(Exception, match="stopped"):
        await waiting.get.aio(timeout=5)
    code, told = await toy.run("app", "stop", "toy", "--yes")
    assert (1, True) == (code, "already stopped" in told)
    await deploy(toy)


def _versions(toy: Deployed, function: str, state: str) -> set[int]:
    return {container.version for container in toy.plane.containers(function) if container.state == state}


def _count(toy: Deployed, function: str, state: str) -> int:
    return [container.state for container in toy.plane.containers(function)].count(state)
