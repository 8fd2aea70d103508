"""The SkillRegistryActor gives the catalog, a skill by any of its names, and the files beside it."""

import pytest

from actors.skill_registry import SkillRegistryOptions
from contracts.faults import Busy, ResourceNotFound, SkillNotFound
from contracts.skills import (
    Catalog,
    CatalogNotModified,
    GetCatalog,
    GetResource,
    GetSkill,
    ReloadSkills,
    Resource,
    SetAside,
)
from tests.actors.skill_kit import MemoryFiles, World, skill_file
from tests.actors.skill_registry.asking import catalog, skill


async def test_the_catalog_is_sorted_and_without_bodies(world: World) -> None:
    """Order does not depend on case, and one line a skill is all that a model needs to choose."""
    answered = await catalog(world)
    assert [summary.name for summary in answered.skills] == ["Coffee Making", "tea", "water"]


async def test_who_knows_the_catalog_is_not_sent_it_again(world: World) -> None:
    """The fingerprint alone says that nothing has changed."""
    fingerprint = (await catalog(world)).fingerprint

    assert await world.ref.ask(GetCatalog(known=fingerprint)) == CatalogNotModified(fingerprint=fingerprint)
    assert isinstance(await world.ref.ask(GetCatalog(known="other")), Catalog)


async def test_the_fingerprint_changes_exactly_when_an_answer_would(world: World) -> None:
    """Equal files have equal fingerprints; a body, a skill or a set-aside file more changes it."""
    seen = [(await catalog(world)).fingerprint]
    world.files.skills.reverse()
    await world.ref.ask(ReloadSkills())
    assert (await catalog(world)).fingerprint == seen[0]

    world.files.skills[0] = skill_file("water", body="other")
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)
    world.files.skills.append(skill_file("milk"))
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)
    world.files.set_aside.append(SetAside(file="b/SKILL.md", reason="binary"))
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)

    assert len(set(seen)) == 4


# ---------------------------------------------------------------- one skill


@pytest.mark.parametrize(
    "name", ["Coffee Making", "coffee making", "COFFEE  MAKING", " coffee ", "Coffee", "\tcoffee making\n"]
)
async def test_a_skill_is_found_by_name_or_folder_in_any_case(world: World, name: str) -> None:
    """G2: what a user or a model writes finds it, and the answer carries the declared name."""
    assert (await skill(world, name)).name == "Coffee Making"


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../tea", "/tea", "tea/", "tea/SKILL.md", "C:\\tea", "te\0a", "x" * 100_000, "*"],
)
async def test_what_is_no_name_is_not_found(world: World, name: str) -> None:
    """G2: paths open nothing; the answer echoes a bounded part of the question."""
    reply = await world.ref.ask(GetSkill(name=name))

    assert isinstance(reply, SkillNotFound)
    assert reply.name == name[:200]
    assert not reply.retry


@pytest.mark.parametrize(
    ("name", "suggestions"),
    [
        ("tae", ("tea",)),
        ("cofee", ("Coffee Making",)),
        ("coffe makeing", ("Coffee Making",)),
        ("WATR", ("water",)),
        ("zzz", ()),
    ],
)
async def test_a_near_miss_is_told_what_is_near(
    world: World, name: str, suggestions: tuple[str, ...]
) -> None:
    """Suggestions are declared names, whether the name or the folder was near."""
    reply = await world.ref.ask(GetSkill(name=name))
    assert isinstance(reply, SkillNotFound)
    assert reply.suggestions == suggestions


async def test_suggestions_are_few_and_best_first() -> None:
    """At most five, the nearest first."""
    world = World(MemoryFiles(*(skill_file(f"brew-tea-{n}") for n in range(10)), skill_file("brew-tea")))
    reply = await world.ref.ask(GetSkill(name="brew-te"))

    assert isinstance(reply, SkillNotFound)
    assert (len(reply.suggestions), reply.suggestions[0]) == (5, "brew-tea")
    await world.stop()


async def test_a_name_wins_over_a_folder() -> None:
    """A folder of that name does not hide the skill that declares it."""
    world = World(
        MemoryFiles(skill_file("a", folder="b"), skill_file("b", folder="c"), skill_file("d", folder="a"))
    )

    assert [(await skill(world, name)).name for name in ("a", "b", "c", "d")] == ["a", "b", "b", "d"]
    await world.stop()


# ---------------------------------------------------------------- resources


async def test_a_resource_is_given_by_any_name_of_its_skill(world: World) -> None:
    """The bytes beside the skill file, under the declared name."""
    world.files.resources["coffee/SKILL.md", "beans.txt"] = b"\0arabica"
    reply = await world.ref.ask(GetResource(skill="COFFEE", path="beans.txt"))

    assert reply == Resource(
        skill="Coffee Making", path="beans.txt", content=b"\0arabica", fingerprint="Coffee Making:body"
    )


async def test_a_resource_that_is_not_there_says_so(world: World) -> None:
    """The skill's absence is not taken for the file's."""
    assert isinstance(await world.ref.ask(GetResource(skill="tae", path="x")), SkillNotFound)
    assert await world.ref.ask(GetResource(skill="coffee", path="beans.txt")) == ResourceNotFound(
        skill="Coffee Making", path="beans.txt", detail="no such file"
    )


@pytest.mark.parametrize("options", [SkillRegistryOptions(resource_deadline_s=0.02)])
async def test_a_volume_that_hangs_is_not_taken_for_a_resource_s_absence(world: World) -> None:
    """It may be there, so whoever asks is told to ask again."""
    await world.actor.start()
    world.files.gate.close()
    assert isinstance(await world.ref.ask(GetResource(skill="coffee", path="beans.txt")), Busy)


@pytest.mark.parametrize("path", [".env", ".git/config", "inner/SKILL.md", "../x", "./beans.txt", ""])
async def test_a_file_that_the_skill_does_not_list_is_not_given(world: World, path: str) -> None:
    """Even if it is there: whoever chats may have the model ask for it."""
    world.files.resources["coffee/SKILL.md", path] = b"secret"
    reply = await world.ref.ask(GetResource(skill="coffee", path=path))

    assert reply == ResourceNotFound(skill="Coffee Making", path=path, detail="the skill lists no such file")
