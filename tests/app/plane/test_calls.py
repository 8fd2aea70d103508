"""What a caller gets from the plane: answers, errors, and what becomes of a call whose container or time runs out."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import modal
import modal.exception
import pytest
import pytest_asyncio
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane import Options
from tests.app.plane.kit import Deployed, running, until
from tests.app.plane.toys import TOY

pytestmark = [pytest.mark.modal, pytest.mark.asyncio(loop_scope="module")]

MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """One plane with the toy app for all tests here; they use different functions of it."""
    home = tmp_path_factory.mktemp("calls")
    (home / "notes").touch()
    options = Options(crash_first_s=0.05, crash_gives_up=2, cancel_s=1.0, snapshots=True)
    async with running(home, options) as deployed:
        await deployed.deploy(TOY, NOTES=str(home / "notes"))
        yield deployed


def notes(toy: Deployed) -> list[str]:
    """What the containers wrote down."""
    return toy.home.joinpath("notes").read_text().splitlines()


async def test_each_set_of_parameters_has_a_container_of_its_own(toy: Deployed) -> None:
    """The same values lead to the same object, other values to another process; hooks ran in their order."""
    ann, bob = toy.cls("Counter")(name="ann"), toy.cls("Counter")(name="bob")
    first, other = await asyncio.gather(ann.add.remote.aio(2), bob.add.remote.aio(5))
    again = await toy.cls("Counter")(name="ann").add.remote.aio()
    assert ("ann", 2, ["snap", "enter"]) == (first[0], first[1], first[3])
    assert ("ann", 3, first[2]) == again[:3]
    assert ("bob", 5) == other[:2]
    assert other[2] != first[2]


async def test_an_idle_container_ends_with_its_exit_hook(toy: Deployed) -> None:
    """After its window the pool is empty, and the hook had the time to do its work."""
    await toy.cls("Counter")(name="leaver").add.remote.aio()
    await until(lambda: "exit leaver" in notes(toy))


async def test_a_spawned_call_is_fetched_by_its_id(toy: Deployed) -> None:
    """`spawn` gives an id that any client can ask with, as often as it likes."""
    call = await toy.cls("Counter")(name="spawned").add.spawn.aio(4)
    same = modal.FunctionCall.from_id(call.object_id, client=toy.client)
    assert [4, 4] == [(await fetched.get.aio(timeout=20))[1] for fetched in (call, same)]


@pytest.mark.parametrize("size", [8 * 1024 + 1, 2 * MIB + 1])
async def test_large_values_take_the_way_over_blobs(toy: Deployed, size: int) -> None:
    """Below and above the limit of a message, what goes in comes back; a spawned one has a lower limit."""
    data, large = bytes(size), toy.cls("Counter")(name="large")
    assert data == await large.echo.remote.aio(data)
    assert data == await (await large.echo.spawn.aio(data)).get.aio(timeout=20)


async def test_an_error_in_the_container_is_raised_here(toy: Deployed) -> None:
    """With its class and its words."""
    with pytest.raises(ValueError, match="as asked"):
        await toy.cls("Counter")(name="large").fail.remote.aio()


async def test_what_the_plane_does_not_know_is_refused_by_name(toy: Deployed) -> None:
    """One line says what it is, so that nobody takes it for a defect of the app."""
    with pytest.raises(
        modal.exception.UnimplementedError, match=r"^firstlight's plane does not know Function.map$"
    ):
        [_ async for _ in toy.cls("Counter")(name="large").add.map.aio([1, 2])]
    with pytest.raises(modal.exception.UnimplementedError, match="does not know QueueGetOrCreate"):
        await modal.Queue.from_name("some", create_if_missing=True).hydrate.aio(client=toy.client)


async def test_a_method_that_is_not_deployed_is_refused_by_name(toy: Deployed) -> None:
    """A container that took it would end, with all that it runs; and a deploy that was refused promises nothing."""
    more = TOY.replace(
        "    async def echo(", "    async def later(self): ...\n\n    @modal.method()\n    async def echo("
    )
    refused = f'{more}\n@app.function(gpu="A100")\ndef gpu(): ...\n'
    (toy.home / "more.py").write_text(refused)
    code, _ = await toy.run("deploy", "more.py")
    assert 1 == code
    with pytest.raises(modal.exception.NotFoundError):
        await toy.cls("Counter")().later.remote.aio()
    asked = api_pb2.FunctionPutInputsItem(input=api_pb2.FunctionInput(method_name="later"))
    pool = toy.plane.pools.named("Counter")[0].id
    with pytest.raises(GRPCError, match="no method 'later' in Counter, which has add, echo, fail"):
        await toy.plane.calling.start(api_pb2.FunctionMapRequest(function_id=pool, pipelined_inputs=[asked]))


async def test_a_killed_containers_inputs_run_elsewhere(toy: Deployed) -> None:
    """Nobody who called it notices, but for the time."""
    calls = [asyncio.create_task(toy.cls("Slow")().work.remote.aio(0.3, f"kill-{n}")) for n in range(2)]
    await until(lambda: sum(line.startswith("began kill-") for line in notes(toy)) == 2)
    began = {int(line.rpartition(" ")[2]) for line in notes(toy) if line.startswith("began kill-")}
    for container in toy.plane.containers("Slow"):
        if container.pid in began:
            toy.plane.faults.kill(container.id)
    answered = {pid for pid, _ in await asyncio.gather(*calls)}
    assert answered
    assert set() == answered & began


async def test_a_preempted_input_runs_again(toy: Deployed) -> None:
    """A container that is told to end does not answer its inputs as cancelled: they run elsewhere."""
    release = toy.home / "preempted"
    call = asyncio.create_task(toy.cls("Slow")().hold.remote.aio(str(release)))
    await until(lambda: any(line.startswith("holds") for line in notes(toy)))
    (began,) = [int(line.rpartition(" ")[2]) for line in notes(toy) if line.startswith("holds")]
    (container,) = [container for container in toy.plane.containers("Slow") if container.pid == began]
    toy.plane.faults.preempt(container.id)
    await until(lambda: f"let go {began}" in notes(toy))
    release.touch()
    pid, _ = await call
    assert began != pid


async def test_a_cancelled_call_stops_in_its_container(toy: Deployed) -> None:
    """Whoever waits for it is told, and the container goes on with other inputs."""
    call = await toy.cls("Slow")().work.spawn.aio(30, "cancelled")
    await until(lambda: any(line.startswith("began cancelled") for line in notes(toy)))
    before = {container.pid for container in toy.plane.containers("Slow")}
    await call.cancel.aio()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        await call.get.aio(timeout=5)
    await until(lambda: "cancelled cancelled" in notes(toy))
    assert (await toy.cls("Slow")().work.remote.aio(0))[0] in before


async def test_a_call_that_waits_is_cancelled_before_it_begins(toy: Deployed) -> None:
    """No container ever sees it."""
    toy.plane.faults.refuse_capacity("Counter")
    call = await toy.cls("Counter")(name="waiting").add.spawn.aio()
    await call.cancel.aio()
    toy.plane.faults.grant_capacity("Counter")
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        await call.get.aio(timeout=5)
    assert [] == [container for container in toy.plane.containers("Counter") if container.state == "starting"]


async def test_a_failing_function_gets_the_attempts_of_its_policy(toy: Deployed) -> None:
    """Two retries are three attempts."""
    assert "at last" == await toy.function("third_time").remote.aio()
    assert 3 == notes(toy).count("attempt")


async def test_an_input_over_its_timeout_is_told_so_and_stopped(toy: Deployed) -> None:
    """Modal's own exception comes, the code is cancelled, and its container goes on with other inputs."""
    with pytest.raises(modal.exception.FunctionTimeoutError, match="1 s"):
        await toy.function("hasty").remote.aio(30)
    before = {container.pid for container in toy.plane.containers("hasty")}
    await until(lambda: "hasty let go" in notes(toy))
    assert 0 == await toy.function("hasty").remote.aio(0)
    assert before == {container.pid for container in toy.plane.containers("hasty")}


async def test_a_container_for_a_single_use_is_not_used_again(toy: Deployed) -> None:
    """It ends after its input, and the next call has another process."""
    once = toy.function("once")
    assert await once.remote.aio() != await once.remote.aio()


async def test_a_caller_may_ask_for_other_attempts(toy: Deployed) -> None:
    """`with_options` is honoured for its own containers only, and refused by name where it can't be."""
    retries = modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0)
    with pytest.raises(ValueError, match="as asked"):
        await toy.cls("Counter").with_options(retries=retries)(name="tough").fail.remote.aio()
    assert 3 == notes(toy).count("failed tough")
    with pytest.raises(modal.exception.UnimplementedError, match="know GPUs, which Counter"):
        await toy.cls("Counter").with_options(gpu="A100")(name="strong").add.remote.aio()


async def test_a_class_that_does_not_start_in_time_tells_its_callers_so(toy: Deployed) -> None:
    """Each start is killed when its time is over."""
    with pytest.raises(modal.exception.Error, match="startup timeout of 1 s"):
        await toy.cls("Late")().ask.remote.aio()


async def test_a_class_that_can_not_start_tells_its_callers_why(toy: Deployed) -> None:
    """After some starts, waiting calls get the exception of the last."""
    with pytest.raises(RuntimeError, match="no way to start"):
        await toy.cls("Broken")().ask.remote.aio()
    assert 2 == notes(toy).count("tried")


async def test_a_schedule_calls_its_function(toy: Deployed) -> None:
    """Once a second here, without anybody asking."""
    await until(lambda: notes(toy).count("tick") >= 2)


async def test_a_web_function_is_deployed_and_answered_by_name(toy: Deployed) -> None:
    """The address that the client prints says what it can't do."""
    async with aiohttp.ClientSession() as http, http.get(toy.plane.address("page")) as answer:
        told = (answer.status, await answer.text())
    assert (501, "firstlight's plane does not know web functions, and page is one\n") == told
