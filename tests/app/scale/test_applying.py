"""What differs from the file, what is changed, and what a deploy undid."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.scale.applying import apply
from app.scale.desired import Desired, Wanted
from app.scale.pools import Applied, Change, Deployment, Pool, Pools, PoolsRefused, differing
from app.scale.record import NAME, read_applied, write_applied
from app.targets.place import Place

PLACE = Place(kind="modal", app_name="app", shards=2)
DESIRED: Desired = {"session_cache": {"min_containers": 2, "scaledown_window": 600}}
DEPLOYED: dict[str, int | None] = {
    "min_containers": 1,
    "max_containers": None,
    "buffer_containers": None,
    "scaledown_window": None,
}


class Placed(Pools):
    """Two shards and an agent on the other side; `tells` says whether it shows its settings."""

    def __init__(self, version: int = 7, *, tells: bool = True) -> None:
        self.version, self.tells = version, tells
        self.changes: list[tuple[str, Wanted]] = []
        self.deploy(version)

    def deploy(self, version: int) -> None:
        """A deploy resets every override."""
        self.version = version
        self.settings = {name: dict(DEPLOYED) for name in ("shard 0", "shard 1", "agent")}

    async def deployment(self) -> Deployment:
        return Deployment(app_id="ap-1", version=self.version)

    async def look(self) -> Sequence[Pool]:
        actors = {"shard 0": "session_cache", "shard 1": "session_cache", "agent": "chat_agent"}
        return [
            Pool(name=name, actor=actors[name], settings=dict(values) if self.tells else None)
            for name, values in self.settings.items()
        ]

    async def change(self, pool: str, wanted: Wanted) -> None:
        self.changes.append((pool, dict(wanted)))
        self.settings[pool].update(wanted)


class Refusing(Placed):
    """The second shard can't be changed."""

    async def change(self, pool: str, wanted: Wanted) -> None:
        if pool == "shard 1":
            raise PoolsRefused("no")
        await super().change(pool, wanted)


async def _diff(pools: Placed, folder: Path) -> tuple[Change, ...]:
    live = await pools.deployment()
    return differing(DESIRED, await pools.look(), read_applied(PLACE, folder), live)


async def test_what_differs_is_changed_in_one_call_a_pool(tmp_path: Path) -> None:
    """Only the actors of the file, and only the values that differ."""
    pools = Placed()
    pools.settings["shard 1"]["min_containers"] = 2
    await apply(pools, DESIRED, PLACE, tmp_path)
    both, one = {"min_containers": 2, "scaledown_window": 600}, {"scaledown_window": 600}
    assert [("shard 0", both), ("shard 1", one)] == pools.changes


@pytest.mark.parametrize("tells", [True, False])
async def test_what_is_in_force_is_left_alone(tmp_path: Path, tells: bool) -> None:
    """Also where the other side does not show its settings: what was applied since the deploy counts."""
    pools = Placed(tells=tells)
    await apply(pools, DESIRED, PLACE, tmp_path)
    pools.changes.clear()
    assert () == await _diff(pools, tmp_path)
    assert () == await apply(pools, DESIRED, PLACE, tmp_path)
    assert [] == pools.changes


@pytest.mark.parametrize("tells", [True, False])
async def test_a_deploy_resets_and_is_named(tmp_path: Path, tells: bool) -> None:
    """And the next apply applies it all again."""
    pools = Placed(tells=tells)
    first = await apply(pools, DESIRED, PLACE, tmp_path)
    pools.deploy(8)
    found = await _diff(pools, tmp_path)
    assert {8} == {each.reset_by for each in found}
    again = await apply(pools, DESIRED, PLACE, tmp_path)
    assert [(each.pool, each.key) for each in first] == [(each.pool, each.key) for each in again]
    assert () == await _diff(pools, tmp_path)


async def test_what_was_never_applied_is_no_reset(tmp_path: Path) -> None:
    """A wish that is new since the deploy is only a wish."""
    pools = Placed()
    await apply(pools, {"session_cache": {"min_containers": 2}}, PLACE, tmp_path)
    pools.deploy(8)
    found = await _diff(pools, tmp_path)
    assert {("min_containers", 8), ("scaledown_window", 0)} == {(each.key, each.reset_by) for each in found}


async def test_somebody_elses_change_is_no_reset(tmp_path: Path) -> None:
    """No deploy is blamed for it."""
    pools = Placed()
    await apply(pools, DESIRED, PLACE, tmp_path)
    pools.settings["shard 0"]["min_containers"] = 0
    (found,) = await _diff(pools, tmp_path)
    assert Change(pool="shard 0", key="min_containers", now=0, wanted=2) == found


async def test_where_no_deployment_is_told_nothing_is_taken_for_applied(tmp_path: Path) -> None:
    """An unknown deployment may be any, so that what was applied to it says nothing."""
    pools = Placed(version=0, tells=False)
    await apply(pools, DESIRED, PLACE, tmp_path)
    assert 4 == len(await _diff(pools, tmp_path))


async def test_an_unset_minimum_or_buffer_is_zero(tmp_path: Path) -> None:
    """Modal leaves out what is not set."""
    pools = Placed()
    pools.settings["agent"]["min_containers"] = None
    live = await pools.deployment()
    desired: Desired = {"chat_agent": {"min_containers": 0, "buffer_containers": 0}}
    assert () == differing(desired, await pools.look(), Applied(), live)


async def test_a_minimum_above_the_maximum_in_force_is_refused(tmp_path: Path) -> None:
    """Before any pool is changed: the file alone does not show that a shard is deployed with at most one."""
    pools = Placed()
    pools.settings["shard 1"]["max_containers"] = 1
    said = r"shard 1 can't have min_containers 2 above max_containers 1: set both under \[session_cache\]"
    with pytest.raises(PoolsRefused, match=said):
        await apply(pools, DESIRED, PLACE, tmp_path)
    assert [] == pools.changes
    both: Desired = {"session_cache": {"min_containers": 2, "max_containers": 2}}
    assert 4 == len(await apply(pools, both, PLACE, tmp_path))


async def test_what_was_refused_is_not_remembered_as_applied(tmp_path: Path) -> None:
    """The next diff shows what is left."""
    pools = Refusing(tells=False)
    with pytest.raises(PoolsRefused):
        await apply(pools, DESIRED, PLACE, tmp_path)
    assert Applied() == read_applied(PLACE, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"modal app": 3}'])
def test_a_record_without_sense_is_none(tmp_path: Path, content: bytes) -> None:
    """It only explains; what is live is asked for."""
    (tmp_path / NAME).write_bytes(content)
    assert Applied() == read_applied(PLACE, tmp_path)


def test_places_are_remembered_apart(tmp_path: Path) -> None:
    """What was applied to one app says nothing of another."""
    applied = Applied(
        deployment=Deployment(app_id="ap-1", version=1), settings={"agent": {"min_containers": 1}}
    )
    other = Place(kind="modal", app_name="other", shards=1)
    write_applied(PLACE, applied, tmp_path)
    write_applied(other, Applied(), tmp_path)
    assert (applied, Applied()) == (read_applied(PLACE, tmp_path), read_applied(other, tmp_path))
