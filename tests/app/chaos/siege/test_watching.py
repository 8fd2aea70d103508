"""What is noticed while a siege goes on."""

import pytest

from app.chaos.siege.watching import Limits, Sends
from app.plane import ContainerInfo
from tests.app.chaos.siege.world import Told, record

POOL, OTHER = "fu-1", "fu-2"


def containers(count: int, pool: str = POOL, function: str = "Shard") -> list[ContainerInfo]:
    """So many of one pool."""
    one = ContainerInfo(
        id="ta", function=function, pid=1, state="ready", running=0, port=0, version=1, pool=pool
    )
    return [one] * count


def problems(*looks: int, forced_before: int = -1) -> list[str]:
    """Of counts seen one after another; before one of them, a container is forced upon the pool."""
    limits = Limits({"Shard": 1})
    for number, count in enumerate(looks):
        if number == forced_before:
            limits.force(POOL)
        limits.look(containers(count))
    return list(map(str, limits.problems.values()))


def test_a_pool_above_its_limit_is_a_problem_told_once() -> None:
    """However often it is seen."""
    assert ["limit: Shard had 2 containers, 0 of them forced upon it"] == problems(1, 2, 2, 1, 2)


@pytest.mark.parametrize(
    ("looks", "seen"),
    [((1, 2, 2, 1, 0, 1), 0), ((1, 3, 1), 1), ((1, 2, 1, 2), 1)],
    ids=["the forced one", "one more than that", "another one after it has ended"],
)
def test_what_was_forced_is_allowed_while_it_lives(looks: tuple[int, ...], seen: int) -> None:
    """And nothing else."""
    assert seen == len(problems(*looks, forced_before=1))


def test_pools_of_one_function_are_counted_apart_and_a_function_without_limit_not_at_all() -> None:
    """Two shards of one container each are well, and so are many gateways."""
    limits = Limits({"Shard": 1})
    limits.look([*containers(1), *containers(1, OTHER), *containers(5, "fu-3", "Gateway")])
    assert {} == limits.problems
    assert {"Shard": 1, "Gateway": 5} == limits.most_seen


def test_only_sends_under_way_are_taken_down() -> None:
    """An accepted update is nobody's send, and neither is one that was sent."""
    sends = Sends()
    sends.look([record(Told(number=n, state="committed", chunk=chunk)) for n, chunk in _CHUNKS.items()])
    assert {2} == sends.updates


def test_a_fault_is_lately_until_its_end_and_a_later_one_makes_it_longer() -> None:
    """Never shorter."""
    sends = Sends()
    sends.expect(10.0)
    sends.expect(5.0)
    assert (True, False) == (sends.expected(9.9), sends.expected(10.0))


_CHUNKS = {1: "planned", 2: "sending", 3: "sent"}
