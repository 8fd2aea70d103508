"""What is noticed while a siege goes on."""

from dataclasses import replace

import msgspec
import pytest

from actors import turns
from actors.stores import UpdateRecord
from app.chaos.siege.judging import CUT, judge
from app.chaos.siege.watching import Limits, Sends
from app.plane import ContainerInfo
from tests.app.chaos.siege.world import Told, World, record

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
    sends.cut_off(10.0)
    sends.look(
        [record(Told(number=n, state="committed", chunk=chunk)) for n, chunk in _CHUNKS.items()], now_s=0.0
    )
    assert {2} == sends.updates


@pytest.mark.parametrize("late", [False, True], ids=["told before its death", "read after it"])
def test_of_an_agent_s_death_only_its_own_sends_are_taken_down(late: bool) -> None:
    """An update that a living agent was sending at the same moment is no excuse for an unknown end of it."""
    sends = Sends()
    told = [("dead's", "ta-1"), ("other's", "ta-2")]
    if not late:
        _tell(sends, told)
    sends.died("ta-1", 10.0)
    sends.look([_sending(1, "dead's"), _sending(2, "other's"), _sending(3, "nobody's")], now_s=0.0)
    if late:
        _tell(sends, told)
    assert {1} == sends.updates


@pytest.mark.parametrize(
    ("owner", "problems"), [("ta-1", 0), ("ta-2", 1)], ids=["the dead's", "the living's"]
)
def test_an_unknown_end_of_a_living_container_s_turn_is_a_problem(owner: str, problems: int) -> None:
    """While another one is killed: the verdict names it."""
    sends = Sends()
    sends.claimed("lease", owner)
    sends.died("ta-1", 10.0)
    sends.look([_sending(3, "lease")], now_s=0.0)
    world = World().with_told(Told(number=3, state="unknown", chunk="unknown", reason=CUT))
    watched = replace(world, sending=tuple(sends.updates)).watched
    assert ["unknown"] * problems == [each.promise for each in judge(watched, world.left).problems]


def test_without_its_shard_any_agent_s_sends_are_taken_down_for_a_while() -> None:
    """Who can't write what was sent is cut as the dead are; later ones are not."""
    sends = Sends()
    sends.cut_off(10.0)
    sends.look([_sending(1, "a")], now_s=9.9)
    sends.look([_sending(2, "a")], now_s=10.0)
    assert {1} == sends.updates


def test_a_fault_is_lately_until_its_end_and_a_later_one_makes_it_longer() -> None:
    """Never shorter."""
    sends = Sends()
    sends.died("ta-1", 10.0)
    sends.died("ta-2", 5.0)
    sends.cut_off(7.0)
    assert (True, False) == (sends.expected(9.9), sends.expected(10.0))


def _tell(sends: Sends, told: list[tuple[str, str]]) -> None:
    for lease, container in told:
        sends.claimed(lease, container)


def _sending(number: int, lease: str) -> UpdateRecord:
    sent = record(Told(number=number, state="committed", chunk="sending"))
    turn = msgspec.structs.replace(turns.unpack(sent), lease=lease)
    return msgspec.structs.replace(sent, body=turns.pack(turn))


_CHUNKS = {1: "planned", 2: "sending", 3: "sent"}
