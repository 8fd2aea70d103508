"""A registry of three skills."""

from collections.abc import AsyncIterator

import pytest

from tests.actors.skill_kit import MemoryFiles, World, skill_file
from tests.actors.skill_registry.asking import FIVE_RUNS


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A registry of three skills; `tea` has run five times."""
    coffee = skill_file("Coffee Making", folder="coffee", resources=("beans.txt",))
    made = World(MemoryFiles(skill_file("tea"), coffee, skill_file("water")))
    made.store.stats["tea"] = FIVE_RUNS
    yield made
    await made.stop()
