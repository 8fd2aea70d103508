"""How many containers a pool has: under load, when idle, with new settings, and while versions change."""

import signal
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane.calls import Status
from app.plane.containers import State
from app.plane.queues import Turn
from tests.app.plane.pools.kit import TICK_S, Puppet, Ward, status

DONE = Status.GENERIC_STATUS_SUCCESS


def _function(inputs: int = 0, **scaling: int) -> Any:
    function = api_pb2.Function(function_name="some", timeout_secs=100, max_concurrent_inputs=inputs)
    function.autoscaler_settings.CopyFrom(api_pb2.AutoscalerSettings(**scaling))
    return function


async def test_a_container_that_ends_has_its_place_until_it_is_gone() -> None:
    """So there are never more processes than the limit, though it takes no more inputs."""
    ward = Ward(_function(max_containers=2))
    for _ in range(5):
        ward.call()
    first, _second = ward.ready(2)
    ward.pool.interrupt(first)
    await ward.passes(1)
    assert (2, 2) == (len(ward.started), ward.pool.most_seen)
    first.die()
    assert (3, 2) == (len(ward.started), ward.pool.most_seen)


async def test_a_killed_container_has_its_place_until_it_is_gone() -> None:
    """A kill is no exception."""
    ward = Ward(_function(max_containers=1))
    ward.call()
    (container,) = ward.ready()
    container.kill()
    ward.pool.reconcile()
    assert 1 == len(ward.started)
    await ward.passes(TICK_S)
    assert (2, 1) == (len(ward.started), ward.pool.most_seen)


async def test_an_idle_container_ends_after_its_window_and_not_before() -> None:
    """Counted from the end of its last input."""
    ward = Ward(_function(scaledown_window=10))
    call = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    await ward.passes(20)
    ward.answer(container, call)
    await ward.passes(10)
    assert [container] == ward.alive
    await ward.passes(2 * TICK_S)
    assert State.ENDING is container.state


async def test_an_input_that_comes_while_the_last_container_ends_is_run_by_a_new_one() -> None:
    """What ends takes nothing more; where there is room for one only, the new one waits for its place."""
    ward = Ward(_function(scaledown_window=10, max_containers=1))
    call = ward.call()
    (old,) = ward.ready()
    await ward.runs(old)
    ward.answer(old, call)
    asked = ward.asks(old)
    await ward.passes(11)
    assert Turn.OVER is await asked
    late = ward.call()
    assert Turn.OVER is await ward.pool.take(old)
    assert 1 == len(ward.started)
    old.die()
    (new,) = ward.ready()
    assert late is await ward.runs(new)


async def test_an_input_that_was_handed_out_keeps_its_container() -> None:
    """Between its taking and its answer the container is not idle."""
    ward = Ward(_function(scaledown_window=10))
    first = ward.call()
    (container,) = ward.ready()
    await ward.runs(container)
    ward.answer(container, first)
    asked = ward.asks(container)
    await ward.passes(9.75)
    ward.call()
    await ward.passes(10)
    assert (State.READY, 1) == (container.state, container.busy)
    assert asked.done()


async def test_buffer_containers_are_there_while_there_is_load() -> None:
    """On top of what the load needs, and none without any."""
    ward = Ward(_function(buffer_containers=2, scaledown_window=10))
    assert [] == ward.started
    call = ward.call()
    container, *_ = ward.ready(3)
    assert 3 == len(ward.started)
    await ward.runs(container)
    await ward.passes(15)
    assert 3 == len(ward.alive)
    ward.answer(container, call)
    await ward.passes(15)
    assert [] == ward.alive


async def test_new_settings_are_in_force_at_once() -> None:
    """A higher limit lets waiting inputs run, a minimum starts containers, and their end is in order."""
    ward = Ward(_function(max_containers=1, scaledown_window=10))
    for _ in range(3):
        ward.call()
    ward.pool.update(api_pb2.AutoscalerSettings(max_containers=3))
    assert 3 == len(ward.alive)
    ward.pool.update(api_pb2.AutoscalerSettings(min_containers=3))
    for container in ward.ready(3):
        ward.answer(container, await ward.runs(container))
    await ward.passes(20)
    assert 3 == len(ward.alive)
    ward.pool.update(api_pb2.AutoscalerSettings(min_containers=0))
    await ward.passes(20)
    assert [] == ward.alive


async def test_of_containers_over_a_lower_limit_the_idle_ones_end() -> None:
    """And one that is busy comes to the end of what it runs."""
    ward = Ward(_function(min_containers=2, scaledown_window=10))
    ward.pool.reconcile()
    busy, idle = ward.ready(2)
    ward.call()
    await ward.runs(busy)
    ward.pool.update(api_pb2.AutoscalerSettings(min_containers=0, max_containers=1))
    await ward.passes(11)
    assert (State.READY, State.ENDING) == (busy.state, idle.state)


async def test_a_setting_that_means_nothing_here_is_refused() -> None:
    """And those beside it are not laid over either."""
    ward = Ward()
    with pytest.raises(GRPCError, match="know scaleup_window, which some asks for"):
        ward.pool.update(api_pb2.AutoscalerSettings(min_containers=1, scaleup_window=5))
    assert ([], 0) == (ward.started, ward.pool.settings.min_containers)


async def test_a_deploy_ends_new_settings() -> None:
    """What the code says is in force again."""
    ward = Ward(_function(max_containers=1))
    ward.pool.update(api_pb2.AutoscalerSettings(max_containers=3, min_containers=3))
    ward.deploy()
    assert (0, 1) == (ward.pool.settings.min_containers, ward.pool.settings.max_containers)


async def _busy(ward: Ward, count: int) -> list[Puppet]:
    """As many ready containers, each with an input."""
    for _ in range(count):
        ward.call()
    containers = ward.ready(count)
    for container in containers:
        await ward.runs(container)
    return containers


async def test_old_containers_take_inputs_until_a_new_one_is_ready() -> None:
    """Then they finish what they run, and end."""
    ward = Ward(_function(inputs=2))
    (old,) = await _busy(ward, 1)
    ward.deploy()
    later = ward.call()
    assert later is await ward.runs(old)
    (new,) = ward.ready()
    assert (2, State.ENDING) == (new.version, old.state)
    assert Turn.OVER is await ward.pool.take(old)
    assert [] == old.signals
    ward.answer(old, later)
    assert DONE == status(later)


@pytest.mark.parametrize("most", [2, 3])
async def test_at_the_limit_one_old_container_makes_room_and_the_others_serve_on(most: int) -> None:
    """There is always somebody to take an input, until a new container is ready; and never one too many."""
    ward = Ward(_function(max_containers=most))
    leaving, *serving = await _busy(ward, most)
    ward.deploy()
    await ward.passes(5)
    assert State.ENDING is leaving.state
    assert {State.READY} == {container.state for container in serving}
    leaving.die()
    await ward.passes(5)
    assert {State.READY} == {container.state for container in serving}
    (new,) = ward.ready()
    assert 2 == new.version
    assert {State.ENDING} == {container.state for container in serving}
    assert most == ward.pool.most_seen


async def test_at_the_limit_an_idle_old_container_makes_room_before_a_busy_one() -> None:
    """The new code need not wait for what the old one runs."""
    ward = Ward(_function(max_containers=2, min_containers=1))
    busy, idle = await _busy(ward, 2)
    (call,) = idle.active.values()
    ward.answer(idle, call)
    ward.deploy()
    assert (State.READY, State.ENDING) == (busy.state, idle.state)


async def test_inputs_of_an_old_container_that_dies_run_in_a_new_one() -> None:
    """Nothing is lost between two versions."""
    ward = Ward(_function(max_containers=1))
    (old,) = await _busy(ward, 1)
    (call,) = old.active.values()
    ward.deploy()
    old.die(-9)
    (new,) = ward.ready()
    assert call is await ward.runs(new)
    assert 2 == new.version


async def test_idle_old_containers_of_a_pool_that_nobody_uses_end_with_a_deploy() -> None:
    """No new one is started for them."""
    ward = Ward(_function())
    (old,) = await _busy(ward, 1)
    (call,) = old.active.values()
    ward.answer(old, call)
    ward.deploy()
    assert (State.ENDING, 1) == (old.state, len(ward.started))


async def test_without_capacity_nothing_starts() -> None:
    """Whatever the load."""
    ward = Ward()
    ward.function.capacity = False
    ward.call()
    await ward.passes(5)
    assert [] == ward.started
    ward.function.capacity = True
    await ward.passes(TICK_S)
    assert 1 == len(ward.started)


async def test_a_container_that_does_not_end_by_itself_is_interrupted_and_then_killed() -> None:
    """Its inputs have their timeout and what a cancelled one gets, its exit hooks their grace."""
    ward = Ward(_function(), grace_s=30.0, cancel_s=5.0)
    (container,) = await _busy(ward, 1)
    ward.pool.drain(container)
    (call,) = container.active.values()
    ward.answer(container, call)
    await ward.passes(104)
    assert [] == container.signals
    await ward.passes(2)
    assert [signal.SIGINT] == container.signals
    await ward.passes(28)
    assert [signal.SIGINT] == container.signals
    await ward.passes(2)
    assert [signal.SIGINT, signal.SIGKILL] == container.signals
