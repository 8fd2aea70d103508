"""The SkillRegistryActor takes over changed files at once, and answers meanwhile."""

import asyncio

import pytest

from actors.coherence import RESCAN_S
from actors.skill_registry import SkillRegistryOptions
from contracts.faults import Fault, SkillNotFound
from contracts.skills import GetSkill, ReloadSkills, SetAside, SkillsReloaded
from tests.actors.skill_kit import PATIENT, World, skill_file
from tests.actors.skill_registry.asking import UNREADABLE_ROOT, catalog, skill


async def test_a_reload_says_what_it_changed(world: World) -> None:
    """Added, removed and changed skills by name, and the new catalog's fingerprint."""
    await world.actor.start()
    world.files.skills = [skill_file("tea", body="new"), skill_file("milk"), skill_file("water")]
    world.files.set_aside = [SetAside(file="b/SKILL.md", reason="binary")]
    reply = await world.ref.ask(ReloadSkills())

    assert reply == SkillsReloaded(
        fingerprint=(await catalog(world)).fingerprint,
        count=3,
        added=("milk",),
        removed=("Coffee Making",),
        changed=("tea",),
        set_aside=(SetAside(file="b/SKILL.md", reason="binary"),),
    )
    assert (await skill(world, "tea")).body == "new"


async def test_files_are_read_again_without_being_asked(world: World) -> None:
    """Every registry sees a change within its part of the bound, until its actor stops."""
    await world.actor.start()
    world.files.skills = [skill_file("tea", body="new")]
    for _ in range(3):
        world.clock.advance(RESCAN_S)
        await asyncio.sleep(0.01)
    assert (await skill(world, "tea")).body == "new"
    assert (await skill(world, "tea")).catalog == (await catalog(world)).fingerprint
    await world.actor.stop()
    scans = world.files.gate.passed
    world.clock.advance(RESCAN_S)
    await asyncio.sleep(0.01)
    assert (scans, 4) == (world.files.gate.passed, scans)


async def test_answers_go_on_beside_a_reload_and_change_at_once(world: World) -> None:
    """G3: until the scan has ended all answers are the old ones, and a catalog that was given stays as it is."""
    await world.actor.start()
    old = await catalog(world)
    world.files.gate.close()
    world.files.skills = [skill_file("tea", body="new")]
    reloading = asyncio.create_task(world.ref.ask(ReloadSkills()))
    await asyncio.sleep(0)
    during = ((await skill(world, "tea")).body, (await catalog(world)).fingerprint)
    world.files.gate.open()
    await reloading

    assert during == ("body", old.fingerprint)
    assert [summary.name for summary in old.skills] == ["Coffee Making", "tea", "water"]
    assert ((await skill(world, "tea")).body, len((await catalog(world)).skills)) == ("new", 1)


async def test_a_reload_sees_what_was_changed_before_it_was_asked(world: World) -> None:
    """A scan under way may have passed the changed file, so a reload starts its own; many share one."""
    await world.actor.start()
    world.files.gate.close()
    first = asyncio.create_task(world.ref.ask(ReloadSkills()))
    await world.files.gate.reached(2)
    world.files.skills = [skill_file("tea", body="newest")]
    more = [asyncio.create_task(world.ref.ask(ReloadSkills())) for _ in range(5)]
    await asyncio.sleep(0)
    world.files.gate.open()
    await asyncio.gather(first, *more)

    assert (await skill(world, "tea")).body == "newest"
    assert world.files.gate.passed == 3


@pytest.mark.parametrize(
    ("hangs", "options"), [(False, PATIENT), (True, SkillRegistryOptions(scan_deadline_s=0.05))]
)
async def test_a_reload_that_can_read_nothing_keeps_what_is_there(world: World, hangs: bool) -> None:
    """A volume that is away for a moment does not take the skills with it."""
    await world.actor.start()
    world.files.skills, world.files.set_aside = [], [UNREADABLE_ROOT]
    if hangs:
        world.files.gate.close()
    reply = await world.ref.ask(ReloadSkills())

    assert isinstance(reply, Fault)
    assert reply.retry
    assert (await skill(world, "tea")).body == "body"


async def test_a_folder_that_was_emptied_is_empty_after_the_reload(world: World) -> None:
    """Reading that there is nothing is not the same as reading nothing."""
    await world.actor.start()
    world.files.skills = []
    reply = await world.ref.ask(ReloadSkills())

    assert isinstance(reply, SkillsReloaded)
    assert (reply.count, reply.removed) == (0, ("Coffee Making", "tea", "water"))
    assert isinstance(await world.ref.ask(GetSkill(name="tea")), SkillNotFound)
