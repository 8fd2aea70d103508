"""A registry of three skills."""

from collections.abc import AsyncIterator

import pytest

from actors.skill_registry import SkillRegistryOptions
from tests.actors.skill_kit import PATIENT, MemoryFiles, World, skill_file
from tests.actors.skill_registry.asking import FIVE_RUNS


@pytest.fixture
def options() -> SkillRegistryOptions:
    """The registry's deadlines; a test in which something hangs is parametrised with shorter ones."""
    return PATIENT


@pytest.fixture
async def world(options: SkillRegistryOptions) -> AsyncIterator[World]:
    """A registry of three skills; `tea` has run five times."""
    coffee = skill_file("Coffee Making", folder="coffee", resources=("beans.txt",))
    made = World(MemoryFiles(skill_file("tea"), coffee, skill_file("water")), options)
    made.store.stats["tea"] = FIVE_RUNS
    yield made
    await made.stop()
